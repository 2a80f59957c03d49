"""Which terms can be had, controls that decide comparisons, and what placebos draw."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special, stats

from analysis.regression.bradley_terry import COLLINEAR, CONSTANT, fit, usable
from analysis.regression.fitting import Fitter
from analysis.regression.inference import NoEstimate
from analysis.regression.part import TYPICALITY
from analysis.regression.terms import another_prompt, fit_terms, without_certain
from tests.regression.made import MARGIN, MEASURE, bare_part, fit_rows, joined, part_of


class TestUsable:
    X = np.random.default_rng(0).normal(size=(200, 4))

    def test_all_of_them(self) -> None:
        assert usable(list(self.X.T)) == {}
        assert usable([]) == {}

    def test_constant(self) -> None:
        assert usable([self.X[:, 0], np.zeros(200), self.X[:, 1]]) == {1: CONSTANT}

    @pytest.mark.parametrize("unit", [1e-8, 1.0, 1e8])
    def test_collinear_with_those_before_it(self, unit: float) -> None:
        a, b, c, _ = self.X.T
        assert usable([a, b, unit * (a - 3 * b), c]) == {2: COLLINEAR}
        assert usable([unit * (a - 3 * b), a, b, c]) == {2: COLLINEAR}
        assert usable([a, a, a]) == {1: COLLINEAR, 2: COLLINEAR}

    def test_more_covariates_than_rows(self) -> None:
        assert list(usable(list(self.X[:3].T))) == [3]

    @pytest.mark.parametrize("share", [1e-3, 1e-2])
    def test_nearly_collinear_is_usable(self, share: float) -> None:
        a, b, *_ = self.X.T
        assert usable([a, a + share * b]) == {}

    def test_what_is_kept_can_be_fitted(self) -> None:
        """Whatever is left out, the others are not collinear to the fit, either."""
        random = np.random.default_rng(1)
        for _ in range(20):
            x = random.normal(size=(100, 3)) @ random.normal(size=(3, 6))
            kept = [j for j in range(6) if j not in usable(list(x.T))]
            assert len(kept) == 3
            fit(random.random(100) < 0.5, x[:, kept], np.arange(100))


class TestTypicality:
    def test_comes_after_the_controls(self) -> None:
        """What it shares with them is theirs: it is typicality that has no effect of its own."""
        part = part_of(joined())
        with pytest.raises(NoEstimate, match=f"no effect of its own: {COLLINEAR}"):
            fit_terms(part, [("same", 2 * part.delta)], None)
        _, terms, lost = fit_terms(part, [("none", 0 * part.delta), ("x", part.difference("bold"))], None)
        assert [name for name, _ in terms] == [TYPICALITY, "x"]
        assert lost == {"none": CONSTANT}


def decided_by_emoji(frame: pd.DataFrame, rows: np.ndarray, against: bool = False) -> pd.DataFrame:
    """The frame, where emoji always stand with (or against) the preferred response of some rows."""
    better = ((frame["preference"] == "a") ^ against).to_numpy()
    return frame.assign(emoji_a=np.where(rows, better, 0.0), emoji_b=np.where(rows, ~better, 0.0))


class TestCertain:
    FRAME = joined(ties=0)

    @pytest.mark.parametrize("against", [False, True])
    def test_it_is_the_limit_of_a_growing_coefficient(self, against: bool) -> None:
        """The likelihood at a coefficient of ±40 has its maximum in the others where that of the rest has it."""
        rows = np.arange(len(self.FRAME)) % 8 == 0
        part = part_of(decided_by_emoji(self.FRAME, rows, against))
        left, lost = without_certain(part, ["style"])
        assert lost == {"emoji": f"it decides the {rows.sum()} comparisons in which it differs, which are left out"}
        assert len(left.at) == len(self.FRAME) - rows.sum()
        x = np.column_stack([part.delta, part.difference("log_words")])
        side, sure = np.where(part.preferred_a, 1, -1), (-40 if against else 40) * part.difference("emoji")

        def slope(beta: np.ndarray) -> np.ndarray:
            return x.T @ (side * special.expit(-side * (x @ beta + sure)))

        limit = optimize.root(slope, np.zeros(2), tol=1e-12).x
        found = fit(left.preferred_a, np.column_stack([left.delta, left.difference("log_words")]), left.clusters)
        np.testing.assert_allclose(found.coefficients, limit, rtol=1e-7)

    def test_one_after_the_other(self) -> None:
        """A second control may decide what the first one leaves."""
        rows = np.arange(len(self.FRAME)) % 8 == 0
        frame = decided_by_emoji(self.FRAME, rows)
        other = np.arange(len(frame)) % 8 == 1
        better = (frame["preference"] == "a").to_numpy()
        # Links stand with the preferred response in some rows, and against it in rows that emoji decide.
        frame["links_a"] = np.where(other, better, np.where(rows, ~better, 0.0)).astype(float)
        frame["links_b"] = np.where(other, ~better, np.where(rows, better, 0.0)).astype(float)
        left, lost = without_certain(part_of(frame), ["style"])
        assert set(lost) == {"emoji", "links"}
        assert len(left.at) == len(frame) - rows.sum() - other.sum()

    def test_nothing_is_left(self) -> None:
        with pytest.raises(NoEstimate, match="predict the preferences perfectly"):
            without_certain(part_of(decided_by_emoji(self.FRAME, np.ones(len(self.FRAME), bool))), ["style"])

    def test_no_control_is_certain(self) -> None:
        part = part_of(self.FRAME)
        left, lost = without_certain(part, ["length", "style", "quality", "source"])
        assert lost == {} and len(left.at) == len(part.at)


class TestAnotherPrompt:
    @given(seed=st.integers(0, 10**6), n=st.integers(2, 60), n_clusters=st.integers(2, 12))
    def test_never_its_own(self, seed: int, n: int, n_clusters: int) -> None:
        random = np.random.default_rng(seed)
        clusters = np.unique(random.permutation(np.r_[0, 1, random.integers(0, n_clusters, n)]), return_inverse=True)[1]
        drawn = another_prompt(clusters, random)
        assert (clusters[drawn] != clusters).all()

    def test_each_of_the_others_is_as_likely(self) -> None:
        clusters = np.array([2, 0, 1, 0, 2, 2, 1, 3])
        random = np.random.default_rng(0)
        drawn = np.array([another_prompt(clusters, random) for _ in range(4000)])
        for i, own in enumerate(clusters):
            counts = np.bincount(drawn[:, i], minlength=8)
            others = clusters != own
            assert counts[~others].sum() == 0
            # A test at one in ten thousand, eight times over with a fixed seed.
            assert stats.chisquare(counts[others]).pvalue > 1e-4


class TestPlacebos:
    @pytest.mark.parametrize("name", ["placebo_labels", "placebo_prompts"])
    def test_are_zero_on_average_where_the_effect_is_not(self, name: str) -> None:
        """The mean of 60 draws is within four of its errors of zero, and the test holds its level."""
        frame = joined(600, 150, alpha=1.5)
        found = [fit_rows(name, frame, seed=seed)[0] for seed in range(60)]
        estimates = np.array([row["estimate"] for row in found])
        assert abs(estimates.mean()) < 4 * estimates.std(ddof=1) / np.sqrt(60)
        # Binomial(60, .05): more than 10 have a chance below one in two thousand.
        assert sum(row["p_value"] < 0.05 for row in found) <= 10
        raw = fit_rows("bt", frame)[0]
        assert raw["estimate"] > 2 * np.abs(estimates).max()

    def test_labels_of_a_prompt_turn_together(self) -> None:
        """Where a prompt's comparisons are alike, placebos vary as those of so many prompts, not of so many rows.

        Eight alike make that √8 = 2.8 times as much; the SD of 40 draws is known to 11 %.
        """
        random = np.random.default_rng(0)
        prompts = np.repeat(np.arange(150), 8)
        delta = random.normal(size=150)[prompts] + 0.05 * random.normal(size=len(prompts))
        part = bare_part(delta, (random.random(150) < 0.5)[prompts], prompts)
        found = [Fitter(part, MARGIN, np.random.default_rng(k)).rows("placebo_labels")[0] for k in range(40)]
        spread = np.std([row["estimate"] for row in found], ddof=1)
        assert spread == pytest.approx(np.mean([row["std_error"] for row in found]), rel=0.4)
        alone = fit(random.random(len(delta)) < 0.5, delta[:, None], np.arange(len(delta)))
        assert spread > 1.7 * np.sqrt(alone.covariance[0, 0])

    def test_one_seed_one_draw(self) -> None:
        frame = joined()
        for name in ("placebo_labels", "placebo_prompts"):
            assert fit_rows(name, frame, seed=3) == fit_rows(name, frame, seed=3)
            assert fit_rows(name, frame, seed=3) != fit_rows(name, frame, seed=4)

    def test_one_prompt(self) -> None:
        frame = joined().assign(prompt_id="p")
        assert "one prompt" in fit_rows("placebo_prompts", frame)[0]["status"]


def test_prompt_weights() -> None:
    """Every prompt weighs the same, and the mean weight is 1."""
    part = part_of(joined())
    per = np.bincount(part.clusters, part.prompt_weights)
    np.testing.assert_allclose(per, per.mean(), rtol=1e-12)
    assert part.prompt_weights.mean() == pytest.approx(1, rel=1e-12)
    assert part.n_prompts == len(set(joined().query("preference != 'tie'")["prompt_id"]))


def test_a_difference_that_is_missing_is_left_out() -> None:
    frame = joined(ties=0)
    frame.loc[:9, f"{MEASURE}_a"] = np.nan
    assert len(part_of(frame).at) == len(frame) - 10
