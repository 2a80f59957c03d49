"""Means and intervals, against statsmodels and closed forms."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint, proportions_ztest

from analysis.regression.inference import (
    Array,
    Codes,
    NoEstimate,
    cluster_sums,
    clustered_mean,
    t_interval,
    two_way,
    wilson,
)
from tests.regression.made import clustered_uniforms

# Two orders of the same float64 operations on at most a few hundred numbers of size one.
EXACT = 1e-12


def codes(random: np.random.Generator, n: int, n_clusters: int) -> Codes:
    """Codes 0 … G−1 of clusters of unequal sizes, each of which occurs."""
    rest = (n_clusters * random.random(n - n_clusters) ** 2).astype(int)
    return random.permutation(np.concatenate([np.arange(n_clusters), rest]))


@pytest.mark.parametrize(("n", "n_clusters"), [(10, 2), (60, 7), (300, 299), (200, 200), (500, 40)])
def test_clustered_mean_is_that_of_statsmodels(n: int, n_clusters: int) -> None:
    random = np.random.default_rng(n)
    x, clusters = random.choice([0.0, 0.5, 1.0], n, p=[0.35, 0.05, 0.6]), codes(random, n, n_clusters)
    found = clustered_mean(x, clusters, null=0.5)
    fitted = sm.OLS(x, np.ones(n)).fit(cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False})
    groups = clusters.max() + 1
    error = fitted.bse[0] * np.sqrt(groups / (groups - 1))
    low, high = stats.t.interval(0.95, groups - 1, fitted.params[0], error)
    test = 2 * stats.t.sf(abs(fitted.params[0] - 0.5) / error, groups - 1)
    assert found.estimate == pytest.approx(fitted.params[0], rel=EXACT)
    assert found.std_error == pytest.approx(error, rel=EXACT)
    assert (found.low, found.high) == pytest.approx((low, high), rel=EXACT)
    assert found.p_value == pytest.approx(test, rel=1e-9)
    assert found.statistic == pytest.approx((fitted.params[0] - 0.5) / error, rel=1e-9)


def test_clusters_of_one_give_the_usual_t_test() -> None:
    x = np.random.default_rng(0).normal(0.1, 1, 50)
    found = clustered_mean(x, np.arange(50), null=0.0)
    usual = stats.ttest_1samp(x, 0.0)
    assert found.statistic == pytest.approx(usual.statistic, rel=EXACT)
    assert found.p_value == pytest.approx(usual.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx(usual.confidence_interval(0.95), rel=EXACT)


@given(seed=st.integers(0, 10**6), times=st.integers(2, 5))
def test_repeating_every_row_within_its_cluster_changes_nothing(seed: int, times: int) -> None:
    random = np.random.default_rng(seed)
    x, clusters = random.choice([0.0, 0.5, 1.0], 40), codes(random, 40, 9)
    once = clustered_mean(x, clusters, null=0.5)
    many = clustered_mean(np.repeat(x, times), np.repeat(clusters, times), null=0.5)
    for field in ("estimate", "std_error", "statistic", "p_value", "low", "high"):
        assert getattr(many, field) == pytest.approx(getattr(once, field), rel=1e-8, abs=1e-12)


@given(seed=st.integers(0, 10**6))
def test_the_names_of_clusters_and_the_order_of_rows(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, clusters = random.choice([0.0, 0.5, 1.0], 40), codes(random, 40, 9)
    order, names = random.permutation(40), random.permutation(clusters.max() + 1)
    once, other = clustered_mean(x, clusters, 0.5), clustered_mean(x[order], names[clusters][order], 0.5)
    assert other.std_error == pytest.approx(once.std_error, rel=1e-10)
    assert other.estimate == pytest.approx(once.estimate, rel=1e-10)


@given(seed=st.integers(0, 10**6))
def test_weights_of_whole_numbers_are_copies(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, clusters, times = random.normal(size=40), codes(random, 40, 9), random.integers(1, 5, 40)
    weighted = clustered_mean(x, clusters, 0.5, times.astype(float))
    many = clustered_mean(np.repeat(x, times), np.repeat(clusters, times), 0.5)
    assert (weighted.estimate, weighted.std_error) == pytest.approx((many.estimate, many.std_error), rel=1e-9)


class TestTwoWay:
    """Of a mean, whose variance clustered one way is G/(G−1) Σ_g (Σ_g e)² / n²."""

    @staticmethod
    def of(e: Array) -> Callable[[Codes], Array]:
        def covariance(clusters: Codes) -> Array:
            sums, g = cluster_sums(e[:, None], clusters), clusters.max() + 1
            return sums.T @ sums / len(e) ** 2 * g / (g - 1)

        return covariance

    def test_by_a_loop_over_pairs(self) -> None:
        """With no correction it is the sum over pairs of rows that share either (Cameron et al. 2011, eq. 2.9)."""
        random = np.random.default_rng(0)
        one, other, e = codes(random, 60, 12), codes(random, 60, 7), random.normal(size=60)

        def bare(clusters: Codes) -> Array:
            return self.of(e)(clusters) * clusters.max() / (clusters.max() + 1)

        made, fewest = two_way(bare, one, other)
        shares = (one[:, None] == one) | (other[:, None] == other)
        assert made[0, 0] == pytest.approx(e @ shares @ e / 3600, rel=1e-10)
        assert fewest == 7

    def test_a_way_within_the_other_adds_nothing(self) -> None:
        """Annotators that judge one prompt each: the intersection is theirs, and what is left is by prompt."""
        random = np.random.default_rng(1)
        annotators, e = codes(random, 80, 30), random.normal(size=80)
        prompts = np.unique(annotators // 4, return_inverse=True)[1]
        made, fewest = two_way(self.of(e), prompts, annotators)
        assert made[0, 0] == pytest.approx(self.of(e)(prompts)[0, 0], rel=1e-12)
        assert fewest == prompts.max() + 1

    def test_is_symmetric(self) -> None:
        random = np.random.default_rng(2)
        one, other, e = codes(random, 60, 12), codes(random, 60, 7), random.normal(size=60)
        first, second = two_way(self.of(e), one, other), two_way(self.of(e), other, one)
        assert first[0] == pytest.approx(second[0], rel=1e-12)
        assert first[1] == second[1]


class TestNoNumber:
    @pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
    def test_no_variation_under_weights(self, value: float) -> None:
        """The weighted mean is the value but for rounding, which must not become an error of 1e-18 and p = 0."""
        random = np.random.default_rng(0)
        for n in (30, 57, 400):
            with pytest.raises(NoEstimate, match="does not vary"):
                clustered_mean(np.full(n, value), np.arange(n) % 7, 0.5, random.uniform(0.1, 1, n))

    def test_no_rows(self) -> None:
        empty = np.array([])
        with pytest.raises(NoEstimate, match="no comparison is decided"):
            clustered_mean(empty, empty.astype(int), 0.5)
        with pytest.raises(NoEstimate, match="no comparison is decided"):
            wilson(0.0, 0)

    def test_one_cluster(self) -> None:
        with pytest.raises(NoEstimate, match="one prompt"):
            clustered_mean(np.array([0.0, 1.0, 1.0]), np.zeros(3, int), 0.5)

    @pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
    def test_no_variation(self, value: float) -> None:
        with pytest.raises(NoEstimate, match="does not vary"):
            clustered_mean(np.full(30, value), np.arange(30) % 7, 0.5)

    @pytest.mark.parametrize("wins", [(1, 0), (1, 1, 0), (1, 0, 0, 0, 0, 0, 1), (1, 1, 1, 0, 0, 0)], ids=str)
    def test_no_variation_between_clusters(self, wins: tuple[float, ...]) -> None:
        """Every prompt has the same rate, so the sandwich is zero: rounding must not make it 1e-17 and p = 0."""
        for n_clusters in (2, 3, 10, 50):
            x, clusters = np.tile(np.array(wins, float), n_clusters), np.repeat(np.arange(n_clusters), len(wins))
            with pytest.raises(NoEstimate):
                clustered_mean(x, clusters, 0.5)

    @pytest.mark.parametrize(
        ("estimate", "error"), [(np.nan, 1.0), (1.0, np.nan), (1.0, 0.0), (np.inf, 1.0), (1.0, -1.0)]
    )
    def test_no_interval(self, estimate: float, error: float) -> None:
        with pytest.raises(NoEstimate):
            t_interval(estimate, error, 10)


class TestWilson:
    @given(n=st.integers(1, 5000), share=st.floats(0, 1))
    def test_is_that_of_statsmodels(self, n: int, share: float) -> None:
        successes = round(share * n)
        found = wilson(float(successes), n)
        low, high = proportion_confint(successes, n, method="wilson")
        # Ends at 0 and 1 are cut there; statsmodels may leave a rounding error.
        assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12, abs=1e-15)
        assert found.estimate == successes / n
        statistic, p_value = proportions_ztest(successes, n, value=0.5, prop_var=0.5)
        assert found.statistic == pytest.approx(statistic, rel=1e-10, abs=1e-12)
        assert found.p_value == pytest.approx(p_value, rel=1e-8)
        assert 0 <= found.low <= found.estimate <= found.high <= 1 or found.estimate in (0, 1)

    def test_half_successes(self) -> None:
        low, high = proportion_confint(7.5, 12, method="wilson")
        assert (wilson(7.5, 12).low, wilson(7.5, 12).high) == pytest.approx((low, high), rel=1e-12)

    @given(n=st.integers(1, 500), successes=st.integers(0, 500))
    def test_is_symmetric(self, n: int, successes: int) -> None:
        assume(successes <= n)
        one, other = wilson(successes, n), wilson(n - successes, n)
        assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-12)
        assert one.p_value == pytest.approx(other.p_value, rel=1e-9)


def test_cluster_sums() -> None:
    random = np.random.default_rng(0)
    values, clusters = random.normal(size=(50, 3)), codes(random, 50, 8)
    expected = pd.DataFrame(values).groupby(clusters).sum().to_numpy()
    np.testing.assert_allclose(cluster_sums(values, clusters), expected, rtol=1e-12, atol=1e-14)


def test_the_interval_covers() -> None:
    """95 % intervals of the rate hold the truth in about 95 % of 400 samples of 60 prompts with shared fortunes.

    The band is 0.95 ± 4 binomial standard deviations (1.1 points each), and a point more below, since the sandwich is
    known to be a little small at 60 unequal clusters. Wilson's interval, which takes the comparisons as independent,
    must fall out of it: so the test can tell.
    """
    random = np.random.default_rng(1)
    hits = {"clustered": 0, "wilson": 0}
    for _ in range(400):
        clusters = np.repeat(np.arange(60), random.integers(1, 9, 60))
        wins = (clustered_uniforms(random, clusters, 0.4) < 0.6).astype(float)
        one, other = clustered_mean(wins, clusters, 0.5), wilson(wins.sum(), len(wins))
        hits["clustered"] += one.low <= 0.6 <= one.high
        hits["wilson"] += other.low <= 0.6 <= other.high
    assert 0.895 <= hits["clustered"] / 400 <= 0.994
    assert hits["wilson"] / 400 < 0.895
