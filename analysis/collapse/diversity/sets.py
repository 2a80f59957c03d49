"""Which generations are measured together: those of one prompt, or one of each of several prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from analysis.ids import content_id

PER_INPUT, ACROSS_INPUT = "per_input", "across_input"
SCOPES = (PER_INPUT, ACROSS_INPUT)
# Prompts whose generations are measured together across input: n-grams of more texts repeat more, so that only sets of
# one size can be compared.
TOGETHER = 25
MOST_PROMPTS = 5_000
# Of one prompt: every pair of them is compared.
MOST_GENERATIONS = 2_000

Texts = tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """The generations of one group (a model, a method, a side of the labels).

    Attributes
    ----------
    name
        The group.
    texts
        By prompt the indices of its usable generations, in the order in which they came.
    n_empty, n_failed
        Generations without any text, and those that were marked as failed: they count for nothing else.
    """

    name: str
    texts: Mapping[str, Texts] = field(default_factory=dict)
    n_empty: int = 0
    n_failed: int = 0

    @property
    def n_generations(self) -> int:
        """Usable generations."""
        return sum(len(texts) for texts in self.texts.values())

    @property
    def n_single(self) -> int:
        """Prompts with a single usable generation."""
        return sum(len(texts) == 1 for texts in self.texts.values())


@dataclass(frozen=True)
class Sets:
    """Sets of generations that one metric is averaged over, and how many prompts they are from."""

    texts: tuple[Texts, ...]
    n_prompts: int

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def n_generations(self) -> int:
        """Generations in all sets."""
        return sum(len(one) for one in self.texts)

    @property
    def sizes(self) -> set[int]:
        """The different numbers of generations in a set."""
        return {len(one) for one in self.texts}


def sets(group: Group, scope: str, seed: int, prompts: Sequence[str] | None = None) -> Sets:
    """The sets of a group.

    Per input, a set holds the generations of a prompt that has two or more, at most the first 2,000. Across input,
    prompts are put in an order that the seed decides, the first 5,000 are taken 25 at a time, and a set holds one
    generation of each, which the seed chooses; prompts that fill no set are left out.

    Parameters
    ----------
    group, scope
        The group, and `per_input` or `across_input`.
    seed
        Decides what is drawn. It is drawn by hashes, so nothing depends on the order of the prompts.
    prompts
        Only these; all by default.
    """
    known = group.texts if prompts is None else {p: group.texts[p] for p in prompts}
    if scope == PER_INPUT:
        made = tuple(known[p][:MOST_GENERATIONS] for p in sorted(known) if len(known[p]) > 1)
        return Sets(made, len(made))
    ordered = sorted(known, key=lambda p: content_id("order", str(seed), p))[:MOST_PROMPTS]
    chosen = [known[p][int(content_id("choice", str(seed), p), 16) % len(known[p])] for p in ordered]
    made = tuple(tuple(chosen[k : k + TOGETHER]) for k in range(0, len(chosen) - TOGETHER + 1, TOGETHER))
    return Sets(made, TOGETHER * len(made))


@dataclass(frozen=True)
class Contrast:
    """Two groups' sets that are compared; `paired`: those at the same place are of the same prompts.

    `status` says why there are none, else it is `ok`.
    """

    first: Sets
    second: Sets
    paired: bool
    status: str = "ok"


def contrast(first: Group, second: Group, scope: str, seed: int) -> Contrast:
    """The sets by which two groups are compared.

    On prompts that both have, as many generations of one as of the other: the first ones of the group that has more,
    because nearly every metric depends on how many there are. Groups that share no prompt are compared set by set only
    where all their sets are of one size.
    """
    shared = sorted(first.texts.keys() & second.texts.keys())
    if not shared:
        both = sets(first, scope, seed), sets(second, scope, seed)
        alike = len(both[0].sizes | both[1].sizes) <= 1
        return Contrast(*both, False, "ok" if alike else "they share no prompt, and differ in generations a prompt")
    fewer = {p: min(len(first.texts[p]), len(second.texts[p])) for p in shared}
    equal = [Group(g.name, {p: g.texts[p][: fewer[p]] for p in shared}) for g in (first, second)]
    return Contrast(sets(equal[0], scope, seed), sets(equal[1], scope, seed), True)
