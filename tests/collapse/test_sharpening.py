"""γ from α: the units of each measure, and the closed form against the policy that it stands for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.collapse.sharpening import SHARPENING, gamma
from analysis.likelihood.measures import MEASURES

reals = st.floats(-3, 3)


def test_the_paper_s_alpha_at_a_hundred_tokens():
    """Not 6.7, which takes an α per mean token for one of the whole sequence."""
    assert gamma(0.57, 0.1, "mean_logprob", 100) == pytest.approx(1.057)
    assert gamma(0.0057, 0.1, "sum_logprob") == pytest.approx(1.057)


@pytest.mark.parametrize(
    ("measure", "length", "told"),
    [
        ("mean_logprob", None, "a mean over tokens: γ needs a length in tokens"),
        ("logprob_per_byte", None, "a mean over bytes: γ needs a length in bytes"),
        ("sum_logprob", 100, "of whole responses: γ takes no length"),
        ("mean_pmi", 100, "no power of the base policy"),
    ],
)
def test_the_naive_plug_in_is_refused(measure: str, length: float | None, told: str):
    with pytest.raises(ValueError, match=told):
        gamma(0.57, 0.1, measure, length)


def test_every_measure_has_its_formula():
    assert list(SHARPENING) == list(MEASURES)
    lengths = {name: s.length for name, s in SHARPENING.items() if not s.reason}
    assert lengths == {"mean_logprob": "tokens", "logprob_per_byte": "bytes", "sum_logprob": ""}


@given(alpha=reals, beta=st.floats(0.01, 2), length=st.integers(1, 300))
def test_the_optimum_is_the_power(alpha: float, beta: float, length: int):
    """Among texts of one length, π_ref exp(α · mean / β), normalised, is π_ref^γ, normalised, by brute force."""
    log_ref = np.log(np.random.default_rng(0).dirichlet(np.ones(6)))
    tilted = log_ref + alpha * (log_ref / length) / beta
    power = gamma(alpha, beta, "mean_logprob", length) * log_ref
    np.testing.assert_allclose(tilted - tilted[0], power - power[0], rtol=1e-9, atol=1e-9)


@given(alpha=reals, more=st.floats(0, 2), beta=st.floats(0.01, 2), length=st.floats(1, 300))
def test_it_rises_with_alpha(alpha: float, more: float, beta: float, length: float):
    assert gamma(alpha + more, beta, "mean_logprob", length) >= gamma(alpha, beta, "mean_logprob", length)


def test_pmi_is_no_power():
    """The tilt by mean_pmi raises π_ref(y | x) and lowers p(y): no power of π_ref gives the same ranking."""
    log_conditional, log_text = np.log([0.5, 0.3, 0.2]), np.log([0.7, 0.1, 0.2])
    tilted = log_conditional + 2 * (log_conditional - log_text)
    assert np.argmax(tilted) == 1 and np.argmax(log_conditional) == 0
    assert "no power of the base policy" in SHARPENING["mean_pmi"].reason
