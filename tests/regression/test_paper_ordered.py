"""The paper's ordered model: the responses compared, each once, pooled over prompts; then from a file to its rows."""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from analysis import tables
from analysis.outputs import Outputs
from analysis.regression import ordered
from analysis.regression.bootstrap import FEW_CLUSTERS
from analysis.regression.cell import Cell, quality, ratings
from analysis.regression.fitting import Fitter
from analysis.regression.inference import CLUSTERED, t_interval
from analysis.regression.part import OUTCOME, TYPICALITY, Part
from analysis.regression.rows import Row
from analysis.regression.stage import estimate
from analysis.study import Study, parse
from tests.likelihood.cell import RUN, in_work, scored, study_of
from tests.regression.made import MARGIN, MEASURE, RATINGS, comparisons_of, swapped
from tests.tiny import tiny_model

NAME = "paper_ordered"
NUMBERS = ("estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high")
# The same numbers, summed in another order.
SAME = 1e-10
Responses = pd.DataFrame


def graded(n_prompts: int = 70, seed: int = 0) -> Responses:
    """Responses, two to five a prompt, with their ratings, their outcome from 0 to 4, and the measure."""
    random = np.random.default_rng(seed)
    prompts = np.repeat(np.arange(n_prompts), random.integers(2, 6, n_prompts))
    n = len(prompts)
    made = {name: random.integers(0, 4, n).astype(float) for name in RATINGS}
    measure = random.normal(-2, 0.5, n).round(3)
    latent = 1.2 * measure + 0.4 * made["correct"] + random.normal(0, 0.7, n_prompts)[prompts] + random.logistic(size=n)
    outcome = np.digitize(latent, np.quantile(latent, [0.1, 0.3, 0.5, 0.8])).astype(float)
    return pd.DataFrame(
        {
            "response_id": [f"{i * 7 % 10}r{i}" for i in range(n)],  # now one, now the other is turned first
            "prompt_id": [f"p{i:03}" for i in prompts],
            MEASURE: measure,
            OUTCOME: outcome,
            **made,
        }
    )


def pairs(responses: Responses) -> pd.DataFrame:
    """All pairs within the prompts, preferred by the outcome."""
    rows = []
    for prompt, held in responses.groupby("prompt_id"):
        for i, (a, b) in enumerate(combinations(held.to_dict("records"), 2)):
            better = "tie" if a[OUTCOME] == b[OUTCOME] else "a" if a[OUTCOME] > b[OUTCOME] else "b"
            named = {f"{q}_{side}": r[q] for side, r in (("a", a), ("b", b)) for q in RATINGS if q in r}
            ids = {"response_a": a["response_id"], "response_b": b["response_id"]}
            rows.append(
                {"prompt_id": prompt, "comparison_id": f"{prompt}.{i:02}", "preference": better, **ids, **named}
            )
    return pd.DataFrame(rows)


def cell_of(responses: Responses, frame: pd.DataFrame | None = None) -> Cell:
    """The cell of graded responses; or of these comparisons of them."""
    table = comparisons_of(pairs(responses) if frame is None else frame)
    sides = [table[c].combine_chunks() for c in ("response_a", "response_b")]
    ids = pc.unique(pa.chunked_array(sides))
    known = responses.set_index("response_id").loc[ids.to_pylist()]
    ahead = pc.less(*sides).to_numpy(zero_copy_only=False)
    a, b = (pc.index_in(side, value_set=ids).to_numpy().astype(np.intp) for side in sides)
    return Cell(
        comparisons=table,
        response_ids=ids,
        a=np.where(ahead, a, b),
        b=np.where(ahead, b, a),
        turn=np.where(ahead, 1.0, -1.0),
        values={name: known[name].to_numpy(float) for name in (MEASURE, OUTCOME) if name in known},
        quality={q: (np.where(ahead, x, y), np.where(ahead, y, x)) for q, (x, y) in quality(table["quality"]).items()},
    )


def rows_of(cell: Cell, part: str = "all", reason: str | None = None) -> list[Row]:
    return Fitter(Part(cell, MEASURE, cell.slice(part)[0]), MARGIN, np.random.default_rng(0)).rows(NAME, reason)


def compared(responses: Responses) -> Responses:
    """Those that stand in a comparison that is decided."""
    varied = responses.groupby("prompt_id")[OUTCOME].transform("nunique") > 1
    return responses[varied]


