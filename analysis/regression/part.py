"""What one specification is fitted to: the comparisons of a cell in one slice, under one measure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa

from analysis.regression.cell import Cell, Mask, codes
from analysis.regression.inference import Array, Codes, NoEstimate
from analysis.regression.specifications import LENGTH, STYLE

TYPICALITY = "typicality"
OUTCOME = "outcome"
FEW_OF_A_SOURCE = 10
MOST_SOURCES = 100
OTHER = "other sources"
# Groups that scoring gives, and what to say where it did not.
_SCORED = {
    "fluency": "log p(response) has not been scored",
    "surprisal_entropy": "the scores hold no entropy of the base model's predictions",
}


def wins(delta: Array, preferred_a: Mask) -> Array:
    """(n,) 1 where the more typical response was preferred, 0 where not, one half where neither is more typical."""
    return np.where(delta == 0, 0.5, ((delta > 0) == preferred_a).astype(float))


@dataclass(frozen=True)
class Part:
    """Comparisons (n) of a cell under a measure, chosen by `rows`: decided ones, and ties only where `ties` says so.

    With ties, `preferred_a` and `wins` mean nothing; `sign` does.
    """

    cell: Cell
    measure: str
    rows: Mask
    ties: bool = False

    @cached_property
    def at(self) -> Codes:
        """(n,) where they stand in the cell."""
        judged = self.rows if self.ties else self.rows & self.cell.decided
        return np.flatnonzero(judged & np.isfinite(self.cell.difference(self.measure)))

    @cached_property
    def delta(self) -> Array:
        """(n,) difference in the measure."""
        return self.difference(self.measure)

    @cached_property
    def preferred_a(self) -> Mask:
        """(n,) whether a was preferred."""
        return self.cell.preferred_a[self.at]

    @cached_property
    def sign(self) -> Array:
        """(n,) 1 where a was preferred, −1 where b was, 0 for a tie."""
        return self.cell.sign[self.at]

    @cached_property
    def clusters(self) -> Codes:
        """(n,) codes of the prompts, 0 … G−1."""
        made: Codes = np.unique(self.cell.prompts[self.at], return_inverse=True)[1]
        return made

    @property
    def n_prompts(self) -> int:
        """G."""
        return int(self.clusters.max()) + 1 if len(self.clusters) else 0

    @cached_property
    def prompt_weights(self) -> Array:
        """(n,) weights that let every prompt weigh the same; their mean is 1."""
        per = np.bincount(self.clusters)
        return len(self.at) / (len(per) * per[self.clusters])

    @cached_property
    def wins(self) -> Array:
        """(n,) 1 where the more typical response was preferred, 0 where not, one half where neither is more typical."""
        return wins(self.delta, self.preferred_a)

    def difference(self, name: str) -> Array:
        """(n,) the value of a minus that of b."""
        return self.cell.difference(name)[self.at]

    def responses(self) -> tuple[Array, dict[str, Array], Codes] | None:
        """The m responses compared that have a rating as their outcome; None where the dataset has no such rating.

        Gives the outcome (m,), the measure and the quality ratings by name (m,), and the codes of their prompts (m,).
        """
        cell = self.cell
        if OUTCOME not in cell.values:
            return None
        which = np.concatenate([cell.a[self.at], cell.b[self.at]])
        # In the order of the comparisons, which does not depend on how the dataset's rows stand.
        first = np.sort(np.unique(which, return_index=True)[1])
        first = first[np.isfinite(cell.values[OUTCOME][which[first]])]
        if not len(first):
            return None
        found = which[first]
        columns = {TYPICALITY: cell.values[self.measure][found]}
        for name, (a, b) in cell.quality.items():
            columns[name] = np.concatenate([a[self.at], b[self.at]])[first]
        prompts = np.tile(cell.prompts[self.at], 2)[first]
        return cell.values[OUTCOME][found], columns, np.unique(prompts, return_inverse=True)[1]

    def narrowed(self, rows: Mask) -> "Part":
        """Only some of the comparisons, by a mask over the cell."""
        return replace(self, rows=self.rows & rows)

    def with_ties(self) -> "Part":
        """The same, with the ties among them."""
        return replace(self, ties=True)

    def with_quality(self) -> "Part":
        """Only the comparisons that have quality ratings; all of them where the dataset has none."""
        return self.narrowed(self.known("quality")) if self.cell.quality else self

    def known(self, group: str) -> Mask:
        """Which comparisons of the cell have all covariates of a group.

        Raises
        ------
        NoEstimate
            If none of the slice has.
        """
        if group == "quality":
            names = self.cell.quality
            found = np.logical_and.reduce([~np.isnan(a) for a, _ in names.values()]) if names else np.zeros(1, bool)
            reason = "the dataset has no quality ratings"
        elif group == "source":
            found = np.logical_and.reduce([self.cell.column(s).is_valid().to_numpy() for s in ("source_a", "source_b")])
            reason = "the dataset does not say which model or person wrote a response"
        elif group in _SCORED:
            found, reason = np.isfinite(self.cell.difference(group)), _SCORED[group]
        else:
            return np.ones(len(self.cell), bool)
        found = np.broadcast_to(found, len(self.cell))
        if not found[self.at].any():
            raise NoEstimate(reason)
        return found

    def covariates(self, group: str) -> Iterator[tuple[str, Array]]:
        """The covariates of a group: their names, and (n,) the value of a minus that of b."""
        if group == "quality":
            for name, (a, b) in self.cell.quality.items():
                yield name, (a - b)[self.at]
        elif group == "source":
            yield from self._sources()
        else:
            for name in {"length": LENGTH, "style": STYLE}.get(group, (group,)):
                yield name, self.difference(name)

    def _sources(self) -> Iterator[tuple[str, Array]]:
        """A fixed effect of each source but the most frequent one; rare ones are one source together."""
        cell, forward = self.cell, self.cell.turn > 0
        both = cell.column("source_a").chunks + cell.column("source_b").chunks
        whole = pa.chunked_array(both)
        numbers = codes(whole)
        names = np.array(whole.combine_chunks().dictionary_encode().dictionary.to_pylist(), dtype=object)
        first, second = numbers[: len(cell)], numbers[len(cell) :]
        a, b = np.where(forward, first, second)[self.at], np.where(forward, second, first)[self.at]
        n = np.bincount(a, minlength=len(names)) + np.bincount(b, minlength=len(names))
        order = sorted(np.flatnonzero(n), key=lambda k: (-n[k], names[k]))
        shown = [k for k in order[1:MOST_SOURCES] if n[k] >= FEW_OF_A_SOURCE]
        rest = [k for k in order[1:] if k not in shown]
        for k in shown:
            yield f"source={names[k]}", (a == k).astype(float) - (b == k)
        if rest:
            yield OTHER, np.isin(a, rest).astype(float) - np.isin(b, rest)
