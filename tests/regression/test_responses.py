"""Specifications of responses: ratings, the best of a prompt, its order; then from a file to their rows."""

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import tables
from analysis.outputs import Outputs
from analysis.regression import choice, within
from analysis.regression.bootstrap import BOOTSTRAP, TOO_FEW
from analysis.regression.cell import Cell
from analysis.regression.fitting import Fitter
from analysis.regression.inference import CLUSTERED, t_interval
from analysis.regression.orders import NO_ORDER
from analysis.regression.part import OUTCOME, TYPICALITY, Part
from analysis.regression.rows import Row
from analysis.regression.stage import estimate
from analysis.study import parse
from tests.likelihood.cell import RUN, excluded, in_work, scored
from tests.regression.made import MARGIN, MEASURE, RATINGS, joined, swapped
from tests.regression.made import cell_of as pairs_only
from tests.regression.test_paper_ordered import Responses, cell_of, graded, pairs
from tests.tiny import tiny_model

NAMES = ("ratings", "conditional", "rank_ordered")
NUMBERS = ("estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high", "minimum_detectable")
LOGITS = ("odds_ratio_sd", "probability_change", "difference_sd", "mean_log_likelihood")


def rows_of(name: str, cell: Cell, slice: str = "all", ordered: bool = True) -> list[Row]:
    part = Part(cell := replace(cell, complete=ordered), MEASURE, cell.slice(slice)[0])
    return Fitter(part, MARGIN, np.random.default_rng(0)).rows(name)


def ranked(n_prompts: int = 70, seed: int = 0) -> Responses:
    """The same responses with an outcome of which hardly any two are equal."""
    random = np.random.default_rng(seed + 1)
    made = graded(n_prompts, seed)
    fine = made[OUTCOME] + 0.9 * random.random(len(made))
    return made.assign(**{OUTCOME: fine.where(random.random(len(made)) < 0.9, fine.round(1))})


def codes(column: pd.Series) -> Any:
    return np.unique(column, return_inverse=True)[1]


class TestRatings:
    def test_are_least_squares_on_the_responses_compared(self) -> None:
        responses = graded()
        frame = pairs(responses)
        for kept in (True, False):
            decided = frame["preference"] != "tie"
            found = rows_of("ratings", cell_of(responses, frame if kept else frame[decided]))
            varied = responses.groupby("prompt_id")[OUTCOME].transform("nunique") > 1
            used = responses if kept else responses[varied]
            x, groups = used[[MEASURE, *RATINGS]].to_numpy(float), codes(used["prompt_id"])
            expected = within.fit(used[OUTCOME].to_numpy(), x, groups, groups)
            assert [row["term"] for row in found] == [TYPICALITY, *RATINGS]
            for j, row in enumerate(found):
                error = float(np.sqrt(expected.covariance[j, j]))
                interval = t_interval(float(expected.coefficients[j]), error, expected.n_clusters)
                assert row["estimate"] == pytest.approx(interval.estimate, rel=1e-9)
                assert row["std_error"] == pytest.approx(error, rel=1e-9)
                assert row["conf_low"] == pytest.approx(interval.low, rel=1e-9)
                assert (row["status"], row["covariance"]) == ("ok", CLUSTERED)
                assert row["n_responses"] == len(used)
                assert row["n_prompts"] == used["prompt_id"].nunique()
                assert row["n_comparisons"] == (len(frame) if kept else decided.sum())

    def test_are_in_rating_points(self) -> None:
        """Ten times the scale is ten times the estimate; what belongs to log-odds is not there."""
        responses = graded()
        one, other = (rows_of("ratings", cell_of(responses.assign(outcome=by * responses[OUTCOME]))) for by in (1, 10))
        for a, b in zip(one, other, strict=True):
            assert b["estimate"] == pytest.approx(10 * a["estimate"], rel=1e-10)
            assert b["p_value"] == pytest.approx(a["p_value"], rel=1e-8)
            for row in (a, b):
                lacking = (*LOGITS, "marginal_effect", "adjusted_rate", "share_left")
                assert all(row.get(name) is None for name in lacking)

    def test_few_prompts(self) -> None:
        row = rows_of("ratings", cell_of(graded(30)))[0]
        assert (row["status"], row["covariance"]) == ("ok", BOOTSTRAP)
        assert row["conf_low"] < row["estimate"] < row["conf_high"]

    def test_of_equal_quality(self) -> None:
        """Responses of one quality have a level of their own in their prompt."""
        responses = graded(200).drop(columns="polite")
        found = rows_of("ratings", cell_of(responses), "equal_quality")
        groups = responses["prompt_id"] + responses["correct"].astype(str)
        used = responses[groups.groupby(groups).transform("size") > 1]
        x, sets = used[[MEASURE]].to_numpy(float), codes(groups[used.index])
        expected = within.fit(used[OUTCOME].to_numpy(), x, sets, codes(used["prompt_id"]))
        assert found[0]["estimate"] == pytest.approx(expected.coefficients[0], rel=1e-9)
        assert found[0]["std_error"] == pytest.approx(np.sqrt(expected.covariance[0, 0]), rel=1e-9)
        assert found[1]["term"] == "correct" and "same for all responses" in found[1]["status"]