def agrees(rows: Sequence[Mapping[Any, Any]], responses: Responses, terms: Sequence[str]) -> None:
    """Every row holds what the ordered logit of these responses gives."""
    columns = [MEASURE if term == TYPICALITY else term for term in terms]
    clusters = np.unique(responses["prompt_id"], return_inverse=True)[1]
    found = ordered.fit(responses[OUTCOME].to_numpy(), responses[columns].to_numpy(float), clusters)
    assert [row["term"] for row in rows] == list(terms)
    for j, row in enumerate(rows):
        error = float(np.sqrt(found.covariance[j, j]))
        expected = t_interval(float(found.coefficients[j]), error, responses["prompt_id"].nunique())
        numbers = ("estimate", "std_error", "statistic", "p_value", "low", "high")
        for name, number in zip(NUMBERS, numbers, strict=True):
            # p values are as far off as e to the statistic's power of two; none here is below 1e-20.
            close = SAME * 100 if name == "p_value" else SAME
            assert row[name] == pytest.approx(getattr(expected, number), rel=close, abs=1e-12)
        assert row["mean_log_likelihood"] == pytest.approx(found.mean_log_likelihood, rel=1e-12)
        assert (row["specification"], row["status"], row["covariance"]) == (NAME, "ok", CLUSTERED)


def same(one: list[Row], other: list[Row]) -> None:
    assert [(r["term"], r["status"]) for r in one] == [(r["term"], r["status"]) for r in other]
    for row, expected in zip(one, other, strict=True):
        for name in (*NUMBERS, "mean_log_likelihood"):
            assert row[name] == pytest.approx(expected[name], rel=100 * SAME if name == "p_value" else SAME)


class TestNumbers:
    def test_the_responses_compared_each_once(self) -> None:
        """However many pairs a response stands in; those of which all pairs are ties stand in none."""
        responses = graded()
        cell = cell_of(responses)
        found = rows_of(cell)
        assert len(compared(responses)) < len(responses)
        agrees(found, compared(responses), [TYPICALITY, *RATINGS])
        for row in found:
            assert row["n_comparisons"] == cell.decided.sum()
            assert row["n_prompts"] == compared(responses)["prompt_id"].nunique()

    def test_without_quality_ratings(self) -> None:
        responses = graded().drop(columns=list(RATINGS))
        agrees(rows_of(cell_of(responses)), compared(responses), [TYPICALITY])

    def test_some_have_no_quality_ratings(self) -> None:
        """They are left out."""
        responses = graded(90)
        unrated = responses["prompt_id"] < "p020"
        frame = pairs(responses.assign(correct=responses["correct"].where(~unrated)))
        found = rows_of(cell_of(responses, frame))
        agrees(found, compared(responses[~unrated]), [TYPICALITY, *RATINGS])
        assert found[0]["n_prompts"] < 90 - 20 + 1

    def test_some_have_no_outcome(self) -> None:
        """They are left out, and what they were compared with stays."""
        responses = graded()
        lacking = responses.index[::11]
        frame = pairs(responses)
        responses = responses.assign(outcome=responses[OUTCOME].mask(responses.index.isin(lacking)))
        left = compared(graded())
        agrees(rows_of(cell_of(responses, frame)), left[~left.index.isin(lacking)], [TYPICALITY, *RATINGS])

    def test_what_prompts_differ_in_counts(self) -> None:
        """Unlike in every model of differences: prompts of typical texts with high ratings make a coefficient."""
        responses = graded()
        shift = np.random.default_rng(1).normal(size=70)[responses["prompt_id"].str[1:].astype(int)]
        (one, *_), (other, *_) = (
            rows_of(cell_of(responses.assign(**{MEASURE: responses[MEASURE] + by}))) for by in (0.0, 2 * shift)
        )
        assert other["estimate"] < 0.5 * one["estimate"]

    def test_a_slice(self) -> None:
        """The comparisons of equal quality hold other responses."""
        responses = graded(200)
        responses["polite"] = responses.groupby("prompt_id")["polite"].transform("first")
        cell = cell_of(responses)
        at = np.flatnonzero(cell.slice("equal_quality")[0] & cell.decided)
        held = cell.response_ids.take(pa.array(np.unique(np.r_[cell.a[at], cell.b[at]]))).to_pylist()
        assert 50 < len(held) < len(compared(responses))
        agrees(rows_of(cell, "equal_quality"), responses[responses["response_id"].isin(held)], [TYPICALITY, *RATINGS])

    def test_only_the_order_of_the_outcome(self) -> None:
        responses = graded()
        same(rows_of(cell_of(responses.assign(outcome=np.exp(responses[OUTCOME])))), rows_of(cell_of(responses)))


