"""Effect sizes: closed forms, finite differences, the jackknife, and statsmodels' power and equivalence."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special, stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from analysis.regression import effects
from analysis.regression.bradley_terry import Fit, fit
from analysis.regression.effects import Effect
from analysis.regression.inference import clustered_mean
from tests.regression.made import clustered_uniforms


def data(n: int = 900, n_clusters: int = 120, seed: int = 0) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(seed)
    clusters = np.r_[np.arange(n_clusters), random.integers(0, n_clusters, n - n_clusters)]
    x = random.normal(size=(n, 2)) * [1.0, 0.4] + random.normal(size=n_clusters)[clusters, None] * 0.5
    return clustered_uniforms(random, clusters, 0.3) < special.expit(x @ [0.8, -1.0]), x, clusters


def marginal(found: Fit, x: Any, clusters: Any) -> Effect:
    return effects.average_marginal_effect(found, list(x.T), 0, clusters)


def rate(found: Fit, x: Any, clusters: Any) -> Effect:
    return effects.adjusted_rate(found, x[:, 0], 0, clusters)


BOTH = pytest.mark.parametrize("effect", [marginal, rate])
WEIGHTED = pytest.mark.parametrize("weighted", [False, True])


@BOTH
@WEIGHTED
def test_influence_is_the_derivative_by_a_prompt_s_weight(effect: Callable[..., Effect], weighted: bool) -> None:
    """ψ_g is what the effect gains, per part by which the prompt's weight grows (the infinitesimal jackknife).

    Central differences of 1e-4 are good to 1e-8 of the third derivative, and lose 1e-10 to the fits' rounding.
    """
    y, x, clusters = data(300, 40)
    weights = np.random.default_rng(1).uniform(0.5, 2, len(y)) if weighted else np.ones(len(y))
    influence = effect(fit(y, x, clusters, weights), x, clusters).influence
    h = 1e-4
    for g in range(0, 40, 7):
        up, down = (
            effect(fit(y, x, clusters, weights * np.where(clusters == g, 1 + s * h, 1)), x, clusters).estimate
            for s in (1, -1)
        )
        assert influence[g] == pytest.approx((up - down) / (2 * h), rel=1e-4, abs=1e-7)
    assert influence.sum() == pytest.approx(0, abs=1e-9)


@BOTH
def test_the_error_is_near_the_jackknife_s(effect: Callable[..., Effect]) -> None:
    """Prompts left out in turn; the two differ by terms of the order 1/G."""
    y, x, clusters = data()
    found = effect(fit(y, x, clusters), x, clusters)
    g = clusters.max() + 1
    without = []
    for k in range(g):
        kept = clusters != k
        rest = np.unique(clusters[kept], return_inverse=True)[1]
        without.append(effect(fit(y[kept], x[kept], rest), x[kept], rest).estimate)
    jackknife = np.sqrt((g - 1) / g * np.sum((np.array(without) - np.mean(without)) ** 2))
    assert found.std_error == pytest.approx(jackknife, rel=0.05)


@BOTH
def test_swapping_and_repeating(effect: Callable[..., Effect]) -> None:
    y, x, clusters = data()
    turn = np.random.default_rng(0).random(len(y)) < 0.5
    one = effect(fit(y, x, clusters), x, clusters)
    other = np.where(turn[:, None], -x, x)
    two = effect(fit(y ^ turn, other, clusters), other, clusters)
    y2, x2, clusters2 = (np.repeat(v, 3, axis=0) for v in (y, x, clusters))
    three = effect(fit(y2, x2, clusters2), x2, clusters2)
    for made in (two, three):
        assert (made.estimate, made.std_error) == pytest.approx((one.estimate, one.std_error), rel=1e-8)


def test_in_closed_form() -> None:
    """Differences of ±d: σ(β d) is the share of wins, which is its own adjusted rate, with the error of a mean."""
    wins = np.arange(50) < 32
    x = np.where(np.arange(50) % 3 == 0, -0.5, 0.5)[:, None]
    found = fit(wins == (x[:, 0] > 0), x, np.arange(50))
    made, mean = rate(found, x, np.arange(50)), clustered_mean(wins.astype(float), np.arange(50), 0.5)
    assert made.estimate == pytest.approx(0.64, rel=1e-9)
    assert made.std_error == pytest.approx(mean.std_error, rel=1e-8)
    interval = made.interval(0.5)
    assert (interval.low, interval.high) == pytest.approx((mean.low, mean.high), rel=1e-8)
    slope = marginal(found, x, np.arange(50))
    assert slope.estimate == pytest.approx(0.64 * 0.36 * np.log(0.64 / 0.36) / 0.5, rel=1e-9)


@pytest.mark.parametrize("beta", [-1.3, 0.0, 0.4])
@pytest.mark.parametrize("sd", [0.2, 3.0])
def test_of_one_sd(beta: float, sd: float) -> None:
    odds = special.expit(beta * sd) / special.expit(-beta * sd)
    assert effects.odds_ratio_per_sd(beta, sd) == pytest.approx(odds, rel=1e-12)
    change = special.expit(beta * sd) - special.expit(-beta * sd)
    assert effects.probability_change(beta, sd) == pytest.approx(change, rel=1e-12, abs=1e-15)


def test_the_spread_is_about_zero_and_weighted() -> None:
    x, w = np.array([1.0, -2.0, 3.0]), np.array([2.0, 1.0, 1.0])
    assert effects.spread(x) == pytest.approx(np.sqrt(14 / 3), rel=1e-14)
    assert effects.spread(x, w) == effects.spread(np.array([1.0, 1.0, -2.0, 3.0]))


class TestShareLeft:
    def both(self, seed: int = 0, n_clusters: int = 120, alpha: float = 0.8) -> tuple[Effect, Effect, Any]:
        random = np.random.default_rng(seed)
        clusters = np.repeat(np.arange(n_clusters), 6)
        length = random.normal(size=len(clusters))
        x = np.column_stack([0.6 * length + random.normal(size=len(clusters)), length])
        y = clustered_uniforms(random, clusters, 0.3) < special.expit(x @ [alpha, 0.7])
        full, raw = fit(y, x, clusters), fit(y, x[:, :1], clusters)
        return marginal(full, x, clusters), marginal(raw, x[:, :1], clusters), (y, x, clusters)

    def test_is_the_ratio(self) -> None:
        adjusted, raw, _ = self.both()
        left = effects.share_left(adjusted, raw, np.random.default_rng(0))
        assert left is not None
        assert left[0] == adjusted.estimate / raw.estimate
        assert left[1] < left[0] < left[2]

    @pytest.mark.parametrize("n_clusters", [120, 1100])
    def test_the_interval_is_that_of_refitting(self, n_clusters: int) -> None:
        """Against the delta method on the ratio, by ± 1.96 errors; 999 draws leave about 6 % of a quantile."""
        adjusted, raw, _ = self.both(n_clusters=n_clusters)
        left = effects.share_left(adjusted, raw, np.random.default_rng(0))
        assert left is not None
        influence = (adjusted.influence - left[0] * raw.influence) / raw.estimate
        error = Effect(left[0], influence).std_error
        assert left[2] - left[1] == pytest.approx(2 * 1.96 * error, rel=0.15)

    def test_against_a_bootstrap_that_fits_anew(self) -> None:
        adjusted, raw, (y, x, clusters) = self.both(n_clusters=150)
        left = effects.share_left(adjusted, raw, np.random.default_rng(0))
        assert left is not None
        random, ratios = np.random.default_rng(1), []
        for _ in range(200):
            counts = np.bincount(random.integers(0, 150, 150), minlength=150)[clusters]
            kept = counts > 0
            part = np.unique(clusters[kept], return_inverse=True)[1]
            w = counts[kept].astype(float)
            full, bare = fit(y[kept], x[kept], part, w), fit(y[kept], x[kept, :1], part, w)
            ratios.append(marginal(full, x[kept], part).estimate / marginal(bare, x[kept, :1], part).estimate)
        # The SD of 200 draws is known to 5 %, and that of 999 to 2 %.
        assert (left[2] - left[1]) / 3.92 == pytest.approx(np.std(ratios), rel=0.25)

    def test_there_is_none_where_the_raw_effect_may_be_zero(self) -> None:
        nothing = Effect(0.001, np.random.default_rng(0).normal(size=50))
        assert effects.share_left(nothing, nothing, np.random.default_rng(0)) is None

    def test_nothing_is_lost_where_nothing_was_added(self) -> None:
        raw = self.both()[1]
        assert effects.share_left(raw, raw, np.random.default_rng(0)) == pytest.approx((1.0, 1.0, 1.0), rel=1e-12)


class TestEquivalence:
    @pytest.mark.parametrize("mean", [0.5, 0.505, 0.49, 0.53])
    @pytest.mark.parametrize("margin", [0.02, 0.05])
    def test_is_that_of_statsmodels(self, mean: float, margin: float) -> None:
        x = np.random.default_rng(0).normal(mean, 0.2, 400)
        error = x.std(ddof=1) / np.sqrt(len(x))
        expected = ttost_paired(x, np.full(len(x), 0.5), -margin, margin)[0]
        assert effects.equivalence(x.mean(), error, len(x), margin) == pytest.approx(expected, rel=1e-9)

    def test_says_nothing_outside_the_margin(self) -> None:
        assert effects.equivalence(0.53, 0.005, 100, 0.02) > 0.9
        assert effects.equivalence(0.5, 0.005, 100, 0.02) < 0.001
        assert effects.equivalence(0.52, 0.005, 100, 0.02) == pytest.approx(0.5)


class TestPower:
    @pytest.mark.parametrize("n", [12, 50, 2000])
    @pytest.mark.parametrize("effect", [0.001, 0.01, 0.02])
    def test_is_that_of_statsmodels(self, n: int, effect: float) -> None:
        """A test of one mean with n − 1 degrees of freedom; the effect size there is the effect over the SD."""
        error = 0.3 / np.sqrt(n)
        expected = TTestPower().power(effect / 0.3, n, 0.05)
        # The two tails are the same, and statsmodels takes them from another routine.
        assert effects.power(effect, error, n) == pytest.approx(expected, rel=1e-6)
        assert effects.power(-effect, error, n) == effects.power(effect, error, n)

    @pytest.mark.parametrize("n", [50, 300, 5000])
    def test_what_is_detectable_has_a_power_of_80_per_cent(self, n: int) -> None:
        """Bloom's sum of quantiles takes the noncentral t for a shifted one: right to a point of power from 50 on."""
        smallest = effects.minimum_detectable(0.01, n)
        assert effects.power(smallest, 0.01, n) == pytest.approx(0.8, abs=0.01)

    def test_in_large_samples_it_is_2_8_errors(self) -> None:
        expected = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
        assert effects.minimum_detectable(1.0, 10**7) == pytest.approx(expected, rel=1e-6)
