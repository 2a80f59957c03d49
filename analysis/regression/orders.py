"""The responses that comparisons put in one order, best first: the choice sets of the conditional logits."""

from dataclasses import dataclass

import numpy as np

from analysis.regression.cell import Mask
from analysis.regression.inference import Array, Codes, NoEstimate
from analysis.regression.nodes import Nodes
from analysis.regression.part import TYPICALITY, Part
from analysis.regression.terms import mask_of

NO_ORDER = "the comparisons of its prompt are no complete order of the responses, as conditional and rank_ordered need"
PAIRS_ONLY = "no prompt has more than two responses that were compared with each other: Bradley–Terry says it all"


@dataclass(frozen=True)
class Orders:
    """Responses (n) in sets, each of which is completely ordered, ties allowed.

    Attributes
    ----------
    part
        The comparisons within the sets.
    left_out
        A mask over the cell: the comparisons of responses that they do not order completely.
    sets
        (n,) codes of the sets, rising; a set belongs to one prompt, and where annotators are known to one annotator.
    levels
        (n,) 0 the best, rising within each set; tied responses share one.
    prompts
        (n,) codes of their prompts, 0 … G−1, as the part's clusters.
    columns
        (n,) the measure, and the quality ratings by name.
    """

    part: Part
    left_out: Mask
    sets: Codes
    levels: Codes
    prompts: Codes
    columns: dict[str, Array]

    @property
    def n_sets(self) -> int:
        """Number of sets."""
        return int(self.sets[-1]) + 1

    def difference(self, name: str) -> Array:
        """A column's differences over the comparisons, a minus b."""
        if name == TYPICALITY:
            return self.part.delta
        a, b = self.part.cell.quality[name]
        return (a - b)[self.part.at]


def orders(part: Part) -> Orders:
    """Find the orders that a part's comparisons make.

    Responses that comparisons connect are a set: where only some comparisons of a prompt are in the slice, such as
    those of equal quality, a prompt may have several. Their order is complete if of each two the one that wins more
    (less what it loses) was preferred, and those that win as many were not: they are tied. Where responses were rated
    or ranked, two that no comparison holds are tied; where pairs were judged, a set needs the judgement that they are.

    Raises
    ------
    NoEstimate
        If no set holds more than two responses, or none of those is completely ordered.
    """
    nodes = Nodes(part, apart=True)
    won, lost = (np.where(part.preferred_a == first, *nodes.sides) for first in (True, False))
    if not len(part.at) or np.bincount(nodes.sets).max() <= 2:
        raise NoEstimate(PAIRS_ONLY)
    n = len(nodes.sets)
    edges = np.unique(won * n + lost)
    won, lost = edges // n, edges % n
    score = np.bincount(won, minlength=n) - np.bincount(lost, minlength=n)
    arranged = np.lexsort((np.arange(n), -score, nodes.sets))
    sets, levels, sizes = _levels(nodes.sets[arranged], score[arranged])
    unequal = (np.bincount(sets) ** 2 - np.bincount(sizes.sets, sizes.n**2).astype(int)) // 2
    n_sets = len(unequal)
    complete = np.bincount(nodes.sets[won], minlength=n_sets) == unequal
    complete &= np.bincount(nodes.sets[won[score[won] <= score[lost]]], minlength=n_sets) == 0
    if not part.cell.complete:
        complete &= _tied(part, nodes, score) == np.bincount(sizes.sets, sizes.n * (sizes.n - 1) / 2)
    whole = complete[nodes.sets[nodes.sides[0]]]
    if not complete[np.bincount(nodes.sets) > 2].any():
        raise NoEstimate("the comparisons of no prompt with more than two responses are a complete order of them")
    kept = complete[sets]
    inside = part.narrowed(mask_of(part, whole))
    return Orders(
        part=inside,
        left_out=mask_of(part, ~whole),
        sets=np.unique(sets[kept], return_inverse=True)[1],
        levels=levels[kept],
        prompts=np.unique(nodes.prompts[arranged][kept], return_inverse=True)[1],
        columns={name: x[arranged][kept] for name, x in nodes.columns.items()},
    )


@dataclass(frozen=True)
class _Sizes:
    """The levels of all sets: their set, and how many responses share them."""

    sets: Codes
    n: Codes


def _levels(sets: Codes, score: Codes) -> tuple[Codes, Codes, _Sizes]:
    """The sets as given, each response's level within its set, and the levels' sizes; sorted by set, then score."""
    starts = np.r_[True, (np.diff(sets) > 0) | (np.diff(score) != 0)]
    level = np.cumsum(starts) - 1
    first = np.r_[0, np.flatnonzero(np.diff(sets)) + 1]
    return sets, level - level[first][sets], _Sizes(sets[starts], np.bincount(level))


def _tied(part: Part, nodes: Nodes, score: Codes) -> Codes:
    """(S,) how many pairs of each set that win as many were judged ties."""
    judged = part.with_ties()
    one, two = nodes.find(judged.at[judged.sign == 0])
    found = (one >= 0) & (two >= 0)
    one, two = np.minimum(one, two)[found], np.maximum(one, two)[found]
    pairs = np.unique((one * len(score) + two)[(nodes.sets[one] == nodes.sets[two]) & (score[one] == score[two])])
    made: Codes = np.bincount(nodes.sets[pairs // len(score)], minlength=int(nodes.sets.max()) + 1)
    return made
