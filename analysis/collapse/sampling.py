"""Drawing responses from a base model, with a generator of random numbers that is passed in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from analysis.collapse.temperature import entropy
from analysis.errors import CellError


@dataclass(frozen=True)
class Drawn:
    """One response that was drawn.

    Attributes
    ----------
    text
        The response.
    ids
        The tokens drawn, with the one that ends it where the model ended it.
    entropy
        Mean entropy of the distributions it was drawn from, in nats a token.
    entropy_at_1
        The same of the model's own distributions, at temperature 1, in the same places.
    logprob
        Mean log-probability of the tokens drawn at temperature 1, in nats a token.
    ended
        Whether the model ended it by itself; otherwise it was cut at the longest length asked for.
    """

    text: str
    ids: tuple[int, ...]
    entropy: float
    entropy_at_1: float
    logprob: float
    ended: bool

    @property
    def n_tokens(self) -> int:
        """Tokens without the one that ends it."""
        return len(self.ids) - self.ended


def draw(
    model: Any,
    tokenizer: Any,
    context: Sequence[int],
    n: int,
    temperature: float,
    n_tokens: int,
    random: torch.Generator,
) -> list[Drawn]:
    """Draw responses to one prompt at a temperature, from the whole vocabulary.

    Parameters
    ----------
    model, tokenizer
        A causal language model of `transformers` and its tokenizer.
    context
        Tokens before the response, at least one.
    n
        How many.
    temperature
        Above zero.
    n_tokens
        The longest response, in tokens.
    random
        A generator on the model's device.

    Raises
    ------
    ValueError
        If the temperature is not above zero.
    CellError
        If the model gives logits that are no numbers.
    """
    read = torch.tensor([list(context)] * n, device=model.device)
    drawn = np.full((n, n_tokens), -1)
    told = np.full((3, n, n_tokens), np.nan)
    open_ = torch.ones(n, dtype=torch.bool, device=model.device)
    cache = None
    with torch.inference_mode():
        for step in range(n_tokens):
            made = model(read, past_key_values=cache, use_cache=True)
            cache, logits = made.past_key_values, made.logits[:, -1].double()
            if logits.isnan().any():
                raise CellError("the base model gives logits that are no numbers; choose another dtype")
            token = torch.multinomial(torch.softmax(logits / temperature, -1), 1, generator=random)
            at = open_.cpu().numpy()
            told[:2, at, step] = entropy(logits[open_], [temperature, 1.0]).T
            told[2, at, step] = torch.log_softmax(logits, -1).gather(1, token)[open_, 0].cpu().numpy()
            drawn[at, step] = token[open_, 0].cpu().numpy()
            if tokenizer.eos_token_id is not None:
                open_ = open_ & (token[:, 0] != tokenizer.eos_token_id)
            if not open_.any():
                break
            read = token
    return [_one(tokenizer, row, means) for row, means in zip(drawn, np.nanmean(told, axis=2).T, strict=True)]


def _one(tokenizer: Any, row: Any, means: Any) -> Drawn:
    ids = tuple(int(i) for i in row if i >= 0)
    ended = ids[-1] == tokenizer.eos_token_id
    text = tokenizer.decode(ids[:-1] if ended else ids, skip_special_tokens=True)
    return Drawn(text, ids, float(means[0]), float(means[1]), float(means[2]), ended)
