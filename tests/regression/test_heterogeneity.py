"""α by the values of a column: against R, against separate fits, and honest where there is no number."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from analysis.regression import heterogeneity, multilevel
from analysis.regression.columns import COLUMNS, values
from analysis.regression.fitting import Fitter
from analysis.regression.heterogeneity import FEWEST_PROMPTS, MOST_VALUES, Row, equality, slopes
from analysis.regression.inference import NoEstimate
from tests.regression.made import MARGIN, bare_part, cell_of, joined, part_of, swapped
from tests.regression.test_multilevel import FOLDER, R


def rows_of(frame: pd.DataFrame, specifications: tuple[str, ...] = ("bt", "bt_length")) -> list[Row]:
    part = part_of(frame)
    fitter = Fitter(part, MARGIN, np.random.default_rng(0))
    measured = [row for name in specifications for row in fitter.rows(name)]
    return list(heterogeneity.rows(fitter, measured))


def found(rows: list[Row], column: str, kind: str, specification: str = "bt") -> list[Row]:
    return [r for r in rows if (r["column"], r["kind"], r["specification"]) == (column, kind, specification)]


def many(n: int = 1500, n_prompts: int = 400, seed: int = 0) -> pd.DataFrame:
    """Comparisons of languages with an α of their own each, some of them rare, some unknown."""
    random = np.random.default_rng(seed)
    frame = joined(n, n_prompts, seed)
    share = [0.4, 0.3, 0.2, *[0.0125] * 8]
    language = random.choice([f"l{k}" for k in range(11)], n, p=share).astype(object)
    language[random.random(n) < 0.05] = None
    return frame.assign(language=pd.Series(language, dtype=object), domain="one")


class TestSlopes:
    def test_against_r(self) -> None:
        """One fit with length beside; R has one G/(G−1) for all, ours is of each value's own prompts."""
        data = pd.read_csv(FOLDER / "pairs.csv")
        part = bare_part(data["first"].to_numpy(), (data["preferred"] == "a").to_numpy(), data["prompt"].to_numpy())
        names, group = np.unique(data["domain"], return_inverse=True)
        length = part.cell.turn[part.at] * data["length"].to_numpy()
        made = slopes(part, group, [("length", length)])
        expected = R["slopes"]
        np.testing.assert_allclose(made.estimates, expected["estimate"], rtol=1e-5)
        n = part.n_prompts
        ratio = np.sqrt(made.n_prompts / (made.n_prompts - 1) * (n - 1) / n)
        errors = np.sqrt(np.diag(made.covariance))
        np.testing.assert_allclose(errors / ratio, expected["std_error"], rtol=1e-5)
        covariance = made.covariance / np.outer(ratio, ratio)
        mean = multilevel.fit(made.estimates, covariance, np.ones((4, 1)), [np.arange(4)])
        np.testing.assert_allclose(mean.coefficients[0], expected["mean"], rtol=1e-4)
        np.testing.assert_allclose(mean.variances[0], expected["tau2"], rtol=1e-4)
        np.testing.assert_allclose(multilevel.predictions(mean)[0], expected["shrunken"], rtol=1e-4)
        q = multilevel.heterogeneity(made.estimates, covariance, np.ones((4, 1)))[0]
        assert q == pytest.approx(expected["wald"], rel=1e-4)
        tested = equality(made)
        # Welch's factor and our correction of single errors are near one here.
        assert tested.statistic * 3 == pytest.approx(expected["wald"], rel=0.05)
        # lme4 fits the random slope in one step; with four values the two come near each other.
        np.testing.assert_allclose(mean.coefficients[0], R["random_slope"]["mean"], atol=0.02)
        np.testing.assert_allclose(multilevel.predictions(mean)[0], R["random_slope"]["shrunken"], atol=0.06)
        assert list(names) == ["art", "code", "law", "mathematics"]

    def test_without_controls_they_are_those_of_separate_fits(self) -> None:
        frame = joined(800, 150)
        made = {r["value"]: r for r in found(rows_of(frame), "language", "value")}
        for language in ("en", "de"):
            part = part_of(frame, f"language={language}")
            alone = Fitter(part, MARGIN, np.random.default_rng(0)).rows("bt")[0]
            for name in ("estimate", "std_error", "conf_low", "conf_high", "n_comparisons", "n_prompts"):
                assert made[language][name] == pytest.approx(alone[name], rel=1e-9)

    def test_a_value_without_effect_of_its_own(self) -> None:
        frame = joined(200, 60)
        part = part_of(frame)
        group = (np.arange(len(part.at)) % 2).astype(np.intp)
        with pytest.raises(NoEstimate, match="no effect of its own"):
            slopes(part, group, [("same", np.where(group == 1, part.delta, 0.0))])


