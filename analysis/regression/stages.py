"""Orders as choices: the best of all, then the best of those that are left, and so on."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.regression.inference import Array, Codes, cluster_sums


@dataclass(frozen=True)
class Stages:
    """Choices (S) among n responses, each of the best of those that are left of a set.

    Attributes
    ----------
    sets
        (n,) codes of the sets, rising; within one, the best stand first.
    firsts, n_chosen
        (S,) where the chosen begin, and how many they are; all behind them in the set were left.
    """

    sets: Codes
    firsts: Codes
    n_chosen: Codes

    @cached_property
    def starts(self) -> Codes:
        """(sets,) where each set begins."""
        made: Codes = np.flatnonzero(np.r_[True, np.diff(self.sets) > 0])
        return made

    @cached_property
    def sizes(self) -> Codes:
        """(sets,) how many responses each has."""
        made: Codes = np.diff(np.r_[self.starts, len(self.sets)])
        return made

    @cached_property
    def chosen(self) -> Codes:
        """(C,) all that are chosen at some stage, in order."""
        made: Codes = np.repeat(self.firsts, self.n_chosen) + self._turn
        return made

    @cached_property
    def stage(self) -> Codes:
        """(C,) the stage of each of them."""
        made: Codes = np.repeat(np.arange(len(self.firsts)), self.n_chosen)
        return made

    @cached_property
    def gone(self) -> Array:
        """(C,) the share of those it is tied with that is gone before each."""
        return self._turn / self.n_chosen[self.stage]

    @cached_property
    def _turn(self) -> Codes:
        made: Codes = np.arange(len(self.stage)) - np.repeat(np.cumsum(self.n_chosen) - self.n_chosen, self.n_chosen)
        return made

    @property
    def behind(self) -> Codes:
        """(S,) how many others were left at each stage."""
        ends = np.repeat(self.starts + self.sizes, self.sizes)[self.firsts]
        made: Codes = ends - self.firsts - self.n_chosen
        return made

    @property
    def tied_share(self) -> float:
        """Share of tied pairs among all pairs of a chosen response and another that was left."""
        tied = (self.n_chosen * (self.n_chosen - 1) // 2).sum()
        return float(tied / (tied + (self.n_chosen * self.behind).sum()))

    def pairs(self, each: bool) -> tuple[Codes, Codes]:
        """The first chosen (or each of the chosen) beside every other that was left, as indices."""
        stage = self.stage if each else np.arange(len(self.firsts))
        one, lengths = self.chosen if each else self.firsts, self.behind[stage]
        others = (self.firsts + self.n_chosen)[stage]
        place = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return np.repeat(one, lengths), np.repeat(others, lengths) + place

    def tied(self, values: Array) -> Array:
        """(S × k) sums over the chosen of each stage."""
        return cluster_sums(values[self.chosen], self.stage)

    def accumulated(self, values: Array, ufunc: np.ufunc = np.add, backwards: bool = True) -> Array:
        """(n × k) of each response and all behind it (or before it) in its set, such as their sum."""
        made = values.copy()
        longest = np.argsort(-self.sizes, kind="stable")
        first, size = self.starts[longest], self.sizes[longest]
        ends, step = (first + size - 1, -1) if backwards else (first, 1)
        # One place after the other, in all sets that are so long: sums of one set never meet another's.
        for k in range(1, size[0]):
            at = ends[: np.searchsorted(-size, -k)] + k * step
            made[at] = ufunc(made[at], made[at - step])
        return made


def stages(sets: Codes, levels: Codes, only_best: bool) -> Stages:
    """The choices that orders are made of: the best of all, then the best of the others, and so on.

    Parameters
    ----------
    sets, levels
        (n,) codes of the sets, rising, and levels within them, 0 the best, rising.
    only_best
        Whether to stop after the first choice.
    """
    firsts = np.flatnonzero(np.r_[True, (np.diff(sets) > 0) | (np.diff(levels) > 0)])
    size = np.diff(np.r_[firsts, len(sets)])
    # The last ones of a set are no choice.
    real = firsts + size < np.searchsorted(sets, sets[firsts], side="right")
    if only_best:
        real &= levels[firsts] == 0
    return Stages(sets, firsts[real], size[real])
