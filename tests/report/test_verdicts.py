"""Verdicts: each rule, their order, and which rung decides."""

from typing import Any

import pytest

from analysis.report.answers import answer
from analysis.report.verdicts import definitions, verdict

MARGIN = 0.02


def row(low: float, high: float, **more: Any) -> dict[str, Any]:
    """A rung whose α has this interval."""
    return {
        "status": "ok",
        "estimate": (low + high) / 2,
        "conf_low": low,
        "conf_high": high,
        "p_value": 0.5 if low <= 0 <= high else 0.001,
        "p_holm": None,
        "p_equivalence": 0.9,
        "adjusted_rate": 0.55,
        "adjusted_rate_low": 0.51,
        "adjusted_rate_high": 0.59,
        "share_left": None,
        "share_left_low": None,
        "share_left_high": None,
        "minimum_detectable": 0.3,
        "n_comparisons": 1200,
        **more,
    }


def left(share: float, low: float, high: float) -> dict[str, float]:
    return {"share_left": share, "share_left_low": low, "share_left_high": high}


NONE = {"status": "the dataset has no quality ratings", "estimate": None}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({}, "no estimate"),
        ({"bt": NONE}, "no estimate"),
        ({"bt": row(0.1, 0.5)}, "typicality-biased"),
        ({"bt": row(-0.5, -0.1)}, "favours the untypical"),
        ({"bt": row(-0.1, 0.5)}, "cannot tell"),
        ({"bt": row(0.1, 0.5, p_equivalence=0.01)}, "no bias within ±2 points"),  # found, and found to be small
        ({"bt": row(0.1, 0.5, p_holm=0.2)}, "cannot tell"),  # one of many cells
        ({"bt": row(-0.1, 0.5), "bt_length": row(0.1, 0.5)}, "typicality-biased"),  # the last rung decides
        ({"bt": row(0.1, 0.5), "bt_length": NONE, "bt_style": row(0.1, 0.4)}, "typicality-biased"),
        ({"bt": row(0.1, 0.5), "bt_length": row(-0.1, 0.1, **left(0.1, -0.2, 0.4))}, "explained by length"),
        ({"bt": row(0.1, 0.5), "bt_length": row(-0.1, 0.5, **left(0.7, 0.2, 1.3))}, "cannot tell"),  # only less sure
        ({"bt": row(-0.1, 0.5), "bt_length": row(-0.1, 0.1, **left(0.1, -0.2, 0.4))}, "cannot tell"),
        (
            {
                "bt": row(0.1, 0.5),
                "bt_length": row(0.05, 0.4),
                "bt_style": row(-0.1, 0.1),
                "bt_quality": row(-0.1, 0.1, **left(0.0, -0.2, 0.2)),
            },
            "explained by style",
        ),
        (
            {
                "bt": row(0.1, 0.5),
                "bt_length": row(-0.1, 0.4),
                "bt_style": row(0.1, 0.4),
                "bt_quality": row(-0.1, 0.1, **left(0.0, -0.2, 0.2)),
            },
            "explained by quality",
        ),
        ({"bt": row(0.1, 0.5), "bt_fluency": row(-0.5, -0.1)}, "typicality-biased"),  # fluency decides nothing
    ],
)
def test_the_first_rule_that_holds_decides(rows: dict[str, Any], words: str):
    found = verdict(rows, MARGIN)
    assert found.words == words
    assert any(words.startswith(name.removesuffix("…")) for name, _ in definitions(MARGIN))


def test_the_rung_that_decides_is_named_with_its_controls():
    found = verdict({"bt": row(0.1, 0.5), "bt_length": row(0.1, 0.4), "bt_quality": row(0.2, 0.3)}, MARGIN)
    assert found.controls == ("length", "quality") and found.rung["conf_low"] == 0.2
    assert "0.25, 95 % interval 0.20 to 0.30; p after Holm 0.001" in found.why


