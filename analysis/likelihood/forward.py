"""Batches of tokens → log-likelihoods: the only module that runs the model."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from analysis.likelihood.encoding import Encoded

# Rows, and values in all, of the logits that are made at a time: on a CPU they should stay in its caches.
HEAD_ROWS = 64, 4096
HEAD_VALUES = 2**22, 2**27
HEAD_STEP = 16


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Log-likelihood of a response (nats), mean entropy of its next-token distributions (nats per token; None where
    it cannot be had), and the log-likelihood of each of its tokens (nats).
    """

    sum_logprob: float
    mean_entropy: float | None
    token_logprobs: npt.NDArray[np.float32]


def likelihoods(logprob: torch.Tensor, entropy: torch.Tensor, lengths: Sequence[int]) -> list[Likelihood]:
    """Likelihoods of responses from the values of their tokens (float32, one response after the other).

    What stands beyond the last one is left out.
    """
    # One copy from the device for all.
    both = torch.stack([logprob, entropy]).cpu().numpy()
    parts = np.split(both, np.cumsum(lengths), axis=1)[:-1]
    return [
        Likelihood(float(p[0].sum(dtype=np.float64)), float(p[1].mean(dtype=np.float64)), p[0].copy()) for p in parts
    ]


def batches(texts: Sequence[Encoded], budget: int) -> Iterator[list[int]]:
    """Indices of texts in batches of at most `budget` tokens with padding (one text may exceed it alone).

    The order given is kept, so texts sorted by length are padded little.
    """
    batch: list[int] = []
    width = 0
    for i, text in enumerate(texts):
        length = len(text.ids) - 1
        if batch and max(width, length) * (len(batch) + 1) > budget:
            yield batch
            batch, width = [], 0
        batch.append(i)
        width = max(width, length)
    if batch:
        yield batch


@torch.inference_mode()
def score_batch(model: Any, device: str, texts: Sequence[Encoded]) -> list[Likelihood]:
    """Log-likelihoods of a batch of texts under a causal language model.

    Texts are padded on the right; a causal model never looks right, so padding changes nothing but the rounding. The
    last token of each text is predicted, never read. Softmax is taken in float32 whatever the model's type, and the
    sums over tokens in float64.

    Parameters
    ----------
    model
        A causal language model of `transformers`, on `device`, in evaluation mode.
    texts
        The batch.

    Returns
    -------
    list of Likelihood
        In the order of `texts`.
    """
    lengths = [len(t.ids) - 1 for t in texts]
    width = max(lengths)
    ids = torch.zeros((len(texts), width), dtype=torch.long)
    mask = torch.zeros((len(texts), width), dtype=torch.long)
    for row, (text, length) in enumerate(zip(texts, lengths, strict=True)):
        ids[row, :length] = torch.tensor(text.ids[:-1])
        mask[row, :length] = 1
    begin = min(t.start for t in texts) - 1
    rows = [torch.full((t.n_tokens,), i) for i, t in enumerate(texts)]
    columns = [torch.arange(t.start - 1, len(t.ids) - 1) for t in texts]
    targets = torch.cat([torch.tensor(t.ids[t.start :]) for t in texts]).to(device)
    logits = _logits(model, ids.to(device), mask.to(device), begin)
    at = torch.cat(rows).to(device), (torch.cat(columns) - begin).to(device)
    step = head_rows(logits.shape[-1], device)
    parts = [
        reduce_logits(logits[at[0][k : k + step], at[1][k : k + step]], targets[k : k + step], entropy=True)
        for k in range(0, len(targets), step)
    ]
    logprob, entropy = (torch.cat(found) for found in zip(*parts, strict=True))
    return likelihoods(logprob, entropy, [t.n_tokens for t in texts])


def _logits(model: Any, ids: torch.Tensor, mask: torch.Tensor, begin: int) -> torch.Tensor:
    """Logits from position `begin` on; the positions before hold prompts only."""
    padded = bool((mask == 0).any())
    options: dict[str, Any] = {"use_cache": False, "attention_mask": mask if padded else None}
    if begin and "logits_to_keep" in inspect.signature(model.forward).parameters:
        kept = torch.arange(begin, ids.shape[1], device=ids.device)
        made: torch.Tensor = model(input_ids=ids, logits_to_keep=kept, **options).logits
        return made
    whole: torch.Tensor = model(input_ids=ids, **options).logits
    return whole[:, begin:]


def head_rows(n_tokens: int, device: str) -> int:
    """How many rows of logits are made at a time, for a vocabulary of so many tokens."""
    gpu = device != "cpu"
    return max(HEAD_STEP, min(HEAD_ROWS[gpu], HEAD_VALUES[gpu] // n_tokens // HEAD_STEP * HEAD_STEP))


def reduce_logits(logits: torch.Tensor, targets: torch.Tensor, entropy: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of each target and entropy of each distribution (NaN where it is not asked for), in float32.

    Parameters
    ----------
    logits, targets
        Of shape (rows, vocabulary) and (rows,); the logits may be overwritten.
    entropy
        Whether to compute the entropy.
    """
    logits = logits.float()
    largest = logits.amax(-1, keepdim=True)
    shifted = logits.sub_(largest)
    target = shifted.gather(1, targets[:, None])[:, 0]
    if not entropy:
        return target - shifted.exp_().sum(-1).log_(), torch.full_like(target, torch.nan)
    weights = shifted.exp()
    total = weights.sum(-1)
    # A token that the model rules out (−inf) adds nothing.
    mean = weights.mul_(shifted.clamp_min_(torch.finfo(torch.float32).min)).sum(-1) / total
    return target - total.log(), total.log() - mean
