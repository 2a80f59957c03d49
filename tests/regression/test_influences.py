"""Influences: they give the errors of single estimates, and the covariance of estimates on the same comparisons."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from analysis.regression import bradley_terry, effects
from analysis.regression.fitting import Fitter
from analysis.regression.inference import Array, NoEstimate
from analysis.regression.influences import ADJUSTED, LOG_ODDS, LOG_ODDS_SD, LOGIT_RATE, Influences, of_rate, scaled
from analysis.regression.part import Part
from tests.regression.made import MARGIN, MEASURE, bare_part, joined, part_of, swapped
from tests.regression.test_multilevel import FOLDER, R

KEYS = {"study": "s", "dataset": "d", "base_model": "m", "measure": MEASURE}


def table_of(part: Part, specifications: tuple[str, ...]) -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
    """The influences, and the rows of typicality of the same specifications."""
    influences = Influences(part)
    rows = {}
    for name in specifications:
        fitter = Fitter(part, MARGIN, np.random.default_rng(0), influences.note)
        rows[name] = fitter.rows(name)[0]
    return influences.table(KEYS).to_pandas(), rows


def test_their_squares_sum_to_the_errors_of_estimates() -> None:
    part = part_of(joined(600, 120))
    table, rows = table_of(part, ("rate", "bt", "bt_length", "bt_quality"))
    assert list(table["prompt_id"]) == list(dict.fromkeys(part.cell.column("prompt_id").take(part.at).to_pylist()))
    for name in ("bt", "bt_length", "bt_quality"):
        # Single precision.
        assert np.sum(table[f"{name}__log_odds"] ** 2) == pytest.approx(rows[name]["std_error"] ** 2, rel=1e-5)
    p = rows["rate"]["estimate"]
    error = rows["rate"]["std_error"] / (p * (1 - p))
    assert np.sum(table["rate__logit_rate"] ** 2) == pytest.approx(error**2, rel=1e-5)
    p, half = rows["bt"]["adjusted_rate"], rows["bt"]["adjusted_rate_high"] - rows["bt"]["adjusted_rate"]
    from scipy import stats

    error = half / stats.t.ppf(0.975, part.n_prompts - 1) / (p * (1 - p))
    assert np.sum(table["bt__logit_adjusted_rate"] ** 2) == pytest.approx(error**2, rel=1e-5)
    assert table["bt_style__log_odds"].isna().all()


def weighted(part: Part, weights: Array) -> dict[str, float]:
    """The numbers where each prompt weighs as given."""
    w = weights[part.clusters]
    fitted = bradley_terry.fit(part.preferred_a, part.delta[:, None], part.clusters, w)
    sd = effects.spread(part.delta, w)
    alpha = float(fitted.coefficients[0])
    rate = np.average(1 / (1 + np.exp(-alpha * np.abs(part.delta))), weights=w)
    return {
        LOG_ODDS: alpha, LOG_ODDS_SD: alpha * sd, ADJUSTED: float(logit(rate)),
        LOGIT_RATE: float(logit(np.average(part.wins, weights=w))),
    }  # fmt: skip


def test_they_are_derivatives_by_the_weights_of_prompts() -> None:
    part = part_of(joined(300, 60, ties=0.0))
    found, _ = table_of(part, ("bt",))
    scale = np.sqrt(part.n_prompts / (part.n_prompts - 1))
    for g in (0, 7, 31):
        step = np.zeros(part.n_prompts)
        step[g] = 1e-5
        up, down = weighted(part, 1 + step), weighted(part, 1 - step)
        for name, column in (
            *((s, f"bt__{s}") for s in (LOG_ODDS, LOG_ODDS_SD, ADJUSTED)),
            (LOGIT_RATE, "rate__logit_rate"),
        ):
            assert found[column][g] == pytest.approx((up[name] - down[name]) / 2e-5 * scale, rel=1e-3, abs=1e-6)


def test_the_covariance_of_two_base_models_is_that_of_a_stacked_fit() -> None:
    """R fits both at once, each with its own rows, and clusters by prompt."""
    data = pd.read_csv(FOLDER / "pairs.csv")
    columns = []
    for model, estimate in zip(("first", "second"), R["stacked"]["estimate"], strict=True):
        part = bare_part(data[model].to_numpy(), (data["preferred"] == "a").to_numpy(), data["prompt"].to_numpy())
        table, rows = table_of(part, ("bt",))
        assert rows["bt"]["estimate"] == pytest.approx(estimate, rel=1e-6)
        columns.append(table.set_index("prompt_id")["bt__log_odds"])
    both = pd.concat(columns, axis=1).to_numpy()
    np.testing.assert_allclose(both.T @ both, R["stacked"]["covariance"], rtol=1e-5)


def test_turning_responses_changes_nothing() -> None:
    frame = joined()
    turned = swapped(frame, np.random.default_rng(1).random(len(frame)) < 0.5)
    tables = [table_of(part_of(f), ("bt", "bt_length"))[0] for f in (frame, turned)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_scales() -> None:
    row = {"status": "ok", "estimate": 0.6, "difference_sd": 2.0, "adjusted_rate": 0.8}
    assert scaled(row, LOG_ODDS) == 0.6
    assert scaled(row, LOG_ODDS_SD) == 1.2
    assert scaled(row, LOGIT_RATE) == pytest.approx(np.log(1.5))
    assert scaled(row, ADJUSTED) == pytest.approx(np.log(4))
    with pytest.raises(NoEstimate, match="log-odds are not finite"):
        scaled(row | {"estimate": 1.0}, LOGIT_RATE)
    with pytest.raises(NoEstimate, match="too few"):
        scaled(row | {"status": "too few"}, LOG_ODDS)
    assert of_rate(part_of(joined())).sum() == pytest.approx(0, abs=1e-12)
