"""Curves on responses, and which of two measures the labels prefer."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from analysis.regression import bradley_terry, shape
from analysis.regression.bootstrap import BOOTSTRAP
from analysis.regression.inference import NoEstimate, clustered_mean
from analysis.regression.part import TYPICALITY
from tests.regression.made import MEASURE, fit_rows, joined, part_of, swapped

SIDES = ("a", "b")


class TestTheBasis:
    def test_is_linear_beyond_the_outer_knots_and_smooth_between(self) -> None:
        knots = np.array([-2.0, -0.5, 0.7, 3.0])
        x = np.linspace(-5, 6, 2001)
        made = shape.restricted_cubic(x, knots)
        second = np.gradient(np.gradient(made, x, axis=0), x, axis=0)
        outside = (x < knots[0] - 0.05) | (x > knots[-1] + 0.05)
        outside[:2] = outside[-2:] = False  # where a difference has one side only
        assert np.abs(second[outside]).max() < 1e-6
        # The second derivative has no jump: its steps are as small as the grid's.
        assert np.abs(np.diff(second[2:-2], axis=0)).max() < 0.05

    def test_holds_every_natural_spline_with_these_knots(self) -> None:
        knots = np.array([-2.0, -0.5, 0.7, 3.0])
        natural = CubicSpline(knots, [1.0, -2.0, 0.5, 4.0], bc_type="natural")
        x = np.linspace(-2, 3, 200)
        basis = np.column_stack([np.ones(len(x)), shape.restricted_cubic(x, knots)])
        beta, *_ = np.linalg.lstsq(basis, natural(x), rcond=None)
        np.testing.assert_allclose(basis @ beta, natural(x), atol=1e-10)


class TestTheCurve:
    def test_its_points_are_those_of_its_terms(self) -> None:
        """f at a step less f at the median, with the error of that contrast."""
        frame = joined()
        part = part_of(frame)
        made = shape.spline(part)
        fitted = bradley_terry.fit(part.preferred_a, np.column_stack([x for _, x in made.terms]), part.clusters)
        points = [row for row in fit_rows("spline", frame) if row["term"].startswith(shape.CURVE)]
        assert len(points) == 20
        values = frame[frame["preference"] != "tie"][[f"{MEASURE}_{side}" for side in SIDES]].to_numpy().ravel()
        for row in points:
            _, _, x, _, middle = row["term"].split()
            assert float(middle) == pytest.approx(np.median(values), abs=2e-3 * np.ptp(values))
            assert np.quantile(values, 0.005) < float(x) < np.quantile(values, 0.995)
            contrast = (made.basis(np.array([float(x)])) - made.basis(np.array([float(middle)])))[0]
            assert row["estimate"] == pytest.approx(contrast @ fitted.coefficients, rel=1e-9, abs=1e-12)
            assert row["std_error"] == pytest.approx(np.sqrt(contrast @ fitted.covariance @ contrast), rel=1e-9)

    @pytest.mark.parametrize("name", ["spline", "quadratic"])
    @given(seed=st.integers(0, 10**6))
    @settings(max_examples=5, deadline=None)
    def test_which_stands_first_and_the_level_of_the_measure(self, name: str, seed: int) -> None:
        random = np.random.default_rng(seed)
        frame = joined(seed=seed)
        rows = fit_rows(name, frame)
        assert fit_rows(name, swapped(frame, frame.index[random.random(len(frame)) < 0.5])) == rows
        moved = frame.assign(**{f"{MEASURE}_{side}": frame[f"{MEASURE}_{side}"] + 64 for side in SIDES})
        for one, two in zip(rows, fit_rows(name, moved), strict=True):
            # The terms say where; at 64 the measure has five binary digits fewer behind the point.
            assert two["estimate"] == pytest.approx(one["estimate"], rel=1e-6, abs=1e-7)
            assert two["std_error"] == pytest.approx(one["std_error"], rel=1e-6)

    def test_a_bend_is_found(self) -> None:
        frame = joined(3000, 600)
        random = np.random.default_rng(0)
        a, b = (frame[f"{MEASURE}_{side}"].to_numpy() for side in SIDES)
        bent = -((a + 2) ** 2) + (b + 2) ** 2
        labels = np.where(random.random(len(frame)) < 1 / (1 + np.exp(-bent)), "a", "b")
        for name in ("spline", "quadratic"):
            row, *others = fit_rows(name, frame.assign(preference=labels))
            assert (row["term"], row["status"]) == (TYPICALITY, "ok")
            assert row["p_linearity"] < 1e-6
            assert row["odds_ratio_sd"] is None and row["marginal_effect"] is None
            assert all("p_linearity" not in other for other in others)
            points = {float(r["term"].split()[2]): r["estimate"] for r in others if r["term"].startswith(shape.CURVE)}
            assert points[min(points)] < -1 and points[max(points)] < -1

    def test_of_one_more_term_the_test_is_that_of_the_term(self) -> None:
        """F with one degree of freedom is t squared."""
        first, second, *_ = fit_rows("quadratic", joined())
        assert first["p_linearity"] == pytest.approx(second["p_value"], rel=1e-9)

    def test_few_prompts(self) -> None:
        """The terms have bootstrap intervals; the curve has none, and says so."""
        rows = fit_rows("spline", joined(200, 30))
        assert [row["status"] for row in rows[:-1]] == ["ok"] * 3
        assert rows[0]["p_linearity"] is None
        assert rows[-1]["term"] == shape.CURVE and "fewer than 50 prompts" in rows[-1]["status"]

    def test_too_few_values(self) -> None:
        frame = joined()
        rounded = {f"{MEASURE}_{side}": (frame[f"{MEASURE}_{side}"] > -2).astype(float) for side in SIDES}
        (row,) = fit_rows("spline", frame.assign(**rounded))
        assert "too few different values" in row["status"] and row.get("estimate") is None


class TestWhichMeasure:
    def planted(self, by: str, seed: int = 0) -> pd.DataFrame:
        frame = joined(3000, 600, seed=seed)
        random = np.random.default_rng(seed)
        delta = frame[f"{by}_a"] - frame[f"{by}_b"]
        labels = np.where(random.random(len(frame)) < 1 / (1 + np.exp(-delta)), "a", "b")
        return frame.assign(preference=labels)

    @pytest.mark.parametrize(("by", "sign"), [(MEASURE, 1), (shape.RIVAL, -1)])
    def test_the_one_that_made_the_labels(self, by: str, sign: int) -> None:
        (row,) = fit_rows("entropy_vuong", self.planted(by))
        assert sign * row["estimate"] > 0 and row["p_value"] < 1e-6

    def test_is_the_difference_of_the_two_fits(self) -> None:
        frame = joined()
        (row,) = fit_rows("entropy_vuong", frame)
        (typical,), (rival,) = fit_rows("bt", frame), fit_rows("surprisal_entropy", frame)
        expected = typical["mean_log_likelihood"] - rival["mean_log_likelihood"]
        assert row["estimate"] == pytest.approx(expected, rel=1e-9)

    def test_turned_round(self) -> None:
        """Measures that change places change the sign, and nothing else."""
        frame = joined()
        other = frame.assign(
            **{f"{MEASURE}_{s}": frame[f"{shape.RIVAL}_{s}"] for s in SIDES},
            **{f"{shape.RIVAL}_{s}": frame[f"{MEASURE}_{s}"] for s in SIDES},
        )
        (one,), (two,) = (fit_rows("entropy_vuong", made) for made in (frame, other))
        assert two["estimate"] == pytest.approx(-one["estimate"], rel=1e-9)
        assert two["std_error"] == pytest.approx(one["std_error"], rel=1e-9)
        assert two["p_value"] == pytest.approx(one["p_value"], rel=1e-7)

    def test_few_prompts(self) -> None:
        (row,) = fit_rows("entropy_vuong", joined(200, 30))
        assert (row["status"], row["covariance"]) == ("ok", BOOTSTRAP)
        assert row["conf_low"] < row["estimate"] < row["conf_high"]

    def test_no_entropy(self) -> None:
        """A base model that gives none: a reason, and all else stands."""
        frame = joined().assign(**{f"{shape.RIVAL}_{side}": np.nan for side in SIDES})
        for name in ("surprisal_entropy", "entropy_beside", "entropy_vuong"):
            (row,) = fit_rows(name, frame)
            assert row["status"] == "the scores hold no entropy of the base model's predictions"
        assert fit_rows("bt", frame) == fit_rows("bt", joined())

    def test_some_have_no_entropy(self) -> None:
        frame = joined()
        lacking = frame.index % 3 == 0
        holes = {f"{shape.RIVAL}_a": frame[f"{shape.RIVAL}_a"].mask(lacking)}
        for name in ("surprisal_entropy", "entropy_beside", "entropy_vuong"):
            found, expected = fit_rows(name, frame.assign(**holes)), fit_rows(name, frame[~lacking])
            assert found == expected

    def test_the_same_measure_twice(self) -> None:
        frame = joined()
        frame = frame.assign(**{f"{shape.RIVAL}_{side}": frame[f"{MEASURE}_{side}"] for side in SIDES})
        (row,) = fit_rows("entropy_vuong", frame)
        assert row["status"] == "both models say the same of every comparison"
        (beside, *_) = fit_rows("entropy_beside", frame)
        assert "no effect of its own" in beside["status"]

    def test_far_from_the_middle_it_stays_finite(self) -> None:
        """A comparison that a fit finds all but impossible has a finite log-likelihood."""
        delta = np.array([*np.linspace(-1, 1, 20), 3000.0])
        labels = np.array([*(np.arange(20) % 3 > 0), False])
        clusters = np.arange(21)
        gain = shape.log_likelihoods(labels, delta, clusters)
        assert np.isfinite(gain).all()
        with pytest.raises(NoEstimate):
            clustered_mean(gain - gain, clusters, 0.0)
