"""How the next token is drawn from a local model: what is done to its logits, in the order of `transformers`."""

from typing import Any

import torch

from analysis.collapse.remedies.methods import Decoding
from analysis.collapse.sampling import Warp

# Zhang et al. (2024) fix it.
BASE = 0.8
_LEAST_ENTROPY = 1e-3


def warper(decoding: Decoding) -> Warp:
    """What makes the logits of one step those that are drawn from.

    The filters are those of `transformers`: top-k (Fan et al. 2018), top-p (Holtzman et al. 2020), min-p (Nguyen et al.
    2024, arXiv 2407.01082), locally typical (Meister et al. 2023).

    Returns
    -------
    callable
        (n, vocabulary) → the same shape, −∞ where a token is left out.
    """
    from transformers import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper, TypicalLogitsWarper

    made: list[Any] = []
    for value, kind in (
        (decoding.top_k, TopKLogitsWarper),
        (decoding.top_p, TopPLogitsWarper),
        (decoding.min_p, MinPLogitsWarper),
        (decoding.typical_p, TypicalLogitsWarper),
    ):
        if value is not None:
            made.append(kind(value))
    t = decoding.temperature or 1.0

    def warp(logits: torch.Tensor) -> torch.Tensor:
        logits = logits.double()
        scores = logits / (t if decoding.adaptive is None else adaptive_temperature(logits, t, decoding.adaptive))
        for step in made:
            scores = step(None, scores)
        return scores

    return warp


def adaptive_temperature(logits: torch.Tensor, largest: float, theta: float) -> torch.Tensor:
    """Temperature that rises with the entropy H of the next token: T₀ · 0.8^(θ / H).

    Zhang, Bao & Huang (2024), EDT, arXiv 2403.14541: near zero where the model is sure, towards T₀ where it is not.

    Parameters
    ----------
    logits
        (n, vocabulary).
    largest, theta
        T₀ and θ, above zero.

    Returns
    -------
    torch.Tensor
        (n, 1).
    """
    log_p = torch.log_softmax(logits, -1)
    entropy = -torch.xlogy(log_p.exp(), log_p.exp()).sum(-1, keepdim=True)
    # At an entropy near zero one token has it all, whatever the temperature; only T > 0 matters.
    made: torch.Tensor = largest * BASE ** (theta / entropy.clamp_min(_LEAST_ENTROPY))
    return made.clamp_min(torch.finfo(torch.float32).tiny)
