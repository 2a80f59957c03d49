"""The third stage: samples and specifications on made-up data, then one cell from a file to its estimates."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from statsmodels.stats.proportion import proportion_confint

from analysis import tables
from analysis.ids import content_id
from analysis.likelihood.encoding import TOO_LONG
from analysis.outputs import Outputs
from analysis.regression.bootstrap import BOOTSTRAP
from analysis.regression.inference import CLUSTERED, WILSON
from analysis.regression.part import TYPICALITY
from analysis.regression.rows import Row
from analysis.regression.shape import CURVE
from analysis.regression.specifications import DEFAULT, LENGTH, SPECIFICATIONS, STYLE
from analysis.regression.stage import NO_STRENGTH, TIE, estimate, failed_rows
from analysis.schemas import TABLES
from analysis.study import Study
from tests.likelihood.cell import RUN, excluded, in_work, scored, study_of
from tests.regression.made import FITTED, MEASURE, RATINGS, fit_rows, joined, swapped
from tests.tiny import tiny_model

NUMBERS = ("estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high")
SIZES = ("difference_sd", "odds_ratio_sd", "probability_change", "marginal_effect", "marginal_effect_std_error")
SIZES += (
    "adjusted_rate",
    "p_equivalence",
    "share_left",
    "share_left_low",
    "share_left_high",
    "power",
    "minimum_detectable",
)
# The paper's model knows which response stands first: that is what its intercept is.
SYMMETRIC = tuple(name for name in FITTED if name != "paper")
# They draw at random for each comparison, in the order of the names.
DRAWN = ("placebo_labels", "placebo_prompts")


def fitted(frame: pd.DataFrame, names: Sequence[str] = FITTED) -> list[Row]:
    return [row for name in names for row in fit_rows(name, frame)]


def by_name(rows: list[Row]) -> dict[tuple[str, str], Row]:
    return {(row["specification"], row["term"]): row for row in rows}


class TestInvariance:
    @given(seed=st.integers(0, 10**6))
    @settings(max_examples=10, deadline=None)
    def test_which_stands_first_and_the_order_of_rows(self, seed: int) -> None:
        """Not a bit of any number changes."""
        random = np.random.default_rng(seed)
        frame = joined(seed=seed)
        other = swapped(frame, frame.index[random.random(len(frame)) < 0.5]).sample(frac=1, random_state=seed)
        assert fitted(other, SYMMETRIC) == fitted(frame, SYMMETRIC)

    def test_which_stands_first_where_prompts_are_few(self) -> None:
        """The bootstrap draws the same prompts."""
        names = ("rate", "rate_prompts", "bt", "bt_length", "binned", "length_only")
        frame = joined(120, 30)
        other = swapped(frame, frame.index[::2]).sample(frac=1, random_state=0)
        found = fitted(frame, names)
        assert fitted(other, names) == found
        assert {r["covariance"] for r in found if r["specification"] in ("rate", "bt", "bt_length")} == {BOOTSTRAP}

    def test_the_paper_s_intercept_is_the_order(self) -> None:
        """Turning all rows turns it; turning some changes it, and nothing in the dataset but the order has changed."""
        frame = joined()
        one, other, mixed = (
            by_name(fit_rows("paper", made))
            for made in (frame, swapped(frame, frame.index), swapped(frame, frame.index[::2]))
        )
        for (name, term), row in one.items():
            sign = -1 if term == "intercept" else 1
            assert other[name, term]["estimate"] == pytest.approx(sign * row["estimate"], rel=1e-7, abs=1e-10)
            assert other[name, term]["std_error"] == pytest.approx(row["std_error"], rel=1e-7)
        assert mixed["paper", "intercept"]["estimate"] != pytest.approx(one["paper", "intercept"]["estimate"], rel=1e-2)

    def test_the_names_of_prompts(self) -> None:
        frame = joined()
        names = {p: f"x{content_id(p)}" for p in frame["prompt_id"]}
        kept = [name for name in FITTED if name not in DRAWN]
        other = fitted(frame.assign(prompt_id=frame["prompt_id"].map(names)), kept)
        for one, two in zip(fitted(frame, kept), other, strict=True):
            assert one["n_prompts"] == two["n_prompts"]
            for number in (*NUMBERS, *SIZES):
                # Which prompts are drawn depends on their order.
                drawn = number.startswith(("p_", "conf_")) and one["covariance"] == BOOTSTRAP
                if one.get(number) is not None and not drawn and not number.startswith("share_left_"):
                    assert two[number] == pytest.approx(one[number], rel=1e-10, abs=1e-12)

    @pytest.mark.parametrize("times", [2, 5])
    @pytest.mark.parametrize("name", [name for name in FITTED if name != "placebo_prompts"])
    def test_the_dataset_again_within_its_prompts(self, name: str, times: int) -> None:
        """Copies bring no information, and none of what is clustered takes them for any."""
        frame = joined()
        copies = pd.concat([frame.assign(comparison_id=frame["comparison_id"] + f"-{i}") for i in range(times)])
        for one, many in zip(fit_rows(name, frame), fit_rows(name, copies), strict=True):
            assert many["n_comparisons"] == times * one["n_comparisons"]
            assert many["n_prompts"] == one["n_prompts"]
            assert (many["term"], many["status"]) == (one["term"], one["status"])
            if one["specification"] == "rate_wilson":  # says itself that it takes comparisons as independent
                assert many["std_error"] < one["std_error"]
                continue
            for number in (*NUMBERS, *SIZES):
                if one.get(number) is not None:
                    assert many[number] == pytest.approx(one[number], rel=1e-7, abs=1e-9)

    def test_the_other_way_round(self) -> None:
        """With every label turned, rates and coefficients are mirrored."""
        frame = joined()
        turned = frame.assign(preference=frame["preference"].map({"a": "b", "b": "a", "tie": "tie"}))
        for one, two in zip(fitted(frame), fitted(turned), strict=True):
            assert one["status"] == two["status"] == "ok"
            if one["specification"] == "entropy_vuong":  # which measure says more, whatever it says
                assert two["estimate"] == pytest.approx(one["estimate"], rel=1e-7)
                continue
            centre = 1.0 if one["specification"].startswith(("rate", "binned")) else 0.0
            # How strong judgements are, and how often a tie, is the same.
            mirrored = one["estimate"] if one["term"].startswith(("threshold", "tie")) else centre - one["estimate"]
            assert two["estimate"] == pytest.approx(mirrored, rel=1e-7, abs=1e-9)
            assert two["std_error"] == pytest.approx(one["std_error"], rel=1e-7)
            if one["p_value"] is None:
                assert two["p_value"] is None
                continue
            # Rates are so discrete that some draws equal the sample's, or not, by a rounding error.
            close = 0.02 if one["covariance"] == BOOTSTRAP else 1e-12
            assert two["p_value"] == pytest.approx(one["p_value"], rel=1e-6, abs=close)
            if "adjusted_rate" in one:
                assert two["adjusted_rate"] == pytest.approx(1 - one["adjusted_rate"], rel=1e-8)
                assert two["p_equivalence"] == pytest.approx(one["p_equivalence"], rel=1e-6)
            if "share_left" in one:
                assert two["share_left"] == pytest.approx(one["share_left"], rel=1e-6)


class TestNumbers:
    def test_against_statsmodels(self) -> None:
        frame = joined(300, 60)
        decided = frame[frame["preference"] != "tie"]
        y = (decided["preference"] == "a").to_numpy(float)
        la, lb = decided["log_words_a"], decided["log_words_b"]
        delta = decided[f"{MEASURE}_a"] - decided[f"{MEASURE}_b"]
        terms = {"typicality": delta, "log_words": la - lb, "log_words_squared": la**2 - lb**2}
        groups = decided["prompt_id"].astype("category").cat.codes.to_numpy()
        n_groups = len(set(groups))
        found = by_name(fitted(frame, ("bt", "bt_length")))
        for name, k in (("bt", 1), ("bt_length", 3)):
            x = np.column_stack(list(terms.values()))[:, :k]
            expected = sm.GLM(y, x, family=sm.families.Binomial()).fit(
                tol=1e-14, cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
            )
            error = expected.bse * np.sqrt(n_groups / (n_groups - 1))
            p = expected.fittedvalues
            for i, term in enumerate(list(terms)[:k]):
                row = found[name, term]
                # Both stop at a gradient near rounding.
                assert row["estimate"] == pytest.approx(expected.params[i], rel=1e-7)
                assert row["std_error"] == pytest.approx(error[i], rel=1e-7)
                sd = math.sqrt(np.mean(x[:, i] ** 2))
                assert row["difference_sd"] == pytest.approx(sd, rel=1e-12)
                assert row["odds_ratio_sd"] == pytest.approx(math.exp(expected.params[i] * sd), rel=1e-7)
                change = special.expit(expected.params[i] * sd) - special.expit(-expected.params[i] * sd)
                assert row["probability_change"] == pytest.approx(change, rel=1e-7)
                assert row["marginal_effect"] == pytest.approx(np.mean(p * (1 - p)) * expected.params[i], rel=1e-7)
                assert row["mean_log_likelihood"] == pytest.approx(expected.llf / len(y), rel=1e-10)
                assert (row["status"], row["covariance"]) == ("ok", CLUSTERED)
                assert (row["n_comparisons"], row["n_prompts"]) == (len(decided), n_groups)
            adjusted = np.mean(special.expit(expected.params[0] * np.abs(delta)))
            assert found[name, "typicality"]["adjusted_rate"] == pytest.approx(adjusted, rel=1e-8)
        assert len(found) == 1 + 3
        share = found["bt_length", "typicality"]["marginal_effect"] / found["bt", "typicality"]["marginal_effect"]
        assert found["bt_length", "typicality"]["share_left"] == pytest.approx(share, rel=1e-9)

    def test_the_rate_counts_likelihood_ties_one_half(self) -> None:
        frame = joined()
        decided = frame[frame["preference"] != "tie"]
        delta = (decided[f"{MEASURE}_a"] - decided[f"{MEASURE}_b"]).to_numpy()
        wins = [
            0.5 if d == 0 else float((d > 0) == (p == "a")) for d, p in zip(delta, decided["preference"], strict=True)
        ]
        found = by_name(fit_rows("rate", frame))
        assert found["rate", "typicality"]["estimate"] == pytest.approx(sum(wins) / len(wins), rel=1e-14)
        assert found["rate", "typicality"]["n_likelihood_ties"] == (delta == 0).sum() > 0
        row = found["rate_wilson", "typicality"]
        assert (row["conf_low"], row["conf_high"]) == pytest.approx(
            proportion_confint(sum(wins), len(wins), method="wilson"), rel=1e-12
        )
        assert row["covariance"] == WILSON

    def test_every_prompt_weighs_the_same(self) -> None:
        """The weighted rate is the mean of the prompts' rates."""
        frame = joined()
        decided = frame[frame["preference"] != "tie"]
        delta = decided[f"{MEASURE}_a"] - decided[f"{MEASURE}_b"]
        wins = ((delta > 0) == (decided["preference"] == "a")).astype(float).where(delta != 0, 0.5)
        (row,) = fit_rows("rate_prompts", frame)
        assert row["estimate"] == pytest.approx(wins.groupby(decided["prompt_id"]).mean().mean(), rel=1e-12)
        (weighted,) = fit_rows("bt_prompts", frame)
        y = (decided["preference"] == "a").to_numpy(float)
        weights = 1 / decided.groupby("prompt_id")["prompt_id"].transform("size").to_numpy()
        model = sm.GLM(y, delta.to_numpy()[:, None], family=sm.families.Binomial(), var_weights=weights)
        assert weighted["estimate"] == pytest.approx(model.fit(tol=1e-14).params[0], rel=1e-7)

    def test_bins_hold_all_comparisons_once_in_their_order(self) -> None:
        frame = joined()
        decided = frame[frame["preference"] != "tie"]
        size = (decided[f"{MEASURE}_a"] - decided[f"{MEASURE}_b"]).abs()
        found = fit_rows("binned", frame)
        assert len(found) == 10
        assert sum(row["n_comparisons"] for row in found) == len(decided)
        means = [row["difference_sd"] for row in found]
        assert means == sorted(means)
        whole = by_name(fit_rows("rate", frame))["rate", "typicality"]["estimate"]
        joint = sum(row["estimate"] * row["n_comparisons"] for row in found) / len(size)
        assert joint == pytest.approx(whole, rel=1e-12)

    def test_curvature_is_on_responses(self) -> None:
        """With the centre at the mean of all responses compared, and no shift of the measure changes it."""
        frame = joined()
        shifted = frame.assign(**{f"{MEASURE}_{s}": frame[f"{MEASURE}_{s}"] + 2 for s in ("a", "b")})
        for one, two in zip(fit_rows("quadratic", frame)[:2], fit_rows("quadratic", shifted)[:2], strict=True):
            assert two["estimate"] == pytest.approx(one["estimate"], rel=1e-7)
        decided = frame[frame["preference"] != "tie"]
        a, b = decided[f"{MEASURE}_a"].to_numpy(), decided[f"{MEASURE}_b"].to_numpy()
        centre = np.concatenate([a, b]).mean()
        x = np.column_stack([a - b, (a - centre) ** 2 - (b - centre) ** 2])
        expected = sm.Logit((decided["preference"] == "a").to_numpy(float), x).fit(disp=0, tol=1e-12).params
        assert [row["estimate"] for row in fit_rows("quadratic", frame)[:2]] == pytest.approx(expected, rel=1e-7)

    def test_preference_ties_are_in_no_number(self) -> None:
        frame = joined()
        without = frame[frame["preference"] != "tie"]
        assert len(without) < len(frame)
        names = [name for name in FITTED if not SPECIFICATIONS[name].takes_ties]
        assert fitted(frame, names) == fitted(without, names)


