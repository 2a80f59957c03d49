"""Plans of what is run together: texts that begin with the same tokens share them, and rows hold no padding.

A group is a context (the tokens before the response) with the responses that follow it. A pack is a few groups in one
row: context, response, response, …, context, response, …. No token is read twice; the last one of a response, which is
only predicted, is not read at all.
"""

import math
from bisect import bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from analysis.likelihood.encoding import Encoded

FEW = 32


@dataclass(frozen=True, slots=True)
class Group:
    """A context with the responses that follow it, as indices into the texts that were planned."""

    context: tuple[int, ...]
    texts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pack:
    """Groups that are run in one row of `n_tokens` tokens."""

    groups: tuple[Group, ...]
    n_tokens: int


def groups(texts: Sequence[Encoded], budget: int) -> list[Group]:
    """Texts by their context, largest first; responses of more than `budget` tokens together make several groups.

    The order of `texts` decides nothing but ties.
    """
    by_context: dict[tuple[int, ...], list[int]] = {}
    for i, text in enumerate(texts):
        by_context.setdefault(text.ids[: text.start], []).append(i)
    made = [
        Group(context, part)
        for context, found in by_context.items()
        for part in _parts(sorted(found, key=lambda i: (-len(texts[i].ids), i)), texts, budget)
    ]
    return sorted(made, key=lambda g: -_size(g, texts))


def _parts(found: Sequence[int], texts: Sequence[Encoded], budget: int) -> Iterator[tuple[int, ...]]:
    part: list[int] = []
    room = budget
    for i in found:
        if part and texts[i].n_tokens > room:
            yield tuple(part)
            part, room = [], budget
        part.append(i)
        room -= texts[i].n_tokens
    yield tuple(part)


def _size(group: Group, texts: Sequence[Encoded]) -> int:
    return len(group.context) + sum(texts[i].n_tokens - 1 for i in group.texts)


def packs(texts: Sequence[Encoded], budget: int, multiple: int = 1) -> list[Pack]:
    """A plan for all texts: packs of at most `budget` tokens (a larger group stands alone), the largest groups first.

    Parameters
    ----------
    texts, budget
        The texts, and the tokens a pack may hold.
    multiple
        How many packs are run at a time. Where there are few packs, they are made smaller and as many as a multiple of
        this, so that none is waited for.
    """
    made = groups(texts, budget)
    total = sum(_size(g, texts) for g in made)
    wanted = multiple * math.ceil(total / budget / multiple)
    if 0 < wanted <= FEW and multiple > 1:
        for slack in (1.0, 1.01, 1.02, 1.04, 1.08):
            found = _fill(made, texts, min(budget, math.ceil(slack * total / wanted)))
            if len(found) <= wanted:
                return found
    return _fill(made, texts, budget)


def _fill(made: Sequence[Group], texts: Sequence[Encoded], budget: int) -> list[Pack]:
    """Every group goes into the fullest pack that has room for it (best fit, decreasing), so packs come out full."""
    held: list[list[Group]] = []
    sizes: list[int] = []
    # Packs by their size, and the sizes there are, in order.
    by_size: dict[int, list[int]] = {}
    levels: list[int] = []
    for group in made:
        size = _size(group, texts)
        at = bisect_right(levels, budget - size) - 1
        if at < 0:
            held.append([])
            sizes.append(0)
            k = len(held) - 1
        else:
            k = by_size[levels[at]].pop()
            if not by_size[levels[at]]:
                del levels[at]
        held[k].append(group)
        sizes[k] += size
        if not by_size.setdefault(sizes[k], []):
            insort(levels, sizes[k])
        by_size[sizes[k]].append(k)
    return [Pack(tuple(groups), n) for groups, n in zip(held, sizes, strict=True)]