class TestChoices:
    @pytest.mark.parametrize("name", ["conditional", "rank_ordered"])
    def test_are_those_of_the_responses(self, name: str) -> None:
        responses = ranked()
        (first, *_) = found = rows_of(name, cell_of(responses))
        used = responses[responses.groupby("prompt_id")[OUTCOME].transform("nunique") > 1]
        used = used.sort_values(["prompt_id", OUTCOME], ascending=[True, False])
        levels = (used.groupby("prompt_id")[OUTCOME].rank(method="dense", ascending=False) - 1).to_numpy(int)
        sets = codes(used["prompt_id"])
        x = used[[MEASURE, *RATINGS]].to_numpy(float)
        expected = choice.fit(x, sets, levels, sets, name == "conditional")
        for j, row in enumerate(found):
            assert row["estimate"] == pytest.approx(expected.coefficients[j], rel=1e-8)
            assert row["std_error"] == pytest.approx(np.sqrt(expected.covariance[j, j]), rel=1e-8)
            assert row["mean_log_likelihood"] == pytest.approx(expected.log_likelihood / (sets.max() + 1), rel=1e-10)
            assert row["odds_ratio_sd"] == pytest.approx(np.exp(row["estimate"] * row["difference_sd"]), rel=1e-12)
            assert row["n_responses"] == len(used)
        decided = pairs(responses).query("preference != 'tie'")
        assert first["n_comparisons"] == len(decided)
        delta = decided.merge(responses.set_index("response_id")[MEASURE], left_on="response_a", right_index=True)
        delta = delta.merge(responses.set_index("response_id")[MEASURE], left_on="response_b", right_index=True)
        sd = np.sqrt(np.mean((delta[f"{MEASURE}_x"] - delta[f"{MEASURE}_y"]) ** 2))
        assert first["difference_sd"] == pytest.approx(sd, rel=1e-12)

    def test_too_many_ties_for_an_order(self) -> None:
        """A rank-ordered logit would be drawn towards zero; that of the best stands."""
        (row,) = rows_of("rank_ordered", cell_of(graded()))
        assert "of the pairs are tied" in row["status"] and row.get("estimate") is None
        assert rows_of("conditional", cell_of(graded()))[0]["status"] == "ok"

    @pytest.mark.parametrize("name", ["conditional", "rank_ordered"])
    def test_few_prompts(self, name: str) -> None:
        assert [row["status"] for row in rows_of(name, cell_of(ranked(30)))] == [TOO_FEW]

    @pytest.mark.parametrize("name", ["conditional", "rank_ordered"])
    def test_pairs_alone(self, name: str) -> None:
        (row,) = rows_of(name, pairs_only(joined()), ordered=False)
        assert "no prompt has more than two responses" in row["status"]