class TestInvariance:
    @pytest.mark.parametrize("which", [slice(None), slice(None, None, 2), slice(3, 40)])
    def test_which_stands_first_and_the_order_of_rows(self, which: slice) -> None:
        responses = graded()
        frame = pairs(responses)
        other = swapped(frame, frame.index[which]).sample(frac=1, random_state=0)
        same(rows_of(cell_of(responses, other)), rows_of(cell_of(responses, frame)))

    def test_the_labels(self) -> None:
        """The ratings are the outcome; of the labels it counts only which are ties."""
        responses = graded()
        frame = pairs(responses)
        turned = frame.assign(preference=frame["preference"].map({"a": "b", "b": "a", "tie": "tie"}))
        same(rows_of(cell_of(responses, turned)), rows_of(cell_of(responses, frame)))

    def test_comparisons_that_are_repeated(self) -> None:
        responses = graded()
        frame = pairs(responses)
        again = pd.concat([frame.assign(comparison_id=frame["comparison_id"] + f"-{i}") for i in range(3)])
        same(rows_of(cell_of(responses, again)), rows_of(cell_of(responses, frame)))

    def test_the_names_of_prompts_and_responses(self) -> None:
        responses = graded()
        random = np.random.default_rng(0)
        renamed = responses.copy()
        for name in ("prompt_id", "response_id"):
            known = responses[name].unique()
            renamed[name] = responses[name].map(dict(zip(known, random.permutation(known), strict=True)))
        same(rows_of(cell_of(renamed)), rows_of(cell_of(responses)))


def status(rows: list[Row]) -> str:
    """The sentence of the one row that says why there is no number."""
    (row,) = rows
    assert (row["specification"], row["term"]) == (NAME, TYPICALITY)
    assert all(row.get(name) is None for name in (*NUMBERS, "mean_log_likelihood"))
    return str(row["status"])


def one_level(responses: Responses) -> Responses:
    return responses.assign(outcome=1.0)


def many_levels(responses: Responses) -> Responses:
    return responses.assign(outcome=np.arange(len(responses)) % 21)


def no_variation(responses: Responses) -> Responses:
    return responses.assign(**{MEASURE: -1.5})


def the_outcome_as_a_control(responses: Responses) -> Responses:
    return responses.assign(correct=2 * responses[OUTCOME] - 1)


def a_control_twice(responses: Responses) -> Responses:
    return responses.assign(polite=3 - responses["correct"])


