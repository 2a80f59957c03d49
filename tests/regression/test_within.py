"""Least squares within prompts: against dummies of all prompts, and the bootstrap against fits one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.regression import within
from analysis.regression.inference import Array, Codes, NoEstimate


def drawn(seed: int = 0, n_groups: int = 60) -> tuple[Array, Array, Codes]:
    """Ratings, covariates and groups."""
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), random.integers(2, 7, n_groups))
    x = random.normal(size=(len(groups), 2)) + 2 * random.normal(size=(n_groups, 2))[groups]
    slope = 0.5 + 0.4 * random.normal(size=n_groups)[groups]
    y = slope * x[:, 0] + 0.3 * x[:, 1] + 3 * random.normal(size=n_groups)[groups] + random.normal(size=len(groups))
    return y, x, groups


def test_against_an_effect_of_every_group() -> None:
    y, x, groups = drawn()
    found = within.fit(y, x, groups, groups)
    wide = np.column_stack([x, groups[:, None] == np.arange(groups.max() + 1)])
    beta, *_ = np.linalg.lstsq(wide, y, rcond=None)
    np.testing.assert_allclose(found.coefficients, beta[:2], rtol=1e-10)
    bread, residuals = np.linalg.inv(wide.T @ wide), y - wide @ beta
    sums = np.array([(wide * residuals[:, None])[groups == g].sum(0) for g in range(groups.max() + 1)])
    n = len(sums)
    covariance = (bread @ sums.T @ sums @ bread * n / (n - 1))[:2, :2]
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-8)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_names_levels_and_order(seed: int) -> None:
    """Names of groups, a level of each group, the order of rows and the unit change nothing."""
    random = np.random.default_rng(seed)
    y, x, groups = drawn(seed)
    found = within.fit(y, x, groups, groups)
    order, names = random.permutation(len(y)), random.permutation(groups.max() + 1)
    level = random.normal(size=groups.max() + 1)[groups]
    other = within.fit((y + level)[order], 5 * (x + level[:, None])[order], *2 * [names[groups[order]]])
    np.testing.assert_allclose(5 * other.coefficients, found.coefficients, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(25 * other.covariance, found.covariance, rtol=1e-8, atol=1e-11)


def test_drawn_groups_are_fitted_as_if_alone() -> None:
    """A group drawn twice is two groups."""
    y, x, groups = drawn(n_groups=12)
    counts = np.stack([np.bincount(np.random.default_rng(k).integers(0, 12, 12), minlength=12) for k in range(5)])
    found, errors = within.draw(within.fit(y, x, groups, groups))(counts.astype(float))
    for row, count in enumerate(counts):
        pieces = [np.flatnonzero(groups == g) for g in range(12) for _ in range(count[g])]
        at, names = np.concatenate(pieces), np.repeat(np.arange(12), [len(p) for p in pieces])
        expected = within.fit(y[at], x[at], names, names)
        np.testing.assert_allclose(found[row], expected.coefficients, rtol=1e-9)
        np.testing.assert_allclose(errors[row], np.sqrt(np.diag(expected.covariance)), rtol=1e-8)


def test_drawn_groups_that_cannot_be_fitted() -> None:
    """Are no number, and leave the others as they are."""
    y, x, groups = drawn(n_groups=12)
    x[groups == 0, 1] = 7.0
    counts = np.ones((2, 12))
    counts[1] = 12.0 * (np.arange(12) == 0)
    found, errors = within.draw(within.fit(y, x, groups, groups))(counts)
    assert np.isfinite(found[0]).all() and np.isfinite(errors[0]).all()
    assert np.isnan(found[1]).all() and np.isnan(errors[1]).all()


def test_rounding_is_no_variation() -> None:
    """The mean of three equal numbers may differ from each of them in the last digit."""
    groups = np.repeat(np.arange(30), 3)
    x = np.random.default_rng(0).random(30)[groups]
    assert not within.centred(x[:, None], groups).any()


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("rating", "the rating is the same for all responses of every prompt"),
        ("constant", "a covariate is the same for all responses of every prompt"),
        ("collinear", "collinear"),
        ("perfect", "perfectly predicted"),
    ],
)
def test_no_number_but_a_reason(case: str, reason: str) -> None:
    y, x, groups = drawn()
    level = np.random.default_rng(1).random(groups.max() + 1)[groups]
    if case == "rating":
        y = level
    elif case == "constant":
        x = np.column_stack([x[:, 0], level])
    elif case == "collinear":
        x = np.column_stack([x[:, 0], 3 * x[:, 0] + level])
    else:
        y = x @ [1.0, 2.0] + level
    with pytest.raises(NoEstimate, match=reason):
        within.fit(y, x, groups, groups)
