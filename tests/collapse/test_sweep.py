"""A tiny model at several temperatures: what is exact, what sampling adds, and what is left out."""

from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from analysis import tables
from analysis.collapse.drawing import Asked, Plan
from analysis.collapse.requests import prompts
from analysis.collapse.sampling import Drawn
from analysis.collapse.sweep import OWN, QUANTITIES, RESPONSES, Sweep, rows, sweep
from analysis.collapse.temperature import of_texts
from analysis.errors import StudyError
from analysis.likelihood.texts import BaseModel
from analysis.preferences.records import text_prompt
from analysis.study import BaseModelSpec
from tests.tiny import SENTENCES, tiny_model

PLAN = Plan((0.5, 1.0, 2.0), 4, 12, 7)
FORM = "{prompt}{response}"


@pytest.fixture(scope="module")
def base_model(tiny: Path) -> BaseModel:
    return BaseModel.of(BaseModelSpec(name=str(tiny), device="cpu"), FORM)


def asked(n: int = 6, responses: tuple[str, ...] = ()) -> list[Asked]:
    return [Asked(text_prompt(s[:12]), responses) for s in SENTENCES[:n]]


@pytest.fixture(scope="module")
def found(base_model: BaseModel) -> Sweep:
    return sweep(asked(), base_model, PLAN)


def at(found: Sweep, name: str) -> np.ndarray:
    return found.values[:, :, found.names.index(name)]


def test_exact_entropy_rises_with_temperature_for_every_prompt(found: Sweep):
    assert (np.diff(at(found, "entropy"), axis=1) > 0).all()
    assert (at(found, "entropy") <= np.log(420)).all()


def test_at_temperature_one_own_draws_are_the_fixed_contexts(found: Sweep):
    """A pass over the whole text and one with a cache, token by token: float32 logits, to 1e-4."""
    assert found.contexts == OWN
    np.testing.assert_allclose(at(found, "entropy")[:, 1], at(found, "entropy_drawn")[:, 1], atol=1e-4)
    np.testing.assert_allclose(at(found, "entropy_drawn")[:, 1], at(found, "entropy_drawn_at_1")[:, 1], atol=1e-12)
    np.testing.assert_allclose(at(found, "entropy_beyond"), at(found, "entropy_drawn") - at(found, "entropy"))


def test_means_are_those_of_the_draws(found: Sweep):
    assert len(found.draws) == 6 and all(len(mine) == 3 for mine in found.draws)
    for g, mine in enumerate(found.draws):
        for j, draws in enumerate(mine):
            assert len(draws) == 4
            for name, attribute in (("n_tokens", "n_tokens"), ("ended", "ended"), ("mean_logprob", "logprob")):
                assert at(found, name)[g, j] == pytest.approx(np.mean([getattr(d, attribute) for d in draws]))
            blank = np.mean([not d.text.strip() for d in draws])
            assert at(found, "empty")[g, j] == blank


def test_draws_depend_on_no_other_prompt_or_temperature(base_model: BaseModel, found: Sweep):
    (one,) = asked(1)
    alone = sweep([one], base_model, Plan((2.0,), 4, 12, 7))
    k = [other.key for other in found.prompts].index(one.key)
    assert alone.draws[0][0] == found.draws[k][2]
    assert sweep(asked()[::-1], base_model, PLAN).draws == found.draws
    assert sweep(asked(), base_model, Plan(PLAN.temperatures, 4, 12, 8)).draws != found.draws


def test_responses_of_the_file_are_the_contexts_where_there_are_some(base_model: BaseModel):
    responses = (" does not mind", " is the capital")
    made = sweep(asked(3, responses), base_model, Plan((0.5, 2.0), 2, 4))
    assert made.contexts == RESPONSES
    for k, one in enumerate(made.prompts):
        texts = base_model.reader.encoder.encode([one.prompt[0].content] * 2, list(responses))
        expected = of_texts(base_model.model, texts, (0.5, 2.0)).mean(0)
        np.testing.assert_allclose(at(made, "entropy")[k], expected)


