"""Plans of packed rows: everything once, contexts shared, nothing beyond the budget that could be within it."""

import math
import random
from collections.abc import Sequence

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from analysis.likelihood.encoding import Encoded
from analysis.likelihood.packing import FEW, Group, groups, packs

# Few different contexts, so that they are often shared; and responses that are often equally long, or the same.
CONTEXT = st.builds(lambda first, n: (first, *[0] * n), st.integers(1, 3), st.integers(0, 12))
TEXT = st.builds(
    lambda context, response: Encoded(context + tuple(response), len(context), 1, False, "bos"),
    CONTEXT,
    st.lists(st.integers(0, 1), min_size=1, max_size=20),
)
TEXTS = st.lists(TEXT, max_size=40)
BUDGET = st.integers(1, 80)
MULTIPLE = st.integers(1, 4)


def read(group: Group, texts: Sequence[Encoded]) -> int:
    """Tokens that are read for a group: its context once, and all but the last of every response."""
    return len(group.context) + sum(texts[i].n_tokens - 1 for i in group.texts)


def sizes(texts: Sequence[Encoded], budget: int, multiple: int = 1) -> list[list[int]]:
    """How large the groups of every pack are."""
    return [[read(group, texts) for group in pack.groups] for pack in packs(texts, budget, multiple)]


@given(texts=TEXTS, budget=BUDGET, multiple=MULTIPLE)
@example(texts=[], budget=1, multiple=1)
@example(texts=[], budget=1, multiple=2)
def test_every_text_once_after_its_own_context(texts: list[Encoded], budget: int, multiple: int) -> None:
    made = packs(texts, budget, multiple)
    assert sorted(i for pack in made for group in pack.groups for i in group.texts) == list(range(len(texts)))
    for pack in made:
        for group in pack.groups:
            assert group.texts and all(texts[i].ids[: texts[i].start] == group.context for i in group.texts)


def of_sizes(*sizes: int) -> list[Encoded]:
    """Texts that are groups of their own, of so many tokens each."""
    return [Encoded((k, *[1] * n), 1, 1, False, "bos") for k, n in enumerate(sizes)]


@given(texts=TEXTS, budget=BUDGET, multiple=MULTIPLE)
@example(texts=of_sizes(35, 35, 35, 35, 35, 25), budget=100, multiple=2)  # two of 105 and 95 would be more even
def test_budget(texts: list[Encoded], budget: int, multiple: int) -> None:
    for pack in packs(texts, budget, multiple):
        assert pack.n_tokens == sum(read(group, texts) for group in pack.groups)
        assert pack.n_tokens <= budget or len(pack.groups) == 1


@given(texts=TEXTS, budget=BUDGET)
def test_a_context_is_read_again_only_where_its_responses_are_too_many(texts: list[Encoded], budget: int) -> None:
    parts: dict[tuple[int, ...], list[Group]] = {}
    for group in groups(texts, budget):
        parts.setdefault(group.context, []).append(group)
    for found in parts.values():
        # The longest responses come first, so a part is followed by another only if that one's first had no room.
        found.sort(key=lambda g: (-texts[g.texts[0]].n_tokens, g.texts[0]))
        for k, group in enumerate(found):
            long = sum(texts[i].n_tokens for i in group.texts)
            assert long <= budget or len(group.texts) == 1
            assert k + 1 == len(found) or long + texts[found[k + 1].texts[0]].n_tokens > budget


@given(texts=TEXTS, budget=BUDGET)
def test_no_two_packs_would_have_fitted_in_one(texts: list[Encoded], budget: int) -> None:
    """Best fit: a group opens a pack only if none has room for it, and later ones are smaller."""
    firsts = [read(pack.groups[0], texts) for pack in packs(texts, budget)]
    totals = [pack.n_tokens for pack in packs(texts, budget)]
    assert all(totals[k] + first > budget for j, first in enumerate(firsts) for k in range(j))
    assert firsts == sorted(firsts, reverse=True)


@given(texts=TEXTS, budget=BUDGET, multiple=MULTIPLE, data=st.data())
def test_the_order_of_the_texts_decides_nothing_but_ties(
    texts: list[Encoded], budget: int, multiple: int, data: st.DataObject
) -> None:
    assert packs(texts, budget, multiple) == packs(texts, budget, multiple)
    order = data.draw(st.permutations(range(len(texts))))
    shuffled = [texts[i] for i in order]
    assert sizes(shuffled, budget, multiple) == sizes(texts, budget, multiple)


def rounded_up(n: float, multiple: int) -> int:
    return multiple * math.ceil(n / multiple)


