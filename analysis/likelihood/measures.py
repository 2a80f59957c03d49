"""Measures of typicality, computed from the scores of one response."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """A measure: its unit, its formula in words, and how it is computed from columns of scores."""

    unit: str
    formula: str
    compute: Callable[[Mapping[str, Any] | pd.DataFrame], Any]
    unconditional: bool = False


MEASURES: dict[str, Measure] = {
    "mean_logprob": Measure(
        "nats per token", "log p(response | prompt) / tokens", lambda s: s["sum_logprob"] / s["n_tokens"]
    ),
    "logprob_per_byte": Measure(
        "nats per byte", "log p(response | prompt) / UTF-8 bytes", lambda s: s["sum_logprob"] / s["n_bytes"]
    ),
    "sum_logprob": Measure("nats", "log p(response | prompt)", lambda s: s["sum_logprob"]),
    "mean_pmi": Measure(
        "nats per token",
        "(log p(response | prompt) − log p(response)) / tokens",
        lambda s: (s["sum_logprob"] - s["sum_logprob_unconditional"]) / s["n_tokens"],
        unconditional=True,
    ),
}


def wide(scores: pd.DataFrame, measures: tuple[str, ...]) -> pd.DataFrame:
    """Measures of every response.

    Parameters
    ----------
    scores
        Rows of the table `scores` under one base model: one conditional row a response, and one unconditional row
        where a measure needs it.
    measures
        Names from `MEASURES`.

    Returns
    -------
    pandas.DataFrame
        One row a response (index `response_id`), one column a measure; NaN where a score is missing.
    """
    conditional = scores[scores["conditional"]].set_index("response_id")
    other = scores[~scores["conditional"]].set_index("response_id")["sum_logprob"]
    columns = conditional.assign(sum_logprob_unconditional=other)
    return pd.DataFrame({name: MEASURES[name].compute(columns) for name in measures}, index=columns.index)
