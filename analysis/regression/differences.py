"""Comparisons and scores → `differences`: how much more typical one response is than the other."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.dataset as ds

from analysis import tables
from analysis.likelihood.measures import wide
from analysis.likelihood.store import score_files
from analysis.outputs import Outputs


def differences(comparisons: pd.DataFrame, measures: pd.DataFrame, base_model: str) -> pd.DataFrame:
    """Differences of every comparison under every measure.

    Parameters
    ----------
    comparisons
        Rows of the table `comparisons`.
    measures
        One row a response (index `response_id`), one column a measure.
    base_model
        Label of the base model.

    Returns
    -------
    pandas.DataFrame
        Rows of the table `differences`, in the order of measures, then comparisons. Comparisons of which a response
        has no score are left out.
    """
    parts = []
    for measure in measures.columns:
        values = measures[measure]
        delta = (
            values.reindex(comparisons["response_a"]).to_numpy() - values.reindex(comparisons["response_b"]).to_numpy()
        )
        part = comparisons[["study", "dataset", "comparison_id", "prompt_id"]].assign(
            base_model=base_model,
            measure=measure,
            difference=delta,
            typical=np.select([delta > 0, delta < 0], ["a", "b"], "tie"),
        )
        decided = (part["typical"] != "tie") & (comparisons["preference"] != "tie")
        agrees = (part["typical"] == comparisons["preference"]).astype("boolean")
        parts.append(part.assign(agrees=agrees.where(decided, pd.NA))[np.isfinite(delta)])
    made: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return made


def write_differences(
    comparisons: pd.DataFrame,
    scoring_id: str,
    measures: tuple[str, ...],
    base_model: str,
    outputs: Outputs,
    path: Path,
) -> pd.DataFrame:
    """Make the differences of one cell from the stored scores, write them, and return them."""
    asked = pd.unique(pd.concat([comparisons["response_a"], comparisons["response_b"]]))
    columns = ["response_id", "conditional", "sum_logprob", "n_tokens", "n_bytes"]
    where = ds.field("response_id").isin(list(asked))
    scores = tables.scan("scores", score_files(outputs, scoring_id), columns, where).to_pandas()
    made = differences(comparisons, wide(scores.drop_duplicates(["response_id", "conditional"]), measures), base_model)
    tables.write(path, "differences", made)
    return made
