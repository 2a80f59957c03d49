"""Measures, against their formulas applied row by row."""

import math

import numpy as np
import pandas as pd
import pytest

from analysis.likelihood.measures import MEASURES, wide

ROWS = [
    # response, conditional, sum_logprob, n_tokens, n_bytes
    ("r1", True, -12.0, 4, 20),
    ("r1", False, -16.0, 4, 20),
    ("r2", True, -3.5, 1, 7),
    ("r2", False, -3.0, 1, 7),
    ("r3", True, -100.0, 40, 160),
]
SCORES = pd.DataFrame(ROWS, columns=["response_id", "conditional", "sum_logprob", "n_tokens", "n_bytes"])


def test_each_formula() -> None:
    found = wide(SCORES, tuple(MEASURES))
    assert list(found.columns) == ["mean_logprob", "logprob_per_byte", "sum_logprob", "mean_pmi"]
    assert sorted(found.index) == ["r1", "r2", "r3"]
    # Exact: each is one subtraction and one division of numbers that float64 holds.
    assert found.loc["r1"].to_list() == [-3.0, -0.6, -12.0, 1.0]
    assert found.loc["r2"].to_list() == [-3.5, -0.5, -3.5, -0.5]
    assert found.loc["r3"].to_list()[:3] == [-2.5, -0.625, -100.0]
    assert math.isnan(found.loc["r3", "mean_pmi"])


@pytest.mark.parametrize("measure", ["mean_logprob", "logprob_per_byte", "sum_logprob"])
def test_unconditional_rows_are_not_needed(measure: str) -> None:
    only = wide(SCORES[SCORES["conditional"]], (measure,))
    assert list(only.columns) == [measure]
    assert only[measure].to_dict() == wide(SCORES, (measure,))[measure].to_dict()
    assert not MEASURES[measure].unconditional


def test_the_order_of_rows_does_not_matter() -> None:
    shuffled = SCORES.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(
        wide(shuffled, tuple(MEASURES)).sort_index(), wide(SCORES, tuple(MEASURES)).sort_index()
    )


def test_an_unconditional_score_alone_gives_no_number() -> None:
    found = wide(SCORES[~SCORES["conditional"]], ("mean_pmi", "mean_logprob"))
    assert list(found.columns) == ["mean_pmi", "mean_logprob"] and found.isna().all(axis=None)


def test_no_scores() -> None:
    empty = SCORES.iloc[:0].astype({"conditional": bool})
    assert wide(empty, tuple(MEASURES)).empty


def test_every_measure_says_its_unit_and_formula() -> None:
    assert MEASURES["mean_pmi"].unconditional
    for measure in MEASURES.values():
        assert "nats" in measure.unit and "log p(response" in measure.formula
        assert np.issubdtype(measure.compute(SCORES.assign(sum_logprob_unconditional=0.0)).dtype, np.floating)
