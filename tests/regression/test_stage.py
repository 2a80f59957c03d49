"""The third stage: samples and specifications on made-up data, then one cell from a file to its estimates."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from analysis import tables
from analysis.ids import content_id
from analysis.likelihood.encoding import TOO_LONG
from analysis.outputs import Outputs
from analysis.regression.inference import CLUSTERED, WILSON
from analysis.regression.specifications import SPECIFICATIONS
from analysis.regression.stage import TIE, estimate, failed_rows, fit_specification, sample_of
from analysis.schemas import TABLES
from analysis.study import Study
from tests.likelihood.cell import RUN, excluded, in_work, scored, study_of
from tests.regression.made import joined, swapped
from tests.tiny import tiny_model

ALL = tuple(SPECIFICATIONS)
NUMBERS = ("estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high")


def fitted(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [row for name in ALL for row in fit_specification(name, sample_of(frame))]


def by_name(rows: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["specification"], row["term"]): row for row in rows}


class TestInvariance:
    @given(seed=st.integers(0, 10**6))
    @settings(max_examples=20, deadline=None)
    def test_which_stands_first_and_the_order_of_rows(self, seed: int) -> None:
        """Not a bit of any number changes."""
        random = np.random.default_rng(seed)
        frame = joined(seed=seed)
        other = swapped(frame, frame.index[random.random(len(frame)) < 0.5]).sample(frac=1, random_state=seed)
        assert fitted(other) == fitted(frame)

    def test_the_names_of_prompts(self) -> None:
        frame = joined()
        names = {p: f"x{content_id(p)}" for p in frame["prompt_id"]}
        other = fitted(frame.assign(prompt_id=frame["prompt_id"].map(names)))
        for one, two in zip(fitted(frame), other, strict=True):
            assert one["n_prompts"] == two["n_prompts"]
            for number in NUMBERS:
                assert two[number] == pytest.approx(one[number], rel=1e-10, abs=1e-14)

    @pytest.mark.parametrize("times", [2, 5])
    def test_the_dataset_again_within_its_prompts(self, times: int) -> None:
        """Copies bring no information, and none of what is clustered takes them for any."""
        frame = joined()
        copies = [frame.assign(comparison_id=frame["comparison_id"] + f"-{i}") for i in range(times)]
        for one, many in zip(fitted(frame), fitted(pd.concat(copies)), strict=True):
            assert many["n_comparisons"] == times * one["n_comparisons"]
            assert many["n_prompts"] == one["n_prompts"]
            if one["specification"] == "rate_wilson":  # says itself that it takes comparisons as independent
                assert many["std_error"] < one["std_error"]
                continue
            for number in (*NUMBERS, "difference_sd", "odds_ratio_sd", "marginal_effect"):
                if one.get(number) is not None:
                    assert many[number] == pytest.approx(one[number], rel=1e-8, abs=1e-12)

    def test_the_other_way_round(self) -> None:
        """With every label turned, rates and coefficients are mirrored."""
        frame = joined()
        turned = frame.assign(preference=frame["preference"].map({"a": "b", "b": "a", "tie": "tie"}))
        for one, two in zip(fitted(frame), fitted(turned), strict=True):
            centre = 1.0 if one["specification"].startswith("rate") else 0.0
            assert two["estimate"] == pytest.approx(centre - one["estimate"], rel=1e-8)
            assert two["std_error"] == pytest.approx(one["std_error"], rel=1e-8)
            assert two["p_value"] == pytest.approx(one["p_value"], rel=1e-6)


class TestNumbers:
    def test_against_statsmodels(self) -> None:
        frame = joined(300, 50)
        decided = frame[frame["preference"] != "tie"]
        y = (decided["preference"] == "a").to_numpy(float)
        la, lb = decided["log_words_a"], decided["log_words_b"]
        terms = {"typicality": decided["difference"], "log_words": la - lb, "log_words_squared": la**2 - lb**2}
        groups = decided["prompt_id"].astype("category").cat.codes.to_numpy()
        n_groups = len(set(groups))
        found = by_name(fitted(frame))
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
                assert row["marginal_effect"] == pytest.approx(np.mean(p * (1 - p)) * expected.params[i], rel=1e-7)
                assert (row["status"], row["covariance"]) == ("ok", CLUSTERED)
                assert (row["n_comparisons"], row["n_prompts"]) == (len(decided), n_groups)
        assert len(found) == 2 + 1 + 3

    def test_the_rate_counts_likelihood_ties_one_half(self) -> None:
        frame = joined(40, 9)
        decided = frame[frame["preference"] != "tie"]
        wins = [
            0.5 if d == 0 else float((d > 0) == (p == "a"))
            for d, p in zip(decided["difference"], decided["preference"], strict=True)
        ]
        found = by_name(fit_specification("rate", sample_of(frame)))
        assert found["rate", "typicality"]["estimate"] == pytest.approx(sum(wins) / len(wins), rel=1e-15)
        assert found["rate", "typicality"]["n_likelihood_ties"] == (decided["difference"] == 0).sum() > 0
        row = found["rate_wilson", "typicality"]
        assert (row["conf_low"], row["conf_high"]) == pytest.approx(
            proportion_confint(sum(wins), len(wins), method="wilson"), rel=1e-12
        )
        assert row["covariance"] == WILSON

    def test_preference_ties_are_in_no_number(self) -> None:
        frame = joined()
        without = frame[frame["preference"] != "tie"]
        assert len(without) < len(frame)
        assert fitted(frame) == fitted(without)


def degenerate() -> dict[str, tuple[pd.DataFrame, dict[str, str]]]:
    """Samples that have no number, with a piece of the reason for each specification."""
    frame = joined()
    sided = frame.assign(preference=np.where(frame["difference"] > 0, "a", "b"))
    sided = sided[sided["difference"] != 0]
    same = frame.assign(difference=0.0)
    copied = frame.assign(log_words_a=frame["difference"], log_words_b=0.0)
    equal = frame.assign(log_words_b=frame["log_words_a"])
    none = "no comparison is decided"
    return {
        "no rows": (frame.iloc[:0], dict.fromkeys(ALL, none)),
        "only ties": (frame.assign(preference="tie"), dict.fromkeys(ALL, none)),
        "one prompt": (frame.assign(prompt_id="p"), dict.fromkeys(ALL, "one prompt")),
        "separated": (
            sided,
            {"rate": "does not vary", "bt": "perfectly predicted", "bt_length": "perfectly predicted"},
        ),
        "no difference": (same, {"rate": "does not vary", "bt": "the same for both", "bt_length": "the same for both"}),
        "equal lengths": (equal, {"bt_length": "the same for both"}),
        "collinear": (copied, {"bt_length": "collinear"}),
        "one row": (frame.iloc[5:6], {"rate": "one prompt", "bt": "perfectly predicted"}),
    }


@pytest.mark.parametrize("case", degenerate())
def test_no_number_but_a_reason(case: str) -> None:
    frame, reasons = degenerate()[case]
    for name, reason in reasons.items():
        row = fit_specification(name, sample_of(frame))[0]
        assert (row["specification"], row["term"]) == (name, "typicality")
        assert reason in row["status"]
        assert all(row.get(number) is None for number in (*NUMBERS, "odds_ratio_sd", "marginal_effect"))
        assert row["n_comparisons"] == (frame["preference"] != "tie").sum()


def test_a_reason_given_stands_instead_of_a_fit() -> None:
    for name in ALL:
        (row,) = fit_specification(name, sample_of(joined()), "there is none")
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
        study, outputs = cell(rows(), slices=SLICES, measures=measures)
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
        assert in_work("estimates", rated)["slice"].unique().tolist() == ["all", "equal_quality"]
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
        assert excluded(outputs, "regression") == {("comparison", TIE): ties}
        lost = in_work("exclusions", outputs)
        lost = lost[lost["stage"] == "regression"]
        assert lost["base_model"].to_list() == ["tiny"]
        comparisons = in_work("comparisons", outputs).set_index("comparison_id")["preference"]
        assert (comparisons[lost["examples"].iloc[0]] == "tie").all()

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
        made = [in_work("estimates", cell(d, name)[1]) for d, name in ((data, "one"), (turned, "two"))]
        pd.testing.assert_frame_equal(*made, check_exact=True)


def test_failed_rows(model: Path, tmp_path: Path) -> None:
    study = study_of(tmp_path, rows(4), model, measures=["mean_logprob", "mean_pmi"])
    made = failed_rows(study, RUN, "pairs", "tiny", "the base model cannot be had")
    assert len(made) == 2 * len(study.specifications)
    assert {row["status"] for row in made} == {"the base model cannot be had"}
    assert tables.to_arrow("estimates", made)["estimate"].null_count == len(made)
