"""The responses that some comparisons hold, and which of them the comparisons connect."""

from functools import cached_property

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from analysis.regression.cell import codes
from analysis.regression.inference import Array, Codes
from analysis.regression.part import TYPICALITY, Part


class Nodes:
    """The responses (n) that the comparisons of a part hold.

    Parameters
    ----------
    part
        The part.
    apart
        Whether a response is one for each annotator who judged it.

    Attributes
    ----------
    keys
        (n,) what tells them apart, rising.
    first
        (n,) which of all first sides, then of all second ones, holds each of them first.
    sides
        The numbers of the responses of every comparison.

    They are numbered in the order in which comparisons hold them, whichever way the dataset's rows stand.
    """

    def __init__(self, part: Part, *, apart: bool) -> None:
        at = part.at
        self.part, self.at, self.apart = part, at, apart
        keys = np.concatenate(self._keys(at))
        self.keys, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        self.first = np.sort(first)
        self.place: Codes = np.argsort(np.argsort(first))
        numbers = self.place[inverse]
        self.sides = numbers[: len(at)], numbers[len(at) :]

    def _keys(self, at: Codes) -> tuple[Codes, Codes]:
        cell, annotator = self.part.cell, self.part.cell.column("annotator")
        judge = np.zeros(len(at), np.intp)
        if self.apart and annotator.null_count < len(annotator):
            judge = codes(annotator.fill_null(""))[at] + 1
        m = max(int(cell.a.max(initial=0)), int(cell.b.max(initial=0))) + 1
        return judge * m + cell.a[at], judge * m + cell.b[at]

    @cached_property
    def sets(self) -> Codes:
        """(n,) which set each belongs to, those that comparisons connect, numbered by their first responses."""
        n = len(self.keys)
        graph = coo_array((np.ones(len(self.at), bool), self.sides), shape=(n, n))
        found = connected_components(graph, directed=False)[1]
        first, inverse = np.unique(found, return_index=True, return_inverse=True)[1:]
        made: Codes = np.argsort(np.argsort(first))[inverse]
        return made

    @property
    def which(self) -> Codes:
        """(n,) the response of the cell that each is."""
        cell = self.part.cell
        return np.concatenate([cell.a[self.at], cell.b[self.at]])[self.first]

    @property
    def prompts(self) -> Codes:
        """(n,) the prompt of each, as the cell has them."""
        return np.tile(self.part.cell.prompts[self.at], 2)[self.first]

    @property
    def columns(self) -> dict[str, Array]:
        """(n,) the measure and the quality ratings of each."""
        cell = self.part.cell
        found = {TYPICALITY: cell.values[self.part.measure][self.which]}
        for name, (a, b) in cell.quality.items():
            found[name] = np.concatenate([a[self.at], b[self.at]])[self.first]
        return found

    def find(self, at: Codes) -> tuple[Codes, Codes]:
        """The numbers of the responses of other comparisons of the cell; −1 for those that are not among these."""
        found = []
        for keys in self._keys(at):
            where = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
            found.append(np.where(self.keys[where] == keys, self.place[where], -1))
        return found[0], found[1]
