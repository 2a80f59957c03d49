"""Specifications `ordered` and `ties`: their rows of `estimates`, from comparisons with strengths and ties."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special

from analysis.regression.bootstrap import TOO_FEW
from analysis.regression.graded import EQUALLY_STRONG, NO_STRENGTH, NO_TIES
from analysis.regression.inference import CLUSTERED
from analysis.regression.part import TYPICALITY
from analysis.regression.rows import Row
from tests.regression.made import MEASURE, fit_rows, joined, part_of, swapped
from tests.regression.test_against_r import COEFFICIENT, ERROR, FOLDER

R = json.loads((FOLDER / "strengths.json").read_text(encoding="utf-8"))
NAMES = ("ordered", "ties")


def reference() -> pd.DataFrame:
    """R's comparisons as a frame of this folder's; now one response, now the other is turned first."""
    d = pd.read_csv(FOLDER / "strengths.csv")
    n = len(d)
    return pd.DataFrame(
        {
            "comparison_id": [f"c{i:04}" for i in range(n)],
            "prompt_id": [f"p{p:03}" for p in d["prompt"]],
            "response_a": [f"{i * 7 % 10}a{i}" for i in range(n)],
            "response_b": [f"{i * 3 % 10}b{i}" for i in range(n)],
            "preference": np.select([d["strength"] > 0, d["strength"] < 0], ["a", "b"], "tie"),
            "strength": d["strength"].abs().astype(float),
            f"{MEASURE}_a": d["logprob_a"],
            f"{MEASURE}_b": d["logprob_b"],
        }
    )


def by_term(name: str, frame: pd.DataFrame) -> dict[str, Row]:
    return {row["term"]: row for row in fit_rows(name, frame)}


def status(name: str, frame: pd.DataFrame) -> str:
    (row,) = fit_rows(name, frame)
    assert row["term"] == TYPICALITY
    assert row.get("estimate") is None
    return str(row["status"])


@pytest.mark.parametrize("name", NAMES)
def test_r(name: str) -> None:
    """From the comparisons on: `estimates` holds R's numbers."""
    found, expected, frame = by_term(name, reference()), R[name], reference()
    typical = found[TYPICALITY]
    assert typical["estimate"] == pytest.approx(np.ravel(expected["estimate"])[0], rel=COEFFICIENT)
    assert typical["std_error"] == pytest.approx(np.ravel(expected["std_error"])[0], rel=ERROR)
    assert typical["marginal_effect"] == pytest.approx(expected["marginal_effect"], rel=COEFFICIENT)
    assert typical["marginal_effect_std_error"] == pytest.approx(expected["marginal_effect_std_error"], rel=ERROR)
    assert typical["mean_log_likelihood"] * len(frame) == pytest.approx(expected["log_likelihood"], rel=1e-9)
    assert (typical["n_comparisons"], typical["n_prompts"]) == (len(frame), 150)
    assert typical["covariance"] == CLUSTERED
    if name == "ties":
        levels = {"tie": (expected["estimate"][1], expected["std_error"][1])}
    else:
        both = expected["thresholds"], expected["thresholds_std_error"]
        levels = dict(zip(("threshold 1", "threshold 2", "threshold 3"), zip(*both, strict=True), strict=True))
    assert found.keys() == {TYPICALITY, *levels}
    for term, (estimate, error) in levels.items():
        assert found[term]["estimate"] == pytest.approx(estimate, rel=COEFFICIENT)
        assert found[term]["std_error"] == pytest.approx(error, rel=ERROR)
        assert found[term]["conf_low"] < estimate < found[term]["conf_high"]
        assert found[term]["p_value"] is None


def test_ordered_without_ties() -> None:
    """An even number of levels: the threshold in the middle is zero, and no row."""
    frame = reference()
    found = by_term("ordered", frame[frame["preference"] != "tie"])
    assert found.keys() == {TYPICALITY, "threshold 2", "threshold 3"}
    assert found["threshold 2"]["estimate"] > 0


