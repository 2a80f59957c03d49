"""Texts outside a study under a base model: the scores are those of a study's scorer, and comparable or refused."""

from pathlib import Path

import pytest
import torch

from analysis.errors import CellError, StudyError
from analysis.likelihood.backends.transformers import reader_of
from analysis.likelihood.encoding import NO_TOKENS, TOO_LONG
from analysis.likelihood.forward import score_batch
from analysis.likelihood.model import load
from analysis.likelihood.texts import BaseModel, Scored, differences
from analysis.preferences.records import text_prompt
from analysis.study import BaseModelSpec, Study, base_model
from tests.tiny import SENTENCES, tiny_model


@pytest.fixture(scope="module")
def spec(tiny: Path) -> BaseModelSpec:
    return BaseModelSpec(name=str(tiny), device="cpu")


def test_scores_are_those_of_single_texts(spec: BaseModelSpec):
    """Against one padded pass a text; float32, to 1e-4."""
    model = BaseModel.of(spec, "dialogue")
    texts = [(text_prompt(s[:9]), s[9:40]) for s in SENTENCES]
    ticks = []
    found = model.score([*texts, texts[0]], lambda done, total: ticks.append((done, total)))
    fresh = load(model.located, spec)
    for (prompt, response), made in zip([*texts, texts[0]], found, strict=True):
        assert isinstance(made, Scored) and not made.truncated
        (encoded,) = model.reader.encoder.encode([model.prefix(prompt)], [response])
        (expected,) = score_batch(fresh, "cpu", [encoded])
        assert made.likelihood.mean_entropy == pytest.approx(expected.mean_entropy, abs=1e-4)
        assert made.likelihood.sum_logprob == pytest.approx(expected.sum_logprob, abs=1e-3)
    assert found[0] is found[-1]
    assert ticks[-1][0] == ticks[-1][1]


def test_what_cannot_be_scored_has_its_reason(tmp_path: Path):
    refuses = (
        "{% if messages[0].content == 'no' %}{{ raise_exception('not this') }}{% endif %}{{ messages[0].content }}"
    )
    folder = tiny_model(tmp_path, chat_template=refuses)
    model = BaseModel.of(BaseModelSpec(name=str(folder), device="cpu"), "chat")
    found = model.score([(text_prompt("no"), "x"), (text_prompt("yes"), ""), (text_prompt("yes"), " the dog")])
    assert found[:2] == ["the chat template refuses the prompt: not this", NO_TOKENS]
    assert isinstance(found[2], Scored)


def test_what_is_cut_is_told(tmp_path: Path):
    model = BaseModel.of(BaseModelSpec(name=str(tiny_model(tmp_path, window=24)), device="cpu"), "plain")
    long = text_prompt("the weather is fine " * 10)
    cut, whole, never = model.score([(long, " thank you"), (text_prompt("x"), " thank"), (long, "the weather " * 20)])
    assert isinstance(cut, Scored) and cut.truncated
    assert isinstance(whole, Scored) and not whole.truncated
    assert never == TOO_LONG


def test_the_same_scoring_id_as_a_study_s(spec: BaseModelSpec, tmp_path: Path):
    model = BaseModel.of(spec, "dialogue")
    study = Study.model_construct(name="s", template="dialogue", base_models=(spec,), datasets=())
    assert reader_of(spec, study, model.located)[1] == model.constant


def test_differences_are_named(spec: BaseModelSpec):
    plain, dialogue = (BaseModel.of(spec, template).constant for template in ("plain", "dialogue"))
    assert differences(plain, plain) == []
    assert differences(plain, dialogue) == ["template plain, not dialogue"]
    assert differences(plain, plain | {"revision": "a" * 64, "scorer_version": -1}) == [
        f"revision of the base model {plain['revision'][:12]}, not {'a' * 12}",
        f"version of the scorer {plain['scorer_version']}, not -1",
    ]


def test_what_is_no_base_model_or_template(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tiny.parent)
    assert base_model({"name": tiny.name}).name == str(tiny)
    assert base_model({"name": "org/name", "dtype": "bfloat16"}).dtype == "bfloat16"
    with pytest.raises(StudyError, match=r"there is no folder .*/nowhere with a base model"):
        base_model({"name": "./nowhere"})
    with pytest.raises(StudyError, match="the base model's context_window: "):
        base_model({"name": "org/name", "context_window": 1})
    with pytest.raises(StudyError, match="'x' is not a template"):
        BaseModel.of(BaseModelSpec(name=str(tiny)), "x")
    with pytest.raises(CellError, match=r"has no config\.json"):
        BaseModel.of(BaseModelSpec(name=str(tmp_path)), "plain")
    with pytest.raises(CellError, match="has no chat template"):
        BaseModel.of(BaseModelSpec(name=str(tiny), device="cpu"), "chat").prefix(text_prompt("a"))


def test_drawing_is_possible_before_scoring(spec: BaseModelSpec):
    model = BaseModel.of(spec, "plain")
    context = model.reader.encoder.context(model.prefix(text_prompt("The dog")))
    with torch.inference_mode():
        assert model.model(torch.tensor([context])).logits.shape[1] == len(context)
    assert model.window == 128
