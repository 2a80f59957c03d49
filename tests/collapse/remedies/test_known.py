"""Answers that can be listed: which one a response gives, and how far given answers are from a reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from analysis.collapse.remedies.known import (
    NO_ANSWER,
    SEVERAL,
    answer_of,
    coverage,
    ideal,
    kl,
    known_answers,
    smoothed,
)

STATES = known_answers([("Virginia", "VA"), ("West Virginia",), ("New York", "NY"), ("Texas",)])
WEIGHTS = st.lists(st.floats(0.01, 10), min_size=2, max_size=8)


@pytest.mark.parametrize(
    ("response", "found"),
    [
        ("Texas", 3),
        ("  texas. ", 3),
        ("**Texas**", 3),
        ("va", 0),
        ("The state is West Virginia, of course.", 1),
        ("I would say Virginia.", 0),
        ("New York (NY)", 2),
        ("Texas or Virginia", SEVERAL),
        ("Texasville", NO_ANSWER),
        ("Ohio", NO_ANSWER),
    ],
)
def test_which_answer(response, found):
    assert answer_of(response, STATES) == found


def test_two_answers_may_not_share_a_name():
    with pytest.raises(ValueError, match="two answers are called 'va'"):
        known_answers([("Virginia", "VA"), ("Vatican", "va")])
    with pytest.raises(ValueError, match="no letter"):
        known_answers([("…",)])


@given(WEIGHTS, st.data())
def test_kl_is_scipys(weights, data):
    counts = data.draw(st.lists(st.integers(0, 5), min_size=len(weights), max_size=len(weights)).filter(any))
    shares, reference = np.array(counts) / sum(counts), smoothed(weights)
    assert kl(shares, reference) == pytest.approx(entropy(shares, reference), abs=1e-12)
    assert coverage(shares) == np.count_nonzero(counts) / len(counts)


def test_what_draws_from_the_reference_have():
    # Exactly: of two draws from (p, 1 − p) both are the same with p² + (1 − p)².
    p = smoothed([0.7, 0.3])[0]
    alike = p**2 * -np.log(p) + (1 - p) ** 2 * -np.log(1 - p)
    mixed = 2 * p * (1 - p) * (0.5 * np.log(0.5 / p) + 0.5 * np.log(0.5 / (1 - p)))
    covered, expected = ideal(np.array([p, 1 - p]), 2, np.random.default_rng(0))
    assert covered == pytest.approx(1 - (p**2 + (1 - p) ** 2) / 2)
    # The mean of 2,000 simulated sets: its standard error is below 0.01.
    assert expected == pytest.approx(alike + mixed, abs=0.03)
