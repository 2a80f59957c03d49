"""Which responses comparisons put in one order: against a brute-force look at every pair."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.regression.cell import Cell
from analysis.regression.inference import NoEstimate
from analysis.regression.orders import PAIRS_ONLY, Orders, orders
from analysis.regression.part import TYPICALITY, Part
from tests.regression.made import MEASURE

Pair = tuple[int, int, str]


def cell(pairs: list[Pair], ordered: bool = False, annotators: list[Any] | None = None) -> Cell:
    """Comparisons of responses 0 … m−1 of prompts of ten; the measure of a response is its number."""
    a, b = (np.array([pair[k] for pair in pairs], dtype=np.intp) for k in (0, 1))
    m = int(max(a.max(), b.max())) + 1
    return Cell(
        comparisons=pa.table(
            {
                "prompt_id": pa.array([f"p{x // 10}" for x in a]),
                "preference": pa.array([pair[2] for pair in pairs]),
                "annotator": pa.array(annotators or [None] * len(pairs), pa.string()),
            }
        ),
        response_ids=pa.array([f"r{i}" for i in range(m)]),
        a=a,
        b=b,
        turn=np.ones(len(pairs)),
        values={MEASURE: np.arange(m, dtype=float)},
        quality={},
        complete=ordered,
    )


def found_of(made: Cell) -> Orders:
    return orders(Part(made, MEASURE, np.ones(len(made), bool)))


def as_sets(found: Orders) -> set[frozenset[tuple[int, int]]]:
    """Every set as (response, level)."""
    frame = pd.DataFrame({"set": found.sets, "response": found.columns[TYPICALITY].astype(int), "level": found.levels})
    return {frozenset(zip(g["response"].tolist(), g["level"].tolist(), strict=True)) for _, g in frame.groupby("set")}


def by_rank(ranks: dict[int, int], ties: bool = False) -> list[Pair]:
    """All pairs of some responses, the smaller rank preferred; equal ones are left out unless `ties`."""
    made = []
    for a, b in combinations(ranks, 2):
        if ranks[a] != ranks[b] or ties:
            made.append((a, b, "tie" if ranks[a] == ranks[b] else "a" if ranks[a] < ranks[b] else "b"))
    return made


class TestOrders:
    @given(
        ranks=st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=7), min_size=1, max_size=6),
        seed=st.integers(0, 10**6),
        kept=st.booleans(),
    )
    @settings(max_examples=60, deadline=None)
    def test_what_was_ranked_is_found_again(self, ranks: list[list[int]], seed: int, kept: bool) -> None:
        """Whatever the order of rows, and whichever stands first; with ties judged, or left out."""
        random = np.random.default_rng(seed)
        given_ranks = [{10 * p + i: rank for i, rank in enumerate(one)} for p, one in enumerate(ranks)]
        pairs = [pair for one in given_ranks for pair in by_rank(one, kept)]
        turned = {"a": "b", "b": "a", "tie": "tie"}
        pairs = [(b, a, turned[p]) if random.random() < 0.5 else (a, b, p) for a, b, p in pairs]
        pairs = [pairs[k] for k in random.permutation(len(pairs))]
        varied = [one for one in given_ranks if len(set(one.values())) > 1]
        expected = set()
        for one in varied:
            places = sorted(set(one.values()))
            expected.add(frozenset((response, places.index(rank)) for response, rank in one.items()))
        if not any(len(one) > 2 for one in varied):
            if pairs:
                with pytest.raises(NoEstimate, match="no prompt has more than two"):
                    found_of(cell(pairs, ordered=not kept))
            return
        found = found_of(cell(pairs, ordered=not kept))
        assert as_sets(found) == expected
        assert not found.left_out.any()
        assert found.n_sets == len(expected)
        # Rising within the sets, the best first.
        assert (np.diff(found.sets) >= 0).all()
        assert (np.diff(found.levels)[np.diff(found.sets) == 0] >= 0).all()
        # Sets of one prompt share their code, which is that of the comparisons.
        prompt = found.columns[TYPICALITY] // 10
        assert len(set(zip(prompt.tolist(), found.prompts.tolist(), strict=True))) == len(set(prompt.tolist()))
        for at, code in zip(found.part.at, found.part.clusters, strict=True):
            assert code == found.prompts[np.flatnonzero(found.columns[TYPICALITY] == found.part.cell.a[at])[0]]

    def test_a_circle_is_no_order(self) -> None:
        """It is left out, and what is an order stays."""
        circle, order = [(0, 1, "a"), (1, 2, "a"), (0, 2, "b")], by_rank({10: 0, 11: 1, 12: 2})
        found = found_of(cell(circle + order))
        assert as_sets(found) == {frozenset({(10, 0), (11, 1), (12, 2)})}
        assert found.left_out.tolist() == [True] * 3 + [False] * 3
        assert found.part.n_prompts == 1
        with pytest.raises(NoEstimate, match=r"of no prompt .* complete order"):
            found_of(cell(circle))

    def test_a_pair_that_nobody_judged(self) -> None:
        """Is no tie among pairs; it is one among ratings, where ties are left out."""
        pairs = [(0, 1, "a"), (0, 2, "a"), *by_rank({10: 0, 11: 1, 12: 2})]
        assert len(as_sets(found_of(cell(pairs)))) == 1
        assert frozenset({(0, 0), (1, 1), (2, 1)}) in as_sets(found_of(cell(pairs, ordered=True)))
        assert frozenset({(0, 0), (1, 1), (2, 1)}) in as_sets(found_of(cell([*pairs, (1, 2, "tie")])))
        missing = [(0, 1, "a"), (1, 2, "a"), *by_rank({10: 0, 11: 1, 12: 2})]
        for ordered in (True, False):
            assert len(as_sets(found_of(cell(missing, ordered)))) == 1

    def test_judged_twice(self) -> None:
        """The same again changes nothing; the contrary is no order."""
        pairs = by_rank({0: 0, 1: 1, 2: 2})
        assert as_sets(found_of(cell([*pairs, *pairs]))) == as_sets(found_of(cell(pairs)))
        with pytest.raises(NoEstimate, match="complete order"):
            found_of(cell([*pairs, (0, 1, "b")]))

    def test_each_annotator_has_an_order(self) -> None:
        """Two who disagree are two sets of one prompt."""
        one, other = by_rank({0: 0, 1: 1, 2: 2}), by_rank({0: 2, 1: 1, 2: 0})
        found = found_of(cell([*one, *other], annotators=["x"] * 3 + ["y"] * 3))
        assert as_sets(found) == {frozenset({(0, 0), (1, 1), (2, 2)}), frozenset({(0, 2), (1, 1), (2, 0)})}
        assert set(found.prompts.tolist()) == {0}

    def test_a_slice_may_split_a_prompt(self) -> None:
        pairs = by_rank({0: 0, 1: 1, 2: 2, 3: 0, 4: 1})
        made = cell(pairs)
        inside = (made.a < 3) == (made.b < 3)  # such as those of equal quality
        found = orders(Part(made, MEASURE, inside))
        assert as_sets(found) == {frozenset({(0, 0), (1, 1), (2, 2)}), frozenset({(3, 0), (4, 1)})}
        assert set(found.prompts.tolist()) == {0}

    def test_pairs_alone_are_bradley_terry(self) -> None:
        with pytest.raises(NoEstimate, match=PAIRS_ONLY):
            found_of(cell([(0, 1, "a"), (2, 3, "b"), (2, 3, "b"), (10, 11, "a")]))

    def test_a_response_without_the_measure(self) -> None:
        """The others are an order without it."""
        made = cell(by_rank({0: 0, 1: 1, 2: 2, 3: 3}))
        values = made.values[MEASURE].copy()
        values[1] = np.nan
        found = found_of(replace(made, values={MEASURE: values}))
        assert as_sets(found) == {frozenset({(0, 0), (2, 1), (3, 2)})}