class TestEverySpecificationHasARowOrAStatus:
    def test_as_it_should_be(self) -> None:
        """Each rung has its own controls and those before, and each rival has its own."""
        found = fitted(joined())
        assert {row["specification"] for row in found} == {*FITTED, "rate_wilson"}
        assert {row["status"] for row in found} == {"ok"}
        terms = {
            name: {r["term"] for r in found if r["specification"] == name and not r["term"].startswith(CURVE)}
            for name in FITTED
        }
        length, style = {*LENGTH}, {*STYLE}
        rungs = {"bt": set(), "bt_length": length, "bt_style": length | style}
        rungs["bt_quality"] = rungs["bt_style"] | {*RATINGS}
        rungs["bt_source"] = rungs["bt_quality"] | {"source=y", "source=z"}
        rungs["bt_fluency"] = rungs["bt_source"] | {"fluency"}
        for name, controls in rungs.items():
            assert terms[name] == {TYPICALITY, *controls}
        assert terms["length_only"] == length
        assert terms["unigram_only"] == {"unigram"}
        assert terms["paper"] == {TYPICALITY, *RATINGS, "intercept"}
        assert terms["quadratic"] == {TYPICALITY, "typicality_squared"}
        assert terms["spline"] == {TYPICALITY, "typicality_spline_1", "typicality_spline_2"}
        assert terms["surprisal_entropy"] == {"surprisal_entropy"}
        assert terms["entropy_beside"] == {TYPICALITY, "surprisal_entropy"}
        assert terms["entropy_vuong"] == {TYPICALITY}

    def test_without_anything_the_dataset_may_lack(self) -> None:
        frame = joined().drop(columns=[f"{q}_{s}" for q in (*RATINGS, "source") for s in ("a", "b")])
        found = by_name(fitted(frame.drop(columns="annotator")))
        reasons = {name: row["status"] for (name, term), row in found.items() if row["status"] != "ok"}
        assert reasons == {
            "bt_quality": "the dataset has no quality ratings",
            "bt_source": "the dataset does not say which model or person wrote a response",
            "bt_annotators": "the dataset does not say who judged",
        }
        # A rung without what an earlier one would have added stands all the same.
        assert found["bt_fluency", "fluency"]["status"] == "ok"
        assert ("paper", "intercept") in found

    def test_ratings_that_some_comparisons_lack(self) -> None:
        """The rung is fitted to those that have them, and every number is theirs."""
        frame = joined()
        rated = frame["prompt_id"] < "p060"
        frame.loc[~rated, ["correct_a", "correct_b"]] = np.nan
        found = by_name(fit_rows("bt_quality", frame))
        assert found == by_name(fit_rows("bt_quality", frame[rated]))
        assert found["bt_quality", TYPICALITY]["n_prompts"] < 60

    @pytest.mark.parametrize("n", range(320, 330))
    def test_bins_do_not_move_with_copies(self, n: int) -> None:
        frame = joined(n, ties=0)
        copies = pd.concat([frame.assign(comparison_id=frame["comparison_id"] + f"-{i}") for i in range(2)])
        for one, many in zip(fit_rows("binned", frame), fit_rows("binned", copies), strict=True):
            assert (many["term"], many["n_comparisons"]) == (one["term"], 2 * one["n_comparisons"])

    def test_one_annotator(self) -> None:
        (row,) = fit_rows("bt_annotators", joined().assign(annotator="w"))
        assert "annotator" in row["status"] and row.get("estimate") is None

    def test_a_control_that_never_differs(self) -> None:
        frame = joined().assign(emoji_a=0.0, emoji_b=0.0)
        found = by_name(fit_rows("bt_style", frame))
        assert "the same for both" in found["bt_style", "emoji"]["status"]
        assert found["bt_style", "emoji"].get("estimate") is None
        without = frame.drop(columns=["emoji_a", "emoji_b"])
        assert by_name(fit_rows("bt_style", without)) == found

    def test_a_control_that_repeats_another(self) -> None:
        frame = joined()
        frame = frame.assign(links_a=2 * frame["bold_a"] + 1, links_b=2 * frame["bold_b"] + 1)
        found = by_name(fit_rows("bt_style", frame))
        assert "collinear" in found["bt_style", "links"]["status"]
        assert found["bt_style", "bold"]["status"] == "ok"
        assert found["bt_style", TYPICALITY]["status"] == "ok"

    def test_a_control_that_decides_its_comparisons(self) -> None:
        """Its row says so, and all else is as on the comparisons it leaves."""
        frame = joined()
        some = (frame.index % 9 == 0) & (frame["preference"] != "tie")
        better = np.where(frame["preference"] == "a", 1.0, 0.0)
        frame["emoji_a"], frame["emoji_b"] = np.where(some, better, 0.0), np.where(some, 1 - better, 0.0)
        found = by_name(fit_rows("bt_style", frame))
        assert f"it decides the {some.sum()} comparisons" in found["bt_style", "emoji"]["status"]
        rest = by_name(fit_rows("bt_style", frame[~some]))
        for key, row in rest.items():
            for number in (*NUMBERS, *SIZES):
                assert found[key].get(number) == row.get(number)

    def test_typicality_that_is_a_control(self) -> None:
        frame = joined()
        frame = frame.assign(unigram_a=frame[f"{MEASURE}_a"], fluency_a=frame[f"{MEASURE}_a"])
        frame = frame.assign(fluency_b=frame[f"{MEASURE}_b"])
        (row,) = fit_rows("bt_fluency", frame)
        assert "no effect of its own" in row["status"] and row.get("estimate") is None