class TestNoNumber:
    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            (lambda r: r.drop(columns=OUTCOME), "the responses have no rating that is the outcome"),
            (one_level, "the ratings have 1 level"),
            (many_levels, "the ratings have 21 levels; an ordered logit takes 2 to 20"),
            (no_variation, "a covariate is the same for all responses"),
            (the_outcome_as_a_control, "the ratings are perfectly predicted"),
            (a_control_twice, "the covariates are collinear"),
        ],
    )
    def test_a_sentence(self, changed: Callable[[Responses], Responses], reason: str) -> None:
        responses = graded()
        made = changed(responses)
        # Labels as they were: a constant outcome would leave nothing but ties.
        quality_of_both = pairs(made.assign(outcome=responses[OUTCOME]))
        assert status(rows_of(cell_of(made, quality_of_both))).startswith(reason)

    @pytest.mark.parametrize("rated", [True, False])
    def test_none_of_the_responses_has_the_outcome(self, rated: bool) -> None:
        responses = graded() if rated else graded().drop(columns=list(RATINGS))
        cell = cell_of(responses.assign(outcome=np.nan), pairs(responses))
        assert status(rows_of(cell))

    @pytest.mark.parametrize("n", [2, 20, FEW_CLUSTERS - 1])
    def test_few_prompts(self, n: int) -> None:
        responses = compared(graded(80))
        responses = responses[responses["prompt_id"].isin(sorted(responses["prompt_id"].unique())[:n])]
        assert status(rows_of(cell_of(responses))).startswith(f"there are fewer than {FEW_CLUSTERS} prompts")

    def test_just_enough_prompts(self) -> None:
        responses = compared(graded(80))
        responses = responses[responses["prompt_id"].isin(sorted(responses["prompt_id"].unique())[:FEW_CLUSTERS])]
        agrees(rows_of(cell_of(responses)), responses, [TYPICALITY, *RATINGS])

    def test_few_prompts_that_have_the_outcome(self) -> None:
        """What is fitted counts, not what was compared."""
        responses = graded(80)
        frame = pairs(responses)
        responses = responses.assign(outcome=responses[OUTCOME].where(responses["prompt_id"] < "p030"))
        assert status(rows_of(cell_of(responses, frame))).startswith(f"there are fewer than {FEW_CLUSTERS} prompts")

    def test_one_prompt(self) -> None:
        assert "one prompt" in status(rows_of(cell_of(graded().assign(prompt_id="p"))))

    def test_nothing_is_decided(self) -> None:
        frame = pairs(graded())
        assert status(rows_of(cell_of(graded(), frame.assign(preference="tie")))) == "no comparison is decided"
        assert status(rows_of(cell_of(graded(), frame.iloc[:0]))) == "no comparison is decided"

    def test_a_reason_given(self) -> None:
        assert status(rows_of(cell_of(graded()), reason="there is none")) == "there is none"

    @pytest.mark.parametrize("lost", [("polite",), RATINGS])
    def test_a_rating_that_is_constant(self, lost: Sequence[str]) -> None:
        """It has a row with the reason, and the others are as without it."""
        responses = graded().assign(**dict.fromkeys(lost, 3.0))
        found = rows_of(cell_of(responses))
        kept = [TYPICALITY, *(name for name in RATINGS if name not in lost)]
        agrees(found[: len(kept)], compared(responses), kept)
        assert [row["term"] for row in found[len(kept) :]] == list(lost)
        for row in found[len(kept) :]:
            assert row["status"] == "it is the same for all responses"
            assert all(row.get(name) is None for name in NUMBERS)


class TestRatings:
    def write(self, outputs: Outputs, name: str, rated: dict[str, dict[str, float]]) -> None:
        rows = [
            {
                "response_id": key,
                "text_id": key,
                "prompt_id": "p",
                "prompt": [{"role": "user", "content": "?"}],
                "response": key,
                "ratings": [{"name": n, "value": v} for n, v in values.items()],
            }
            for key, values in rated.items()
        ]
        tables.write(outputs.root / "responses" / f"{name}.parquet", "responses", rows)

    def test_one_of_several(self, tmp_path: Path) -> None:
        """In the order asked for, from all files; NaN where it is missing, and a zero is none of that."""
        outputs = Outputs(tmp_path)
        self.write(outputs, "one", {"a": {"good": 3.0, "kind": 1.0}, "b": {}, "c": {"kind": 2.0}})
        self.write(outputs, "two", {"d": {"kind": 5.0, "good": 0.0}, "e": {"good": -1.5}})
        asked = ["e", "b", "unknown", "d", "c", "a", "e"]
        for name, expected in (("good", [-1.5, None, None, 0, None, 3, -1.5]), ("kind", [None] * 3 + [5, 2, 1, None])):
            found = ratings(name, pa.array(asked), outputs)
            assert found.dtype == float
            np.testing.assert_array_equal(found, np.array(expected, float))
        assert np.isnan(ratings("goo", pa.array(asked), outputs)).all()

    def test_nothing_there(self, tmp_path: Path) -> None:
        outputs = Outputs(tmp_path)
        assert np.isnan(ratings("good", pa.array(["a"]), outputs)).tolist() == [True]
        self.write(outputs, "one", {"a": {}, "b": {}})
        assert np.isnan(ratings("good", pa.array(["a", "b"]), outputs)).tolist() == [True, True]
        assert len(ratings("good", pa.array([], pa.string()), outputs)) == 0


WORDS = ("the", "dog", "answer", "question", "France", "capital", "of", "and", "nobody", "sea", "year", "fine")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny", window=64)