def test_effect_sizes_by_their_formulas() -> None:
    """P(a preferred) from one SD below to one above, and odds."""
    for name in NAMES:
        found = by_term(name, reference())
        row = found[TYPICALITY]
        logit = row["estimate"] * row["difference_sd"]
        if name == "ordered":
            tau = found["threshold 1"]["estimate"]
            won = [special.expit(side * logit - tau) for side in (-1, 1)]
        else:
            nu = np.exp(found["tie"]["estimate"])
            won = [np.exp(s * logit / 2) / (np.exp(logit / 2) + np.exp(-logit / 2) + nu) for s in (-1, 1)]
        assert row["probability_change"] == pytest.approx(won[1] - won[0], rel=1e-10)
        assert row["odds_ratio_sd"] == pytest.approx(np.exp(logit), rel=1e-12)
        for column in ("adjusted_rate", "share_left", "p_equivalence", "power"):
            assert row.get(column) is None


def test_planted() -> None:
    """On many comparisons drawn from the models, the planted coefficient is found."""
    random, n, alpha = np.random.default_rng(1), 6_000, 0.7
    frame = joined(n, 2000)
    eta = alpha * (frame[f"{MEASURE}_a"] - frame[f"{MEASURE}_b"]).to_numpy()
    latent = eta + random.logistic(size=n)
    signed = np.sign(latent) * np.digitize(np.abs(latent), [0.3, 1.0, 2.0])
    drawn = random.random(n) * (np.exp(eta / 2) + np.exp(-eta / 2) + 0.5)
    sign = np.where(drawn < np.exp(eta / 2), 1, np.where(drawn < np.exp(eta / 2) + 0.5, 0, -1))
    for name, value in (("ordered", signed), ("ties", sign)):
        preference = np.select([value > 0, value < 0], ["a", "b"], "tie")
        row = by_term(name, frame.assign(preference=preference, strength=np.abs(value)))[TYPICALITY]
        assert abs(row["estimate"] - alpha) < 4 * row["std_error"] < 0.2


def test_ties_and_strengths_turn_with_their_comparison() -> None:
    frame = joined()
    other = swapped(frame, frame.index[::3])
    one, two = (part_of(f).with_ties() for f in (frame, other))
    assert (one.sign == two.sign).all()
    assert set(one.sign) == {-1, 0, 1}
    np.testing.assert_array_equal(one.cell.signed_strength, two.cell.signed_strength)
    assert (np.sign(one.cell.signed_strength) == one.cell.sign).all()
    # Without them the part is that of the other specifications.
    assert (one.cell.sign[part_of(frame).at] != 0).all()
    assert len(one.at) == len(frame) > len(part_of(frame).at)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_prompts_and_responses(name: str) -> None:
    frame = joined()
    renamed = frame.assign(
        prompt_id=frame["prompt_id"].map(lambda p: f"x{hash_of(p)}"),
        response_a=frame["response_a"].map(lambda r: f"y{hash_of(r)}"),
        response_b=frame["response_b"].map(lambda r: f"y{hash_of(r)}"),
    )
    for one, two in zip(fit_rows(name, frame), fit_rows(name, renamed), strict=True):
        for number in ("estimate", "std_error", "conf_low", "mean_log_likelihood"):
            assert two[number] == pytest.approx(one[number], rel=1e-10)


def hash_of(name: str) -> int:
    """A number in another order than the names'."""
    return int(name[1:]) * 7919 % 99991