def degenerate() -> dict[str, tuple[pd.DataFrame, dict[str, str]]]:
    """Samples that have no number, with a piece of the reason for each specification."""
    frame = joined()
    a, b = f"{MEASURE}_a", f"{MEASURE}_b"
    sided = frame.assign(preference=np.where(frame[a] > frame[b], "a", "b"))
    sided = sided[sided[a] != sided[b]]
    none, ladder = "no comparison is decided", [name for name in FITTED if name.startswith("bt")]
    effect = [name for name in FITTED if name not in ("length_only", "unigram_only")]
    same = {
        **dict.fromkeys(ladder, "the same for both"),
        **dict.fromkeys(["rate", "rate_prompts", "binned"], "does not vary"),
        **{"quadratic": "the same for both", "placebo_labels": "the same for both"},
    }
    separated = dict.fromkeys((*ladder, "quadratic", "paper"), "perfectly predicted")
    copied = frame.assign(log_words_a=frame[a], log_words_b=frame[b])
    return {
        "no rows": (frame.iloc[:0], dict.fromkeys(FITTED, none)),
        "only ties": (frame.assign(preference="tie"), dict.fromkeys(FITTED, none)),
        "one prompt": (frame.assign(prompt_id="p"), dict.fromkeys(FITTED, "one prompt")),
        "separated": (sided, {**separated, "rate": "does not vary", "rate_prompts": "does not vary"}),
        "no difference": (frame.assign(**{a: 1.0, b: 1.0}), {k: v for k, v in same.items() if k in effect}),
        "collinear": (copied, {"bt_length": "collinear", "bt_source": "collinear"}),
        "one row": (frame.iloc[5:6], {"rate": "one prompt", "bt": "perfectly predicted"}),
    }


