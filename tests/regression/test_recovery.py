"""A planted α: what is to be found, and whether it is."""

import itertools
import math
import warnings
from dataclasses import asdict

import numpy as np
import pytest
from scipy import special, stats

from analysis.regression.inference import Array, NoEstimate
from analysis.regression.part import Part
from analysis.regression.recovery import ALPHAS, Recovery, recover
from tests.regression.made import bare_part, joined, part_of, swapped

N = 1200
DRAWS = 150


def differences(n: int = N, seed: int = 0) -> Array:
    """Differences of several sizes, some of them 0."""
    made = np.random.default_rng(seed).standard_t(5, n)
    made[::40] = 0.0
    return made


def part(delta: Array, a_prompt: int = 4, seed: int = 0) -> Part:
    """A part with these differences, several comparisons a prompt, and labels by a coin."""
    return bare_part(delta, np.random.default_rng(seed).random(len(delta)) < 0.5, np.arange(len(delta)) // a_prompt)


def found(given: Part, seed: int = 1, draws: int = 5) -> list[Recovery]:
    return list(recover(given, np.random.default_rng(seed), draws=draws))


@pytest.fixture(scope="module")
def many() -> list[Recovery]:
    return found(part(differences()), draws=DRAWS)


def test_every_alpha_has_the_coefficient_and_the_rate(many: list[Recovery]) -> None:
    assert ALPHAS == (0, 0.25, 0.57, 1)
    assert [(one.alpha, one.specification) for one in many] == list(itertools.product(ALPHAS, ("bt", "rate")))
    assert {one.draws for one in many} == {DRAWS}


def test_what_is_planted_is_recovered_without_bias(many: list[Recovery]) -> None:
    for one in many:
        assert one.bias is not None
        assert one.noise is not None
        assert abs(one.bias) <= 4 * one.noise, one


def test_intervals_cover_the_truth_as_often_as_they_say(many: list[Recovery]) -> None:
    for one in many:
        assert one.coverage is not None
        assert one.coverage == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / DRAWS)), one


def test_bias_noise_and_coverage_of_the_rate_by_hand(many: list[Recovery]) -> None:
    given, random = part(differences()), np.random.default_rng(1)
    for one in (one for one in many if one.specification == "rate"):
        # (draws, n) labels, and whether the more typical response was preferred.
        labels = np.stack([random.random(N) < special.expit(one.alpha * given.delta) for _ in range(DRAWS)])
        won = np.where(given.delta == 0, 0.5, labels == (given.delta > 0))
        rates = won.mean(1)
        # Every prompt has four comparisons, so the clustered error is that of the mean of the prompts' means.
        prompts = won.reshape(DRAWS, -1, 4).mean(2)
        half = stats.t.ppf(0.975, N // 4 - 1) * prompts.std(1, ddof=1) / math.sqrt(N // 4)
        assert one.bias == pytest.approx(rates.mean() - one.truth, abs=1e-12)
        assert one.noise == pytest.approx(rates.std(ddof=1) / math.sqrt(DRAWS), rel=1e-9)
        assert one.coverage == pytest.approx((np.abs(rates - one.truth) <= half).mean(), abs=1e-12)


def test_noise_falls_with_the_root_of_the_draws(many: list[Recovery]) -> None:
    for few, more in zip(found(part(differences()), draws=DRAWS // 6), many, strict=True):
        assert few.noise is not None
        assert more.noise is not None
        assert few.noise / more.noise == pytest.approx(math.sqrt(6), rel=0.5)


def test_relative_bias_is_of_alpha(many: list[Recovery]) -> None:
    for one in many:
        if one.specification == "rate" or one.alpha == 0:
            assert one.relative_bias is None
        else:
            assert one.bias is not None
            assert one.relative_bias == one.bias / one.alpha


def test_the_rate_to_be_found_is_the_mean_over_all_labels_there_may_be() -> None:
    delta = np.array([0.0, 0.3, -1.2, 2.5, -0.01, 4.0])
    for one in found(part(delta, a_prompt=2)):
        mean = 0.0
        for labels in itertools.product((True, False), repeat=len(delta)):
            chances = [
                special.expit(one.alpha * d if a else -one.alpha * d) for a, d in zip(labels, delta, strict=True)
            ]
            wins = [0.5 if d == 0 else float(a == (d > 0)) for a, d in zip(labels, delta, strict=True)]
            mean += math.prod(chances) * sum(wins) / len(wins)
        assert one.truth == pytest.approx(mean if one.specification == "rate" else one.alpha, abs=1e-12)


def test_the_labels_of_the_part_play_no_part() -> None:
    assert found(part(differences(200), seed=0)) == found(part(differences(200), seed=5))


def test_exchanging_a_and_b_changes_nothing() -> None:
    frame = joined(ties=0.0)
    assert found(part_of(swapped(frame, frame.index[::3]))) == found(part_of(frame))


def test_ties_are_left_out() -> None:
    frame = joined(ties=0.3)
    assert found(part_of(frame)) == found(part_of(frame[frame["preference"] != "tie"]))


def test_the_same_seed_draws_the_same() -> None:
    given = part(differences(200))
    assert found(given) == found(given)
    assert found(given, seed=2) != found(given, seed=1)


def test_few_draws_still_have_their_noise() -> None:
    for one in found(part(differences(200)), draws=2):
        assert one.noise is not None
        assert one.noise >= 0
        assert one.coverage in (0, 0.5, 1)


def test_one_draw_has_no_noise() -> None:
    assert [one.noise for one in found(part(differences(200)), draws=1)] == [None] * 8


def test_no_estimate_where_nothing_is_decided() -> None:
    with pytest.raises(NoEstimate, match="no comparison is decided"):
        found(part_of(joined().assign(preference="tie")))


def test_no_estimate_where_there_is_one_prompt() -> None:
    with pytest.raises(NoEstimate, match="one prompt"):
        found(part(differences(40), a_prompt=40))


def test_where_no_draw_can_be_fitted_the_row_is_there_without_a_number() -> None:
    made = found(part(np.tile([-2000.0, 2000.0], 30)))
    assert [(one.alpha, one.specification) for one in made] == list(itertools.product(ALPHAS, ("bt", "rate")))
    for one in made[2:]:
        assert {asdict(one)[name] for name in ("bias", "relative_bias", "coverage", "noise")} == {None}


def test_large_differences_raise_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found(part(np.tile([-2000.0, 2000.0], 30)))
