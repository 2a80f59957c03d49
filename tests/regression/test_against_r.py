"""Against R, on fixed data: see tests/reference/regression for the script that made its values, and their versions.

Tolerances: coefficients 1e-5 and clustered standard errors 1e-4, both relative. R's glm stops at a deviance that
no longer changes by 1e-14 of itself, which leaves coefficients good to about 1e-7; the effects' errors take numerical
derivatives there.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.regression import effects
from analysis.regression.bradley_terry import Fit, fit
from analysis.regression.inference import clustered_mean, two_way
from tests.reference.regression.make_data import make
from tests.regression.made import MEASURE, fit_rows

FOLDER = Path(__file__).parents[1] / "reference" / "regression"
COEFFICIENT, ERROR = 1e-5, 1e-4
R = json.loads((FOLDER / "reference.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    d = pd.read_csv(FOLDER / "comparisons.csv")
    d["y"] = d["preferred"] == "a"
    d["delta"] = d["logprob_a"] - d["logprob_b"]
    la, lb = np.log(d["words_a"] / 100), np.log(d["words_b"] / 100)
    d["length"], d["length2"], d["quality"] = la - lb, la**2 - lb**2, d["quality_a"] - d["quality_b"]
    centre = d[["logprob_a", "logprob_b"]].to_numpy().mean()
    d["bent"] = (d["logprob_a"] - centre) ** 2 - (d["logprob_b"] - centre) ** 2
    d["one"] = 1.0
    return d.assign(weight=1 / d.groupby("prompt")["prompt"].transform("size"))


def fitted(d: pd.DataFrame, terms: list[str], weights: Any = None, clusters: str = "prompt") -> Fit:
    groups = np.unique(d[clusters], return_inverse=True)[1]
    return fit(d["y"].to_numpy(), d[terms].to_numpy(float), groups, weights)


def frame_of(d: pd.DataFrame) -> pd.DataFrame:
    """The data as comparisons, as a dataset would bring them."""
    n = len(d)
    return pd.DataFrame(
        {
            "comparison_id": [f"c{i:04}" for i in range(n)],
            "prompt_id": [f"p{p:03}" for p in d["prompt"]],
            "annotator": [f"w{w}" for w in d["annotator"]],
            "response_a": [f"{i * 7 % 10}a{i}" for i in range(n)],  # now one, now the other is turned first
            "response_b": [f"{i * 3 % 10}b{i}" for i in range(n)],
            "preference": d["preferred"],
            **{
                f"{name}_{side}": values(d[f"{column}_{side}"])
                for side in ("a", "b")
                for name, column, values in (
                    (MEASURE, "logprob", lambda x: x),
                    ("log_words", "words", lambda x: np.log(x / 100)),
                    ("correct", "quality", lambda x: x.astype(float)),
                    ("polite", "quality", lambda x: 0.0 * x),
                )
            },
        }
    )


def agrees(found: Fit, expected: dict[str, Any]) -> None:
    np.testing.assert_allclose(found.coefficients, np.atleast_1d(expected["estimate"]), rtol=COEFFICIENT)
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance)), np.atleast_1d(expected["std_error"]), rtol=ERROR)


def test_the_data_are_those_of_their_script(data: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(make(), data[list(make().columns)], rtol=1e-12)


LADDER = ["delta", "length", "length2", "quality"]


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("bt", ["delta"]),
        ("length", ["delta", "length", "length2"]),
        ("ladder", LADDER),
        ("club", LADDER),
        ("quadratic", ["delta", "bent"]),
        ("paper", ["one", "delta", "quality"]),
    ],
)
def test_glm_with_clustered_errors(data: pd.DataFrame, name: str, terms: list[str]) -> None:
    agrees(fitted(data, terms), R[name])


def test_weighted(data: pd.DataFrame) -> None:
    agrees(fitted(data, ["delta", "quality"], data["weight"].to_numpy()), R["weighted"])


def test_two_way(data: pd.DataFrame) -> None:
    prompt, annotator = (np.unique(data[c], return_inverse=True)[1] for c in ("prompt", "annotator"))
    y, x = data["y"].to_numpy(), data[["delta"]].to_numpy()
    covariance, fewest = two_way(lambda clusters: fit(y, x, clusters).covariance, prompt, annotator)
    assert np.sqrt(covariance[0, 0]) == pytest.approx(R["two_way"]["std_error"], rel=ERROR)
    assert fewest == data["annotator"].nunique()


def test_the_conditional_logit_of_the_pairs(data: pd.DataFrame) -> None:
    found = fitted(data, LADDER)
    np.testing.assert_allclose(found.coefficients, R["clogit"]["estimate"], rtol=COEFFICIENT)
    assert found.mean_log_likelihood * len(data) == pytest.approx(R["clogit"]["log_likelihood"], rel=1e-9)


def test_bradley_terry_2(data: pd.DataFrame) -> None:
    expected = R["bradley_terry2"]["estimate"]
    np.testing.assert_allclose(fitted(data, ["delta", "quality"]).coefficients, expected, rtol=COEFFICIENT)


def test_the_rate(data: pd.DataFrame) -> None:
    wins = np.where(data["delta"] == 0, 0.5, ((data["delta"] > 0) == data["y"]).astype(float))
    prompts = np.unique(data["prompt"], return_inverse=True)[1]
    for name, weights in (("rate", None), ("rate_weighted", data["weight"].to_numpy())):
        found = clustered_mean(wins, prompts, 0.5, weights)
        assert found.estimate == pytest.approx(R[name]["estimate"], rel=COEFFICIENT)
        assert found.std_error == pytest.approx(R[name]["std_error"], rel=ERROR)


def test_effects(data: pd.DataFrame) -> None:
    found, prompts = fitted(data, LADDER), np.unique(data["prompt"], return_inverse=True)[1]
    columns = [data[name].to_numpy(float) for name in LADDER]
    for term, expected in enumerate(R["marginal"]):
        effect = effects.average_marginal_effect(found, columns, term, prompts)
        assert effect.estimate == pytest.approx(expected["estimate"], rel=COEFFICIENT)
        assert effect.std_error == pytest.approx(expected["std_error"], rel=ERROR)
    rate = effects.adjusted_rate(found, columns[0], 0, prompts)
    assert rate.estimate == pytest.approx(R["adjusted_rate"]["estimate"], rel=COEFFICIENT)
    assert rate.std_error == pytest.approx(R["adjusted_rate"]["std_error"], rel=ERROR)


def test_the_specifications(data: pd.DataFrame) -> None:
    """The same from the comparisons on: `estimates` holds R's numbers."""
    frame = frame_of(data)
    wanted = {
        "rate": {"typicality": (R["rate"]["estimate"], R["rate"]["std_error"])},
        "rate_prompts": {"typicality": (R["rate_weighted"]["estimate"], R["rate_weighted"]["std_error"])},
    }
    for specification, name, terms in (
        ("bt", "bt", ["typicality"]),
        ("bt_length", "length", ["typicality", "log_words", "log_words_squared"]),
        ("bt_quality", "ladder", ["typicality", "log_words", "log_words_squared", "correct"]),
        ("bt_annotators", "two_way", ["typicality"]),
        ("quadratic", "quadratic", ["typicality", "typicality_squared"]),
        ("paper", "paper", ["intercept", "typicality", "correct"]),
    ):
        both = np.atleast_1d(R[name]["estimate"]), np.atleast_1d(R[name]["std_error"])
        wanted[specification] = dict(zip(terms, zip(*both, strict=True), strict=True))
    for specification, terms in wanted.items():
        rows = {row["term"]: row for row in fit_rows(specification, frame) if row["specification"] == specification}
        for term, (estimate, error) in terms.items():
            assert rows[term]["estimate"] == pytest.approx(estimate, rel=COEFFICIENT)
            assert rows[term]["std_error"] == pytest.approx(error, rel=ERROR)
