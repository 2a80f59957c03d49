"""Levels of a signed strength: which there are, that they are symmetric, and that their order is the strengths'."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.regression.levels import MOST_SIZES, signed_levels

STRENGTHS = st.lists(
    st.integers(-4000, 4000).map(lambda k: k / 100) | st.sampled_from([0.0, 1.0, -1.0, 2.5]), min_size=1, max_size=300
)


@pytest.mark.parametrize(
    ("strength", "levels", "lows"),
    [
        ([-3, -1, 0, 1, 2, 3], [-3, -1, 0, 1, 2, 3], [1, 2, 3]),
        ([-3, 1, 3, 3], [-2, 1, 2, 2], [1, 3]),  # without a level that nobody chose
        ([0.5, -0.25, 1], [2, -1, 3], [0.25, 0.5, 1]),
        ([0, 0], [0, 0], []),
        ([], [], []),
        ([-7], [-1], [7]),
    ],
)
def test_few_sizes_are_a_level_each(strength: list[float], levels: list[int], lows: list[float]) -> None:
    found, smallest = signed_levels(np.array(strength, float))
    assert found.tolist() == levels
    assert smallest.tolist() == lows


def test_equal_decimals_are_one_size() -> None:
    """Differences of ratings such as 4.3 − 4.1 and 2.3 − 2.1 are not equal as they stand."""
    differences = np.array([4.3 - 4.1, 2.3 - 2.1, 4.1 - 4.3, 4.3 - 4.2])
    assert len(np.unique(np.abs(differences))) > 2
    levels, lows = signed_levels(differences)
    assert levels.tolist() == [2, 2, -2, 1]
    assert lows == pytest.approx([0.1, 0.2])


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_many_sizes_are_bins_of_equal_numbers(unit: float) -> None:
    random = np.random.default_rng(0)
    levels, lows = signed_levels(
        random.permutation(np.r_[np.arange(1, 501), -np.arange(501, 1001), np.zeros(70)]) * unit
    )
    assert np.bincount(np.abs(levels)).tolist() == [70, *[100] * MOST_SIZES]
    assert lows == pytest.approx((1 + 100 * np.arange(MOST_SIZES)) * unit)


@pytest.mark.parametrize("place", ["lowest", "middle", "highest"])
def test_a_size_that_many_have_is_a_bin_by_itself(place: str) -> None:
    others = np.arange(100.0) + 10
    value = {"lowest": 1.0, "middle": 60.5, "highest": 1000.0}[place]
    levels, lows = signed_levels(np.r_[others, np.full(2000, value)])
    assert value in lows
    assert len(set(levels[100:])) == 1
    assert not set(levels[:100]) & set(levels[100:])


@given(STRENGTHS)
@settings(deadline=None)
def test_order_symmetry_and_no_empty_level(values: list[float]) -> None:
    strength = np.array(values)
    levels, lows = signed_levels(strength)
    order = np.argsort(strength)
    assert (np.diff(levels[order]) >= 0).all()
    assert (np.sign(levels) == np.sign(strength)).all()
    mirrored, same = signed_levels(-strength)
    assert (mirrored == -levels).all()
    assert (same == lows).all()
    assert set(np.abs(levels)) - {0} == set(range(1, len(lows) + 1))
    assert [np.abs(strength[np.abs(levels) == k + 1]).min() for k in range(len(lows))] == pytest.approx(list(lows))
    if len(np.unique(np.abs(strength))) <= MOST_SIZES:
        assert len(lows) == len(np.unique(np.abs(strength[strength != 0])))
