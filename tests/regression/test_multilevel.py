"""The meta-analysis against R (metafor, clubSandwich): see tests/reference/synthesis for the script and the versions.

Tolerances: 1e-5 relative and 1e-7 absolute. Both maximise the same likelihood, and R's optimiser stops at a relative
change of 1e-15 of it, which leaves variances good to about 1e-7 and their zeros to 1e-10.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.regression import multilevel
from analysis.regression.inference import NoEstimate
from analysis.regression.multilevel import Multilevel
from analysis.regression.synthesis import prediction
from tests.reference.synthesis.make_data import cells, pairs

FOLDER = Path(__file__).parents[1] / "reference" / "synthesis"
R = json.loads((FOLDER / "reference.json").read_text(encoding="utf-8"))
CELLS = pd.read_csv(FOLDER / "cells.csv")
ERRORS = pd.read_csv(FOLDER / "errors.csv", header=None).to_numpy()
DATASETS = np.unique(CELLS["dataset"], return_inverse=True)[1]
LEVELS = [DATASETS, np.arange(len(CELLS))]
ONES = np.ones((len(CELLS), 1))


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def agrees(found: Multilevel, expected: dict[str, Any]) -> None:
    close(found.coefficients, np.atleast_1d(expected["estimate"]))
    close(np.sqrt(np.diag(found.covariance)), np.atleast_1d(expected["std_error"]))
    close(found.variances, np.atleast_1d(expected["variances"]))


def test_the_data_are_those_of_their_script() -> None:
    made, errors = cells()
    pd.testing.assert_frame_equal(made, CELLS, rtol=1e-12)
    np.testing.assert_allclose(errors, ERRORS, rtol=1e-12)
    pd.testing.assert_frame_equal(pairs(), pd.read_csv(FOLDER / "pairs.csv"), rtol=1e-12)


@pytest.mark.parametrize("name", ["both", "between", "neither"])
def test_the_mean_of_cells_of_datasets(name: str) -> None:
    expected = R[name]
    found = multilevel.fit(CELLS[name].to_numpy(), ERRORS, ONES, LEVELS)
    agrees(found, expected)
    q, df, p = multilevel.heterogeneity(found.y, found.errors, ONES)
    close([q, p], [expected["q"], expected["q_p"]])
    assert df == len(CELLS) - 1
    close(multilevel.shares(found), expected["i2"])
    robust = multilevel.robust(found, DATASETS, np.ones(1))
    close(
        [robust.std_error, robust.df, robust.p_value],
        [expected[f"robust_{x}"] for x in ("error", "df", "p")],
    )
    # metafor takes t with datasets − 1 degrees of freedom; ours has one fewer (Higgins et al. 2009).
    n = DATASETS.max() + 1
    ends = np.array(list(prediction(found, n).values()))
    wider = stats.t.ppf(0.975, n - 1) / stats.t.ppf(0.975, n - 2)
    close(found.coefficients[0] + (ends - found.coefficients[0]) * wider, expected["prediction"])


def test_meta_regression() -> None:
    design = np.column_stack([np.ones(len(CELLS)), CELLS["rater"] == "human"]).astype(float)
    found = multilevel.fit(CELLS["both"].to_numpy(), ERRORS, design, LEVELS)
    agrees(found, R["raters"])
    for k, contrast in enumerate(np.eye(2)):
        robust = multilevel.robust(found, DATASETS, contrast)
        close([robust.std_error, robust.df], [R["raters"][f"robust_{x}"][k] for x in ("error", "df")])


def test_one_estimate_a_dataset() -> None:
    one = ~CELLS["dataset"].duplicated().to_numpy()
    n = one.sum()
    found = multilevel.fit(CELLS["both"].to_numpy()[one], ERRORS[np.ix_(one, one)], np.ones((n, 1)), [np.arange(n)])
    agrees(found, R["single"])
    # metafor leaves the shrunken estimates of single values with the error of their own fit; so do we.
    shrunken, error = multilevel.predictions(found)
    close(shrunken, R["single"]["shrunken"])
    close(error, R["single"]["shrunken_error"])


@pytest.mark.parametrize("levels", [LEVELS, [DATASETS]])
def test_no_variances_are_likelier(levels: list[Any]) -> None:
    """The likelihood, written down anew, is nowhere higher near the variances that were found."""
    y = CELLS["both"].to_numpy()
    found = multilevel.fit(y, ERRORS, ONES, levels)

    def likelihood(variances: Any) -> float:
        total = ERRORS + sum(v * (c[:, None] == c) for v, c in zip(variances, levels, strict=True))
        inverse = np.linalg.inv(total)
        beta = np.linalg.solve(ONES.T @ inverse @ ONES, ONES.T @ inverse @ y)
        rest = y - ONES @ beta
        logs = np.linalg.slogdet(total)[1] + np.linalg.slogdet(ONES.T @ inverse @ ONES)[1]
        return float(-0.5 * (logs + rest @ inverse @ rest))

    best = likelihood(found.variances)
    random = np.random.default_rng(0)
    for scale in (1e-5, 1e-3, 1e-1):
        for _ in range(30):
            assert likelihood(np.abs(found.variances + scale * random.normal(size=len(levels)))) <= best + 1e-10


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(len(CELLS))), st.floats(0.01, 100), st.floats(-5, 5))
@example(list(range(len(CELLS)))[::-1], 0.01171875, 4.0)
def test_order_units_and_origin_change_nothing(order: list[int], unit: float, origin: float) -> None:
    y = CELLS["both"].to_numpy()
    before = multilevel.robust(multilevel.fit(y, ERRORS, ONES, LEVELS), DATASETS, np.ones(1))
    at = np.array(order)
    moved = multilevel.fit(
        unit * y[at] + origin, unit**2 * ERRORS[np.ix_(at, at)], ONES, [DATASETS[at], np.arange(len(at))]
    )
    after = multilevel.robust(moved, DATASETS[at], np.ones(1))
    np.testing.assert_allclose((after.estimate - origin) / unit, before.estimate, rtol=1e-6, atol=1e-6 / unit)
    np.testing.assert_allclose([after.std_error / unit, after.df], [before.std_error, before.df], rtol=1e-5)


def test_what_has_no_number() -> None:
    y, errors = np.array([0.1, 0.2, 0.3]), np.diag([1.0, 2.0, 3.0])
    ones, levels = np.ones((3, 1)), [np.arange(3)]
    same = errors.copy()
    same[0, 1] = same[1, 0] = np.sqrt(2)
    with pytest.raises(NoEstimate, match="the very same error"):
        multilevel.fit(y, same, ones, levels)
    with pytest.raises(NoEstimate, match="no standard error"):
        multilevel.fit(y, np.diag([1.0, 0.0, 3.0]), ones, levels)
    alone = multilevel.fit(y, errors, np.column_stack([[1.0, 0, 0], [0, 1.0, 1.0]]), levels)
    with pytest.raises(NoEstimate, match="one dataset alone"):
        multilevel.robust(alone, np.arange(3), np.array([1.0, 0.0]))


def test_more_estimates_than_prompts_are_refused() -> None:
    # Four errors that are sums over four prompts about their mean span three dimensions.
    random = np.random.default_rng(0)
    shares = [random.normal(size=(4, 4)) for _ in range(2)]
    errors = np.zeros((8, 8))
    for k, share in enumerate(shares):
        centred = share - share.mean(0)
        errors[4 * k : 4 * k + 4, 4 * k : 4 * k + 4] = centred.T @ centred
    levels = [np.repeat([0, 1], 4), np.arange(8)]
    with pytest.raises(NoEstimate, match="too few prompts for so many estimates"):
        multilevel.fit(random.normal(size=8), errors, np.ones((8, 1)), levels)