class TestInvariance:
    @pytest.mark.parametrize("name", NAMES)
    @given(seed=st.integers(0, 10**6))
    @settings(max_examples=8, deadline=None)
    def test_which_stands_first_and_the_order_of_rows(self, name: str, seed: int) -> None:
        """Not a bit of any number changes."""
        random = np.random.default_rng(seed)
        responses = ranked(60, seed)
        frame = pairs(responses)
        other = swapped(frame, frame.index[random.random(len(frame)) < 0.5]).sample(frac=1, random_state=seed)
        assert rows_of(name, cell_of(responses, other)) == rows_of(name, cell_of(responses, frame))

    @pytest.mark.parametrize("name", NAMES)
    def test_the_names_of_prompts_and_responses(self, name: str) -> None:
        responses = ranked()
        renamed = responses.assign(
            prompt_id="x" + (7919 * codes(responses["prompt_id"]) % 1000).astype(str).astype(object),
            response_id="y" + (7919 * np.arange(len(responses)) % 10000).astype(str).astype(object),
        )
        for one, two in zip(*(rows_of(name, cell_of(r)) for r in (responses, renamed)), strict=True):
            for number in (*NUMBERS, *LOGITS):
                if one.get(number) is not None:
                    assert two[number] == pytest.approx(one[number], rel=1e-10 if number != "p_value" else 1e-8)

    @pytest.mark.parametrize("name", NAMES)
    def test_a_level_of_each_prompt(self, name: str) -> None:
        """What prompts differ in counts for nothing."""
        responses = ranked()
        shift = np.random.default_rng(1).normal(size=70)[codes(responses["prompt_id"])]
        shifted = responses.assign(**{MEASURE: responses[MEASURE] + shift, OUTCOME: responses[OUTCOME] + 10 * shift})
        one, two = (rows_of(name, cell_of(r))[0] for r in (responses, shifted))
        assert two["estimate"] == pytest.approx(one["estimate"], rel=1e-9)
        assert two["std_error"] == pytest.approx(one["std_error"], rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("no difference", "typicality has no effect of its own: it is the same"),
        ("a copy of quality", "typicality has no effect of its own: it is collinear"),
        ("one prompt", "one prompt"),
    ],
)
def test_no_number_but_a_reason(name: str, case: str, reason: str) -> None:
    responses = ranked()
    if case == "no difference":
        responses = responses.assign(**{MEASURE: -2.0})
    elif case == "a copy of quality":
        responses = responses.assign(**{MEASURE: responses["correct"]})
    else:
        responses = responses[responses["prompt_id"] == responses["prompt_id"].mode()[0]].drop(columns=list(RATINGS))
        responses[MEASURE] = -np.arange(len(responses)) * responses[OUTCOME].rank().map(lambda r: (-1) ** int(r))
    row = rows_of(name, cell_of(responses))[0]
    assert reason in row["status"] or (case == "one prompt" and "perfectly predicted" in row["status"])
    assert row.get("estimate") is None


@pytest.mark.parametrize("name", ["conditional", "rank_ordered"])
def test_perfectly_predicted(name: str) -> None:
    responses = ranked()
    row = rows_of(name, cell_of(responses.assign(**{MEASURE: responses[OUTCOME]})))[0]
    assert "perfectly predicted" in row["status"]


def test_a_rating_that_does_not_vary() -> None:
    """Where all pairs are ties there is no slope, and no order."""
    responses = graded().assign(outcome=2.0)
    (row,) = rows_of("ratings", cell_of(responses))
    assert row["status"] == "no comparison is decided"


