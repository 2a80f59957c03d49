"""Packed rows in float32 against one text at a time in float64, architecture by architecture.

The tolerances are those of every score (test_forward.py): 1e-4 + 1e-6 · |sum| nats for a sum, 1e-5 nats for a mean
entropy. Of that, a tenth and a third are measured. A wrong position or mask moves a score by tens to thousands of times
as much: another token in the context does (test_architectures.py).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from analysis.likelihood import attention, flex
from analysis.likelihood.encoding import Encoded
from analysis.likelihood.forward import Likelihood, head_rows
from analysis.likelihood.packed import Head, score_pack
from analysis.likelihood.packing import packs
from tests.likelihood.architectures import (
    BOS,
    PACKED,
    VOCABULARY,
    WINDOW,
    agree,
    deviations,
    exact,
    expected,
    model_of,
    text,
)


def tree(name: str) -> Any:
    """A model whose attention is that of packed rows."""
    model = model_of(name)
    model.set_attn_implementation(attention.NAME)
    return model


def packed(model: Any, texts: Sequence[Encoded], budget: int, entropy: bool = True) -> list[Likelihood]:
    head, found = Head(model), {}
    for pack in packs(texts, budget):
        made = score_pack(head, texts, pack, entropy)
        assert not found.keys() & dict(made).keys()
        found |= dict(made)
    return [found[i] for i in range(len(texts))]


@pytest.mark.parametrize("name", PACKED)
def test_every_architecture(name: str, record_property: Callable[[str, object], None]) -> None:
    texts, wanted = expected(name)
    model = tree(name)
    # Alone in its row, a few together, and everything in one row (longer than the context window).
    assert len(packs(texts, 100_000)) == 1 and packs(texts, 100_000)[0].n_tokens > WINDOW
    for budget in (1, 64, 100_000):
        found = packed(model, texts, budget)
        record_property(f"largest deviations, budget {budget}", deviations(found, wanted))
        agree(found, wanted)


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "mistral"])
def test_the_attention_of_gpus(name: str) -> None:
    """FlexAttention, not compiled, in place of the usual one."""
    texts, wanted = expected(name)
    model = model_of(name)
    model.set_attn_implementation(flex.NAME)
    with torch.compiler.set_stance("force_eager"):
        for budget in (64, 100_000):
            agree(packed(model, texts, budget), wanted)


SHAPES = {
    "context of one token": ((1, (7,)), (1, (3, 4))),
    "response of one token": ((6, (1,)),),
    "responses of one token": ((6, (1, 1, 1)), (1, (1,))),
    "one response": ((9, (12,)),),
    "seven responses": ((9, (5, 12, 1, 30, 8, 2, 3)),),
    "as long as the window": ((1, (WINDOW,)), (WINDOW, (1,)), (20, (WINDOW - 19, 1))),
    "window and one more token": ((8, (9, 1, 2)), (7, (2, 8)), (9, (8,))),
}


# Learned positions; angles; soft-capping with windows in every other layer; windows in all.
@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "mistral"])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(name: str, shape: str) -> None:
    random = np.random.default_rng(1)
    texts = []
    for n_context, lengths in SHAPES[shape]:
        context = [BOS, *(int(i) for i in random.integers(1, VOCABULARY, n_context - 1))]
        texts += [text(random, context, n) for n in lengths]
    agree(packed(tree(name), texts, 4096), exact(model_of(name, torch.float64), texts))


def test_the_same_text_twice() -> None:
    texts, wanted = expected("llama")
    twice = packed(tree("llama"), [texts[0], *texts, texts[0]], 256)
    agree(twice, [wanted[0], *wanted, wanted[0]])


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_without_entropy(name: str) -> None:
    texts, _ = expected(name)
    model = tree(name)
    plain, quick = packed(model, texts, 256), packed(model, texts, 256, entropy=False)
    assert all(np.isnan(q.mean_entropy) for q in quick)
    # The same terms, but the sums over the vocabulary may run in another order.
    for p, q in zip(plain, quick, strict=True):
        assert q.sum_logprob == pytest.approx(p.sum_logprob, abs=1e-5, rel=0)


def test_what_is_no_number_stays_in_its_response() -> None:
    """A token whose embedding is NaN spoils the responses that read it, and none beside them in the row."""
    model = tree("llama")
    model.get_input_embeddings().weight[5] = torch.nan
    model.lm_head.weight.nan_to_num_(0.0)
    context = (BOS, 7, 8)
    bodies = ((9, 10, 11), (9, 5, 11), (12, 5), (13, 14))
    texts = [Encoded(context + body, 3, 1, False, "bos") for body in bodies]
    found = packed(model, texts, 4096)
    # The third ends in that token, which is predicted and never read.
    assert [bool(np.isfinite(f.sum_logprob)) for f in found] == [True, False, True, True]


class TestHead:
    def test_rows_of_any_number(self) -> None:
        """More rows than the head takes at once, with another number left over."""
        random, rows = np.random.default_rng(0), head_rows(VOCABULARY, "cpu")
        texts = [text(random, (BOS, k + 1), WINDOW - 1) for k in range(2 * rows // WINDOW + 2)]
        assert sum(t.n_tokens for t in texts) > 2 * rows
        agree(packed(tree("llama"), texts, 100_000), exact(model_of("llama", torch.float64), texts))

    @pytest.mark.parametrize("name", ["gemma2", "cohere", "granite", "phi"])
    def test_is_the_models_own(self, name: str) -> None:
        """Soft-capping, scaling and biases of the logits: the same numbers as from the whole model, to the bit."""
        model = model_of(name)
        ids = torch.arange(1, 20)[None]
        with torch.inference_mode():
            hidden = getattr(model, model.base_model_prefix)(input_ids=ids).last_hidden_state[0]
            whole = model(input_ids=ids).logits[0]
            head = Head(model)
            assert torch.equal(head.logits(hidden), whole)
            head.remove()

    def test_leaves_the_model_as_it_was(self) -> None:
        model = model_of("llama")
        ids = torch.arange(1, 20)[None]
        with torch.inference_mode():
            before = model(input_ids=ids).logits
            head = Head(model)
            assert torch.equal(model(input_ids=ids).logits, before)
            with pytest.raises(RuntimeError):
                head.logits(torch.zeros(3, 1))
            assert torch.equal(model(input_ids=ids).logits, before)
            head.remove()
            assert torch.equal(model(input_ids=ids).logits, before)