def test_the_margin_is_the_study_s():
    assert verdict({"bt": row(0.1, 0.5, p_equivalence=0.01)}, 0.035).words == "no bias within ±3.5 points"


def test_an_answer_in_words():
    rows = {
        "rate": row(0.51, 0.57, estimate=0.54),
        "bt": row(0.1, 0.5),
        "bt_length": row(0.1, 0.4, **left(0.83, 0.6, 1.1)),
        "bt_quality": NONE,
    }
    found = answer("ours", "base", rows, MARGIN, "nats per token")
    assert found.sentences == (
        "The more typical response is preferred in 54.0 % of 1,200 comparisons (95 % interval 51.0 to 57.0 %; 50 % is "
        "no bias).",
        "With length equal it would be in 55.0 % (51.0 to 59.0 %): 83 % of the raw effect is left (60 to 110 %).",
        "Not held equal: quality (the dataset has no quality ratings).",
    )


def test_an_answer_that_cannot_tell_says_what_could_be_told():
    found = answer("ours", "base", {"bt": row(-0.1, 0.2)}, MARGIN, "nats per token")
    assert found.sentences == (
        "A sample of this size finds, with a probability of 80 %, an α of 0.30 or more per unit of the measure (nats "
        "per token); here α is 0.050.",
    )


def test_no_answer():
    found = answer("ours", "base", {"bt": NONE, "rate": NONE}, MARGIN, "nats per token")
    assert found.sentences == () and found.verdict.why == "the dataset has no quality ratings"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"bt": row(0.1, 0.5), "ordered": row(-0.6, -0.2)}, ["how strongly they are preferred"]),
        ({"bt": row(-0.5, -0.1), "ties": row(0.2, 0.6), "ordered": row(-0.4, -0.2)}, ["ties"]),
        ({"bt": row(0.1, 0.5), "ordered": row(-0.6, 0.1), "ties": row(0.1, 0.6)}, []),  # zero is possible, or the same
        ({"bt": row(-0.1, 0.5), "ordered": row(-0.6, -0.2), "ties": NONE}, []),
        ({"bt": NONE, "ordered": row(-0.6, -0.2)}, []),
    ],
)
def test_strength_or_ties_that_tell_the_opposite(rows: dict[str, Any], said: list[str]) -> None:
    found = [s for s in answer("ours", "base", rows, MARGIN, "nats per token").sentences if "turns the sign" in s]
    assert len(found) == len(said)
    for sentence, what in zip(found, said, strict=True):
        assert sentence.startswith(f"Counting {what}, too, turns the sign: α is ")


def test_an_interval_without_zero_that_does_not_decide_says_why() -> None:
    assert "p after Holm 0.200" in verdict({"bt": row(0.1, 0.5, p_holm=0.2)}, MARGIN).why
    assert "Holm" not in verdict({"bt": row(-0.1, 0.5)}, MARGIN).why


@pytest.mark.parametrize(
    ("estimate", "low", "high", "said"),
    [
        (0.02, 0.01, 0.03, "How typical a response is predicts the labels better than how near"),
        (
            -0.02,
            -0.03,
            -0.01,
            "How near its surprisal is to the base model's entropy predicts the labels better than how",
        ),
    ],
)
def test_which_measure_the_labels_prefer(estimate: float, low: float, high: float, said: str) -> None:
    preferred = row(low, high) | {"estimate": estimate, "p_value": 0.04}
    found = answer("ours", "base", {"bt": row(0.1, 0.2), "entropy_vuong": preferred}, MARGIN, "nats per token")
    assert any(said in sentence for sentence in found.sentences)


@pytest.mark.parametrize("known", [NONE, row(-0.05, 0.01) | {"estimate": -0.02}], ids=["not known", "cannot be told"])
def test_which_measure_is_not_said_where_it_is_not_known(known: dict[str, Any]) -> None:
    found = answer("ours", "base", {"bt": row(0.1, 0.2), "entropy_vuong": known}, MARGIN, "nats per token")
    assert not any("surprisal" in sentence for sentence in found.sentences)