def graded_study(folder: Path, model: Path, n_prompts: int, **options: Any) -> Study:
    """Answers to questions, some of them rated alike, with two more ratings, one of which is constant."""
    random = np.random.default_rng(0)
    rows = [
        {
            "question": f"what is {i}?",
            "answer": " ".join([*random.choice(WORDS, int(random.integers(1, 9))), str(j)]),
            "stars": int(random.integers(1, 5)),
            "kind": int(random.integers(0, 3)),
            "fixed": 2,
        }
        for i in range(n_prompts)
        for j in range(3)
    ]
    folder.mkdir(parents=True)
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    declared = {"prompt": "question", "response": "answer", "outcome": "stars", "quality": ["kind", "fixed"]}
    values = {
        "name": "study",
        "datasets": [{"name": "rated", "path": str(path), "shape": "graded", "rater": "human", **declared}],
        "base_models": [{"name": str(model), "label": "tiny", "device": "cpu"}],
        "specifications": ["bt", NAME],
        **options,
    }
    return parse(values, folder)


def estimated(study: Study, outputs: Outputs) -> pd.DataFrame:
    """The rows that the stage writes for the ordered model."""
    found = scored(study, outputs)
    estimate(study.datasets[0].key, "tiny", found.scoring_id, study, RUN, outputs, outputs.work(RUN))
    made = in_work("estimates", outputs)
    return made[made["specification"] == NAME]


class TestStage:
    def test_from_a_file_to_the_rows(self, model: Path, tmp_path: Path) -> None:
        """The outcome is read from the ratings of the responses, and the model is that of the tables' numbers."""
        outputs = Outputs(tmp_path / "outputs")
        found = estimated(graded_study(tmp_path / "s", model, 70, slices=["all"]), outputs)
        comparisons = in_work("comparisons", outputs)
        held = pd.concat([comparisons["response_a"], comparisons["response_b"]]).unique()
        known = tables.read("responses", outputs.root).set_index("response_id").loc[held].reset_index()
        rated = pd.DataFrame([{r["name"]: r["value"] for r in row} for row in known["ratings"]])
        scores = tables.read("scores", outputs.root)
        scores = scores[scores["conditional"]].set_index("text_id").loc[known["text_id"]]
        responses = pd.DataFrame(
            {
                "prompt_id": known["prompt_id"],
                MEASURE: (scores["sum_logprob"] / scores["n_tokens"]).to_numpy(),
                OUTCOME: rated["stars"],
                "kind": rated["kind"],
            }
        )
        assert 150 < len(responses) < 210 and responses[OUTCOME].nunique() == 4
        agrees(found[found["term"] != "fixed"].to_dict("records"), responses, [TYPICALITY, "kind"])
        (fixed,) = found[found["term"] == "fixed"].to_dict("records")
        assert fixed["status"] == "it is the same for all responses" and np.isnan(fixed["estimate"])

    def test_every_slice_and_measure(self, model: Path, tmp_path: Path) -> None:
        outputs = Outputs(tmp_path / "outputs")
        study = graded_study(tmp_path / "s", model, 20, measures=["mean_logprob", "sum_logprob"])
        found = estimated(study, outputs)
        assert sorted(zip(found["measure"], found["slice"], strict=True)) == [
            (measure, part) for measure in ("mean_logprob", "sum_logprob") for part in ("all", "equal_quality")
        ]
        assert found["status"].str.startswith(f"there are fewer than {FEW_CLUSTERS} prompts").all()
        assert found[[*NUMBERS]].isna().all(axis=None)

    def test_a_dataset_without_a_rating_that_is_the_outcome(self, model: Path, tmp_path: Path) -> None:
        rows = [{"prompt": f"{i}?", "a": f"the dog {i}", "b": f"the sea {i}", "best": "ab"[i % 2]} for i in range(60)]
        rated = [{**row, "qa": i % 3, "qb": i % 2} for i, row in enumerate(rows)]
        declared = {"quality_a": ["qa"], "quality_b": ["qb"]}
        for name, data, dataset in (("bare", rows, {}), ("rated", rated, declared)):
            study = study_of(tmp_path / name, data, model, dataset=dataset, specifications=[NAME], slices=["all"])
            (row,) = estimated(study, Outputs(tmp_path / name / "outputs")).to_dict("records")
            assert (row["term"], row["status"]) == (TYPICALITY, "the responses have no rating that is the outcome")
            assert np.isnan(row["estimate"]) and row["n_prompts"] == 60
