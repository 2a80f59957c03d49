"""The tilt of candidates: against a loop over prompts, closed forms, and what is claimed to be monotone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.collapse.tilt import Concentration, concentration, ends, grid, normalised, over

SIZES = (3, 5, 4, 3)
STARTS = np.cumsum([0, *SIZES[:-1]])
values = st.lists(st.floats(-5, 5).map(lambda x: round(x, 3)), min_size=sum(SIZES), max_size=sum(SIZES)).map(np.array)


def tilted(exponents: np.ndarray) -> Concentration:
    return concentration(normalised(exponents, STARTS), STARTS)


@given(exponents=values)
def test_against_one_prompt_at_a_time(exponents: np.ndarray):
    found = tilted(exponents)
    for k, part in enumerate(np.split(exponents, STARTS[1:])):
        w = np.exp(part) / np.exp(part).sum()
        assert found.entropy[k] == pytest.approx(stats.entropy(w), abs=1e-9)
        assert found.effective[k] == pytest.approx(np.exp(stats.entropy(w)))
        assert found.mode[k] == pytest.approx(w.max())


def test_nothing_is_lost_without_a_tilt():
    found = tilted(np.full(sum(SIZES), 1e5))
    np.testing.assert_allclose(found.effective, SIZES)
    np.testing.assert_allclose(found.mode, 1 / np.array(SIZES))


def test_two_equal_modes():
    """w → (½, ½, 0, …)."""
    exponents = np.zeros(sum(SIZES))
    exponents[STARTS] = exponents[STARTS + 1] = 1e6
    np.testing.assert_allclose(tilted(exponents).effective, 2)


@pytest.mark.parametrize("scale", [1e3, 1e8, 1e300])
def test_exponents_of_any_size_give_numbers(scale: float):
    found = tilted(scale * np.linspace(-1, 1, sum(SIZES)))
    np.testing.assert_allclose(found.effective, 1)
    np.testing.assert_allclose(found.mode, 1)


@given(m=values, a=st.floats(0, 20), more=st.floats(0, 5), sign=st.sampled_from([1, -1]))
@settings(max_examples=200)
def test_a_stronger_tilt_never_leaves_more(m: np.ndarray, a: float, more: float, sign: int):
    weak, strong = tilted(sign * a * m), tilted(sign * (a + more) * m)
    assert (strong.effective <= weak.effective + 1e-9).all()
    assert (strong.mode >= weak.mode - 1e-9).all()


@given(m=values, low=st.floats(-3, 3), width=st.floats(0, 4))
@settings(max_examples=50)
def test_the_ends_tell_the_range(m: np.ndarray, low: float, width: float):
    """Of an interval with zero in it or not: no value inside lies outside, and the range is reached."""
    high = low + width
    found = over(ends(low, high), lambda a: tilted(a * m))
    inside = over(np.r_[np.linspace(low, high, 101)], lambda a: tilted(a * m))
    for exact, sampled in ((found.effective, inside.effective), (found.mode, inside.mode)):
        assert exact[0] <= sampled[0] + 1e-9 and sampled[1] <= exact[1] + 1e-9
    if low < 0 < high:
        assert found.effective[1] == pytest.approx(np.mean(SIZES))


def test_a_grid_holds_the_ends_and_zero():
    assert set(ends(-1, 2)) <= set(grid(-1, 2, 6)) and len(grid(-1, 2, 6)) == 7
    assert set(ends(1, 2)) == {1, 2} <= set(grid(1, 2, 6))
