"""Ordered logit, against R, statsmodels, its likelihood written out, closed forms, and what algebra says of it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from statsmodels.miscmodels.ordinal_model import OrderedModel

from analysis.regression.inference import NoEstimate, t_interval
from analysis.regression.ordered import MOST_LEVELS, OrderedFit, fit
from tests.regression.made import clustered_uniforms
from tests.regression.test_against_r import COEFFICIENT, ERROR, FOLDER, R

# The same maximum by the same method, in other numbers: Newton's last step leaves rounding, which the condition of
# these data (below 100) makes no larger than this. Covariances are of its square.
SAME = 1e-8
PERFECT = "perfectly predicted"


def data(
    n: int = 400, k: int = 3, levels: int = 5, n_clusters: int = 40, seed: int = 0, slope: float = 1.0
) -> tuple[Any, Any, Any]:
    """Ratings 0 … levels − 1 that depend on each other within clusters, and covariates of different units."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, k)) * [1.0, 0.05, 20.0][:k]
    clusters = np.unique(random.integers(0, n_clusters, n), return_inverse=True)[1]
    latent = slope * x @ np.array([0.8, -6.0, 0.02])[:k]
    latent += special.logit(clustered_uniforms(random, clusters, 0.3))
    cuts = np.quantile(latent, np.cumsum(1 + np.arange(levels - 1) % 3) / (2 * levels))  # levels of unequal size
    return np.digitize(latent, cuts), x, clusters


def log_probabilities(y: Any, x: Any, coefficients: Any, thresholds: Any) -> Any:
    """log P of each row, by the formula as it stands."""
    below = np.column_stack([special.expit(t - x @ coefficients) for t in thresholds])
    below = np.column_stack([np.zeros(len(y)), below, np.ones(len(y))])
    rows = np.arange(len(y))
    return np.log(below[rows, y + 1] - below[rows, y])


def same(found: OrderedFit, expected: OrderedFit, rtol: float = SAME) -> None:
    """Both fits are equal, but for rounding."""
    np.testing.assert_allclose(found.coefficients, expected.coefficients, rtol=rtol)
    np.testing.assert_allclose(found.thresholds, expected.thresholds, rtol=rtol, atol=rtol)
    errors = np.sqrt(np.diag(expected.covariance))
    # Off the diagonal a covariance may be near zero: the scale is that of the errors.
    shown = found.covariance / np.outer(errors, errors)
    np.testing.assert_allclose(shown, expected.covariance / np.outer(errors, errors), rtol=10 * rtol, atol=10 * rtol)
    # A sum of the same terms, divided by n.
    assert found.mean_log_likelihood == pytest.approx(expected.mean_log_likelihood, rel=1e-12)
    assert found.n_clusters == expected.n_clusters


def test_r() -> None:
    """Tolerances are those of `test_against_r`: polr's and clm's own optimisers agree with each other to 3e-8."""
    d = pd.read_csv(FOLDER / "comparisons.csv")
    logprob, words, quality = (np.r_[d[f"{name}_a"], d[f"{name}_b"]] for name in ("logprob", "words", "quality"))
    prompts = np.unique(np.tile(d["prompt"], 2), return_inverse=True)[1]
    found = fit(quality, np.column_stack([logprob, np.log(words / 100)]), prompts)
    for name in ("ordered", "ordered_clm"):
        np.testing.assert_allclose(found.coefficients, R[name]["estimate"], rtol=COEFFICIENT)
        np.testing.assert_allclose(found.thresholds, R[name]["thresholds"], rtol=COEFFICIENT)
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance)), R["ordered"]["std_error"], rtol=ERROR)
    assert found.n_clusters == d["prompt"].nunique()
    # Flat at its maximum: estimates that are off by 1e-5 change it by 1e-10.
    assert found.mean_log_likelihood * len(quality) == pytest.approx(R["ordered"]["log_likelihood"], rel=1e-9)


