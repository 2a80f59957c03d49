"""Sets, means over them, differences between groups, and their intervals."""

import math

import numpy as np
import pytest

from analysis import tables
from analysis.collapse.diversity.estimates import FEWEST, apart, means, rows
from analysis.collapse.diversity.metrics import METRICS, Measurer
from analysis.collapse.diversity.sets import ACROSS_INPUT, PER_INPUT, TOGETHER, Group, contrast, sets

WORDS = np.array([f"w{k}" for k in range(60)])


def group(name: str, n_prompts: int, k: int, offset: int = 0, first: int = 0) -> Group:
    """A group of k texts for each prompt, whose indices go on from `offset`."""
    texts = {f"p{first + i}": tuple(range(offset + k * i, offset + k * (i + 1))) for i in range(n_prompts)}
    return Group(name, texts)


def made_up(n: int, vocabulary: int, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS[:vocabulary], random.integers(4, 12))) for _ in range(n)]


def at(found: list[dict], metric: str, scope: str, name: str, other: str | None = None) -> dict:
    (row,) = (
        r for r in found if (r["metric"], r["scope"], r["group"], r["other_group"]) == (metric, scope, name, other)
    )
    return row


def test_sets_hold_one_generation_of_each_prompt_or_all_of_one():
    some = Group("g", {"a": (0, 1, 2), "b": (3,), "c": (4, 5)})
    assert sets(some, PER_INPUT, 0).texts == ((0, 1, 2), (4, 5))
    many = group("g", 2 * TOGETHER + 7, 3)
    across = sets(many, ACROSS_INPUT, 0)
    assert [len(one) for one in across.texts] == [TOGETHER, TOGETHER]
    assert across.n_prompts == across.n_generations == 2 * TOGETHER
    assert len({i // 3 for one in across.texts for i in one}) == 2 * TOGETHER
    assert {i % 3 for one in across.texts for i in one} == {0, 1, 2}
    again = Group("g", dict(reversed(many.texts.items())))
    assert sets(again, ACROSS_INPUT, 0) == across
    assert sets(many, ACROSS_INPUT, 1) != across
    assert sets(some, ACROSS_INPUT, 0).texts == ()
    assert sets(Group("g", {"a": tuple(range(3_000))}), PER_INPUT, 0).texts == (tuple(range(2_000)),)


def test_groups_are_compared_on_the_same_prompts_with_as_many_generations():
    first = Group("a", {"p": (0, 1, 2), "q": (3, 4), "only": (5, 6)})
    second = Group("b", {"p": (10, 11), "q": (12, 13, 14), "other": (15, 16)})
    found = contrast(first, second, PER_INPUT, 0)
    assert found.paired
    assert found.first.texts == ((0, 1), (3, 4))
    assert found.second.texts == ((10, 11), (12, 13))
    across = contrast(group("a", 30, 2), group("b", 30, 2, 100, first=5), ACROSS_INPUT, 0)
    assert across.first.n_prompts == TOGETHER
    assert [[i // 2 for i in one] for one in across.first.texts] == [
        [(i - 100) // 2 + 5 for i in one] for one in across.second.texts
    ]


def test_groups_that_share_no_prompt_are_compared_only_at_one_size():
    first = Group("a", {"p": (0, 1)})
    assert not contrast(first, Group("b", {"q": (2, 3)}), PER_INPUT, 0).paired
    assert "differ in generations" in contrast(first, Group("b", {"q": (2, 3, 4)}), PER_INPUT, 0).status


def test_estimates_are_means_over_prompts_and_their_differences():
    texts = [*made_up(40, 10), *made_up(40, 60, seed=1)]
    groups = [group("narrow", 10, 4), group("wide", 10, 4, offset=40)]
    measurer = Measurer.of(texts)
    found = rows(groups, measurer, 0)
    for metric in METRICS:
        if metric == "entropy":
            continue
        sides = {g.name: measurer.values(list(g.texts.values()))[:, list(METRICS).index(metric)] for g in groups}
        narrow, between = at(found, metric, PER_INPUT, "narrow"), at(found, metric, PER_INPUT, "narrow", "wide")
        assert narrow["estimate"] == pytest.approx(np.nanmean(sides["narrow"]), rel=1e-12)
        assert narrow["spread"] == pytest.approx(np.nanstd(sides["narrow"], ddof=1), rel=1e-9, abs=1e-12)
        assert between["estimate"] == pytest.approx(np.nanmean(sides["narrow"] - sides["wide"]), rel=1e-9, abs=1e-12)
        assert between["paired"]
    assert at(found, "distinct_1", PER_INPUT, "narrow", "wide")["conf_high"] < 0
    assert at(found, "self_bleu", PER_INPUT, "narrow", "wide")["conf_low"] > 0
    assert at(found, "vendi", ACROSS_INPUT, "narrow")["status"] == f"there are fewer than {TOGETHER} prompts"
    tables.to_arrow("diversity", found)


def test_nothing_depends_on_the_order_of_prompts_and_everything_on_the_seed_only():
    texts = made_up(60 * 3, 60)
    whole = group("g", 60, 3)
    other = Group("g", dict(reversed(whole.texts.items())))
    assert rows([whole], Measurer.of(texts), 3) == rows([other], Measurer.of(texts), 3)
    found, again = (rows([whole], Measurer.of(texts), seed) for seed in (3, 4))
    assert [r["estimate"] for r in found] != [r["estimate"] for r in again]


def test_a_collapsed_group_has_no_interval_that_claims_certainty():
    found = rows([group("g", 8, 3)], Measurer.of(["the same answer every time"] * 24), 0)
    row = at(found, "self_bleu", PER_INPUT, "g")
    assert row["estimate"] == pytest.approx(1)
    assert (row["conf_low"], row["status"]) == (None, "no interval: all sets have the same value")


def test_few_sets_have_a_number_and_no_interval():
    found = rows([group("g", FEWEST - 1, 2)], Measurer.of(made_up(8, 20)), 0)
    row = at(found, "vendi", PER_INPUT, "g")
    assert 1 < row["estimate"] <= 2
    assert (row["conf_low"], row["status"]) == (None, f"no interval: fewer than {FEWEST} sets")
    single = rows([group("g", 30, 1)], Measurer.of(made_up(30, 20)), 0)
    assert at(single, "vendi", PER_INPUT, "g")["status"] == "no prompt has two or more generations"
    assert at(single, "vendi", PER_INPUT, "g")["n_single"] == 30


def test_where_all_sets_but_a_few_are_alike_no_interval_is_made_up():
    values = np.r_[np.full(90, 25.0), 24.0, 23.0][:, None]
    (one,) = means(values, np.random.default_rng(0))
    assert one.value == pytest.approx(values.mean())
    assert (one.low, one.status) == (None, f"no interval: fewer than {FEWEST} sets differ from all others")


def test_entropies_are_averaged_where_they_are_known():
    h = np.arange(30, dtype=float)
    h[[0, 1, 2]] = np.nan
    found = rows([group("g", 10, 3)], Measurer.of(made_up(30, 20), entropies={"base": h}), 0)
    row = next(r for r in found if r["metric"] == "entropy" and r["scope"] == PER_INPUT)
    assert (row["base_model"], row["n_sets"]) == ("base", 9)
    assert row["estimate"] == pytest.approx(np.nanmean(h))
    assert row["conf_low"] < row["estimate"] < row["conf_high"]
    nothing = rows([group("g", 10, 3)], Measurer.of(made_up(30, 20), entropies={"": np.full(30, np.nan)}), 0)
    assert {r["status"] for r in nothing if r["metric"] == "entropy"} >= {"no set has a value"}


def test_metrics_that_lack_values_change_no_other_metric():
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 3))
    holed = x.copy()
    holed[:5, 2] = np.nan
    before, after = (means(values, np.random.default_rng(1)) for values in (x, holed))
    assert before[:2] == after[:2]
    assert after[2].n == 35


@pytest.mark.parametrize("paired", [True, False])
def test_intervals_hold_the_truth_as_often_as_they_say(paired: bool):
    random, hits, n = np.random.default_rng(0), 0, 200
    for _ in range(n):
        a, b = random.gamma(4, size=(30, 1)), random.gamma(4, size=(30, 1))
        (one,) = means(a - b, random) if paired else apart(a, b, random)
        hits += one.low <= 0 <= one.high
    # Within three standard errors of 95 %.
    assert abs(hits / n - 0.95) <= 3 * math.sqrt(0.95 * 0.05 / n)


def test_the_standard_error_of_two_groups_is_that_of_welch():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(30, 1)), random.normal(1, 2, (20, 1))
    (one,) = apart(a, b, random)
    assert one.value == pytest.approx(a.mean() - b.mean())
    assert one.std_error == pytest.approx(math.sqrt(a.var(ddof=1) / 30 + b.var(ddof=1) / 20))
    (same,) = means(a, random)
    assert same.std_error == pytest.approx(a.std(ddof=1) / math.sqrt(30))