class TestEquality:
    def test_two_values_are_welchs_t(self) -> None:
        frame = joined(800, 150)
        rows = rows_of(frame)
        en, de = ({r["value"]: r for r in found(rows, "language", "value")}[v] for v in ("en", "de"))
        part = part_of(frame)
        codes = np.array(part.cell.column("language").to_pylist())[part.at]
        made = slopes(part, (codes == "en").astype(np.intp), [])
        variance = made.adjusted[0, 0] + made.adjusted[1, 1] - 2 * made.adjusted[0, 1]
        (test,) = found(rows, "language", "equality")
        assert test["statistic"] == pytest.approx((en["estimate"] - de["estimate"]) ** 2 / variance, rel=1e-6)
        assert test["df_1"] == 1

    def test_a_planted_difference_is_found(self) -> None:
        frame = joined(2000, 400, alpha=0.0)
        random = np.random.default_rng(5)
        difference = (frame["mean_logprob_a"] - frame["mean_logprob_b"]).to_numpy()
        slope = np.where(frame["language"] == "en", 1.0, 0.2)
        labels = np.where(random.random(len(frame)) < 1 / (1 + np.exp(-slope * difference)), "a", "b")
        (test,) = found(rows_of(frame.assign(preference=labels)), "language", "equality")
        assert test["p_value"] < 1e-6
        assert test["tau"] > 0.3


def test_rare_values_are_together_and_all_is_counted() -> None:
    frame = many()
    rows = rows_of(frame)
    decided = int((frame["preference"] != "tie").sum())
    parts = [r for kind in ("value", "other", "missing") for r in found(rows, "language", kind)]
    assert sum(r["n_comparisons"] for r in parts) == decided
    assert [r["value"] for r in found(rows, "language", "value")] == ["l0", "l1", "l2"]
    (other,) = found(rows, "language", "other")
    assert other["n_values"] == 8
    (missing,) = found(rows, "language", "missing")
    assert missing["n_comparisons"] == int(((frame["preference"] != "tie") & frame["language"].isna()).sum())
    (test,) = found(rows, "language", "equality")
    assert test["n_values"] == 11
    assert test["df_1"] == 3


def test_at_most_so_many_values_are_told_apart() -> None:
    frame = joined(6000, 1500)
    language = [f"l{k % (MOST_VALUES + 5):02}" for k in range(len(frame))]
    rows = rows_of(frame.assign(language=language))
    assert len(found(rows, "language", "value")) == MOST_VALUES
    assert found(rows, "language", "other")[0]["n_values"] == 5


def test_shrunken_estimates_lie_between_their_own_and_the_mean() -> None:
    rows = rows_of(many())
    (test,) = found(rows, "language", "equality")
    for r in [*found(rows, "language", "value"), *found(rows, "language", "other")]:
        low, high = sorted([r["estimate"], test["estimate"]])
        assert low - 1e-9 <= r["shrunken"] <= high + 1e-9
        assert r["shrunken_high"] - r["shrunken_low"] < r["conf_high"] - r["conf_low"]


def test_turning_responses_and_names_change_nothing() -> None:
    frame = many(800, 200)
    before = rows_of(frame)
    turned = swapped(frame, np.random.default_rng(1).random(len(frame)) < 0.5)
    assert rows_of(turned) == before
    named = frame.assign(prompt_id="q" + frame["prompt_id"], comparison_id="d" + frame["comparison_id"])
    assert rows_of(named) == before


