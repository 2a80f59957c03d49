"""Models of responses and of the shape against R, on fixed data: see tests/reference/responses for script and versions.

Tolerances: coefficients 1e-6 and clustered errors 1e-4, both relative. R's fits stop where the likelihood no longer
changes by 1e-14 of itself, which leaves coefficients good to about 1e-7.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.regression import bradley_terry, choice, shape, within
from analysis.regression.inference import clustered_mean
from tests.reference.responses.make_data import make

REFERENCE = Path(__file__).parents[1] / "reference"
COEFFICIENT, ERROR = 1e-6, 1e-4
R = json.loads((REFERENCE / "responses" / "reference.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return pd.read_csv(REFERENCE / "responses" / "responses.csv")


@pytest.fixture(scope="module")
def pairs() -> pd.DataFrame:
    return pd.read_csv(REFERENCE / "regression" / "comparisons.csv")


def agrees(coefficients: Any, covariance: Any, expected: dict[str, Any]) -> None:
    np.testing.assert_allclose(coefficients, expected["estimate"], rtol=COEFFICIENT)
    if "std_error" in expected:
        np.testing.assert_allclose(np.sqrt(np.diag(covariance)), expected["std_error"], rtol=ERROR)


def codes(column: pd.Series) -> Any:
    return np.unique(column, return_inverse=True)[1]


def test_the_data_are_those_of_their_script(data: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(make(), data, check_dtype=False)


def test_least_squares_with_an_effect_of_each_prompt(data: pd.DataFrame) -> None:
    x = data[["logprob", "quality"]].to_numpy(float)
    prompts = codes(data["prompt"])
    found = within.fit(data["rating"].to_numpy(float), x, prompts, prompts)
    agrees(found.coefficients, found.covariance, R["ratings"])
    assert R["ratings"]["std_error"] == pytest.approx(R["ratings"]["sandwich"], rel=1e-10)


@pytest.mark.parametrize("name", ["rank_ordered", "conditional", "alone"])
def test_orders_and_choices_of_the_best(data: pd.DataFrame, name: str) -> None:
    """Ties in orders by Efron's rule, ties for the best exactly; where there are none, McFadden's."""
    data = data[data.groupby("prompt")["place"].transform("max") > 1]
    if name == "alone":
        data = data[(data["place"] == 1).groupby(data["prompt"]).transform("sum") == 1]
    data = data.sort_values(["prompt", "place"], kind="stable")
    sets, x = codes(data["prompt"]), data[["logprob", "quality"]].to_numpy(float)
    found = choice.fit(x, sets, data["place"].to_numpy() - 1, sets, name != "rank_ordered")
    agrees(found.coefficients, found.covariance, R[name])
    assert found.log_likelihood == pytest.approx(R[name]["log_likelihood"], rel=1e-9)


def test_a_restricted_cubic_spline(pairs: pd.DataFrame) -> None:
    a, b = (pairs[f"logprob_{side}"].to_numpy() for side in "ab")
    knots = np.quantile(np.concatenate([a, b]), shape.KNOTS, method="inverted_cdf")
    assert knots == pytest.approx(R["spline"]["knots"], rel=1e-12)

    def basis(x: Any) -> Any:
        return shape.restricted_cubic(np.asarray(x, float), knots)

    found = bradley_terry.fit((pairs["preferred"] == "a").to_numpy(), basis(a) - basis(b), codes(pairs["prompt"]))
    agrees(found.coefficients, found.covariance, R["spline"])
    assert shape.linearity(found) == pytest.approx(R["spline"]["p_linearity"], rel=ERROR)
    for name in ("spline", "natural"):
        assert found.mean_log_likelihood * len(pairs) == pytest.approx(R[name]["log_likelihood"], rel=1e-10)
    contrasts = basis([-4, -3, -2, -1]) - basis([-2.5])
    agrees(
        contrasts @ found.coefficients,
        contrasts @ found.covariance @ contrasts.T,
        {"estimate": R["spline"]["curve"], "std_error": R["spline"]["curve_error"]},
    )


def test_vuong(pairs: pd.DataFrame) -> None:
    a, b = (pairs[f"logprob_{side}"].to_numpy() for side in "ab")
    labels, prompts = (pairs["preferred"] == "a").to_numpy(), codes(pairs["prompt"])
    first, second = (shape.log_likelihoods(labels, x, prompts) for x in (a - b, np.abs(b + 2.4) - np.abs(a + 2.4)))
    found = clustered_mean(first - second, prompts, 0.0)
    assert found.estimate == pytest.approx(R["vuong"]["estimate"], rel=COEFFICIENT)
    assert found.std_error == pytest.approx(R["vuong"]["std_error"], rel=ERROR)
