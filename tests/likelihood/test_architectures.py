"""Padding, batching and which logits are asked for change no score, whatever the architecture."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf

from analysis.likelihood.encoding import Encoded
from analysis.likelihood.forward import score_batch

VOCABULARY, WINDOW = 97, 48
_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": WINDOW,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
_GROUPED = {**_SIZES, "num_key_value_heads": 2}


def _gpt2() -> Any:
    sizes = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": WINDOW}
    return tf.GPT2LMHeadModel(tf.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))


# Gemma 2 soft-caps its logits and slides its windows, OPT makes its positions from the mask, Bloom and MPT have no
# positions but ALiBi: each would show another way of getting padding or the head wrong.
MODELS: dict[str, Callable[[], Any]] = {
    "gpt2": _gpt2,
    "gpt_neox": lambda: tf.GPTNeoXForCausalLM(tf.GPTNeoXConfig(**_SIZES)),
    "qwen2": lambda: tf.Qwen2ForCausalLM(tf.Qwen2Config(**_GROUPED)),
    "qwen3": lambda: tf.Qwen3ForCausalLM(tf.Qwen3Config(**_GROUPED, head_dim=8)),
    "mistral": lambda: tf.MistralForCausalLM(tf.MistralConfig(**_GROUPED, sliding_window=8, head_dim=8)),
    "gemma2": lambda: tf.Gemma2ForCausalLM(
        tf.Gemma2Config(**_GROUPED, head_dim=8, sliding_window=8, final_logit_softcapping=3.0)
    ),
    "opt": lambda: tf.OPTForCausalLM(
        tf.OPTConfig(**{**_SIZES, "ffn_dim": 64, "word_embed_proj_dim": 32}, do_layer_norm_before=True)
    ),
    "bloom": lambda: tf.BloomForCausalLM(tf.BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4)),
}


def one_by_one(model: Any, text: Encoded) -> tuple[float, float]:
    """Sum and mean entropy from one unpadded run of the whole text in float64."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([text.ids[:-1]]), use_cache=False).logits[0, text.start - 1 :]
    logp = torch.log_softmax(logits.double(), -1)
    targets = torch.tensor(text.ids[text.start :])
    return float(logp.gather(1, targets[:, None]).sum()), float(-(logp.exp() * logp).sum(-1).mean())


@pytest.mark.parametrize("name", MODELS)
def test_a_padded_batch_equals_one_text_at_a_time(name: str):
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Larger weights make sharper distributions, so that a wrong position would move a score by much.
            parameter.mul_(4.0 if parameter.dim() > 1 else 1.0)
    random = np.random.default_rng(1)
    texts = []
    for length in (3, 48, 17, 30, 9):
        ids = tuple(int(i) for i in random.integers(1, VOCABULARY, length))
        texts.append(Encoded(ids, int(random.integers(1, length)), 1, False, "none"))
    found = score_batch(model, "cpu", texts)
    reference = model.double()
    for text, made in zip(texts, found, strict=True):
        total, entropy = one_by_one(reference, text)
        # Float32 against float64: the bound that every score is held to.
        assert made.sum_logprob == pytest.approx(total, abs=1e-4 + 1e-6 * abs(total))
        assert made.mean_entropy == pytest.approx(entropy, abs=1e-4)
