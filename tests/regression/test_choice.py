"""Conditional and rank-ordered logit: against other people's code, sums over all orders, and Bradley–Terry."""

import warnings
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from scipy.special import logsumexp

from analysis.regression import bradley_terry, choice
from analysis.regression.inference import Array, Codes, NoEstimate


def drawn(
    seed: int = 0, n_sets: int = 80, k: int = 2, most: int = 6, rounded: float = 0.0
) -> tuple[Array, Codes, Codes]:
    """Covariates, sets and levels, sorted; utilities may be rounded, so that some are tied."""
    random = np.random.default_rng(seed)
    sets = np.repeat(np.arange(n_sets), random.integers(2, most + 1, n_sets))
    x = random.normal(size=(len(sets), k))
    utility = x @ np.linspace(0.8, -0.4, k) + random.gumbel(size=len(sets))
    if rounded:
        utility = np.round(utility / rounded)
    order = np.lexsort((-utility, sets))
    x, utility = x[order], utility[order]
    levels = np.concatenate([np.unique(-utility[sets == s], return_inverse=True)[1] for s in range(n_sets)])
    return x, sets, levels


def by_loop(x: Array, sets: Codes, levels: Codes, beta: Array, only_best: bool) -> float:
    """The log-likelihood, choice by choice; that of the best sums over all subsets of as many."""
    total = 0.0
    for s in np.unique(sets):
        at, level = x[sets == s] @ beta, levels[sets == s]
        if only_best:
            of_all = [at[list(subset)].sum() for subset in combinations(range(len(at)), int((level == 0).sum()))]
            total += at[level == 0].sum() - logsumexp(of_all)
            continue
        for here in range(level.max()):
            chosen, left = at[level == here], at[level >= here]
            total += chosen.sum()
            for gone in range(len(chosen)):
                total -= np.log(np.exp(left).sum() - gone / len(chosen) * np.exp(chosen).sum())
    return total