@pytest.mark.parametrize("case", degenerate())
def test_no_number_but_a_reason(case: str) -> None:
    frame, reasons = degenerate()[case]
    for name, reason in reasons.items():
        row = fit_rows(name, frame)[0]
        assert row["specification"] == name
        assert reason in row["status"]
        assert all(row.get(number) is None for number in (*NUMBERS, "odds_ratio_sd", "marginal_effect"))
        if name != "binned":
            assert row["n_comparisons"] == (frame["preference"] != "tie").sum()


def test_a_reason_given_stands_instead_of_a_fit() -> None:
    for name in FITTED:
        (row,) = fit_rows(name, joined(), "there is none")
        assert row["status"] == "there is none" and row.get("estimate") is None


WORDS = ("the", "dog", "answer", "question", "France", "capital", "of", "and", "nobody", "sea", "year", "fine")


def rows(n: int = 70, seed: int = 0) -> list[dict[str, Any]]:
    """Pairs of two prompts each with sources, languages, annotators, qualities that are often equal, and ties."""
    random = np.random.default_rng(seed)

    def text() -> str:
        return " ".join(random.choice(WORDS, int(random.integers(1, 12))))

    return [
        {
            "prompt": f"what is {i // 2}?",
            **{"a": f"{text()} {i}", "b": f"{text()} {i}."},
            "best": str(random.choice(["a", "b", "tie"], p=[0.45, 0.4, 0.15])),
            **{"sa": str(random.choice(["x", "y"])), "sb": str(random.choice(["x", "y"]))},
            **{"qa": int(random.integers(1, 3)), "qb": int(random.integers(1, 3)), "ta": i % 2, "tb": i % 2},
            **{"lang": str(random.choice(["en", "de"])), "who": f"w{i % 4}"},
        }
        for i in range(n)
    ]