class TestStrengths:
    def test_of_zero_is_the_level_of_ties(self) -> None:
        """A label that comes with a strength of nothing is a tie to `ordered`, and a label to `ties`."""
        frame = joined()
        zero = frame.index[frame["strength"] == 1]
        found = fit_rows("ordered", frame.assign(strength=frame["strength"].where(~frame.index.isin(zero), 0.0)))
        tied = frame.assign(preference=frame["preference"].where(~frame.index.isin(zero), "tie"))
        assert found == fit_rows("ordered", tied)
        assert fit_rows("ties", frame.assign(strength=0.0)) == fit_rows("ties", frame)

    def test_of_a_tie_is_none(self) -> None:
        frame = joined()
        for strength in (np.nan, 2.0):
            other = frame.assign(strength=frame["strength"].where(frame["preference"] != "tie", strength))
            assert fit_rows("ordered", other) == fit_rows("ordered", frame)

    def test_their_scale_is_nothing(self) -> None:
        """Any unit, any shape: the order alone matters."""
        frame = joined()
        for scale in (frame["strength"] * 0.1, frame["strength"] ** 2):
            for one, two in zip(
                fit_rows("ordered", frame), fit_rows("ordered", frame.assign(strength=scale)), strict=True
            ):
                assert two["estimate"] == one["estimate"]

    def test_that_are_missing_leave_their_comparison_out(self) -> None:
        frame = joined()
        missing = frame["strength"].where(frame.index >= 100)
        found = fit_rows("ordered", frame.assign(strength=missing))
        kept = frame[(frame.index >= 100) | (frame["preference"] == "tie")]
        assert found == fit_rows("ordered", kept)
        assert found[0]["n_comparisons"] == len(kept) < len(frame)

    def test_of_many_sizes_are_bins(self) -> None:
        random = np.random.default_rng(0)
        frame = joined()
        fine = frame.assign(strength=frame["strength"] + random.uniform(0, 0.9, len(frame)) * (frame["strength"] > 0))
        found = fit_rows("ordered", fine)
        assert len(found) == 1 + 10
        assert found[0]["estimate"] == pytest.approx(by_term("ordered", frame)[TYPICALITY]["estimate"], rel=0.2)


def few(n_prompts: int) -> pd.DataFrame:
    return joined(200, n_prompts)


DECIDED = joined()[joined()["preference"] != "tie"]


@pytest.mark.parametrize(
    ("name", "frame", "reason"),
    [
        ("ordered", joined().assign(strength=None), NO_STRENGTH),
        ("ordered", joined().drop(columns="strength"), NO_STRENGTH),
        ("ordered", DECIDED.assign(strength=2.0), EQUALLY_STRONG),
        ("ordered", joined().assign(strength=0.0), "every strength is 0"),
        ("ordered", few(49), TOO_FEW),
        ("ordered", few(1), "all comparisons belong to one prompt"),
        ("ordered", joined().assign(preference="tie"), "no comparison is decided"),
        ("ordered", joined().assign(**{f"{MEASURE}_a": joined()[f"{MEASURE}_b"]}), "the same for both"),
        ("ties", DECIDED, NO_TIES),
        ("ties", few(49), TOO_FEW),
        ("ties", few(1), "all comparisons belong to one prompt"),
        ("ties", joined().assign(preference="tie"), "no comparison is decided"),
        ("ties", joined().assign(**{f"{MEASURE}_a": joined()[f"{MEASURE}_b"]}), "the same for both"),
    ],
)
def test_honest_failure(name: str, frame: pd.DataFrame, reason: str) -> None:
    assert reason in status(name, frame)


def test_separated() -> None:
    """Judged as the difference says, without exception."""
    frame = joined()
    delta: Any = (frame[f"{MEASURE}_a"] - frame[f"{MEASURE}_b"]).to_numpy()
    size = np.digitize(np.abs(delta), [0.4, 1.0])
    frame = frame.assign(preference=np.select([size == 0, delta > 0], ["tie", "a"], "b"), strength=size.astype(float))
    for name in NAMES:
        assert "perfectly predicted" in status(name, frame)


def test_one_strength_with_ties_is_fitted() -> None:
    """Rao and Kupper's model: winner and tie are levels, too."""
    frame = joined()
    found = by_term("ordered", frame.assign(strength=(frame["preference"] != "tie").astype(float)))
    assert found.keys() == {TYPICALITY, "threshold 1"}
