"""What is counted of the responses of a cell while they go by."""

import math

import pytest

from analysis.likelihood.scoring import Counts


def row(n_tokens: int, sum_logprob: float) -> dict[str, object]:
    cut = {"truncated": False, "n_response_tokens_cut": 0, "straddles": False}
    return {"device": "cpu", "n_tokens": n_tokens, "sum_logprob": sum_logprob, **cut}


@pytest.mark.parametrize(
    ("n_tokens", "probability", "memorised"),
    [(50, 1 / 999, 3), (50, 1 / 1001, 0), (49, 0.9, 0), (500, 0.5, 3)],
    ids=["at the least length", "too seldom", "too short", "long and sure"],
)
def test_long_texts_that_the_model_writes_word_for_word_are_memorised(n_tokens, probability, memorised) -> None:
    counts = Counts()
    counts.add(row(n_tokens, math.log(probability)), 3)
    assert (counts.n_scored, counts.n_memorised) == (3, memorised)
