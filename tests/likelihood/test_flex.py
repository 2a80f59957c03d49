"""A scorer with the attention of GPUs, which is run here without being compiled."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from analysis.likelihood import attention, flex, scorer
from analysis.likelihood.scorer import Scorer
from tests.likelihood.architectures import agree, expected, model_of
from tests.likelihood.test_scorer import score_all

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(scorer, "CPU_ATTENTION", scorer.GPU_ATTENTION)
    with torch.compiler.set_stance("force_eager"):
        yield


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "mistral"])
def test_packed(name: str) -> None:
    texts, wanted = expected(name)
    used = Scorer(model_of(name), 512)
    assert used.why_padded == "" and used.model.config._attn_implementation == flex.NAME
    agree(score_all(used, texts), wanted)


def test_what_is_not_a_number_stays_alone() -> None:
    texts, wanted = expected("llama")
    model = model_of("llama")
    # A token that few texts read (the last one of a text is not read).
    token = max(set(texts[0].ids[:-1]), key=lambda t: -sum(t in text.ids[:-1] for text in texts))
    used = Scorer(model, 100_000)
    with torch.no_grad():
        model.get_input_embeddings().weight[token] = torch.nan
    found = score_all(used, texts)
    hit = [token in text.ids[:-1] for text in texts]
    assert 0 < sum(hit) < len(texts)
    assert [math.isnan(made.sum_logprob) for made in found] == hit
    agree([m for m, h in zip(found, hit, strict=True) if not h], [w for w, h in zip(wanted, hit, strict=True) if not h])


def test_where_it_cannot_be_compiled_the_other_one_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*asked: Any, **options: Any) -> Any:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(flex, "flex_attention_forward", fails)
    texts, wanted = expected("llama")
    used = Scorer(model_of("llama"), 512)
    assert used.why_padded == "" and used.model.config._attn_implementation == attention.NAME
    agree(score_all(used, texts), wanted)