def test_prompts_without_variation_count_among_ratings() -> None:
    """They pull the slope towards zero; among decided comparisons they are not there."""
    responses = graded(100)
    flat = responses["prompt_id"] < "p040"
    responses = responses.assign(outcome=responses[OUTCOME].mask(flat, 2.0))
    frame = pairs(responses)
    kept, dropped = (rows_of("ratings", cell_of(responses, f))[0] for f in (frame, frame[frame["preference"] != "tie"]))
    assert kept["n_prompts"] > dropped["n_prompts"]
    assert abs(kept["estimate"]) < abs(dropped["estimate"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny", window=64)


class TestFromAFile:
    def run(self, folder: Path, model: Path, rows: list[dict[str, Any]], **declared: Any) -> Outputs:
        path = folder / "data.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        dataset = {"name": "own", "path": str(path), "rater": "human", "prompt": "prompt", **declared}
        names = [*NAMES, "spline", "surprisal_entropy", "entropy_vuong"]
        base = {"name": str(model), "label": "tiny", "device": "cpu"}
        study = parse({"name": "study", "datasets": [dataset], "base_models": [base], "specifications": names}, folder)
        outputs = Outputs(folder / "outputs")
        found = scored(study, outputs)
        estimate("own", "tiny", found.scoring_id, study, RUN, outputs, outputs.work(RUN))
        return outputs

    def made(self, n_prompts: int) -> list[dict[str, Any]]:
        random = np.random.default_rng(0)
        words = ("the", "dog", "answer", "question", "France", "capital", "of", "and")
        return [
            {
                "prompt": f"what is {p}?",
                "response": f"{' '.join(random.choice(words, int(random.integers(1, 9))))} {p}.{k}",
                "score": int(random.integers(0, 5)),
                "rank": k + 1,
            }
            for p in range(n_prompts)
            for k in range(3)
        ]

    def test_ranked(self, tmp_path: Path, model: Path) -> None:
        """Ranks need no rating to be ordered; and the measure of the rival is that of the scores."""
        outputs = self.run(tmp_path, model, self.made(60), shape="ranked", response="response", rank="rank")
        found = in_work("estimates", outputs).set_index(["specification", "term"])
        assert found.loc[("ratings", TYPICALITY), "status"] == "the responses have no rating that is the outcome"
        for name in ("conditional", "rank_ordered"):
            row = found.loc[(name, TYPICALITY)]
            assert row["status"] == "ok" and row["n_responses"] == 180 and row["n_comparisons"] == 180
        scores = tables.read("scores", outputs.root).set_index("response_id")
        rival = -(-scores["sum_logprob"] / scores["n_tokens"] - scores["mean_entropy"]).abs()
        frame = in_work("comparisons", outputs)
        delta = rival[frame["response_a"]].to_numpy() - rival[frame["response_b"]].to_numpy()
        sd = found.loc[("surprisal_entropy", "surprisal_entropy"), "difference_sd"]
        assert sd == pytest.approx(np.sqrt(np.mean(delta**2)), rel=1e-12)
        assert found.loc[("entropy_vuong", TYPICALITY), "status"] == "ok"
        assert excluded(outputs, "regression") == {}

    def test_graded(self, tmp_path: Path, model: Path) -> None:
        declared = {"shape": "graded", "response": "response", "outcome": "score"}
        outputs = self.run(tmp_path, model, self.made(60), **declared)
        found = in_work("estimates", outputs).set_index(["specification", "term"])
        assert found.loc[("ratings", TYPICALITY), "status"] == "ok"
        assert found.loc[("conditional", TYPICALITY), "status"] == "ok"
        assert (found.loc["spline", "status"] == "ok").all()

    def test_pairs_that_are_no_order_are_counted(self, tmp_path: Path, model: Path) -> None:
        rows = []
        for p in range(62):
            texts = [f"{'the answer ' * (k + p % 3)}{p}.{k}" for k in range(3)]
            for i, j in combinations(range(3), 2):
                best = "b" if p < 4 and (i, j) == (0, 2) else "a"  # a circle in the first four
                rows.append({"prompt": f"what is {p}?", "x": texts[i], "y": texts[j], "best": best})
        declared = {"response_a": "x", "response_b": "y", "preference": "best", "values": {"a": "a", "b": "b"}}
        outputs = self.run(tmp_path, model, rows, shape="pairs", **declared)
        assert excluded(outputs, "regression") == {("comparison", NO_ORDER): 12}
        found = in_work("estimates", outputs).set_index(["specification", "term"])
        row = found.loc[("conditional", TYPICALITY)]
        assert row["n_prompts"] == 58 and row["n_comparisons"] == 3 * 58
