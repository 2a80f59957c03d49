"""One cell, a dataset under a base model, as arrays: its comparisons, and what is known of their responses.

Comparisons keep the order of their table (prompts, then ids), and are turned so that the smaller response id stands
first: then neither the order of rows nor that of the two responses changes a bit of any estimate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from analysis import tables
from analysis.likelihood.measures import MEASURES
from analysis.likelihood.store import score_files
from analysis.outputs import Outputs
from analysis.preferences.features import VERSION
from analysis.regression.inference import Array, Codes

Mask = npt.NDArray[np.bool_]
LENGTHS = ("n_tokens", "n_bytes")
_COUNTS = ("n_headers", "n_list_items", "n_bold", "n_code_blocks", "n_links", "n_emoji")


@dataclass(frozen=True)
class Cell:
    """The comparisons of a dataset of which both responses have a score (n), and their responses (m).

    Attributes
    ----------
    comparisons
        Their rows of the table.
    a, b
        (n,) which responses, after turning.
    turn
        (n,) 1 where a and b stand as in the table, else −1.
    values
        (m,) values of the responses: the measures, their lengths, and the covariates known of a text.
    quality
        (n,) ratings of a and of b, after turning, by name; NaN where they are missing.
    complete
        Whether the responses of a prompt were rated or ranked, so that two that no comparison holds are tied.
    """

    comparisons: pa.Table
    response_ids: pa.Array
    a: Codes
    b: Codes
    turn: Array
    values: dict[str, Array]
    quality: dict[str, tuple[Array, Array]]
    complete: bool = False

    def __len__(self) -> int:
        return len(self.a)

    def difference(self, name: str) -> Array:
        """(n,) the value of a minus that of b."""
        return self.values[name][self.a] - self.values[name][self.b]

    @cached_property
    def decided(self) -> Mask:
        """(n,) whether the judgement is not a tie."""
        return ~self._equals("preference", "tie")

    @cached_property
    def preferred_a(self) -> Mask:
        """(n,) whether a was preferred, after turning."""
        made: Mask = self._equals("preference", "a") == (self.turn > 0)
        return made

    @cached_property
    def sign(self) -> Array:
        """(n,) 1 where a was preferred, −1 where b was, 0 where the judgement is a tie; after turning."""
        return np.where(self.decided, np.where(self.preferred_a, 1.0, -1.0), 0.0)

    @cached_property
    def signed_strength(self) -> Array:
        """(n,) the strength, above 0 where a was preferred, after turning; 0 for a tie, NaN where it is not known."""
        strength = self.column("strength").to_numpy().astype(float)
        return np.where(self.decided, self.sign * strength, 0.0)

    @cached_property
    def prompts(self) -> Codes:
        """(n,) codes of the prompts, 0 … G−1."""
        return codes(self.comparisons["prompt_id"])

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of the comparisons."""
        return self.comparisons[name]

    def _equals(self, name: str, value: str) -> Mask:
        made: Mask = pc.equal(self.comparisons[name], value).to_numpy()
        return made

    def slice(self, name: str) -> tuple[Mask, str | None]:
        """Which comparisons are in a slice, and the reason where there can be none."""
        nothing = np.zeros(len(self), bool)
        if name == "all" or not len(self):
            return ~nothing, None
        if name == "equal_quality":
            if not self.quality:
                return nothing, "the dataset has no quality ratings"
            rated = [~np.isnan(a) for a, _ in self.quality.values()]
            same = [np.isnan(a) | (a == b) for a, b in self.quality.values()]
            return np.logical_or.reduce(rated) & np.logical_and.reduce(same), None
        left_out = "!=" in name
        column, _, value = name.partition("!=" if left_out else "=")
        sides = ("source_a", "source_b") if column == "source" else (column,)
        if all(self.column(side).null_count == len(self) for side in sides):
            return nothing, f"the dataset has no {column}"
        test = pc.not_equal if left_out else pc.equal
        found = [pc.fill_null(test(self.column(side), value), left_out).to_numpy() for side in sides]
        return np.logical_and.reduce(found), None


def codes(column: pa.ChunkedArray) -> Codes:
    """Codes 0 … of the values of a column, in the order of their first appearance."""
    made: Codes = column.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.intp)
    return made


