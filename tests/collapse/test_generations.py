"""The recurrence: closed forms where there are any, fixed points, and the example of 70 : 30."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from analysis.collapse.generations import EXAMPLE, Regime, generations, half_life, shares, until_mode

ONE = np.zeros(1, np.intp)
vectors = st.lists(st.floats(-3, 3), min_size=4, max_size=4).map(np.array)


def odds(log_weights: np.ndarray) -> np.ndarray:
    """Log-odds against the first."""
    return log_weights - log_weights[0]


def last(start: np.ndarray, push: np.ndarray, regime: Regime, n: int) -> np.ndarray:
    return list(generations(start, push, ONE, regime, n))[-1]


def test_seventy_to_thirty():
    found = shares(*(EXAMPLE[0], Regime(EXAMPLE[1])), 6)
    assert [round(100 * share) for share in found] == [70, 75, 81, 86, 92, 96, 98]
    assert until_mode(found) == 5
    # Of log-odds: log 19 = γ^t log(7/3).
    assert np.log(np.log(19) / np.log(7 / 3)) / np.log(EXAMPLE[1]) == pytest.approx(4.79, abs=0.01)


@given(start=vectors, gamma=st.floats(0.2, 2), n=st.integers(1, 6))
def test_log_odds_grow_by_gamma(start: np.ndarray, gamma: float, n: int):
    found = last(start, np.zeros(4), Regime(gamma), n)
    np.testing.assert_allclose(odds(found), gamma**n * odds(start), atol=1e-8)
    assert np.exp(found).sum() == pytest.approx(1)


@given(push=vectors, gamma=st.floats(0.2, 2).filter(lambda g: abs(g - 1) > 1e-3), n=st.integers(1, 6))
def test_a_push_each_generation_adds_up(push: np.ndarray, gamma: float, n: int):
    """ℓ_t = s (γ^t − 1) / (γ − 1), which for γ = 1 is t s."""
    found = last(np.zeros(4), push, Regime(gamma), n)
    np.testing.assert_allclose(odds(found), odds(push) * (gamma**n - 1) / (gamma - 1), atol=1e-6)
    np.testing.assert_allclose(odds(last(np.zeros(4), push, Regime(1.0), n)), n * odds(push), atol=1e-8)


@given(share=st.floats(0.05, 0.95), gamma=st.floats(1.05, 2), s=st.floats(-1, 1), n=st.integers(1, 8))
def test_two_responses_that_a_generation_specialises_in(share: float, gamma: float, s: float, n: int):
    """ℓ_t = γ^t ℓ_0 + s (γ^t − 1) / (γ − 1)."""
    expected = gamma**n * np.log(share / (1 - share)) + s * (gamma**n - 1) / (gamma - 1)
    assert shares(share, Regime(gamma), n, s)[-1] == pytest.approx(expit(expected), abs=1e-12)


@given(log_ref=vectors, alpha=st.floats(-0.9, 2), n=st.integers(1, 5))
def test_candidates_follow_the_whole_policy(log_ref: np.ndarray, alpha: float, n: int):
    """The recurrence on equal weights with the push (γ − 1) L is the policy's own, π ← π^γ, over π_ref."""
    policy = last(log_ref, np.zeros(4), Regime(1 + alpha), n)
    tilt = last(np.zeros(4), alpha * log_ref, Regime(1 + alpha), n)
    np.testing.assert_allclose(odds(policy) - odds(log_ref), odds(tilt), atol=1e-6)


@given(start=vectors, push=vectors, gamma=st.floats(0.5, 1.5), bonus=st.floats(0.7, 3))
def test_the_fixed_point_under_an_entropy_bonus(start: np.ndarray, push: np.ndarray, gamma: float, bonus: float):
    """Log-odds settle at s / (1 + τ/β − γ) from anywhere; with γ = 1 and s = r / β that is p ∝ exp(r / τ)."""
    found = last(start, push, Regime(gamma, entropy_bonus=bonus), 400)
    np.testing.assert_allclose(odds(found), odds(push) / (1 + bonus - gamma), atol=1e-6)


def test_it_maximises_what_it_says():
    """Among random policies none has more E[r] + α E[log π_t] − β KL + τ H than the next generation."""
    random = np.random.default_rng(0)
    beta, alpha, tau, reward = 0.3, 0.2, 0.1, np.array([0.1, -0.4, 0.3, 0.0])
    before = np.log(random.dirichlet(np.ones(4)))

    def value(p: np.ndarray) -> float:
        entropy = -p @ np.log(p)
        return float(p @ (reward + alpha * before) - beta * (p @ (np.log(p) - before)) + tau * entropy)

    best = np.exp(last(before, reward / beta, Regime(1 + alpha / beta, entropy_bonus=tau / beta), 1))
    assert all(value(best) >= value(random.dirichlet(10 * best + 0.01) + 1e-12) - 1e-9 for _ in range(2000))


@given(start=vectors, fresh=st.floats(0.05, 1), n=st.integers(1, 20))
def test_fresh_data_leaves_their_share(start: np.ndarray, fresh: float, n: int):
    """Every weight keeps that share of its first value, and with nothing but fresh data all stays as it was."""
    first = np.exp(start) / np.exp(start).sum()
    assert (np.exp(last(start, np.zeros(4), Regime(3.0, fresh), n)) >= fresh * first - 1e-12).all()
    np.testing.assert_allclose(np.exp(last(start, np.ones(4), Regime(3.0, 1.0), n)), first)


def test_fresh_data_and_a_fixed_point_by_brute_force():
    """p = (1 − f) p^γ / (p^γ + (1 − p)^γ) + f p_0, solved by bisection."""
    gamma, fresh, first = 1.5, 0.3, 0.7

    def excess(p: float) -> float:
        return (1 - fresh) * p**gamma / (p**gamma + (1 - p) ** gamma) + fresh * first - p

    low, high = 0.5, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    assert shares(first, Regime(gamma, fresh), 500)[-1] == pytest.approx(low)


def test_half_life_and_the_mode():
    """Half of what is above one response, which is the least that can be left."""
    assert half_life([4.0, 3.0, 2.5, 1.1]) == 2
    assert half_life([4.0, 3.9, 3.8]) is None
    assert until_mode([0.25, 0.9, 0.95, 0.99]) == 2
    assert until_mode([0.25, 0.3]) is None