@pytest.mark.parametrize("levels", [2, 3, 5, MOST_LEVELS])
@pytest.mark.parametrize("k", [1, 3])
def test_statsmodels_ordered_model(levels: int, k: int) -> None:
    y, x, clusters = data(1_000, k, levels)
    found = fit(y, x, clusters)
    model = OrderedModel(y, x, distr="logit")
    # Its parameters are the first threshold and logarithms of the distances; its search wants a start nearby.
    start = np.concatenate([found.coefficients * 1.1, found.thresholds[:1], np.log(np.diff(found.thresholds))])
    kinds = {"cov_type": "cluster", "cov_kwds": {"groups": clusters, "use_correction": False}}
    expected = model.fit(start, method="newton", disp=0, **kinds)
    # Its scores and its information are numerical derivatives: the maximum is where they are about 1e-8, and the
    # errors, of derivatives of derivatives, have some six digits.
    np.testing.assert_allclose(found.coefficients, expected.params[:k], rtol=1e-6)
    np.testing.assert_allclose(found.thresholds, model.transform_threshold_params(expected.params)[1:-1], atol=1e-6)
    errors = expected.bse[:k] * np.sqrt(found.n_clusters / (found.n_clusters - 1))
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance)), errors, rtol=1e-5)
    assert found.mean_log_likelihood == pytest.approx(expected.llf / len(y), rel=1e-10)


@pytest.mark.parametrize("n_clusters", [5, 40, 400])
def test_two_levels_are_a_logit_with_a_constant(n_clusters: int) -> None:
    y, x, clusters = data(levels=2, n_clusters=n_clusters)
    found = fit(y, x, clusters)
    groups = {"groups": clusters, "use_correction": False}
    expected = sm.Logit(y, sm.add_constant(x)).fit(
        method="newton", tol=1e-12, disp=0, cov_type="cluster", cov_kwds=groups
    )
    # Both take Newton's steps to where they are rounding.
    np.testing.assert_allclose(found.coefficients, expected.params[1:], rtol=1e-7)
    np.testing.assert_allclose(found.thresholds, -expected.params[:1], rtol=1e-7)
    covariance = expected.cov_params()[1:, 1:] * found.n_clusters / (found.n_clusters - 1)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-6, atol=1e-10)
    assert found.mean_log_likelihood == pytest.approx(expected.llf / len(y), rel=1e-12)


def test_a_table_of_two_by_two_in_closed_form() -> None:
    """β = log odds ratio, and with clusters of one its variance is G/(G−1) Σ 1/n: the model holds exactly."""
    counts = {(0, 0): 40, (0, 1): 25, (1, 0): 15, (1, 1): 60}
    x, y = (np.repeat([key[i] for key in counts], list(counts.values())) for i in (0, 1))
    found, n = fit(y, x[:, None].astype(float), np.arange(len(y))), len(y)
    # Newton's steps end at rounding.
    assert found.coefficients[0] == pytest.approx(np.log(40 * 60 / (25 * 15)), rel=1e-10)
    assert found.thresholds[0] == pytest.approx(np.log(40 / 25), rel=1e-10)
    assert found.covariance[0, 0] == pytest.approx(sum(1 / c for c in counts.values()) * n / (n - 1), rel=1e-9)


@pytest.mark.parametrize("levels", [2, 3, 5, MOST_LEVELS])
@pytest.mark.parametrize("slope", [0.1, 1.0, 4.0])
def test_the_likelihood_by_its_formula_and_that_it_is_the_highest(levels: int, slope: float) -> None:
    y, x, clusters = data(levels=levels, slope=slope)
    found = fit(y, x, clusters)
    assert np.all(np.diff(found.thresholds) > 0)
    at = log_probabilities(y, x, found.coefficients, found.thresholds)
    # The formula loses digits of 1e-16 / P where P is small; here the smallest P is above 1e-6.
    assert at.min() > np.log(1e-6)
    assert found.mean_log_likelihood == pytest.approx(at.mean(), rel=1e-11)
    for step in (1e-3, -1e-3):
        for j in range(len(found.coefficients)):
            moved = found.coefficients + step / x[:, j].std() * (np.arange(len(found.coefficients)) == j)
            assert log_probabilities(y, x, moved, found.thresholds).mean() < at.mean()
        for j in range(len(found.thresholds)):
            # Thresholds must not cross.
            moved = found.thresholds + step / 10 * (np.arange(len(found.thresholds)) == j)
            assert log_probabilities(y, x, found.coefficients, moved).mean() < at.mean()


