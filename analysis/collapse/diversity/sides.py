"""The chosen and the rejected side of a dataset → its rows of `diversity`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from analysis import tables
from analysis.collapse.diversity.estimates import Row, rows
from analysis.collapse.diversity.metrics import Measurer
from analysis.collapse.diversity.ngrams import Array
from analysis.collapse.diversity.sets import MOST_PROMPTS, Group
from analysis.errors import CellError
from analysis.likelihood.store import score_files
from analysis.outputs import Outputs
from analysis.preferences.sample import Sample
from analysis.study import Study

CHOSEN, REJECTED = "chosen", "rejected"


def diversity(dataset: str, scorings: Mapping[str, str | None], study: Study, outputs: Outputs, work: Path) -> int:
    """Write how diverse the chosen and the rejected responses of a dataset are to the run's folder.

    Parameters
    ----------
    dataset
        Its label; its comparisons are in the run's folder.
    scorings
        By label of each base model the scoring_id of its scores; None where it has none.
    study, outputs, work
        The study, the output folder and the run's folder of unpublished tables.

    Returns
    -------
    int
        Number of responses that were measured.
    """
    path = work / "comparisons" / f"{dataset}.parquet"
    wins = net_wins(tables.scan("comparisons", [path], ["prompt_id", "response_a", "response_b", "preference"]))
    wins, n_available = _sampled(wins, study.seed)
    ids, texts = _texts(wins, outputs)
    prompts = dict(zip(wins["response_id"].to_pylist(), wins["prompt_id"].to_pylist(), strict=True))
    ahead = dict(zip(wins["response_id"].to_pylist(), wins["wins"].to_pylist(), strict=True))
    groups = []
    for name, sign in ((CHOSEN, 1), (REJECTED, -1)):
        held: dict[str, list[int]] = {}
        mine = [k for k, response in enumerate(ids) if sign * ahead[response] > 0]
        for k in mine:
            if texts[k].strip():
                held.setdefault(prompts[ids[k]], []).append(k)
        n_empty = len(mine) - sum(len(indices) for indices in held.values())
        groups.append(Group(name, {prompt: tuple(indices) for prompt, indices in held.items()}, n_empty))
    entropies = {model: _entropies(ids, scoring, outputs) for model, scoring in scorings.items()}
    found = rows(groups, Measurer.of(texts, entropies=entropies), study.seed)
    write(found, study, dataset, work, n_available)
    return len(texts)


def net_wins(comparisons: pa.Table) -> pa.Table:
    """How often each response won, less how often it lost; ties count for nothing.

    Parameters
    ----------
    comparisons
        Rows of `comparisons` of one dataset.

    Returns
    -------
    pyarrow.Table
        `prompt_id`, `response_id` and `wins`, sorted by them.
    """
    decided = comparisons.filter(pc.not_equal(comparisons["preference"], "tie"))
    sign = pc.if_else(pc.equal(decided["preference"], "a"), 1, -1)
    sides = [
        pa.table({"prompt_id": decided["prompt_id"], "response_id": decided[column], "wins": won})
        for column, won in (("response_a", sign), ("response_b", pc.negate(sign)))
    ]
    grouped = pa.concat_tables(sides).group_by(["prompt_id", "response_id"]).aggregate([("wins", "sum")])
    order = [("prompt_id", "ascending"), ("response_id", "ascending")]
    return grouped.rename_columns({"wins_sum": "wins"}).sort_by(order)


def _sampled(wins: pa.Table, seed: int) -> tuple[pa.Table, int]:
    """The rows of at most 5,000 prompts, chosen by hash, and how many prompts there are."""
    prompts = pc.unique(wins["prompt_id"])
    sample = Sample(MOST_PROMPTS, seed)
    for prompt in prompts.to_pylist():
        sample.admits(prompt)
    kept = pa.array([p for p in prompts.to_pylist() if sample.holds(p)], pa.string())
    return wins.filter(pc.is_in(wins["prompt_id"], value_set=kept)), len(prompts)


def _texts(wins: pa.Table, outputs: Outputs) -> tuple[list[str], list[str]]:
    """Ids and texts of the responses, in the order of their ids; a text that is not stored any more is an error."""
    asked = pc.unique(wins["response_id"])
    where = ds.field("response_id").isin(asked)
    found = tables.scan("responses", tables.files("responses", outputs.root), ["response_id", "response"], where)
    texts = dict(zip(found["response_id"].to_pylist(), found["response"].to_pylist(), strict=True))
    if lost := len(asked) - len(texts):
        raise CellError(f"{lost:,} responses are no longer in the table; run the study again")
    ids = sorted(texts)
    return ids, [texts[one] for one in ids]


def _entropies(ids: list[str], scoring_id: str | None, outputs: Outputs) -> Array:
    """Mean next-token entropies along responses under a base model; NaN where one has no score."""
    if scoring_id is None:
        return np.full(len(ids), np.nan)
    asked = pa.array(ids, pa.string())
    where = ds.field("response_id").isin(asked) & ds.field("conditional")
    found = tables.scan("scores", score_files(outputs, scoring_id), ["response_id", "mean_entropy"], where)
    at = pc.index_in(asked, value_set=found["response_id"].combine_chunks())
    made: Array = found["mean_entropy"].combine_chunks().take(at).to_numpy(zero_copy_only=False).astype(float)
    return made


def write(found: list[Row], study: Study, dataset: str, work: Path, n_available: int | None = None) -> None:
    """Write a dataset's rows to the run's folder; `n_available`: prompts there are, where only a sample was read."""
    keys = {"study": study.name, "dataset": dataset}
    if n_available is not None and n_available > MOST_PROMPTS:
        found = [row | {"n_available": n_available} for row in found]
    tables.write(work / "diversity" / f"{dataset}.parquet", "diversity", [{**keys, **row} for row in found])


def failed(study: Study, dataset: str, reason: str, work: Path) -> None:
    """Write rows that say why nothing is known of a dataset's sides."""
    blank = rows([Group(CHOSEN), Group(REJECTED)], Measurer.of([]), study.seed)
    write([row | {"status": reason} for row in blank], study, dataset, work)
