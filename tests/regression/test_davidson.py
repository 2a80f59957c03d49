"""Davidson's model of ties: against R, closed forms, its likelihood, and what algebra says of it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from analysis.regression import bradley_terry
from analysis.regression.davidson import expected, fit
from analysis.regression.inference import NoEstimate
from tests.regression.test_against_r import COEFFICIENT, ERROR
from tests.regression.test_symmetric import R, data, same


def made_up(n: int = 400, seed: int = 0, nu: float = 0.6) -> tuple[Any, Any, Any]:
    """Judgements, two covariates of different units, and clusters."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 2)) * [1.0, 20.0]
    half = x @ [0.8, 0.02] / 2
    weights = np.column_stack([np.exp(half), np.full(n, nu), np.exp(-half)])
    drawn = (random.random(n)[:, None] > (weights / weights.sum(1, keepdims=True)).cumsum(1)).sum(1)
    return 1.0 - drawn, x, np.unique(random.integers(0, n // 5, n), return_inverse=True)[1]


@pytest.mark.parametrize("name", ["ties", "ties_both"])
def test_clogit_and_vgam(name: str) -> None:
    """R's clogit among three alternatives, clustered, and VGAM's multinomial with constraints."""
    terms = ["delta", "length"][: len(R[name]["term"]) - 1]
    given = data()
    sign = np.sign(given["strength"].to_numpy(float))
    found = fit(sign, given[terms].to_numpy(), np.unique(given["prompt"], return_inverse=True)[1])
    for peer in (name, name.replace("ties", "ties_vgam")):
        np.testing.assert_allclose(np.r_[found.coefficients, found.levels], R[peer]["estimate"], rtol=COEFFICIENT)
        assert found.mean_log_likelihood * len(given) == pytest.approx(R[peer]["log_likelihood"], rel=1e-9)
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance)), R[name]["std_error"], rtol=ERROR)


def test_one_difference_in_closed_form() -> None:
    """e^β = won / lost and ν = tied / √(won · lost); their variances are those of logarithms of counts."""
    won, tied, lost, n = 60, 15, 25, 100
    found = fit(np.repeat([1.0, 0.0, -1.0], [won, tied, lost]), np.ones((n, 1)), np.arange(n))
    assert found.coefficients[0] == pytest.approx(np.log(won / lost), rel=1e-10)
    assert found.levels[0] == pytest.approx(np.log(tied / np.sqrt(won * lost)), rel=1e-10)
    variances = [1 / won + 1 / lost, 1 / tied + (1 / won + 1 / lost) / 4]
    np.testing.assert_allclose(np.diag(found.covariance), np.array(variances) * n / (n - 1), rtol=1e-9)


def test_the_likelihood_by_its_formula_and_that_it_is_the_highest() -> None:
    sign, x, clusters = made_up()
    found, tie = fit(sign, x, clusters), sign == 0

    def mean(parameters: Any) -> float:
        worth = special.expit(x @ parameters[:-1])  # π_a where π_a + π_b = 1
        product = np.exp(parameters[-1]) * np.sqrt(worth * (1 - worth))
        chosen = np.select([sign > 0, tie], [worth, product], 1 - worth)
        return float(np.log(chosen / (1 + product)).mean())

    at = np.r_[found.coefficients, found.levels]
    assert mean(at) == pytest.approx(found.mean_log_likelihood, rel=1e-11)
    # Forward differences of a mean of size one: rounding over the step, times the covariates' size.
    np.testing.assert_allclose(optimize.approx_fprime(at, mean, 1e-7), 0, atol=1e-5 * 20)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_what_may_be_exchanged(seed: int) -> None:
    """Which of the two stands first, the order of rows, the names of clusters, units, and copies within clusters."""
    random = np.random.default_rng(seed)
    sign, x, clusters = made_up(200, seed)
    found, turn, order = fit(sign, x, clusters), random.choice([-1, 1], 200), random.permutation(200)
    same(fit(turn * sign, turn[:, None] * x, clusters), found)
    names = random.permutation(clusters.max() + 1)
    same(fit(sign[order], x[order], names[clusters][order]), found)
    units = fit(sign, x * [1e3, 1e-4], clusters)
    np.testing.assert_allclose(units.coefficients * [1e3, 1e-4], found.coefficients, rtol=1e-8)
    copies = fit(np.tile(sign, 3), np.tile(x, (3, 1)), np.tile(clusters, 3))
    np.testing.assert_allclose(copies.covariance, found.covariance, rtol=1e-7, atol=1e-10)
    mirrored = fit(-sign, x, clusters)
    np.testing.assert_allclose(mirrored.coefficients, -found.coefficients, rtol=1e-8)
    np.testing.assert_allclose(mirrored.levels, found.levels, rtol=1e-8)


