"""The columns by which α may differ between comparisons: the value of each comparison, whichever response is a."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.regression.cell import Cell
from analysis.regression.inference import NoEstimate

_PLAIN = ("domain", "language", "split", "rater", "annotator")
_UNSAID = "the dataset does not say which model or person wrote a response"
_REASONS = {
    "source": _UNSAID,
    "same_source": _UNSAID,
    "annotator": "the dataset does not say who judged",
    "disagreement": "no two responses were judged against each other more than once",
}
ABSENT = tuple(_REASONS.values())
ONE_VALUE = "all comparisons have the same value"
COLUMNS = ("source", "same_source", *_PLAIN, "disagreement")


def values(cell: Cell, column: str) -> pa.Array:
    """(n,) texts, null where a comparison has no value.

    Raises
    ------
    NoEstimate
        If no comparison has one.
    """
    derived: dict[str, Callable[[Cell], pa.Array]] = {
        "source": _source, "same_source": _same_source, "disagreement": _disagreement,
    }  # fmt: skip
    found = derived[column](cell) if column in derived else cell.column(column).combine_chunks()
    if found.null_count == len(found):
        raise NoEstimate(_REASONS.get(column, f"the dataset has no {column}"))
    return found


def _source(cell: Cell) -> pa.Array:
    """The source of both, or the two sources in alphabetical order."""
    a, b = _sources(cell)
    ahead = pc.less(a, b)
    both = pc.binary_join_element_wise(pc.if_else(ahead, a, b), pc.if_else(ahead, b, a), " and ")
    return pc.if_else(pc.equal(a, b), a, both)


def _same_source(cell: Cell) -> pa.Array:
    a, b = _sources(cell)
    return pc.if_else(pc.equal(a, b), "same", "different")


def _sources(cell: Cell) -> tuple[pa.Array, pa.Array]:
    a, b = (cell.column(side).combine_chunks() for side in ("source_a", "source_b"))
    return a, b


def _disagreement(cell: Cell) -> pa.Array:
    """Whether all judgements of the same two responses agree; null where there is one alone."""
    if not len(cell):
        return pa.nulls(0, pa.string())
    pair = np.unique(cell.a * (max(cell.a.max(), cell.b.max()) + 1) + cell.b, return_inverse=True)[1]
    judged = np.where(cell.decided, np.where(cell.preferred_a, 1, -1), 0)
    n = np.bincount(pair)
    least, most = np.full(len(n), 2), np.full(len(n), -2)
    np.minimum.at(least, pair, judged)
    np.maximum.at(most, pair, judged)
    told = pc.if_else(pa.array(least == most), "unanimous", "divided")
    return pc.if_else(pa.array(n > 1), told, pa.scalar(None, pa.string())).take(pa.array(pair))
