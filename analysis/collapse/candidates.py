"""The responses of a cell as candidates: what competes within each prompt."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from analysis import tables
from analysis.collapse.tilt import Array, Starts
from analysis.likelihood.store import score_files
from analysis.outputs import Outputs
from analysis.regression.cell import Cell, Mask
from analysis.regression.inference import Codes

FEWEST = 3


@dataclass(frozen=True)
class Candidates:
    """Different responses (n), those of a prompt beside each other.

    Attributes
    ----------
    prompts
        (n,) codes of their prompts, rising.
    values
        (n,) the measures and lengths of each, by name; NaN where missing.
    ratings
        (n,) its quality ratings, by name; NaN where missing.
    """

    prompts: Codes
    values: dict[str, Array]
    ratings: dict[str, Array]

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def starts(self) -> Starts:
        """(G,) where each prompt's first candidate stands."""
        return np.flatnonzero(np.r_[True, np.diff(self.prompts) > 0]) if len(self) else np.zeros(0, np.intp)

    def known(self, measure: str, ratings: Sequence[str] = ()) -> "Candidates":
        """Only candidates that have a measure and some ratings, of prompts with three or more of them."""
        columns = [self.values[measure], *(self.ratings[name] for name in ratings)]
        keep: Mask = np.logical_and.reduce([np.isfinite(x) for x in columns])
        keep &= np.bincount(self.prompts[keep], minlength=int(self.prompts.max(initial=-1)) + 1)[self.prompts] >= FEWEST
        return Candidates(self.prompts[keep], _at(self.values, keep), _at(self.ratings, keep))

    def median(self, name: str) -> float:
        """Median of a value over all candidates."""
        return float(np.nanmedian(self.values[name]))


def _at(columns: dict[str, Array], keep: Mask | Codes) -> dict[str, Array]:
    return {name: x[keep] for name, x in columns.items()}


def candidates(cell: Cell, texts: Codes, names: Sequence[str]) -> Candidates:
    """The responses that a cell compares; equal texts of a prompt are one candidate.

    A response whose ratings differ from one comparison to the next has their mean.

    Parameters
    ----------
    cell
        The comparisons, with m responses.
    texts
        (m,) codes of the responses' texts, within their prompts.
    names
        Which values of the responses are wanted.
    """
    sides = np.concatenate([cell.a, cell.b])
    prompts = np.zeros(len(texts), np.intp)
    prompts[sides] = np.tile(cell.prompts, 2)
    compared = np.unique(sides)
    which = compared[np.unique(texts[compared], return_index=True)[1]]
    which = which[np.argsort(prompts[which], kind="stable")]
    ratings = {name: _mean(sides, np.concatenate(pair), len(texts))[which] for name, pair in cell.quality.items()}
    return Candidates(prompts[which], _at({name: cell.values[name] for name in names}, which), ratings)


def _mean(which: Codes, values: Array, n: int) -> Array:
    """Mean of the values that each of n responses has; NaN where it has none."""
    known = np.isfinite(values)
    sums, counts = (np.bincount(which[known], x, n) for x in (values[known], None))
    made: Array = np.divide(sums, counts, out=np.full(n, np.nan), where=counts > 0)
    return made


def texts_of(response_ids: pa.Array, scoring_id: str, outputs: Outputs) -> Codes:
    """(m,) codes of the texts of scored responses; those without a score share the code −1."""
    where = ds.field("response_id").isin(response_ids) & ds.field("conditional")
    found = tables.scan("scores", score_files(outputs, scoring_id), ["response_id", "text_id"], where)
    known = found["text_id"].combine_chunks().dictionary_encode().indices
    at = pc.index_in(response_ids, value_set=found["response_id"].combine_chunks())
    made: Codes = pc.fill_null(known.take(at), -1).to_numpy(zero_copy_only=False).astype(np.intp)
    return made