DECLARED = {
    **{"source_a": "sa", "source_b": "sb", "language": "lang", "annotator": "who"},
    **{"quality_a": ["qa", "ta"], "quality_b": ["qb", "tb"]},
}
SLICES = ["all", "equal_quality", "language=en", "language=fr", "source=x", "annotator=w1", "rater=human", "domain=law"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny", window=64)


@pytest.fixture
def cell(model: Path, tmp_path: Path) -> Callable[..., tuple[Study, Outputs]]:
    """Take rows through the first three stages."""

    def run(data: list[dict[str, Any]], name: str = "one", **options: Any) -> tuple[Study, Outputs]:
        study = study_of(tmp_path / name, data, model, **{"dataset": DECLARED, **options})
        outputs = Outputs(tmp_path / name / "outputs")
        found = scored(study, outputs)
        n = estimate("pairs", "tiny", found.scoring_id, study, RUN, outputs, outputs.work(RUN))
        made = in_work("differences", outputs)
        assert n == (made["measure"] == study.measures[0]).sum()
        return study, outputs

    return run


def loop_rate(differences: pd.DataFrame, comparisons: list[Any]) -> tuple[float, int]:
    """The rate over the comparisons chosen, and how many of them are decided, by a loop."""
    delta = dict(zip(differences["comparison_id"], differences["difference"], strict=True))
    wins = []
    for row in comparisons:
        if row.preference != "tie" and row.comparison_id in delta:
            d = delta[row.comparison_id]
            wins.append(0.5 if d == 0 else float((d > 0) == (row.preference == "a")))
    return (sum(wins) / len(wins) if wins else math.nan), len(wins)


class TestCell:
    def test_slices_by_brute_force(self, cell: Callable[..., Any]) -> None:
        measures = ["mean_logprob", "sum_logprob", "mean_pmi"]
        study, outputs = cell(rows(), slices=SLICES, measures=measures, specifications=["rate", "bt", "bt_length"])
        for path in (outputs.work(RUN) / "estimates").glob("*.parquet"):
            assert pq.read_schema(path).equals(TABLES["estimates"].schema, check_metadata=True)
        found = in_work("estimates", outputs)
        differences, comparisons = in_work("differences", outputs), list(in_work("comparisons", outputs).itertuples())
        inside: dict[str, Callable[[Any], bool]] = {
            "all": lambda c: True,
            "equal_quality": lambda c: all(q["a"] == q["b"] for q in c.quality),
            "language=en": lambda c: c.language == "en",
            "language=fr": lambda c: False,
            "source=x": lambda c: c.source_a == c.source_b == "x",
            "annotator=w1": lambda c: c.annotator == "w1",
            "rater=human": lambda c: True,
        }
        rates = found[found["specification"] == "rate"].set_index(["measure", "slice"])
        assert len(rates) == len(SLICES) * len(measures)
        for measure in measures:
            measured = differences[differences["measure"] == measure]
            for name, holds in inside.items():
                rate, n = loop_rate(measured, [c for c in comparisons if holds(c)])
                row = rates.loc[measure, name]
                assert row["n_comparisons"] == n
                assert row["n_prompts"] == len({c.prompt_id for c in comparisons if holds(c) and c.preference != "tie"})
                if n:
                    # A sum of up to seventy numbers, added in another order.
                    assert row["estimate"] == pytest.approx(rate, rel=1e-14)
                else:
                    assert row["status"] == "no comparison is decided" and math.isnan(row["estimate"])
        assert (rates.loc[(slice(None), "domain=law"), "status"] == "the dataset has no domain").all()
        assert 0 < rates.loc[("mean_logprob", "equal_quality"), "n_comparisons"] < 40
        for constant, value in (("study", study.name), ("run_id", RUN), ("dataset", "pairs"), ("base_model", "tiny")):
            assert found[constant].unique().tolist() == [value]

    def test_slices_by_default(self, cell: Callable[..., Any]) -> None:
        _, rated = cell(rows(30), "rated")
        found = in_work("estimates", rated)
        left_out = found["specification"] == "leave_one_source_out"
        assert found[~left_out]["slice"].unique().tolist() == ["all", "equal_quality"]
        assert sorted(found[left_out]["slice"]) == ["source!=x", "source!=y"]
        _, bare = cell(rows(30), "bare", dataset={})
        assert in_work("estimates", bare)["slice"].unique().tolist() == ["all"]

    def test_slices_of_what_the_dataset_lacks(self, cell: Callable[..., Any]) -> None:
        _, outputs = cell(rows(30), dataset={}, slices=["equal_quality", "language=en", "source=x"])
        found = in_work("estimates", outputs).groupby("slice")["status"].unique().map(list).to_dict()
        assert found == {
            "equal_quality": ["the dataset has no quality ratings"],
            "language=en": ["the dataset has no language"],
            "source=x": ["the dataset has no source"],
        }
        assert in_work("estimates", outputs)[[*NUMBERS]].isna().all(axis=None)

    def test_nothing_scored_is_not_a_missing_column(self, cell: Callable[..., Any]) -> None:
        """The dataset has a language and ratings; what it lacks are scores."""
        long = [{**row, "a": "the answer " * 60 + row["a"]} for row in rows(20)]
        _, outputs = cell(long, slices=["all", "language=en", "equal_quality", "source=x"])
        found = in_work("estimates", outputs)
        assert found["status"].unique().tolist() == ["no comparison is decided"]

    def test_lengths(self, cell: Callable[..., Any]) -> None:
        """The covariate is the logarithm of hundreds of words of each response, and its square."""
        _, outputs = cell(rows(), slices=["all"])
        found = in_work("estimates", outputs).set_index(["specification", "term"])
        words = tables.read("responses", outputs.root).set_index("response_id")["response"].str.split().str.len()
        frame = in_work("comparisons", outputs)
        frame = frame[frame["preference"] != "tie"]
        la, lb = (np.log(words[frame[side]].to_numpy() / 100) for side in ("response_a", "response_b"))
        for term, delta in (("log_words", la - lb), ("log_words_squared", la**2 - lb**2)):
            sd = found.loc[("bt_length", term), "difference_sd"]
            assert sd == pytest.approx(math.sqrt(np.mean(delta**2)), rel=1e-12)

    def test_ties_are_counted(self, cell: Callable[..., Any]) -> None:
        data = rows()
        ties = sum(row["best"] == "tie" for row in data)
        _, outputs = cell(data)
        assert excluded(outputs, "regression") == {("comparison", f"{TIE}; only ordered and ties take it"): ties}
        for asked, reason in ((["bt"], TIE), (["bt", "ties"], f"{TIE}; only ties takes it")):
            _, outputs = cell(data, f"with-{asked[-1]}", specifications=asked)
            assert excluded(outputs, "regression") == {("comparison", reason): ties}

    def test_strengths_that_are_missing_are_counted(self, cell: Callable[..., Any]) -> None:
        """Unless all are: then the estimate says so; and unless nothing needs them."""
        data = [row | {"how": 0 if row["best"] == "tie" else 1 + i % 2} for i, row in enumerate(rows(120))]
        for asked, reasons in ((["bt"], {TIE}), (["ordered"], {f"{TIE}; only ordered takes it", NO_STRENGTH})):
            study, outputs = cell(data, asked[0], specifications=asked, dataset={"strength": "how"})
            path, scoring = outputs.work(RUN) / "comparisons" / "pairs.parquet", scored(study, outputs).scoring_id
            held = tables.scan("comparisons", [path]).to_pylist()
            decided = [row for row in held if row["preference"] != "tie"]
            for n, expected in ((7, reasons), (len(decided), reasons - {NO_STRENGTH})):
                for row in decided[:n]:
                    row["strength"] = None
                tables.write(path, "comparisons", held)
                estimate("pairs", "tiny", scoring, study, RUN, outputs, outputs.work(RUN))
                found = excluded(outputs, "regression")
                assert {reason for _, reason in found} == expected
                assert found.get(("comparison", NO_STRENGTH), 7) == 7
                (first, *_) = in_work("estimates", outputs).to_dict("records")
                if asked == ["ordered"]:
                    assert (first["status"] == "ok") == (n == 7)
                    assert first["n_comparisons"] == (len(held) - 7 if n == 7 else len(decided))

    def test_every_comparison_is_accounted_for_once(self, cell: Callable[..., Any]) -> None:
        """Those used and those left out at each stage add up to those that came in."""
        data = rows(40)
        for i in (0, 1, 2, 3, 4, 5, 6, 7):
            data[i] |= {"a": f"{'the answer ' * 60} {i}", "best": "tie" if i % 2 else "a"}
        _, outputs = cell(data)
        found = in_work("estimates", outputs)
        used = found.loc[(found["specification"] == "bt") & (found["slice"] == "all"), "n_comparisons"].item()
        assert excluded(outputs, "likelihood")["comparison", TOO_LONG] == 8
        lost = sum(
            n
            for stage in ("likelihood", "regression")
            for (unit, _), n in excluded(outputs, stage).items()
            if unit == "comparison"
        )
        assert used + lost == 40

    def test_the_order_of_the_file_and_of_the_two_responses(self, cell: Callable[..., Any]) -> None:
        """From the file to the estimates, not a bit changes."""
        data = rows(40)
        pairs = (("a", "b"), ("sa", "sb"), ("qa", "qb"), ("ta", "tb"))
        turned = []
        for i, row in enumerate(data[::-1]):
            other = dict(row)
            if i % 3:
                for x, y in pairs:
                    other[x], other[y] = row[y], row[x]
                other["best"] = {"a": "b", "b": "a", "tie": "tie"}[row["best"]]
            turned.append(other)
        symmetric = [name for name in DEFAULT if name != "paper"]
        made = [
            in_work("estimates", cell(d, name, specifications=symmetric)[1])
            for d, name in ((data, "one"), (turned, "two"))
        ]
        pd.testing.assert_frame_equal(*made, check_exact=True)

    def test_every_specification_has_a_row_or_a_status(self, cell: Callable[..., Any]) -> None:
        """In every slice, and with nothing but numbers or reasons."""
        everything = [*DEFAULT, "bt_fluency"]
        for name, declared in (("rated", DECLARED), ("bare", {})):
            _, outputs = cell(
                rows(40), name, dataset=declared, specifications=everything, slices=["all", "rater=human"]
            )
            found = in_work("estimates", outputs)
            whole = [found[found["slice"] == s] for s in ("all", "rater=human")]
            assert {*everything, "rate_wilson"} - set(whole[1]["specification"]) == {"leave_one_source_out"}
            made = found[found["status"] == "ok"]
            assert made[[*NUMBERS]].notna().all(axis=None)
            assert (made["conf_low"] <= made["conf_high"]).all()
            assert found[found["status"] != "ok"][[*NUMBERS, "marginal_effect", "adjusted_rate"]].isna().all(axis=None)
            left_out = found[found["specification"] == "leave_one_source_out"]
            if declared:
                assert sorted(left_out["slice"]) == ["source!=x", "source!=y"]
            else:
                assert left_out["status"].tolist() == ["the dataset names fewer than two sources"]


def test_failed_rows(model: Path, tmp_path: Path) -> None:
    study = study_of(tmp_path, rows(4), model, measures=["mean_logprob", "mean_pmi"])
    made = failed_rows(study, RUN, "pairs", "tiny", "the base model cannot be had")
    assert len(made) == 2 * len(study.specifications)
    assert {row["status"] for row in made} == {"the base model cannot be had"}
    assert tables.to_arrow("estimates", made)["estimate"].null_count == len(made)