def test_what_is_decided_follows_bradley_terry() -> None:
    """Given that it is no tie, P(a) is σ(η): both models estimate the same."""
    sign, x, clusters = made_up(8_000, nu=0.3)
    decided = sign != 0
    winner = bradley_terry.fit(sign[decided] > 0, x[decided], np.arange(decided.sum()))
    assert fit(sign, x, clusters).coefficients == pytest.approx(winner.coefficients, rel=0.05)


class TestHonestFailure:
    def test_without_ties_or_nothing_else(self) -> None:
        sign, x, clusters = made_up()
        with pytest.raises(NoEstimate, match="no comparison is a tie"):
            fit(np.where(sign == 0, 1.0, sign), x, clusters)
        with pytest.raises(NoEstimate, match="no comparison is decided"):
            fit(0 * sign, x, clusters)

    def test_perfectly_predicted(self) -> None:
        """Decided wherever the difference is large, as it says, and tied wherever it is small."""
        _, x, clusters = made_up()
        delta = x[:, :1]
        with pytest.raises(NoEstimate, match="perfectly predicted"):
            fit(np.where(np.abs(delta[:, 0]) < 0.5, 0.0, np.sign(delta[:, 0])), delta, clusters)

    def test_ties_of_large_differences_bound_the_coefficient(self) -> None:
        """Every decided judgement is as predicted, and still there is a finite estimate: it would exclude the ties."""
        random = np.random.default_rng(0)
        delta = random.normal(size=300)
        tie = random.random(300) < 0.3
        tie[np.abs(delta).argmax()] = True
        found = fit(np.where(tie, 0.0, np.sign(delta)), delta[:, None], np.arange(300))
        assert np.isfinite(found.coefficients).all()
        assert 1 < found.coefficients[0] < 20

    def test_constant_and_collinear(self) -> None:
        sign, x, clusters = made_up()
        with pytest.raises(NoEstimate, match="the same for both"):
            fit(sign, 0 * x, clusters)
        with pytest.raises(NoEstimate, match="collinear"):
            fit(sign, np.column_stack([x, x @ [1, 2]]), clusters)

    def test_prompts_that_do_not_differ(self) -> None:
        sign, x, _ = made_up(50)
        with pytest.raises(NoEstimate, match="does not vary between prompts"):
            fit(np.tile(sign, 4), np.tile(x, (4, 1)), np.repeat(np.arange(4), 50))


@pytest.mark.parametrize("log_nu", [-3.0, 0.0, 1.2])
def test_expected_scores(log_nu: float) -> None:
    """P(a) + P(tie) / 2 by the formula, and derivatives by central differences (their error is of step², 1e-10)."""
    logits, step = np.linspace(-4, 4, 9), 1e-5
    at = expected(logits, log_nu)
    weights = np.exp(np.stack([logits / 2, np.full(9, log_nu), -logits / 2]))
    won, tied, _ = weights / weights.sum(0)
    np.testing.assert_allclose(at.score, won + tied / 2, rtol=1e-12)
    up, down = (expected(logits + s, log_nu) for s in (step, -step))
    np.testing.assert_allclose((up.score - down.score) / (2 * step), at.slope, atol=1e-9)
    np.testing.assert_allclose((up.slope - down.slope) / (2 * step), at.bend, atol=1e-9)
    wide, narrow = (expected(logits, log_nu + s).slope for s in (step, -step))
    np.testing.assert_allclose((wide - narrow) / (2 * step), at.by_tie, atol=1e-9)
