"""Ordered logit with symmetric thresholds: against R, closed forms, its likelihood, and what algebra says of it."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from analysis.regression import bradley_terry
from analysis.regression.inference import NoEstimate
from analysis.regression.levels import GradedFit
from analysis.regression.symmetric import expected, fit
from tests.reference.regression.make_strengths import make
from tests.regression.test_against_r import COEFFICIENT, ERROR, FOLDER

R = json.loads((FOLDER / "strengths.json").read_text(encoding="utf-8"))
# Newton's last step leaves rounding, which the condition of these data makes no larger than this.
SAME = 1e-9


def data() -> pd.DataFrame:
    """R's comparisons, with its covariates."""
    d = pd.read_csv(FOLDER / "strengths.csv")
    return d.assign(delta=d["logprob_a"] - d["logprob_b"], length=np.log(d["words_a"] / d["words_b"]))


def made_up(n: int = 400, with_ties: bool = True, seed: int = 0) -> tuple[Any, Any, Any]:
    """Levels of strength, two covariates of different units, and clusters."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 2)) * [1.0, 20.0]
    latent = x @ [0.8, 0.02] + random.logistic(size=n)
    cuts = [0.4, 1.2, 2.5] if with_ties else [0.0, 1.2, 2.5]
    levels = (np.sign(latent) * np.digitize(np.abs(latent), cuts)).astype(int)
    return levels, x, np.unique(random.integers(0, n // 5, n), return_inverse=True)[1]


def same(one: GradedFit, two: GradedFit, rtol: float = SAME) -> None:
    np.testing.assert_allclose(one.coefficients, two.coefficients, rtol=rtol, atol=1e-12)
    np.testing.assert_allclose(one.levels, two.levels, rtol=rtol)
    np.testing.assert_allclose(np.diag(one.covariance), np.diag(two.covariance), rtol=10 * rtol)
    assert one.mean_log_likelihood == pytest.approx(two.mean_log_likelihood, rel=1e-12)


def test_the_data_are_those_of_their_script() -> None:
    pd.testing.assert_frame_equal(make(), data()[list(make().columns)], rtol=1e-12, check_dtype=False)


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("ordered", ["delta"]),
        ("ordered_both", ["delta", "length"]),
        ("ordered_without_ties", ["delta", "length"]),
        ("rao_kupper", ["delta", "length"]),
    ],
)
def test_clm_with_clustered_errors(name: str, terms: list[str]) -> None:
    """R's clm, `threshold = "symmetric2"`; tolerances are those of `test_against_r`."""
    given = data()
    if name == "ordered_without_ties":
        given = given[given["strength"] != 0]
    levels = given["strength"].to_numpy()
    if name == "rao_kupper":
        levels = np.sign(levels)
    found = fit(levels, given[terms].to_numpy(), np.unique(given["prompt"], return_inverse=True)[1])
    np.testing.assert_allclose(found.coefficients, R[name]["estimate"], rtol=COEFFICIENT)
    np.testing.assert_allclose(found.levels, np.atleast_1d(R[name]["thresholds"]), rtol=COEFFICIENT)
    errors = np.r_[R[name]["std_error"], R[name]["thresholds_std_error"]]
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance)), errors, rtol=ERROR)
    assert found.mean_log_likelihood * len(given) == pytest.approx(R[name]["log_likelihood"], rel=1e-9)


def test_three_levels_in_closed_form() -> None:
    """With one difference, P(b) = σ(−τ − β) and P(b or tie) = σ(τ − β) are the shares seen."""
    won, tied, lost = 60, 15, 25
    levels = np.repeat([1, 0, -1], [won, tied, lost])
    found = fit(levels, np.ones((100, 1)), np.arange(100))
    low, high = special.logit(lost / 100), special.logit((lost + tied) / 100)
    assert found.coefficients[0] == pytest.approx(-(low + high) / 2, rel=1e-10)
    assert found.levels[0] == pytest.approx((high - low) / 2, rel=1e-10)


@pytest.mark.parametrize("with_ties", [True, False])
def test_the_likelihood_by_its_formula_and_that_it_is_the_highest(with_ties: bool) -> None:
    levels, x, clusters = made_up(with_ties=with_ties)
    found, k = fit(levels, x, clusters), len(x.T)

    def mean(parameters: Any) -> float:
        tau = parameters[k:] if with_ties else np.r_[0.0, parameters[k:]]
        # As if all were above zero: those below are mirrored.
        size, eta = np.abs(levels), np.sign(levels + 0.5) * (x @ parameters[:k])
        upper = np.r_[tau, np.inf][size]
        lower = np.where(size == 0, -tau[0], np.r_[-np.inf, tau][size])
        return float(np.log(special.expit(upper - eta) - special.expit(lower - eta)).mean())

    at = np.r_[found.coefficients, found.levels]
    assert mean(at) == pytest.approx(found.mean_log_likelihood, rel=1e-11)
    slopes = optimize.approx_fprime(at, mean, 1e-7)
    # Forward differences of a mean of size one: rounding over the step, times the covariates' size.
    np.testing.assert_allclose(slopes, 0, atol=1e-5 * 20)


