"""Ratios of means over prompts: closed forms, symmetry, and intervals that hold the truth as often as they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.collapse.remedies.claims import SLOPE, forecast_rows, size_rows, tuning_rows
from analysis.collapse.remedies.estimates import log_ratios, mean, random_of, ratio
from analysis.collapse.remedies.study import parse

VALUES = st.lists(st.floats(0.1, 10), min_size=6, max_size=20)


def of(values):
    return {f"p{i}": float(v) for i, v in enumerate(values)}


@given(VALUES, st.floats(0.1, 5), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_turning_the_ratio_turns_it_round(values, factor, seed):
    noise = np.random.default_rng(seed).uniform(0.5, 1.5, len(values))
    one, other = of(np.array(values) * factor * noise), of(values)
    there, back = ratio((one, other), random_of(0)), ratio((other, one), random_of(0))
    assert there.value == pytest.approx(1 / back.value)
    assert (there.low, there.high) == pytest.approx((1 / back.high, 1 / back.low))
    assert there.low < there.value < there.high


def test_the_standard_error_is_that_of_the_delta_method():
    random = np.random.default_rng(1)
    x, y = random.gamma(5, 1, 60), random.gamma(4, 1, 60)
    found = log_ratios(x[:, None], y[:, None], random_of(0))[0]
    covariance = np.cov(x, y) / 60
    gradient = np.array([1 / x.mean(), -1 / y.mean()])
    # n − 1 on both sides: np.cov divides by it, too.
    assert found.std_error == pytest.approx(np.sqrt(gradient @ covariance @ gradient))


def test_intervals_hold_the_ratio_as_often_as_they_say():
    random, held = np.random.default_rng(2), 0
    for draw in range(120):
        x, y = random.gamma(3, 2, 30), random.gamma(3, 1, 30)
        found = ratio((of(x), of(y)), random_of(draw))
        held += found.low <= 2 <= found.high
    # Of 120 at 95 %: three binomial standard errors are 6 points.
    assert held / 120 == pytest.approx(0.95, abs=0.06)


@pytest.mark.parametrize(
    ("one", "other", "status", "value"),
    [
        ([], [1, 2], "no prompt has a value of both", None),
        ([1, 2, 3], [0, 0, 0], "the mean of one of the two is not above zero", None),
        ([2, 4, 6, 8], [1, 2, 3, 4], "no interval: fewer than 5 prompts", 2),
        ([2] * 6, [1] * 6, "no interval: it is the same for all prompts", 2),
        ([2, np.nan, 4], [1, 1, 3], "no interval: fewer than 5 prompts", 1.5),
    ],
)
def test_why_there_is_no_interval(one, other, status, value):
    found = ratio((of(one), of(other)), random_of(0))
    assert (found.status, found.value) == (status, value)
    assert found.low is None


def test_means_of_nothing():
    assert mean({"p": np.nan}, random_of(0)).status == "no prompt has a value"


def test_the_slope_on_size_is_found():
    models = [{"backend": "chat", "name": name} for name in "abc"]
    study = parse(
        {"name": "s", "models": models, "methods": [{"name": "direct"}, {"name": "vs"}], "prompts": [{"prompt": "?"}]}
    )
    random, sizes = np.random.default_rng(0), {"a": 1e8, "b": 1e9, "c": 1e10}
    # log ratio = 0.1 + 0.3 · log10(parameters / 10⁸), times noise of the prompts.
    pairs = {
        (m, "vs"): (of(np.exp(0.1 + 0.3 * k) * random.uniform(0.9, 1.1, 40)), of(random.uniform(0.9, 1.1, 40)))
        for k, m in enumerate(sizes)
    }
    (row,) = size_rows(study, pairs, sizes)
    assert row["measure"] == SLOPE
    assert row["conf_low"] < 0.3 < row["conf_high"]
    assert row["estimate"] == pytest.approx(0.3, abs=0.03)
    assert row["conf_high"] - row["conf_low"] < 0.1
    (row,) = size_rows(study, pairs, {"a": 1e8})
    assert (row["estimate"], row["status"]) == (None, "fewer than two models whose sizes are known and differ")


def test_what_tuning_left_stands_beside_what_was_forecast():
    models = [{"backend": "chat", "name": "base"}, {"backend": "chat", "name": "tuned", "tuned_from": "base"}]
    study = parse({"name": "s", "models": models, "methods": [{"name": "direct"}], "prompts": [{"prompt": "?"}]})
    random = np.random.default_rng(0)
    base = of(random.uniform(4, 6, 20))
    tuned = {p: v / 2 for p, v in base.items()}
    rows = list(tuning_rows(study, {("base", "vendi"): base, ("tuned", "vendi"): tuned}))
    assert [r["ratio"] for r in rows] == [None, pytest.approx(0.5)]
    keys = {"dataset": "d", "base_model": "m", "measure": "mean_logprob", "slice": "all", "status": "ok", "beta": 0.1}
    more = {"generation": 1, "fresh_share": 0.0, "entropy_bonus": 0.0, "n_candidates": 4.0, "n_prompts": 9}
    made = [
        {**keys, **more, "specification": rung, "candidates": kind, "effective_number": left}
        | {"effective_number_low": left - 0.4, "effective_number_high": left + 0.4}
        for rung, kind, left in (
            ("bt", "typicality", 3.0),
            ("bt_length", "both", 2.0),
            ("bt_length", "typicality", 2.8),
        )
    ]
    (row,) = forecast_rows(study, [*made, {**made[0], "beta": 0.2}, {**made[0], "candidates": None}])
    assert row["ratio"] == 0.5
    assert (row["ratio_low"], row["ratio_high"]) == pytest.approx((0.4, 0.6))
    assert row["measure"] == "effective number left, forecast from d under m at β = 0.1"
    assert not list(forecast_rows(study, []))