def test_rows_are_each_temperature_and_each_step(found: Sweep):
    made = rows(found)
    assert made == rows(found)
    keys = dict.fromkeys(("name", "file", "file_sha256", "base_model", "revision", "template", "dtype"), "x")
    frame = tables.to_arrow("temperature", [keys | row for row in made]).to_pandas()
    assert set(QUANTITIES) <= set(frame["quantity"])
    alone = frame[frame["other_temperature"].isna()].set_index(["temperature", "quantity"])["estimate"]
    steps = frame[frame["other_temperature"].notna()]
    assert set(zip(steps["temperature"], steps["other_temperature"], strict=True)) == {(1.0, 0.5), (2.0, 1.0)}
    for row in steps[steps["quantity"] == "entropy_drawn"].itertuples():
        expected = alone[row.temperature, "entropy_drawn"] - alone[row.other_temperature, "entropy_drawn"]
        assert row.estimate == pytest.approx(expected)
    exact = frame[(frame["quantity"] == "entropy") & (frame["status"] == "ok")]
    assert (
        len(exact) == 5 and ((exact["conf_low"] < exact["estimate"]) & (exact["estimate"] < exact["conf_high"])).all()
    )
    assert set(frame.loc[frame["n_prompts"] == 6, "quantity"]) >= {"entropy", "distinct_2", "repetition"}


def test_few_prompts_have_no_interval(base_model: BaseModel):
    row = rows(sweep(asked(2), base_model, Plan((1.0,), 2, 4)))[0]
    assert row["status"] == "no interval: fewer than 5 sets" and row["conf_low"] is None and row["n_prompts"] == 2


def test_a_prompt_without_room_is_left_out_and_counted(tmp_path: Path):
    small = BaseModel.of(BaseModelSpec(name=str(tiny_model(tmp_path, window=24)), device="cpu"), FORM)
    long, short = Asked(text_prompt("the weather is fine " * 10)), Asked(text_prompt("The dog"))
    made = sweep([long, short], small, Plan((1.0,), 2, 4))
    assert made.prompts == (short,)
    assert made.left_out == {"the prompt leaves no room for 4 tokens in the context window": 1}
    with pytest.raises(StudyError, match="no prompt can be drawn from: the prompt leaves no room"):
        sweep([long], small, Plan((1.0,), 2, 4))


def test_a_response_for_which_the_prompt_would_be_cut_is_left_out(tmp_path: Path):
    small = BaseModel.of(BaseModelSpec(name=str(tiny_model(tmp_path, window=24)), device="cpu"), FORM)
    one = Asked(text_prompt("The quick brown fox"), (" jumps", "zqxj" * 5))
    made = sweep([one], small, Plan((1.0,), 2, 4))
    assert made.left_out == {"the prompt and the response together are longer than the context window": 1}
    assert np.isfinite(at(made, "entropy")).all()


def test_draws_without_text_are_counted_and_measured_as_nothing(base_model: BaseModel):
    texts = {0.5: ["", " ", "the dog", "the dog"], 1.0: ["", "", "", ""], 2.0: ["a b", "c d", "", "e f"]}

    def say(one: Asked, context: object, temperature: float, *rest: object) -> list[Drawn]:
        return [Drawn(text, (5,), 1.0, 1.0, -1.0, False) for text in texts[temperature]]

    with mock.patch("analysis.collapse.sweep.draws_of", say):
        made = sweep(asked(1), base_model, PLAN)
    assert at(made, "empty").tolist() == [[0.5, 1.0, 0.25]]
    np.testing.assert_array_equal(at(made, "distinct_1"), [[0.5, np.nan, 1.0]])
    np.testing.assert_allclose(at(made, "vendi"), [[1.0, np.nan, 3.0]])
    assert np.isfinite(at(made, "entropy")).all()


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_prompts_of_a_file(kind: str, tmp_path: Path):
    import pandas as pd

    frame = pd.DataFrame({"q": ["b", "a", "b", "b"], "r": ["2", "1", "1", ""]})
    path = tmp_path / f"file.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    found = {one.prompt[0].content: one.responses for one in prompts(path, "q", "r", None, 0)}
    assert found == {"b": ("1", "2"), "a": ("1",)}
    assert all(one.responses == () for one in prompts(path, "q", None, None, 0))
    assert len(prompts(path, "q", None, 1, 0)) == 1
    with pytest.raises(StudyError, match="has no column 'x'; it has q, r"):
        prompts(path, "x", None, None, 0)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"q": null}', "row 1: it has no q"),
        ('{"q": 3}', "row 1: column 'q' should hold text or messages, but it holds 3"),
        ('{"q": "a", "r": 3}', "row 1: the response is not text: 3"),
    ],
)
def test_a_value_that_is_none_is_named(line: str, told: str, tmp_path: Path):
    path = tmp_path / "file.jsonl"
    path.write_text(line + '\n{"q": "b", "r": "c"}\n', encoding="utf-8")
    with pytest.raises(StudyError, match=told):
        prompts(path, "q", "r", None, 0)


def test_messages_are_prompts(tmp_path: Path):
    path = tmp_path / "file.jsonl"
    path.write_text('{"prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]}\n')
    (one,) = prompts(path, "prompt", None, None, 0)
    assert [turn.content for turn in one.prompt] == ["s", "u"]