@given(seed=st.integers(0, 10**6), with_ties=st.booleans())
@settings(max_examples=15, deadline=None)
def test_what_may_be_exchanged(seed: int, with_ties: bool) -> None:
    """Which of the two stands first, the order of rows, the names of clusters, units, and copies within clusters."""
    random = np.random.default_rng(seed)
    levels, x, clusters = made_up(200, with_ties, seed)
    found, turn, order = fit(levels, x, clusters), random.choice([-1, 1], 200), random.permutation(200)
    same(fit(turn * levels, turn[:, None] * x, clusters), found)
    names = random.permutation(clusters.max() + 1)
    same(fit(levels[order], x[order], names[clusters][order]), found)
    units = fit(levels, x * [1e3, 1e-4], clusters)
    np.testing.assert_allclose(units.coefficients * [1e3, 1e-4], found.coefficients, rtol=1e-8)
    copies = fit(np.tile(levels, 3), np.tile(x, (3, 1)), np.tile(clusters, 3))
    np.testing.assert_allclose(copies.covariance, found.covariance, rtol=1e-7, atol=1e-10)


def test_labels_the_other_way_round_mirror_the_coefficients() -> None:
    levels, x, clusters = made_up()
    found, other = fit(levels, x, clusters), fit(-levels, x, clusters)
    np.testing.assert_allclose(other.coefficients, -found.coefficients, rtol=1e-9)
    np.testing.assert_allclose(other.levels, found.levels, rtol=1e-9)


def test_finer_levels_are_the_same_model() -> None:
    """Joining levels loses precision, not truth: estimates differ by less than their errors, which grow."""
    random = np.random.default_rng(3)
    delta = random.normal(size=20_000)
    latent = 0.7 * delta + random.logistic(size=20_000)
    fine = (np.sign(latent) * np.digitize(np.abs(latent), [0.2, 0.8, 1.5, 2.5])).astype(int)
    coarse = np.sign(fine) * np.array([0, 1, 1, 2, 2])[np.abs(fine)]
    one, two = (fit(y, delta[:, None], np.arange(20_000)) for y in (fine, coarse))
    assert one.coefficients[0] == pytest.approx(0.7, abs=0.05)
    assert two.coefficients[0] == pytest.approx(one.coefficients[0], abs=0.02)
    assert two.covariance[0, 0] > one.covariance[0, 0]


def test_more_precise_than_the_winner_alone() -> None:
    levels, x, clusters = made_up(4000, with_ties=False)
    winner = bradley_terry.fit(levels > 0, x, clusters)
    assert (np.diag(fit(levels, x, clusters).covariance)[:2] < np.diag(winner.covariance)).all()


class TestHonestFailure:
    def test_one_strength(self) -> None:
        levels, x, clusters = made_up(with_ties=False)
        with pytest.raises(NoEstimate, match="equally strong"):
            fit(np.sign(levels), x, clusters)

    @pytest.mark.parametrize("with_ties", [True, False])
    def test_perfectly_predicted(self, with_ties: bool) -> None:
        _, x, clusters = made_up()
        size = np.digitize(np.abs(x[:, 0]), [0.3, 1.0] if with_ties else [0.0, 1.0])
        with pytest.raises(NoEstimate, match="the strengths are perfectly predicted"):
            fit((np.sign(x[:, 0]) * size).astype(int), x[:, :1], clusters)

    def test_the_sign_alone_predicted_is_no_separation(self) -> None:
        """Strength still varies with the difference: there is an estimate."""
        random = np.random.default_rng(0)
        delta = random.choice([-1, 1], 300) * random.uniform(1, 2, 300)
        levels = (np.sign(delta) * random.integers(1, 4, 300)).astype(int)
        found = fit(levels, delta[:, None], np.arange(300))
        assert np.isfinite(found.coefficients).all()

    def test_constant_and_collinear(self) -> None:
        levels, x, clusters = made_up()
        with pytest.raises(NoEstimate, match="the same for both"):
            fit(levels, np.column_stack([x, np.zeros(len(x))]), clusters)
        with pytest.raises(NoEstimate, match="collinear"):
            fit(levels, np.column_stack([x, x @ [1, 2]]), clusters)

    def test_prompts_that_do_not_differ(self) -> None:
        """Each prompt holds the same comparisons: their scores sum to zero."""
        levels, x, _ = made_up(50)
        with pytest.raises(NoEstimate, match="does not vary between prompts"):
            fit(np.tile(levels, 4), np.tile(x, (4, 1)), np.repeat(np.arange(4), 50))


@pytest.mark.parametrize("threshold", [None, 0.0, 0.7])
def test_expected_scores(threshold: float | None) -> None:
    """P(a) + P(tie) / 2 by the formula, and derivatives by central differences (their error is of step², 1e-10)."""
    logits, step = np.linspace(-4, 4, 9), 1e-5
    at, tau = expected(logits, threshold), threshold or 0.0
    won, lost = special.expit(logits - tau), special.expit(-logits - tau)
    np.testing.assert_allclose(at.score, won + (1 - won - lost) / 2, rtol=1e-12)
    up, down = (expected(logits + s, threshold) for s in (step, -step))
    np.testing.assert_allclose((up.score - down.score) / (2 * step), at.slope, atol=1e-9)
    np.testing.assert_allclose((up.slope - down.slope) / (2 * step), at.bend, atol=1e-9)
    if threshold is None:
        assert at.by_tie is None
    else:
        wide, narrow = (expected(logits, threshold + s).slope for s in (step, -step))
        np.testing.assert_allclose((wide - narrow) / (2 * step), at.by_tie, atol=1e-9)
