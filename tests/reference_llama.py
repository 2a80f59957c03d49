"""A second Llama, written from the papers in numpy and float64, to check the scorer against.

It shares nothing with the code under test: no torch arithmetic, no cache, no batch, no padding, no mask of lengths.
RMSNorm (Zhang & Sennrich 2019), rotary positions (Su et al. 2021) in the half-rotated layout that `transformers` stores
weights in, grouped-query attention (Ainslie et al. 2023), SwiGLU (Shazeer 2020).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Weights:
    """A LlamaForCausalLM's parameters in float64, by their names in its state_dict, and the numbers that shape it."""

    arrays: dict[str, Array]
    n_layers: int
    n_heads: int
    n_key_value_heads: int
    head_dim: int
    eps: float
    theta: float


@dataclass(frozen=True)
class Reference:
    """Log-likelihood of a response (nats) and mean entropy of its next-token distributions (nats per token)."""

    sum_logprob: float
    mean_entropy: float


def weights_of(model: Any) -> Weights:
    """Read a LlamaForCausalLM. The rotary scaling and the biases that this reference lacks are refused."""
    config = model.config
    rope = config.rope_parameters
    assert config.model_type == "llama" and rope["rope_type"] == "default"
    assert not config.attention_bias and not config.mlp_bias and config.hidden_act == "silu"
    arrays = {name: value.double().cpu().numpy() for name, value in model.state_dict().items()}
    if config.tie_word_embeddings:
        arrays["lm_head.weight"] = arrays["model.embed_tokens.weight"]
    return Weights(
        arrays,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.num_key_value_heads,
        config.head_dim,
        config.rms_norm_eps,
        rope["rope_theta"],
    )


def token_by_token(weights: Weights, ids: tuple[int, ...], start: int) -> Reference:
    """Score `ids[start:]` with one whole run for every token: nothing is carried over, so nothing can leak."""
    rows = [log_softmax(last_logits(weights, ids[:t])) for t in range(start, len(ids))]
    return _summed(np.stack(rows), ids[start:])


def one_pass(weights: Weights, ids: tuple[int, ...], start: int) -> Reference:
    """The same from a single run with a causal mask: quick enough for long texts, and itself checked against
    `token_by_token`.
    """
    return _summed(_rows(weights, ids, start), ids[start:])


def each_token(weights: Weights, ids: tuple[int, ...], start: int) -> Array:
    """Log-probability of each of `ids[start:]`, from a single run."""
    return _chosen(_rows(weights, ids, start), ids[start:])


def last_logits(weights: Weights, ids: tuple[int, ...]) -> Array:
    """Logits of the token after `ids`."""
    logits: Array = weights.arrays["lm_head.weight"] @ _hidden(weights, ids)[-1]
    return logits


def log_softmax(logits: Array) -> Array:
    """Log-softmax over the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    made: Array = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return made


def _rows(weights: Weights, ids: tuple[int, ...], start: int) -> Array:
    hidden = _hidden(weights, ids[:-1])[start - 1 :]
    return log_softmax(hidden @ weights.arrays["lm_head.weight"].T)


def _chosen(logp: Array, targets: tuple[int, ...]) -> Array:
    made: Array = logp[np.arange(len(targets)), list(targets)]
    return made


def _summed(logp: Array, targets: tuple[int, ...]) -> Reference:
    return Reference(float(_chosen(logp, targets).sum()), float(-(np.exp(logp) * logp).sum(-1).mean()))


def _hidden(weights: Weights, ids: tuple[int, ...]) -> Array:
    """Normalised hidden states after the last layer, one row a token."""
    w = weights.arrays
    x = w["model.embed_tokens.weight"][list(ids)]
    for layer in range(weights.n_layers):
        name = f"model.layers.{layer}."
        x = x + _attention(weights, name + "self_attn.", _norm(weights, x, name + "input_layernorm.weight"))
        h = _norm(weights, x, name + "post_attention_layernorm.weight")
        gate = h @ w[name + "mlp.gate_proj.weight"].T
        gated = gate / (1 + np.exp(-gate)) * (h @ w[name + "mlp.up_proj.weight"].T)
        x = x + gated @ w[name + "mlp.down_proj.weight"].T
    return _norm(weights, x, "model.norm.weight")


def _norm(weights: Weights, x: Array, name: str) -> Array:
    made: Array = x / np.sqrt((x**2).mean(-1, keepdims=True) + weights.eps) * weights.arrays[name]
    return made


def _attention(weights: Weights, name: str, x: Array) -> Array:
    n, d = len(x), weights.head_dim
    q, k, v = (
        (x @ weights.arrays[f"{name}{part}_proj.weight"].T).reshape(n, heads, d).transpose(1, 0, 2)
        for part, heads in (("q", weights.n_heads), ("k", weights.n_key_value_heads), ("v", weights.n_key_value_heads))
    )
    q, k = _rotated(weights, q), _rotated(weights, k)
    mixed = np.empty((n, weights.n_heads, d))
    for head in range(weights.n_heads):
        shared = head * weights.n_key_value_heads // weights.n_heads
        logits = q[head] @ k[shared].T / np.sqrt(d)
        logits[np.triu_indices(n, 1)] = -np.inf
        mixed[:, head] = np.exp(log_softmax(logits)) @ v[shared]
    made: Array = mixed.reshape(n, -1) @ weights.arrays[f"{name}o_proj.weight"].T
    return made


def _rotated(weights: Weights, x: Array) -> Array:
    """Rotary positions: component i of the first half turns together with component i of the second half."""
    half = weights.head_dim // 2
    angle = np.arange(x.shape[1])[:, None] * weights.theta ** (-np.arange(half) / half)
    cos, sin = np.cos(angle), np.sin(angle)
    first, second = x[..., :half], x[..., half:]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