class TestTheMaximum:
    @pytest.mark.parametrize("only_best", [True, False])
    @pytest.mark.parametrize("rounded", [0.0, 0.8])
    def test_is_that_of_the_likelihood_by_loop(self, only_best: bool, rounded: float) -> None:
        x, sets, levels = drawn(rounded=rounded)
        found = choice.fit(x, sets, levels, sets, only_best)
        assert found.log_likelihood == pytest.approx(by_loop(x, sets, levels, found.coefficients, only_best), rel=1e-12)
        slope = approx_fprime(found.coefficients, lambda b: by_loop(x, sets, levels, b, only_best), 1e-6)
        # A numerical derivative, whose errors are the step times the curvature (of about the number of sets).
        assert np.abs(slope).max() < 1e-6 * len(sets) * 10

    @pytest.mark.parametrize("rounded", [0.0, 1.5])
    def test_against_statsmodels(self, rounded: float) -> None:
        """One best in each set, or several."""
        from statsmodels.discrete.conditional_models import ConditionalLogit

        x, sets, levels = drawn(rounded=rounded)
        found = choice.fit(x, sets, levels, sets, only_best=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of groups without variation, which it leaves out
            model = ConditionalLogit((levels == 0).astype(float), x, groups=sets)
        # Its own maximum is good to four digits only; its likelihood is exact, and flat where ours has its maximum.
        assert found.log_likelihood == pytest.approx(model.loglike(found.coefficients), rel=1e-12)
        assert np.abs(model.score(found.coefficients)).max() < 1e-9 * len(sets)

    def test_the_probability_of_an_order(self) -> None:
        """Those of all orders of a set add up to one."""
        x = np.random.default_rng(1).normal(size=(4, 2))
        beta = np.array([0.7, -0.3])
        zeros, levels = np.zeros(4, np.intp), np.arange(4)
        whole = sum(
            np.exp(by_loop(x[list(order)], zeros, levels, beta, only_best=False)) for order in permutations(range(4))
        )
        assert whole == pytest.approx(1, rel=1e-12)

    @pytest.mark.parametrize("only_best", [True, False])
    def test_two_in_each_set_are_bradley_terry(self, only_best: bool) -> None:
        x, sets, levels = drawn(most=2)
        clusters = sets // 3
        found = choice.fit(x, sets, levels, clusters, only_best)
        expected = bradley_terry.fit(np.ones(len(x) // 2, bool), x[::2] - x[1::2], clusters[::2])
        np.testing.assert_allclose(found.coefficients, expected.coefficients, rtol=1e-9)
        np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-7)
        assert found.log_likelihood == pytest.approx(expected.mean_log_likelihood * len(x) / 2, rel=1e-12)

    def test_many_of_large_sets(self) -> None:
        """A sum over 10³⁰ subsets; and choosing all but some is leaving these."""
        random = np.random.default_rng(0)
        sets = np.repeat(np.arange(20), 110)
        x = random.normal(size=(len(sets), 1))
        best = random.random(len(sets)) < 1 / (1 + np.exp(-x[:, 0]))
        order = np.lexsort((~best, sets))
        x, levels = x[order], (~best)[order].astype(np.intp)
        found = choice.fit(x, sets, levels, sets, only_best=True)
        # Where sets are large, what conditioning costs is little: the logit with an effect of each set is close.
        assert found.coefficients[0] == pytest.approx(1.0, abs=3 * np.sqrt(found.covariance[0, 0]))
        backwards = np.lexsort((-levels, sets))
        other = choice.fit(-x[backwards], sets, 1 - levels[backwards], sets, only_best=True)
        np.testing.assert_allclose(other.coefficients, found.coefficients, rtol=1e-9)
        np.testing.assert_allclose(other.covariance, found.covariance, rtol=1e-8)

    def test_the_last_places_say_nothing_to_the_first_choice(self) -> None:
        x, sets, levels = drawn()
        found = choice.fit(x, sets, levels, sets, only_best=True)
        other = choice.fit(x, sets, np.minimum(levels, 1), sets, only_best=False)
        np.testing.assert_allclose(found.coefficients, other.coefficients, rtol=1e-12)


class TestInvariance:
    @given(seed=st.integers(0, 10**6), rounded=st.sampled_from([0.0, 0.7]), only_best=st.booleans())
    @settings(max_examples=15, deadline=None)
    def test_names_shifts_and_units(self, seed: int, rounded: float, only_best: bool) -> None:
        """Names of sets, the order of the tied, a level of each set, and the unit change nothing."""
        random = np.random.default_rng(seed)
        x, sets, levels = drawn(seed, rounded=rounded)
        found = choice.fit(x, sets, levels, sets, only_best)
        names = random.permutation(sets.max() + 1)[sets]
        order = np.lexsort((random.random(len(sets)), levels, names))
        moved = 3 * (x + random.normal(size=(sets.max() + 1, x.shape[1]))[sets])[order]
        other = choice.fit(moved, names[order], levels[order], names[order], only_best)
        np.testing.assert_allclose(3 * other.coefficients, found.coefficients, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(9 * other.covariance, found.covariance, rtol=1e-8, atol=1e-11)
        assert other.log_likelihood == pytest.approx(found.log_likelihood, rel=1e-11)

    def test_a_set_again_within_its_cluster(self) -> None:
        """Brings no information."""
        x, sets, levels = drawn()
        found = choice.fit(x, sets, levels, sets)
        both = np.concatenate([sets, sets + sets.max() + 1])
        twice = choice.fit(np.tile(x, (2, 1)), both, np.tile(levels, 2), np.tile(sets, 2))
        np.testing.assert_allclose(twice.coefficients, found.coefficients, rtol=1e-9)
        np.testing.assert_allclose(twice.covariance, found.covariance, rtol=1e-8)

    def test_far_from_zero(self) -> None:
        """Large levels and small differences within the sets lose no digits that matter."""
        x, sets, levels = drawn()
        far = choice.fit(x * 1e-3 + 500, sets, levels, sets)
        np.testing.assert_allclose(far.coefficients * 1e-3, choice.fit(x, sets, levels, sets).coefficients, rtol=1e-6)


def reasons() -> dict[str, tuple[dict[str, Any], str]]:
    x, sets, levels = drawn()
    perfect = np.column_stack([-levels.astype(float), x[:, 0]])
    by_set = np.random.default_rng(0).normal(size=sets.max() + 1)[sets]
    return {
        "all equal": ({"levels": np.zeros_like(levels)}, "equally good"),
        "constant within": ({"covariates": np.column_stack([x[:, 0], by_set])}, "same for all responses"),
        "collinear": ({"covariates": np.column_stack([x[:, 0], 2 * x[:, 0] + by_set])}, "collinear"),
        "perfectly predicted": ({"covariates": perfect}, "perfectly predicted"),
    }


@pytest.mark.parametrize("case", reasons())
@pytest.mark.parametrize("only_best", [True, False])
def test_no_number_but_a_reason(case: str, only_best: bool) -> None:
    x, sets, levels = drawn()
    changed, reason = reasons()[case]
    with pytest.raises(NoEstimate, match=reason):
        choice.fit(
            **{"covariates": x, "sets": sets, "levels": levels, "clusters": sets, **changed}, only_best=only_best
        )


def test_separated_but_for_ties() -> None:
    """Tied ones that a covariate tells apart make its coefficient finite."""
    _, sets, levels = drawn(rounded=1.5)
    assert len(np.unique(np.column_stack([sets, levels]), axis=0)) < len(sets)
    apart = -levels + 0.1 * np.random.default_rng(0).random(len(sets))
    found = choice.fit(apart[:, None], sets, levels, sets)
    assert 3 < found.coefficients[0] < 100
    with pytest.raises(NoEstimate, match="perfectly predicted"):
        choice.fit(-levels[:, None].astype(float), sets, levels, sets)
