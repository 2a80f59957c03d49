"""The synthesis of a study's cells: the covariance of their errors, which cells are in it, and what has no number."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.special import logit

from analysis.regression import multilevel
from analysis.regression.inference import Array
from analysis.regression.synthesis import DIFFERENCE, Cell, Shares, _bodies, syntheses

PROMPTS = 200


class Made:
    """A study of datasets × two base models, whose estimates and influences are made up."""

    def __init__(self, raters: Sequence[str], seed: int = 0, shared: bool = False) -> None:
        random = np.random.default_rng(seed)
        self.raters = {f"d{d}": rater for d, rater in enumerate(raters)}
        self.keys = [(dataset, model) for dataset in self.raters for model in ("m0", "m1")]
        self.estimates: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.prompts: dict[tuple[str, str], Any] = {}
        self.values: dict[tuple[str, str], dict[str, Array]] = {}
        for d, dataset in enumerate(self.raters):
            common = random.normal(size=PROMPTS)
            for model in ("m0", "m1"):
                key = dataset, model
                influence = 0.05 / np.sqrt(PROMPTS) * (common + 0.5 * random.normal(size=PROMPTS))
                rate, alpha = 0.55 + 0.03 * random.normal(), 0.3 + 0.2 * random.normal()
                self.estimates[*key, "rate"] = {"status": "ok", "estimate": rate}
                row = {"status": "ok", "estimate": alpha, "difference_sd": 1.5, "adjusted_rate": rate}
                self.estimates[*key, "bt"] = row
                self.estimates[*key, "bt_length"] = row | {"estimate": alpha / 2}
                self.prompts[key] = np.arange(PROMPTS) + (0 if shared else PROMPTS * d)
                scales = ("log_odds", "log_odds_sd", "logit_adjusted_rate")
                columns = [f"{rung}__{scale}" for rung in ("bt", "bt_length") for scale in scales]
                self.values[key] = dict.fromkeys([*columns, "rate__logit_rate"], influence)

    @property
    def shares(self) -> Shares:
        return Shares(self.prompts, self.values, _bodies(self.prompts))

    def rows(self) -> list[dict[str, Any]]:
        return list(syntheses(self.keys, self.estimates, self.raters, self.shares))

    def one(self, specification: str = "rate", scale: str = "logit_rate", raters: str = "all") -> dict[str, Any]:
        """The row of one synthesis."""
        wanted = specification, scale, raters
        (row,) = [
            r for r in self.rows() if (r["specification"], r["scale"], r["raters"]) == wanted and not r.get("dataset")
        ]
        return row


def test_it_is_the_multilevel_fit_with_the_covariance_of_shared_prompts() -> None:
    made = Made(["human"] * 6)
    y = np.array([logit(made.estimates[*key, "rate"]["estimate"]) for key in made.keys])
    errors = np.zeros((12, 12))
    for i, first in enumerate(made.keys):
        for j, second in enumerate(made.keys):
            if first[0] == second[0]:
                a, b = (made.values[key]["rate__logit_rate"] for key in (first, second))
                errors[i, j] = sum(x * y for x, y in zip(a, b, strict=True))
    codes = np.repeat(np.arange(6), 2)
    fitted = multilevel.fit(y, errors, np.ones((12, 1)), [codes, np.arange(12)])
    mean = multilevel.robust(fitted, codes, np.ones(1))
    row = made.one()
    assert row["estimate"] == pytest.approx(mean.estimate, rel=1e-9)
    assert [row["std_error"], row["df"], row["p_value"]] == pytest.approx([mean.std_error, mean.df, mean.p_value])
    assert [row["tau_dataset"], row["tau_base_model"]] == pytest.approx(list(np.sqrt(fitted.variances)))
    assert [row["n_cells"], row["n_datasets"], row["n_clusters"], row["n_base_models"]] == [12, 6, 6, 2]
    cells = [r for r in made.rows() if r["specification"] == "rate" and r["raters"] == "all" and r.get("dataset")]
    assert [r["estimate"] for r in cells] == pytest.approx(list(y))
    assert [r["shrunken"] for r in cells] == pytest.approx(list(multilevel.predictions(fitted)[0]))


def test_prompts_that_one_base_model_lacks_add_nothing_to_a_covariance() -> None:
    made = Made(["human"] * 2)
    first, second = made.keys[:2]
    made.prompts[second] = made.prompts[second][50:]
    made.values[second] = {name: x[50:] for name, x in made.values[second].items()}
    cells = [Cell(*key, "human", "rate", 0.0, "rate__logit_rate") for key in (first, second)]
    found = made.shares.covariance(cells)
    a, b = (made.values[key]["rate__logit_rate"] for key in (first, second))
    np.testing.assert_allclose(found, [[a @ a, a[50:] @ b], [a[50:] @ b, b @ b]])


def test_the_last_rung_is_each_cells_own() -> None:
    made = Made(["human"] * 3)
    lost = made.keys[0]
    made.estimates[*lost, "bt_length"] = {"status": "no length"}
    rungs = {
        (r["dataset"], r["base_model"]): (r["controls"], r["estimate"])
        for r in made.rows()
        if r["specification"] == "last_rung" and r["scale"] == "log_odds" and r["raters"] == "all" and r.get("dataset")
    }
    for key in made.keys:
        rung = "bt" if key == lost else "bt_length"
        assert rungs[key] == (rung, made.estimates[*key, rung]["estimate"])
    assert made.one("bt_length", "log_odds")["n_missing"] == 1


def test_human_and_ai_labels_apart_and_their_difference() -> None:
    made = Made(["human", "ai", "human", "ai", "ai", "human"])
    human, ai, both = (made.one(raters=name) for name in ("human", "ai", DIFFERENCE))
    assert human["n_datasets"] == ai["n_datasets"] == 3
    assert both["n_datasets"] == 6
    # Not the exact difference of both: the variances are those of all cells together.
    assert both["estimate"] == pytest.approx(human["estimate"] - ai["estimate"], abs=0.02)
    assert both["conf_low"] < both["estimate"] < both["conf_high"]
    swapped = Made(["ai", "human", "ai", "human", "human", "ai"])
    assert swapped.one(raters=DIFFERENCE)["estimate"] == pytest.approx(-both["estimate"], rel=1e-6)


def test_simulated_labels_are_not_among_real_ones() -> None:
    made = Made(["human", "human", "simulated", "simulated"])
    assert made.one()["n_datasets"] == 2
    assert made.one(raters="simulated")["n_datasets"] == 2
    assert Made(["simulated"] * 3).one()["n_datasets"] == 3


def test_names_and_order_of_cells_change_nothing() -> None:
    made = Made(["human"] * 5)
    before = made.one()
    made.keys.reverse()
    after = made.one()
    assert {k: v for k, v in after.items() if isinstance(v, float)} == pytest.approx(
        {k: v for k, v in before.items() if isinstance(v, float)}, rel=1e-6
    )


class TestNoNumber:
    def test_one_dataset(self) -> None:
        row = Made(["human"]).one()
        assert row["status"] == "only one dataset, d0, has a number: a synthesis needs two or more"
        assert row.get("estimate") is None
        assert row["n_cells"] == 2

    def test_datasets_that_share_their_prompts(self) -> None:
        row = Made(["human"] * 3, shared=True).one()
        assert "one body of data" in row["status"]
        assert [row["n_datasets"], row["n_clusters"]] == [3, 1]

    def test_a_failed_cell_is_counted(self) -> None:
        made = Made(["human"] * 3)
        for name in ("rate", "bt", "bt_length"):
            made.estimates[*made.keys[0], name] = {"status": "the base model cannot be had"}
        row = made.one()
        assert [row["status"], row["n_cells"], row["n_missing"]] == ["ok", 5, 1]

    def test_no_cell(self) -> None:
        made = Made(["human"] * 2)
        for key in made.keys:
            made.estimates[*key, "rate"] = {"status": "no comparison is decided"}
        row = made.one()
        assert [row["status"], row["n_missing"]] == ["no cell has a number", 4]

    def test_too_few_of_a_kind(self) -> None:
        row = Made(["human", "human", "ai"]).one(raters=DIFFERENCE)
        assert row["status"] == "fewer than two datasets with ai labels have a number"

    def test_one_base_model_under_two_names(self) -> None:
        made = Made(["human"] * 3)
        made.values[made.keys[1]] = made.values[made.keys[0]]
        assert "the very same error" in made.one()["status"]

    def test_fewer_than_three_datasets_predict_nothing(self) -> None:
        row = Made(["human"] * 2).one()
        assert row["status"] == "ok"
        assert "prediction_low" not in row


def test_one_base_model_has_no_level_of_its_own() -> None:
    made = Made(["human"] * 4)
    made.keys = [key for key in made.keys if key[1] == "m0"]
    row = made.one()
    assert row["status"] == "ok"
    assert row["tau_base_model"] is None
    assert row["q_df"] == 3