class TestMultiple:
    """As many packs as are run at a time, or a multiple of it."""

    @given(texts=TEXTS, budget=BUDGET, multiple=MULTIPLE)
    def test_how_many_packs_at_most(self, texts: list[Encoded], budget: int, multiple: int) -> None:
        """None that the multiple does not call for; what is beyond the budget counts as the packs it would fill."""
        one, made = packs(texts, budget), packs(texts, budget, multiple)
        total = sum(pack.n_tokens for pack in one)
        assert len(made) <= max(len(one), rounded_up(total / budget, multiple))
        if all(pack.n_tokens <= budget for pack in one):
            assert len(made) <= rounded_up(len(one), multiple)

    @given(texts=TEXTS, budget=BUDGET, multiple=MULTIPLE)
    @example(texts=of_sizes(*[1] * 2001), budget=50, multiple=4)  # 41 packs
    def test_nothing_changes_for_one_at_a_time_or_for_many_packs(
        self, texts: list[Encoded], budget: int, multiple: int
    ) -> None:
        one = packs(texts, budget)
        assert packs(texts, budget, 1) == one
        if rounded_up(sum(pack.n_tokens for pack in one) / budget, multiple) > FEW:
            assert packs(texts, budget, multiple) == one

    @given(
        seed=st.integers(0, 10**6),
        smallest=st.integers(1, 8),
        multiple=st.integers(2, 4),
        times=st.integers(1, 3),
        mean=st.integers(100, 200),
        data=st.data(),
    )
    @settings(max_examples=60)
    def test_small_groups_fill_a_multiple_evenly(
        self, seed: int, smallest: int, multiple: int, times: int, mean: int, data: st.DataObject
    ) -> None:
        """Best fit opens a pack only when no other has room for the group. So groups of at most 8 % of an even share
        fit into packs of 1.08 shares, as many as there are shares; and fewer than these could not hold them.
        """
        dice, wanted = random.Random(seed), multiple * times
        found: list[int] = []
        while sum(found) < wanted * mean:
            found.append(dice.randint(smallest, 8))
        texts, total = of_sizes(*found), sum(found)
        share = total / wanted
        # As large as gives this multiple and no smaller one.
        most = math.ceil(total / (wanted - multiple)) - 1 if times > 1 else 10**6
        least = math.ceil(1.08 * share)
        assume(least <= most)
        made = packs(texts, data.draw(st.integers(least, most)), multiple)
        assert len(made) == wanted
        assert max(pack.n_tokens for pack in made) <= least

    def test_by_hand(self) -> None:
        """Groups of 6, 5, 4, 3, 2 tokens: one pack where one is run at a time, and two or three equal ones else."""
        texts = of_sizes(6, 5, 4, 3, 2)
        assert sizes(texts, 100) == [[6, 5, 4, 3, 2]]
        assert sizes(texts, 100, 2) == [[6, 4], [5, 3, 2]]
        assert sizes(texts, 15, 2) == [[6, 4], [5, 3, 2]]
        assert [sum(pack) for pack in sizes(texts, 100, 3)] == [6, 7, 7]


@given(n_contexts=st.sets(st.integers(1, 60), max_size=15), budget=st.integers(1, 20_000), data=st.data())
def test_without_ties_the_order_decides_nothing(n_contexts: set[int], budget: int, data: st.DataObject) -> None:
    """Groups of different sizes, with responses of different lengths, are put together in the same way."""
    texts = [Encoded((k,) * k + (1,) * n, k, 1, False, "bos") for k in sorted(n_contexts) for n in (1, 1 + 100 * k)]
    shuffled = data.draw(st.permutations(texts))
    plans = (packs(texts, budget), packs(shuffled, budget))
    one, other = (
        [[[used[i] for i in g.texts] for g in p.groups] for p in plan]
        for plan, used in zip(plans, (texts, shuffled), strict=True)
    )
    assert one == other


def test_by_hand() -> None:
    """A context of four tokens with responses of 6, 5, 2 tokens, and one of two tokens with a response of one."""
    long, short = (7, 7, 7, 7), (9, 9)
    texts = [Encoded(c + (1,) * n, len(c), 1, False, "bos") for c, n in ((long, 2), (short, 1), (long, 6), (long, 5))]
    # 4 + 5 + 4 + 1 tokens are read, and 2 + 0.
    assert groups(texts, 13) == [Group(long, (2, 3, 0)), Group(short, (1,))]
    assert [(p.n_tokens, len(p.groups)) for p in packs(texts, 16)] == [(16, 2)]
    assert [(p.n_tokens, len(p.groups)) for p in packs(texts, 15)] == [(14, 1), (2, 1)]
    # Responses of twelve tokens at most together: 6 + 5, and the 2 by themselves, with the other context beside them.
    assert [[g.texts for g in p.groups] for p in packs(texts, 12)] == [[(2, 3)], [(0,), (1,)]]
