"""Drawing responses from a base model, with a generator of random numbers that is passed in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from analysis.collapse.temperature import entropy


@dataclass(frozen=True)
class Drawn:
    """One response that was drawn.

    Attributes
    ----------
    text, n_tokens
        The response, and its tokens without the one that ends it.
    entropy
        Mean entropy of the distributions it was drawn from, in nats a token.
    ended
        Whether the model ended it by itself; otherwise it was cut at the longest length asked for.
    """

    text: str
    n_tokens: int
    entropy: float
    ended: bool


Warp = Callable[[torch.Tensor], torch.Tensor]


def draw(
    model: Any,
    tokenizer: Any,
    prefix: str,
    n: int,
    temperature: float,
    n_tokens: int,
    random: torch.Generator,
    warp: Warp | None = None,
) -> list[Drawn]:
    """Draw responses to one prompt at a temperature, from the whole vocabulary, or as `warp` says.

    Parameters
    ----------
    model, tokenizer
        A causal language model of `transformers` and its tokenizer.
    prefix
        The text before the response.
    n
        How many.
    temperature
        Above zero.
    n_tokens
        The longest response, in tokens.
    random
        A generator on the model's device.
    warp
        What makes the logits of a step, (n, vocabulary), those that are drawn from, in place of dividing them by the
        temperature: −∞ where a token is left out.

    Raises
    ------
    ValueError
        If the temperature is not above zero, or nothing stands before the response and the tokenizer has neither BOS
        nor EOS to begin with.
    """
    if temperature <= 0:
        raise ValueError(f"temperatures must be above zero, not {temperature:g}")
    begin = _begin(tokenizer, prefix)
    read = torch.tensor([begin] * n, device=model.device)
    drawn = torch.full((n, n_tokens), -1, device=model.device)
    entropies = np.full((n, n_tokens), np.nan)
    open_ = torch.ones(n, dtype=torch.bool, device=model.device)
    cache = None
    with torch.inference_mode():
        for step in range(n_tokens):
            made = model(read, past_key_values=cache, use_cache=True)
            cache, logits = made.past_key_values, made.logits[:, -1]
            scores = logits.double() / temperature if warp is None else warp(logits)
            entropies[open_.cpu().numpy(), step] = entropy(scores[open_], [1.0])[:, 0]
            token = torch.multinomial(torch.softmax(scores, -1), 1, generator=random)[:, 0]
            drawn[open_, step] = token[open_]
            if tokenizer.eos_token_id is not None:
                open_ = open_ & (token != tokenizer.eos_token_id)
            if not open_.any():
                break
            read = token[:, None]
    return [_one(tokenizer, row, h) for row, h in zip(drawn.tolist(), entropies, strict=True)]


def _begin(tokenizer: Any, prefix: str) -> list[int]:
    ids: list[int] = list(tokenizer(prefix)["input_ids"])
    if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id:
        ids.pop()
    if ids:
        return ids
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if start is None:
        raise ValueError("there is nothing before the response, and the tokenizer has no token to begin with")
    return [start]


def _one(tokenizer: Any, row: list[int], entropies: np.ndarray[Any, np.dtype[np.float64]]) -> Drawn:
    ids = [i for i in row if i >= 0]
    ended = bool(ids) and ids[-1] == tokenizer.eos_token_id
    text = tokenizer.decode(ids[:-1] if ended else ids, skip_special_tokens=True)
    return Drawn(text, len(ids) - ended, float(np.nanmean(entropies)), ended)