def load(
    comparisons: pa.Table, scoring_id: str, measures: Sequence[str], outputs: Outputs, fluency: bool = False
) -> Cell:
    """Read a cell.

    Parameters
    ----------
    comparisons
        The dataset's rows of `comparisons`.
    scoring_id
        Which scores.
    measures
        The measures of typicality; comparisons are kept of which both responses have the first one.
    outputs
        Where scores and features are.
    fluency
        Whether to read the likelihoods without the prompt, too.
    """
    ids = pc.unique(pa.chunked_array([*comparisons["response_a"].chunks, *comparisons["response_b"].chunks]))
    values = {**_measured(ids, scoring_id, measures, outputs, fluency), **_features(ids, outputs)}
    sides = [pc.index_in(comparisons[c], value_set=ids).to_numpy() for c in ("response_a", "response_b")]
    scored = np.isfinite(values[measures[0]])
    keep = scored[sides[0]] & scored[sides[1]]
    kept = comparisons.filter(pa.array(keep))
    first, second = (side[keep].astype(np.intp) for side in sides)
    turn = np.where(pc.less(kept["response_a"], kept["response_b"]).to_numpy(), 1.0, -1.0)
    ahead = turn > 0
    return Cell(
        comparisons=kept,
        response_ids=ids,
        a=np.where(ahead, first, second),
        b=np.where(ahead, second, first),
        turn=turn,
        values=values,
        quality={name: _turned(a, b, ahead) for name, (a, b) in quality(kept["quality"]).items()},
    )


def _turned(a: Array, b: Array, ahead: Mask) -> tuple[Array, Array]:
    return np.where(ahead, a, b), np.where(ahead, b, a)


def quality(column: pa.ChunkedArray) -> dict[str, tuple[Array, Array]]:
    """Ratings of a and of b by name, NaN where a comparison has none, from the table's column of lists."""
    lists = column.combine_chunks()
    rows = pc.list_parent_indices(lists).to_numpy()
    flat = pc.list_flatten(lists)
    names = flat.field("name")
    found = {}
    for name in sorted(pc.unique(names).to_pylist()):
        at = pc.equal(names, name).to_numpy(zero_copy_only=False)
        sides = []
        for side in ("a", "b"):
            values = np.full(len(lists), np.nan)
            values[rows[at]] = flat.field(side).to_numpy(zero_copy_only=False)[at]
            sides.append(values)
        found[name] = (sides[0], sides[1])
    return found


def _measured(
    ids: pa.Array, scoring_id: str, measures: Sequence[str], outputs: Outputs, fluency: bool
) -> dict[str, Array]:
    columns = ["response_id", "conditional", "sum_logprob", "n_tokens", "n_bytes", "mean_entropy"]
    where = ds.field("response_id").isin(ids)
    scores = tables.scan("scores", score_files(outputs, scoring_id), columns, where)
    both = {c: scores.filter(pc.equal(scores["conditional"], c)) for c in (True, False)}
    found = {name: _aligned(both[True], name, ids) for name in ("sum_logprob", "n_tokens", "n_bytes")}
    found["sum_logprob_unconditional"] = _aligned(both[False], "sum_logprob", ids)
    made: dict[str, Array] = {name: MEASURES[name].compute(found) for name in measures}
    made |= {name: found[name] for name in LENGTHS}
    made["surprisal_entropy"] = -np.abs(
        -found["sum_logprob"] / found["n_tokens"] - _aligned(both[True], "mean_entropy", ids)
    )
    if fluency:
        made["fluency"] = found["sum_logprob_unconditional"] / found["n_tokens"]
    return made


def _aligned(table: pa.Table, name: str, ids: pa.Array) -> Array:
    """A column of numbers in the order of `ids`; NaN where the table has no row."""
    at = pc.index_in(ids, value_set=table["response_id"].combine_chunks())
    made: Array = table[name].take(at).to_numpy().astype(float)
    return made


def _features(ids: pa.Array, outputs: Outputs) -> dict[str, Array]:
    columns = ["response_id", "n_words", *_COUNTS, "refusal", "repetition"]
    where = ds.field("response_id").isin(ids) & (ds.field("features_version") == VERSION)
    found = tables.scan("features", tables.files("features", outputs.root), columns, where)
    log_words = np.log(_aligned(found, "n_words", ids) / 100)
    return {
        "log_words": log_words,
        "log_words_squared": log_words**2,
        **{name.removeprefix("n_"): np.log1p(_aligned(found, name, ids)) for name in _COUNTS},
        "refusal": _aligned(found, "refusal", ids),
        "repetition": _aligned(found, "repetition", ids),
    }


def ratings(name: str, ids: pa.Array, outputs: Outputs) -> Array:
    """(m,) one rating of each response, NaN where it has none."""
    where = ds.field("response_id").isin(ids)
    found = tables.scan("responses", tables.files("responses", outputs.root), ["response_id", "ratings"], where)
    lists = found["ratings"].combine_chunks()
    flat, rows = pc.list_flatten(lists), pc.list_parent_indices(lists)
    asked = pc.equal(flat.field("name"), name)
    known = found["response_id"].combine_chunks().take(rows.filter(asked))
    values = flat.field("value").filter(asked)
    made: Array = values.take(pc.index_in(ids, value_set=known)).to_numpy(zero_copy_only=False).astype(float)
    return made


def read_comparisons(path: Path) -> pa.Table:
    """The rows of one file of `comparisons`."""
    return tables.scan("comparisons", [path])


def constant(value: Any, n: int) -> pa.Array:
    """A column that holds one value n times."""
    return pa.repeat(pa.scalar(value), n)
