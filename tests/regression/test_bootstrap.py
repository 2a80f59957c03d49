"""Bootstrap-t intervals where prompts are few, and recovery of planted effects."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy import special

from analysis.regression.bootstrap import BOOTSTRAP, DRAWS, FEW_CLUSTERS, bootstrap_t, draw_logit, draw_mean
from analysis.regression.bradley_terry import fit
from analysis.regression.fitting import Fitter
from analysis.regression.inference import CLUSTERED, Interval, NoEstimate, clustered_mean, t_interval
from analysis.regression.recovery import Recovery, recover
from tests.regression.made import MARGIN, bare_part, clustered_uniforms, fit_rows, joined


def data(n_clusters: int, each: int = 8, seed: int = 0, shared: float = 1.0) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(n_clusters), each)
    x = random.normal(size=len(clusters)) + shared * random.normal(size=n_clusters)[clusters]
    return clustered_uniforms(random, clusters, 0.2) < special.expit(0.6 * x), x[:, None], clusters


def mean_interval(x: Any, clusters: Any, seed: int, weights: Any = None) -> tuple[Interval, Interval]:
    found = clustered_mean(x, clusters, 0.5, weights)
    estimate, error = np.array([found.estimate]), np.array([found.std_error])
    draw = draw_mean(x, clusters, weights)
    return bootstrap_t(estimate, error, 0.5, clusters.max() + 1, draw, np.random.default_rng(seed))[0], found


class TestDraws:
    """What a draw gives is the estimate on the drawn prompts, each copy a prompt of its own."""

    @staticmethod
    def drawn(counts: Any, clusters: Any) -> tuple[Any, Any]:
        rows = [np.flatnonzero(clusters == g) for g, times in enumerate(counts) for _ in range(times)]
        return np.concatenate(rows), np.repeat(np.arange(len(rows)), [len(r) for r in rows])

    @pytest.mark.parametrize("seed", range(3))
    def test_of_means(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        y, _, clusters = data(20)
        weights = random.uniform(0.5, 2, len(y))
        counts = np.bincount(random.integers(0, 20, 20), minlength=20)
        rows, names = self.drawn(counts, clusters)
        for w in (None, weights):
            expected = clustered_mean(y[rows].astype(float), names, 0.5, None if w is None else w[rows])
            ((mean,),), ((error,),) = draw_mean(y.astype(float), clusters, w)(counts[None].astype(float))
            assert (mean, error) == pytest.approx((expected.estimate, expected.std_error), rel=1e-10)

    @pytest.mark.parametrize("seed", range(3))
    def test_of_logits(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        y, x, clusters = data(30)
        x = np.column_stack([x, random.normal(size=len(y))])
        weights = random.uniform(0.5, 2, len(y))
        counts = np.bincount(random.integers(0, 30, 30), minlength=30)
        rows, names = self.drawn(counts, clusters)
        for w in (None, weights):
            expected = fit(y[rows], x[rows], names, None if w is None else w[rows])
            (beta,), (errors,) = draw_logit(y, x, clusters, w, np.zeros(2))(counts[None].astype(float))
            np.testing.assert_allclose(beta, expected.coefficients, rtol=1e-7)
            np.testing.assert_allclose(errors, np.sqrt(np.diag(expected.covariance)), rtol=1e-7)

    def test_of_what_cannot_be_fitted(self) -> None:
        x = np.linspace(-1, 1, 20)[:, None]
        (beta,), (errors,) = draw_logit(x[:, 0] > 0, x, np.arange(20), None, np.ones(1))(np.ones((1, 20)))
        # Newton's method runs away, and says so in time or by an error that is no number's.
        assert np.isnan(beta).all() or not np.isfinite(errors).all() or np.abs(beta).max() > 30


class TestIntervals:
    def test_are_near_those_by_student_where_prompts_are_many_and_alike(self) -> None:
        """Quantiles of 999 draws are known to about 0.08 errors at 2.5 %: four of these."""
        for seed in range(4):
            y, x, clusters = data(45, 20, seed, shared=0)
            made, usual = mean_interval(y.astype(float), clusters, seed)
            assert made.estimate == usual.estimate and made.std_error == usual.std_error
            assert made.statistic == pytest.approx(usual.statistic, rel=1e-12)
            assert (made.low, made.high) == pytest.approx((usual.low, usual.high), abs=0.35 * usual.std_error)
            found = fit(y, x, clusters)
            error = np.sqrt(np.diag(found.covariance))
            draw = draw_logit(y, x, clusters, None, found.coefficients)
            (one,) = bootstrap_t(found.coefficients, error, 0.0, 45, draw, np.random.default_rng(seed))
            other = t_interval(found.coefficients[0], error[0], 45)
            assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.35 * error[0])

    def test_one_seed_one_interval(self) -> None:
        y, _, clusters = data(20)
        assert mean_interval(y * 1.0, clusters, 3) == mean_interval(y * 1.0, clusters, 3)
        assert mean_interval(y * 1.0, clusters, 3) != mean_interval(y * 1.0, clusters, 4)

    def test_p_values_agree_with_intervals(self) -> None:
        """Below 5 % where the null is outside the interval; the ends of both are those of the same draws."""
        inside = []
        for seed in range(12):
            y, _, clusters = data(25, 6, seed)
            made, _ = mean_interval(y.astype(float) * 0.8 + 0.2, clusters, seed)
            inside.append((made.low <= 0.5 <= made.high, made.p_value))
            assert 0 < made.p_value <= 1
        for holds, p in inside:
            assert holds == (p > 0.05) or abs(p - 0.05) < 0.01

    def test_too_few_prompts(self) -> None:
        with pytest.raises(NoEstimate, match="only 2 prompts"):
            mean_interval(np.array([1.0, 1.0, 0.0, 1.0, 0.0]), np.array([0, 0, 0, 1, 1]), 0)

    @pytest.mark.parametrize("n_prompts", [20, FEW_CLUSTERS + 10])
    def test_who_gets_one(self, n_prompts: int) -> None:
        for name in ("rate", "rate_prompts", "bt", "bt_length", "quadratic", "length_only"):
            row = fit_rows(name, joined(300, n_prompts))[0]
            assert row["covariance"] == (BOOTSTRAP if n_prompts < FEW_CLUSTERS else CLUSTERED)
            assert row["conf_low"] < row["estimate"] < row["conf_high"]
        assert str(DRAWS) in BOOTSTRAP

    def test_the_interval_of_a_rate_stays_within_0_and_1(self) -> None:
        prompts = np.repeat(np.arange(12), 3)
        wins = np.ones(36, bool)
        wins[[0, 4, 9]] = False
        row = Fitter(bare_part(np.ones(36), wins, prompts), MARGIN, np.random.default_rng(0)).rows("rate")[0]
        assert row["status"] != "ok" or 0 <= row["conf_low"] < row["conf_high"] <= 1

    def test_covers_better_than_student_s_t_where_prompts_are_few(self) -> None:
        """Twelve unequal prompts, 200 samples: within four binomial SDs (1.5 points each) of 95 %, and two more."""
        random, hits = np.random.default_rng(3), []
        for seed in range(200):
            clusters = np.repeat(np.arange(14), random.integers(2, 12, 14))
            x = (clustered_uniforms(random, clusters, 0.3) < 0.6).astype(float)
            made, _ = mean_interval(x, clusters, seed)
            hits.append(made.low <= 0.6 <= made.high)
        assert 0.87 <= np.mean(hits) <= 1


class TestRecovery:
    @staticmethod
    def part(n_prompts: int = 150, each: int = 4) -> Any:
        random = np.random.default_rng(0)
        prompts = np.repeat(np.arange(n_prompts), each)
        delta = random.normal(size=len(prompts)) * 0.7 + random.normal(size=n_prompts)[prompts] * 0.5
        return bare_part(delta, random.random(len(prompts)) < 0.5, prompts)

    def test_finds_what_was_planted(self) -> None:
        """150 draws: bias within four of its own errors and 2 %; coverage within four binomial SDs (1.8 points)."""
        found = list(recover(self.part(), np.random.default_rng(0), draws=150))
        assert [(r.specification, r.alpha) for r in found] == [
            (name, alpha) for alpha in (0.0, 0.25, 0.57, 1.0) for name in ("bt", "rate")
        ]
        for r in found:
            assert r.draws == 150
            assert abs(r.bias) < 4 * r.noise
            assert 0.87 <= r.coverage <= 1
        assert [r.truth for r in found if r.specification == "bt"] == [0.0, 0.25, 0.57, 1.0]
        rates = [r.truth for r in found if r.specification == "rate"]
        assert rates[0] == 0.5 and all(x < y for x, y in pairwise(rates))

    def test_relative_bias_is_that_of_a_coefficient(self) -> None:
        made = {(r.specification, r.alpha): r for r in recover(self.part(40), np.random.default_rng(1), (0.0, 1.0), 20)}
        assert made["bt", 0.0].relative_bias is None and made["rate", 1.0].relative_bias is None
        one = made["bt", 1.0]
        assert one.relative_bias == pytest.approx(one.bias, rel=1e-12)

    def test_one_seed_one_result(self) -> None:
        def made(seed: int) -> list[Recovery]:
            return list(recover(self.part(20), np.random.default_rng(seed), (0.5,), 5))

        assert made(0) == made(0) != made(1)

    def test_nothing_to_plant_on(self) -> None:
        part = self.part(5)
        with pytest.raises(NoEstimate, match="no comparison is decided"):
            list(recover(part.narrowed(np.zeros(len(part.cell), bool)), np.random.default_rng(0)))