def test_p_values_are_adjusted_over_columns() -> None:
    rows = rows_of(joined(2000, 400))
    tests = [r for c in COLUMNS for r in found(rows, c, "equality") if r["status"] == "ok"]
    assert len(tests) > 2
    assert min(r["p_holm"] for r in tests) == pytest.approx(min(1, len(tests) * min(r["p_value"] for r in tests)))


class TestNoNumber:
    def status(self, frame: pd.DataFrame, column: str) -> str:
        (row,) = found(rows_of(frame), column, "equality")
        assert row.get("p_value") is None
        return str(row["status"])

    def test_reasons(self) -> None:
        frame = many()
        assert self.status(frame, "domain") == "all comparisons have the same value"
        assert self.status(frame, "split") == "the dataset has no split"
        assert "more than once" in self.status(frame, "disagreement")
        few = frame.assign(language=[f"l{k}" for k in range(len(frame))])
        decided = (frame["preference"] != "tie").sum()
        reason = f"fewer than two of its {decided} values have {FEWEST_PROMPTS} prompts and a finite α"
        assert self.status(few, "language") == reason
        bare = frame.drop(columns=["source_a", "source_b"])
        assert self.status(bare, "source") == "the dataset does not say which model or person wrote a response"

    def test_a_value_that_is_perfectly_predicted_is_left_out(self) -> None:
        frame = many()
        difference = frame["mean_logprob_a"] - frame["mean_logprob_b"]
        sure = (frame["language"] == "l1") & (frame["preference"] != "tie")
        frame.loc[sure, "preference"] = np.where(difference[sure] >= 0, "a", "b")
        zero = sure & (difference == 0)
        rows = rows_of(frame[~zero])
        (left_out,) = [r for r in found(rows, "language", "value") if r["value"] == "l1"]
        assert left_out["status"] == "its preferences are perfectly predicted, so no estimate is finite"
        assert found(rows, "language", "equality")[0]["status"] == "ok"
        parts = [r for kind in ("value", "other", "missing") for r in found(rows, "language", kind)]
        assert sum(r["n_comparisons"] for r in parts) == (frame[~zero]["preference"] != "tie").sum()

    def test_a_cell_without_numbers(self) -> None:
        frame = joined(200, 1)
        part = part_of(frame)
        fitter = Fitter(part, MARGIN, np.random.default_rng(0))
        measured = fitter.rows("bt")
        assert measured[0]["status"] != "ok"
        rows = list(heterogeneity.rows(fitter, measured))
        assert [r["column"] for r in rows] == list(COLUMNS)
        assert {r["status"] for r in rows} == {measured[0]["status"]}


class TestColumns:
    def told(self, frame: pd.DataFrame, column: str) -> list[Any]:
        made: pa.Array = values(cell_of(frame), column)
        return made.to_pylist()

    def test_sources_in_either_order(self) -> None:
        frame = joined(40, 10).sort_values(["prompt_id", "comparison_id"], kind="stable")
        both = zip(frame["source_a"], frame["source_b"], strict=True)
        expected = [a if a == b else " and ".join(sorted((a, b))) for a, b in both]
        assert self.told(frame, "source") == expected
        assert self.told(frame, "same_source") == ["different" if " and " in e else "same" for e in expected]

    def test_disagreement(self) -> None:
        frame = joined(6, 1, ties=0.0).sort_values(["prompt_id", "comparison_id"], kind="stable").reset_index(drop=True)
        cell = cell_of(frame)
        # Two judgements of one pair that agree, three of another that do not, and one alone.
        cell.a[:], cell.b[:] = [0, 0, 1, 1, 1, 2], [6, 6, 7, 7, 7, 8]
        preferred = cell.preferred_a
        preferred[:] = [True, True, True, True, False, True]
        assert values(cell, "disagreement").to_pylist() == ["unanimous"] * 2 + ["divided"] * 3 + [None]
