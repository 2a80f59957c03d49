"""Tiny models of many architectures with random weights, and their exact numbers: one text at a time, in float64."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
import transformers as tf

from analysis.likelihood.encoding import Encoded
from analysis.likelihood.forward import Likelihood

VOCABULARY, WINDOW = 97, 48
BOS = 0
_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": WINDOW,
    "bos_token_id": BOS,
    "eos_token_id": BOS,
    "pad_token_id": BOS,
}
_GROUPED = {**_SIZES, "num_key_value_heads": 2}
_NARROW = {**_GROUPED, "head_dim": 8}
_SLIDING = {**_NARROW, "sliding_window": 8}
_GPT = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": WINDOW}
_GPT |= {"bos_token_id": BOS, "eos_token_id": BOS}
_DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0}
_LONG = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [4.0] * 4, "rope_theta": 10_000.0}
_LONG |= {"original_max_position_embeddings": 16, "factor": 3.0}

# Each does something that packed rows must take over: heads of keys shared by several queries, norms of queries and
# keys, soft-capped attention or logits, windows that slide (here shorter than the texts, in all layers or in some),
# positions that are learned or turn a part of a head only, logits that are scaled, a head with a bias.
PACKED: dict[str, Callable[[], Any]] = {
    "llama": lambda: tf.LlamaConfig(**_GROUPED),
    "qwen2": lambda: tf.Qwen2Config(**_GROUPED),
    "qwen3": lambda: tf.Qwen3Config(**_NARROW),
    "gemma": lambda: tf.GemmaConfig(**_NARROW),
    "gemma2": lambda: tf.Gemma2Config(
        **_SLIDING, query_pre_attn_scalar=8, attn_logit_softcapping=2.0, final_logit_softcapping=3.0
    ),
    "gemma3": lambda: tf.Gemma3TextConfig(
        **_SLIDING, layer_types=["sliding_attention", "full_attention", "sliding_attention"]
    ),
    "mistral": lambda: tf.MistralConfig(**_SLIDING),
    "gpt2": lambda: tf.GPT2Config(**_GPT),
    "gpt_neox": lambda: tf.GPTNeoXConfig(**_SIZES),
    "phi": lambda: tf.PhiConfig(**_SIZES),
    "phi3": lambda: tf.Phi3Config(**_GROUPED),
    "cohere": lambda: tf.CohereConfig(**_GROUPED, logit_scale=0.5),
    "granite": lambda: tf.GraniteConfig(**_GROUPED, logits_scaling=3.0, attention_multiplier=0.5),
    "olmo2": lambda: tf.Olmo2Config(**_SIZES),
    "starcoder2": lambda: tf.Starcoder2Config(**_GROUPED),
    "smollm3": lambda: tf.SmolLM3Config(**_GROUPED),
}
# ALiBi, positions made from the mask, attention of their own, and angles that depend on the longest text of a run.
PADDED: dict[str, Callable[[], Any]] = {
    "bloom": lambda: tf.BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=3, n_head=4),
    "falcon": lambda: tf.FalconConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, alibi=False
    ),
    "gptj": lambda: tf.GPTJConfig(**_GPT, rotary_dim=4),
    "opt": lambda: tf.OPTConfig(**{**_SIZES, "ffn_dim": 48, "word_embed_proj_dim": 16}),
    "llama_dynamic": lambda: tf.LlamaConfig(**_GROUPED, rope_parameters=_DYNAMIC),
    "phi3_long": lambda: tf.Phi3Config(**_GROUPED, rope_parameters=_LONG, original_max_position_embeddings=16),
}
EVERY = {**PACKED, **PADDED}


def model_of(name: str, dtype: torch.dtype = torch.float32) -> Any:
    """A model of random weights, the same at every call.

    They are large, so that the distributions are sharp and a wrong position or mask moves a score by much; and nothing
    that an architecture has is left at the value that does nothing (biases of 0).
    """
    model = tf.AutoModelForCausalLM.from_config(EVERY[name](), dtype=torch.float32).eval().requires_grad_(False)
    random = np.random.default_rng(0)
    for _, parameter in sorted(model.named_parameters()):
        noise = torch.from_numpy(random.normal(0, 1, tuple(parameter.shape)))
        if parameter.dim() > 1:
            parameter.copy_(0.3 * noise)
        else:
            parameter.add_(0.1 * noise)
    return model.to(dtype)


def text(random: np.random.Generator, context: Sequence[int], n: int) -> Encoded:
    """A context with a made-up response of `n` tokens."""
    ids = (*context, *(int(i) for i in random.integers(1, VOCABULARY, n)))
    return Encoded(ids, len(context), n, False, "none")


def made_texts(seed: int = 0) -> list[Encoded]:
    """Texts of all shapes in no order: contexts of one token and of many, responses of one token, one to seven of them
    a context, texts as long as the window (with the token that is never read), and unconditional ones.
    """
    random = np.random.default_rng(seed)

    def context(n: int) -> list[int]:
        return [BOS, *(int(i) for i in random.integers(1, VOCABULARY, n - 1))]

    made = []
    for n_context, lengths in (
        (1, (1, 5, 48, 30)),  # after BOS alone, as unconditional texts are
        (2, (1,)),
        (7, (1, 2, 3, 9, 12, 20, 42)),
        (20, (1, 1, 29)),
        (40, (9, 4)),
        (48, (1,)),
    ):
        begin = context(n_context)
        made += [text(random, begin, n) for n in lengths]
    return [made[int(i)] for i in random.permutation(len(made))]


def exact(model: Any, texts: Sequence[Encoded]) -> list[Likelihood]:
    """Sum and mean entropy of each text from one run of it alone, without padding; softmax in float64.

    The model, which is left as it is, should be in float64 too.
    """
    found = []
    for t in texts:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([t.ids[:-1]]), use_cache=False).logits[0, t.start - 1 :]
        logp = torch.log_softmax(logits.double(), -1)
        chosen = logp.gather(1, torch.tensor(t.ids[t.start :])[:, None])
        entropy = float(-(logp.exp() * logp).sum(-1).mean())
        found.append(Likelihood(float(chosen.sum()), entropy, chosen[:, 0].numpy()))
    return found


@cache
def expected(name: str) -> tuple[list[Encoded], list[Likelihood]]:
    """`made_texts`, and their exact numbers under an architecture."""
    texts = made_texts()
    return texts, exact(model_of(name, torch.float64), texts)


def deviations(found: Sequence[Likelihood], wanted: Sequence[Likelihood]) -> tuple[float, float, float]:
    """The largest difference of a sum, the same by its tolerance of 1e-4 + 1e-6 · |sum|, and that of an entropy."""
    sums = [abs(f.sum_logprob - w.sum_logprob) for f, w in zip(found, wanted, strict=True)]
    shares = [d / (1e-4 + 1e-6 * abs(w.sum_logprob)) for d, w in zip(sums, wanted, strict=True)]
    entropies = [abs(f.mean_entropy - w.mean_entropy) for f, w in zip(found, wanted, strict=True)]
    # NaN must not hide behind max().
    assert np.isfinite([*sums, *entropies]).all()
    return max(sums), max(shares), max(entropies)


def agree(found: Sequence[Likelihood], wanted: Sequence[Likelihood]) -> None:
    """Within the tolerance that every score is held to (explained in test_forward.py); so is every token's."""
    _, share, entropy = deviations(found, wanted)
    assert share <= 1
    assert entropy <= 1e-5
    for f, w in zip(found, wanted, strict=True):
        np.testing.assert_allclose(f.token_logprobs, w.token_logprobs, rtol=1e-6, atol=1e-4)
