"""Bradley–Terry, against statsmodels, a direct maximisation, the conditional logit and closed forms."""

import warnings
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special
from statsmodels.discrete.conditional_models import ConditionalLogit

from analysis.regression.bradley_terry import Fit, fit
from analysis.regression.effects import average_marginal_effect, odds_ratio_per_sd, spread
from analysis.regression.inference import NoEstimate, t_interval
from tests.regression.made import clustered_uniforms

# Both sides stop at a gradient near rounding; the information matrix here is well conditioned.
CLOSE = 1e-7


def data(n: int = 300, k: int = 3, n_clusters: int = 40, seed: int = 0) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, k)) * [1.0, 0.05, 20.0][:k]
    clusters = np.unique(random.integers(0, n_clusters, n), return_inverse=True)[1]
    logit = x @ np.array([0.8, -6.0, 0.02])[:k]
    return clustered_uniforms(random, clusters, 0.3) < special.expit(logit), x, clusters


def marginal(found: Fit, x: Any, term: int, clusters: Any) -> float:
    return average_marginal_effect(found, list(x.T), term, clusters).estimate


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("n_clusters", [5, 40, 300])
def test_statsmodels(k: int, n_clusters: int) -> None:
    y, x, clusters = data(k=k, n_clusters=n_clusters)
    found = fit(y, x, clusters)
    model = sm.GLM(y.astype(float), x, family=sm.families.Binomial())
    expected = model.fit(
        tol=1e-14, maxiter=200, cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False}
    )
    groups = clusters.max() + 1
    np.testing.assert_allclose(found.coefficients, expected.params, rtol=CLOSE)
    np.testing.assert_allclose(found.covariance, expected.cov_params() * groups / (groups - 1), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(found.probabilities, expected.fittedvalues, rtol=CLOSE)
    assert found.n_clusters == groups
    effects = sm.Logit(y.astype(float), x).fit(disp=0, tol=1e-12).get_margeff(dummy=False)
    for term in range(k):
        assert marginal(found, x, term, clusters) == pytest.approx(effects.margeff[term], rel=1e-6)


def test_direct_maximisation_of_the_likelihood() -> None:
    y, x, clusters = data(k=2)
    sign = np.where(y, 1.0, -1.0)
    scale = np.array([1.0, 20.0])  # so that both directions of the search are of size one

    def loss(beta: Any) -> Any:
        z = sign * (x @ (beta * scale))
        return -special.log_expit(z).sum(), -(x * scale).T @ (sign * special.expit(-z))

    best = optimize.minimize(loss, np.zeros(2), jac=True, method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(fit(y, x, clusters).coefficients, best.x * scale, rtol=1e-6)


def test_the_conditional_logit_of_the_pairs() -> None:
    """No intercept on differences is the conditional logit with a group a pair (McFadden 1974)."""
    y, x, clusters = data(n=120, k=2)
    random = np.random.default_rng(3)
    b = random.normal(size=x.shape)
    outcome = np.column_stack([y, ~y]).astype(int).ravel()
    covariates = np.stack([b + x, b], axis=1).reshape(-1, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = ConditionalLogit(outcome, covariates, groups=np.repeat(np.arange(120), 2)).fit(
            disp=0, method="newton", tol=1e-12
        )
    np.testing.assert_allclose(fit(y, x, clusters).coefficients, expected.params, rtol=1e-5)


@pytest.mark.parametrize(("wins", "losses"), [(30, 20), (7, 1), (3, 40)])
def test_one_cell_in_closed_form(wins: int, losses: int) -> None:
    """Differences of ±d: β = log(wins / losses) / d, and with clusters of one its variance is G/(G−1) / (n p q d²)."""
    n, d = wins + losses, 0.25
    better = np.arange(n) < wins
    first = np.arange(n) % 2 == 0  # whether the more typical one stands first
    x = np.where(first, d, -d)[:, None]
    found = fit(better == first, x, np.arange(n))
    assert found.coefficients[0] == pytest.approx(np.log(wins / losses) / d, rel=1e-9)
    variance = n / (n - 1) / (n * (wins / n) * (losses / n) * d**2)
    assert found.covariance[0, 0] == pytest.approx(variance, rel=1e-9)
    assert marginal(found, x, 0, np.arange(n)) == pytest.approx(
        (wins / n) * (losses / n) * np.log(wins / losses) / d, rel=1e-9
    )


def test_two_cells_in_closed_form() -> None:
    """Two covariates that never differ together are two cells, each with its own log odds."""
    y = np.concatenate([np.arange(50) < 35, np.arange(40) < 10])
    x = np.zeros((90, 2))
    x[:50, 0], x[50:, 1] = 1.0, 2.0
    found = fit(y, x, np.arange(90))
    np.testing.assert_allclose(found.coefficients, [np.log(35 / 15), np.log(10 / 30) / 2], rtol=1e-9)
    expected = np.diag([50 / (35 * 15), 40 / (10 * 30) / 4]) * 90 / 89
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-8, atol=1e-14)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_orientation_order_and_names(seed: int) -> None:
    random = np.random.default_rng(seed)
    y, x, clusters = data(n=100, seed=seed)
    once = fit(y, x, clusters)
    turn = random.random(100) < 0.5
    order, names = random.permutation(100), random.permutation(clusters.max() + 1)
    turned, renamed = np.where(turn[:, None], -x, x)[order], names[clusters][order]
    other = fit((y ^ turn)[order], turned, renamed)
    np.testing.assert_allclose(other.coefficients, once.coefficients, rtol=1e-8)
    np.testing.assert_allclose(other.covariance, once.covariance, rtol=1e-7, atol=1e-14)
    for term in range(3):
        assert marginal(other, turned, term, renamed) == pytest.approx(marginal(once, x, term, clusters), rel=1e-8)


@pytest.mark.parametrize("times", [2, 7])
def test_repeating_every_row_within_its_cluster_changes_nothing(times: int) -> None:
    y, x, clusters = data()
    once, many = fit(y, x, clusters), fit(*(np.repeat(v, times, axis=0) for v in (y, x, clusters)))
    np.testing.assert_allclose(many.coefficients, once.coefficients, rtol=1e-8)
    np.testing.assert_allclose(many.covariance, once.covariance, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_units(unit: float) -> None:
    y, x, clusters = data(k=1)
    once, other = fit(y, x, clusters), fit(y, x * unit, clusters)
    assert other.coefficients[0] * unit == pytest.approx(once.coefficients[0], rel=1e-8)
    assert other.covariance[0, 0] * unit**2 == pytest.approx(once.covariance[0, 0], rel=1e-8)
    assert odds_ratio_per_sd(other.coefficients[0], spread(x[:, 0] * unit)) == pytest.approx(
        odds_ratio_per_sd(once.coefficients[0], spread(x[:, 0])), rel=1e-8
    )


def test_the_sd_is_about_zero() -> None:
    sd = spread(np.array([3.0, 4.0, -5.0]))
    assert sd == pytest.approx(np.sqrt(50 / 3), rel=1e-14)
    assert odds_ratio_per_sd(0.5, sd) == pytest.approx(np.exp(0.5 * np.sqrt(50 / 3)), rel=1e-14)


class TestNoNumber:
    def test_no_rows(self) -> None:
        with pytest.raises(NoEstimate, match="no comparison is decided"):
            fit(np.array([], bool), np.empty((0, 1)), np.array([], int))

    @pytest.mark.parametrize("n", [1, 2, 30])
    @pytest.mark.parametrize("unit", [1e-3, 1.0, 1e4])
    def test_perfect_prediction(self, n: int, unit: float) -> None:
        x = np.random.default_rng(n).normal(size=(n, 1)) * unit
        for y in (x[:, 0] > 0, x[:, 0] < 0):
            with pytest.raises(NoEstimate, match="perfectly predicted"):
                fit(y, x, np.arange(n))

    def test_perfect_prediction_but_for_rows_without_difference(self) -> None:
        x = np.r_[np.zeros(40), np.linspace(-2, 2, 20)][:, None]
        y = np.r_[np.arange(40) % 2 == 0, x[40:, 0] > 0]
        with pytest.raises(NoEstimate, match="perfectly predicted"):
            fit(y, x, np.arange(60))

    @given(
        n=st.sampled_from([12, 60, 400, 3000]),
        share=st.floats(0, 1),
        unit=st.sampled_from([1e-2, 1.0, 1e3]),
        seed=st.integers(0, 10**6),
    )
    @settings(max_examples=40, deadline=None)
    def test_perfect_prediction_by_one_of_two(self, n: int, share: float, unit: float, seed: int) -> None:
        """A covariate that differs in few rows and always sides with the preferred one has no finite coefficient
        (quasi-complete separation, Albert & Anderson 1984), although the other rows are not predicted.
        """
        random = np.random.default_rng(seed)
        x = random.normal(size=n)
        y = random.random(n) < special.expit(x)
        some = np.arange(n) < max(1, round(share * (n - 1)))
        z = np.where(some, np.where(y, 1, -1) * random.uniform(0.2, 2, n) * unit, 0.0)
        with pytest.raises(NoEstimate):
            fit(y, np.column_stack([x, z]), np.arange(n))

    def test_nearly_perfect_prediction_is_a_number(self) -> None:
        """One row on the wrong side makes the estimate finite."""
        x = np.r_[np.random.default_rng(0).uniform(0.5, 1, 300), 0.01][:, None]
        y = np.arange(301) < 300
        found = fit(y, x, np.arange(301)).coefficients[0]
        root = optimize.brentq(lambda b: (x[:, 0] * (y - special.expit(x[:, 0] * b))).sum(), 0, 100, xtol=1e-12)
        assert found == pytest.approx(root, rel=1e-8)

    @pytest.mark.parametrize("other", ["zero", "constant"])
    def test_a_covariate_that_never_differs(self, other: str) -> None:
        y, x, clusters = data(k=2)
        x[:, 1] = 0.0
        with pytest.raises(NoEstimate, match="the same for both responses"):
            fit(y, x if other == "zero" else x[:, 1:], clusters)

    def test_collinear(self) -> None:
        y, x, clusters = data(k=2)
        with pytest.raises(NoEstimate, match="collinear"):
            fit(y, np.column_stack([x, x[:, 0] - 3 * x[:, 1]]), clusters)

    def test_fewer_rows_than_covariates(self) -> None:
        y, x, _ = data(k=3)
        with pytest.raises(NoEstimate):
            fit(y[:2], x[:2], np.arange(2))

    @pytest.mark.parametrize("seed", range(4))
    def test_nearly_collinear_is_not_perfectly_predicted(self, seed: int) -> None:
        """Lengths that hardly vary make Δℓ and Δℓ² nearly proportional. The fit is the same as on their difference,
        which is well conditioned; large coefficients of opposite signs are no sign of separation.
        """
        random = np.random.default_rng(seed)
        x, rest = random.normal(size=(2, 100))
        y = random.random(100) < special.expit(x)
        expected = fit(y, np.column_stack([x, rest]), np.arange(100))
        found = fit(y, np.column_stack([x, x + 0.01 * rest]), np.arange(100))
        # The condition number of 1e4 costs four of the digits.
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)

    def test_prompts_that_are_copies_of_each_other(self) -> None:
        """Each cluster's score is then zero but for rounding, and so is the error: no number rather than p = 0."""
        x, y = np.tile([0.3, -1.2, 0.7, 0.9, -0.4], 4)[:, None], np.tile([1, 0, 0, 1, 1], 4).astype(bool)
        with pytest.raises(NoEstimate):
            found = fit(y, x, np.repeat(np.arange(4), 5))
            t_interval(found.coefficients[0], float(np.sqrt(found.covariance[0, 0])), 4)


def test_the_interval_covers() -> None:
    """95 % intervals of the coefficient hold the truth in about 95 % of 300 samples of 60 prompts with shared noise.

    Labels are drawn with a copula, so each is logistic in the difference exactly and they depend on each other within a
    prompt; differences share a part too, or the dependence would not matter. The band is 0.95 ± 4 binomial standard
    deviations (1.26 points each) with a point more below, as 60 clusters make the sandwich a little small. With every
    comparison a cluster of its own the interval must fall out of it: so the test can tell.
    """
    random = np.random.default_rng(2)
    hits = {"prompts": 0, "rows": 0}
    for _ in range(300):
        clusters = np.repeat(np.arange(60), random.integers(2, 8, 60))
        n = len(clusters)
        x = random.normal(size=60)[clusters] + 0.5 * random.normal(size=n)
        y = clustered_uniforms(random, clusters, 0.6) < special.expit(0.7 * x)
        for name, codes in (("prompts", clusters), ("rows", np.arange(n))):
            found = fit(y, x[:, None], codes)
            one = t_interval(found.coefficients[0], float(np.sqrt(found.covariance[0, 0])), found.n_clusters)
            hits[name] += one.low <= 0.7 <= one.high
    assert 0.89 <= hits["prompts"] / 300 <= 0.995
    assert hits["rows"] / 300 < 0.89