class TestInvariance:
    @given(seed=st.integers(0, 10**6), levels=st.integers(2, 6))
    @settings(max_examples=25, deadline=None)
    def test_the_order_of_rows_and_the_names_of_clusters(self, seed: int, levels: int) -> None:
        random = np.random.default_rng(seed)
        y, x, clusters = data(levels=levels, seed=seed)
        order, names = random.permutation(len(y)), random.permutation(clusters.max() + 1)
        same(fit(y[order], x[order], names[clusters][order]), fit(y, x, clusters))

    @pytest.mark.parametrize(
        "relabelled",
        [
            lambda y: 1_000.0 * y - 7,
            lambda y: np.exp(3.0 * y),
            lambda y: -1 / (y + 0.5),
            lambda y: y / 10,
            lambda y: np.array([-1e300, 1e-9, 2e-9, 5.0, 1e300])[y],
        ],
    )
    def test_what_the_levels_are_called(self, relabelled: Callable[[Any], Any]) -> None:
        """Their order alone matters: not a bit changes."""
        y, x, clusters = data()
        one, other = fit(y, x, clusters), fit(relabelled(y), x, clusters)
        for name in ("coefficients", "covariance", "thresholds"):
            np.testing.assert_array_equal(getattr(other, name), getattr(one, name))
        assert other.mean_log_likelihood == one.mean_log_likelihood

    @pytest.mark.parametrize("shift", [0.0, -3.0, 1e3])
    @pytest.mark.parametrize("unit", [1e-6, -1.0, 1e6])
    def test_units_and_zeros_of_the_covariates(self, unit: float, shift: float) -> None:
        """x → u (x + c) makes β → β / u and each threshold θ → θ + Σ c β."""
        y, x, clusters = data()
        one, spread = fit(y, x, clusters), x.std(0)
        other = fit(y, unit * (x + shift * spread), clusters)
        expected = OrderedFit(
            one.coefficients / unit,
            one.covariance / unit**2,
            one.thresholds + shift * spread @ one.coefficients,
            one.n_clusters,
            one.mean_log_likelihood,
        )
        # A shift of a thousand standard deviations costs three digits of sixteen.
        same(other, expected, rtol=SAME)

    @given(seed=st.integers(0, 10**6))
    @settings(max_examples=10, deadline=None)
    def test_other_covariates_of_the_same_space(self, seed: int) -> None:
        """x → x A makes β → A⁻¹ β and leaves the thresholds."""
        y, x, clusters = data(seed=seed)
        x = x / x.std(0)
        mix = np.eye(3) + np.random.default_rng(seed).uniform(-0.3, 0.3, (3, 3))
        one, other, back = fit(y, x, clusters), fit(y, x @ mix, clusters), np.linalg.inv(mix)
        expected = back @ one.coefficients, back @ one.covariance @ back.T
        np.testing.assert_allclose(other.coefficients, expected[0], rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(other.covariance, expected[1], rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(other.thresholds, one.thresholds, rtol=1e-7, atol=1e-9)

    @pytest.mark.parametrize("levels", [2, 3, 5])
    def test_the_ratings_the_other_way_round(self, levels: int) -> None:
        """With the worst the best, every sign turns, and the thresholds stand in the other order."""
        y, x, clusters = data(levels=levels)
        one = fit(y, x, clusters)
        expected = OrderedFit(
            -one.coefficients, one.covariance, -one.thresholds[::-1], one.n_clusters, one.mean_log_likelihood
        )
        same(fit(-y, x, clusters), expected)

    @pytest.mark.parametrize("times", [2, 7])
    def test_every_row_again_within_its_cluster(self, times: int) -> None:
        """Copies bring no information, and the errors take them for none."""
        rows = data()
        same(fit(*(np.repeat(v, times, axis=0) for v in rows)), fit(*rows))


class TestExtremes:
    def stable(self, y: Any, x: Any, found: OrderedFit) -> Any:
        """The formula with each difference taken on the side where nothing cancels."""
        bounds = np.r_[-np.inf, found.thresholds, np.inf]
        logit = x @ found.coefficients
        upper, lower = bounds[y + 1] - logit, bounds[y] - logit
        turn = np.where(lower > 0, -1.0, 1.0)
        ends = special.expit(turn * upper), special.expit(turn * lower)
        return np.log(turn * (ends[0] - ends[1]))

    @pytest.mark.parametrize("slope", [10.0, 40.0])
    def test_steep_but_not_separated(self, slope: float) -> None:
        """Some rows stand so far out that σ(u) − σ(l) is 0 in floating point."""
        random = np.random.default_rng(0)
        x = random.normal(size=(20_000, 1))
        y = np.digitize(slope * x[:, 0] + random.logistic(size=len(x)), slope * np.array([-1.0, 0.0, 1.0]))
        # One row of a middle level, far below it.
        x, y = np.r_[x, [[-2.5]]], np.r_[y, 2]
        found = fit(y, x, np.arange(len(y)) % 500)
        assert found.coefficients[0] == pytest.approx(slope, rel=0.15)  # the row pulls it down
        error = np.sqrt(found.covariance[0, 0])
        assert np.isfinite(found.covariance).all() and 0 < error < 0.2 * slope
        assert found.mean_log_likelihood == pytest.approx(self.stable(y, x, found).mean(), rel=1e-10)
        if slope == 40:
            with np.errstate(divide="ignore"):
                assert log_probabilities(y, x, found.coefficients, found.thresholds)[-1] == -np.inf

    @pytest.mark.parametrize("furthest", [1e2, 1e4])
    def test_a_covariate_with_outliers(self, furthest: float) -> None:
        """Its standard deviation says little of it, and a large coefficient in those units is no sign of separation."""
        y, x, clusters = data(3_000, 1, 4)
        one = fit(y, x, clusters)
        # They have the level that any coefficient above zero gives them almost surely.
        far = np.r_[x, np.full((20, 1), furthest), np.full((20, 1), -furthest)]
        found = fit(np.r_[y, np.full(20, 3), np.full(20, 0)], far, np.r_[clusters, np.arange(40)])
        np.testing.assert_allclose(found.coefficients, one.coefficients, rtol=1e-6)
        np.testing.assert_allclose(found.covariance, one.covariance, rtol=1e-5)

    def test_nearly_perfect_prediction_is_a_number(self) -> None:
        """One row on the wrong side makes the estimates finite."""
        x = np.linspace(-1, 1, 300)
        y: Any = np.digitize(x, [-0.4, 0.4])
        y[90] = 1  # the last ones of the lowest level and the first ones of the middle
        y[91:95] = 0
        y[208:212], y[212:214] = 2, 1
        found = fit(y, x[:, None], np.arange(300))
        assert np.isfinite(found.coefficients[0]) and found.coefficients[0] > 20
        at = self.stable(y, x[:, None], found)
        assert found.mean_log_likelihood == pytest.approx(at.mean(), rel=1e-10)

    @pytest.mark.parametrize("seed", range(4))
    def test_nearly_collinear_is_not_perfectly_predicted(self, seed: int) -> None:
        """The fit is the same as on the covariates' difference; large coefficients of opposite signs say nothing."""
        random = np.random.default_rng(seed)
        x, rest = random.normal(size=(2, 200))
        y = np.digitize(x + 1.5 * rest + random.logistic(size=200), [-1, 1]).astype(float)
        expected = fit(y, np.column_stack([x, rest]), np.arange(200))
        found = fit(y, np.column_stack([x, x + 0.01 * rest]), np.arange(200))
        # The condition number of 1e4 costs four of the digits.
        assert found.coefficients[1] / 100 == pytest.approx(expected.coefficients[1], rel=1e-6)
        assert found.coefficients.sum() == pytest.approx(expected.coefficients[0], rel=1e-4)
        assert found.mean_log_likelihood == pytest.approx(expected.mean_log_likelihood, rel=1e-10)

    def test_a_level_that_one_row_has(self) -> None:
        y, x, clusters = data()
        y[0] = 9
        found = fit(y, x, clusters)
        assert len(found.thresholds) == 5 and np.isfinite(found.covariance).all()
        assert found.mean_log_likelihood == pytest.approx(
            log_probabilities(np.unique(y, return_inverse=True)[1], x, found.coefficients, found.thresholds).mean(),
            rel=1e-10,
        )


class TestNoNumber:
    def test_one_level(self) -> None:
        y, x, clusters = data()
        with pytest.raises(NoEstimate, match="the ratings have 1 level"):
            fit(np.ones_like(y), x, clusters)

    def test_no_rows(self) -> None:
        with pytest.raises(NoEstimate, match="the ratings have 0 levels"):
            fit(np.array([]), np.empty((0, 1)), np.array([], int))

    def test_too_many_levels(self) -> None:
        y, x, clusters = data(2_000, levels=MOST_LEVELS)
        assert len(fit(y, x, clusters).thresholds) == MOST_LEVELS - 1
        y[::50] = MOST_LEVELS
        with pytest.raises(NoEstimate, match=f"have {MOST_LEVELS + 1} levels; an ordered logit takes 2 to"):
            fit(y, x, clusters)

    @pytest.mark.parametrize("value", [0.0, 0.1, -3e7])
    @pytest.mark.parametrize("at", [0, 1, 2])
    def test_a_covariate_that_is_constant(self, value: float, at: int) -> None:
        """Its mean may differ from it by rounding, which is no variation."""
        y, x, clusters = data()
        x[:, at] = value
        with pytest.raises(NoEstimate, match="a covariate is the same for all responses"):
            fit(y, x, clusters)

    @pytest.mark.parametrize("unit", [1e-4, 1.0, 1e4])
    def test_collinear(self, unit: float) -> None:
        """With the constant that the thresholds are, too."""
        y, x, clusters = data(k=2)
        with pytest.raises(NoEstimate, match="the covariates are collinear"):
            fit(y, np.column_stack([x, unit * (x[:, 0] - 3 * x[:, 1] + 5)]), clusters)

    def test_fewer_rows_than_covariates(self) -> None:
        _, x, _ = data()
        with pytest.raises(NoEstimate, match="collinear"):
            fit(np.array([0, 1]), x[:2], np.arange(2))

    @pytest.mark.parametrize("sign", [1, -1])
    @pytest.mark.parametrize("unit", [1e-3, 1.0, 1e4])
    @pytest.mark.parametrize("levels", [2, 3, 5])
    def test_perfect_prediction(self, levels: int, unit: float, sign: int) -> None:
        x = np.random.default_rng(levels).normal(size=60)
        y = np.digitize(x, np.linspace(-1, 1, levels + 1)[1:-1]).astype(float)
        with pytest.raises(NoEstimate, match=PERFECT):
            fit(sign * y, unit * x[:, None], np.arange(60))

    def test_perfect_prediction_by_two_together(self) -> None:
        x = np.random.default_rng(1).normal(size=(200, 2))
        y = np.digitize(x @ [1.0, -2.0], [-2, 0, 1]).astype(float)
        with pytest.raises(NoEstimate, match=PERFECT):
            fit(y, x, np.arange(200))

    @given(
        n=st.sampled_from([30, 100, 600]),
        levels=st.integers(2, 5),
        share=st.floats(0, 0.5),
        unit=st.sampled_from([1e-2, 1.0, 1e3]),
        both_ends=st.booleans(),
        seed=st.integers(0, 10**6),
    )
    @settings(max_examples=60, deadline=None)
    def test_perfect_prediction_by_one_of_two(
        self, n: int, levels: int, share: float, unit: float, both_ends: bool, seed: int
    ) -> None:
        """A covariate that is zero but in some rows of the best level (and below zero in some of the worst) has no
        finite coefficient, although the other rows are not predicted.
        """
        self.separated_by_one_of_two(n, levels, share, unit, both_ends, seed)

    @pytest.mark.parametrize(("n", "levels", "share", "unit"), [(100, 2, 0.01, 1e-2), (30, 3, 0.5, 1e-3)])
    def test_no_step_is_the_last_one(self, n: int, levels: int, share: float, unit: float) -> None:
        """Where rounding is all that is left of the gradient, its steps are of any size, now and then of none."""
        for seed in range(300):
            self.separated_by_one_of_two(n, levels, share, unit, True, seed)

    def separated_by_one_of_two(
        self, n: int, levels: int, share: float, unit: float, both_ends: bool, seed: int
    ) -> None:
        random = np.random.default_rng(seed)
        x = random.normal(size=n)
        latent = 0.8 * x + random.logistic(size=n)
        y = np.digitize(latent, np.quantile(latent, np.arange(1, levels) / levels))
        some = random.random(n) < share
        best = y == y.max()
        some[best.argmax()] = True  # one row at least
        z = np.where(some & best, 1.0, 0.0)
        if both_ends:
            z -= some & (y == 0)
        with pytest.raises(NoEstimate, match=PERFECT):
            fit(y.astype(float), np.column_stack([x, unit * z]), np.arange(n) % 30)

    def test_clusters_that_are_copies_of_each_other(self) -> None:
        """Each cluster's score is then zero but for rounding, and so is the error: no number rather than p = 0."""
        x, y = np.tile([0.3, -1.2, 0.7, 0.9, -0.4, 0.1], 60)[:, None], np.tile([1, 0, 0, 2, 1, 2], 60)
        with pytest.raises(NoEstimate):
            found = fit(y, x, np.repeat(np.arange(60), 6))
            t_interval(found.coefficients[0], float(np.sqrt(found.covariance[0, 0])), 60)

    def test_one_cluster(self) -> None:
        """The estimate stands, and there is no error."""
        y, x, clusters = data()
        found = fit(y, x, np.zeros_like(clusters))
        np.testing.assert_allclose(found.coefficients, fit(y, x, clusters).coefficients, rtol=SAME)
        with pytest.raises(NoEstimate, match="one prompt"):
            t_interval(found.coefficients[0], float(np.sqrt(found.covariance[0, 0])), found.n_clusters)
