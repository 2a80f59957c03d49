"""Entropy of a base model's next-token distributions against temperature, exact from its logits.

At temperature T the next token is drawn from p_T ∝ exp(z / T), z the logits. For fixed logits the entropy H(p_T) does
not fall as T rises: dH/dT = Var_{p_T}(z) / T³ ≥ 0. What sampling does beyond that, because it goes on from what it
drew, is for `analysis.collapse.sampling`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from analysis.likelihood.encoding import Encoded

# Logits that are held at a time, in values.
_HELD = 2**24


def entropy(logits: torch.Tensor, temperatures: Sequence[float]) -> npt.NDArray[np.float64]:
    """Entropy of the next token at each temperature.

    Parameters
    ----------
    logits
        Of shape (positions, vocabulary).
    temperatures
        All above zero.

    Returns
    -------
    numpy.ndarray
        In nats, of shape (positions, temperatures).

    Raises
    ------
    ValueError
        If a temperature is not above zero.
    """
    if not all(t > 0 for t in temperatures):
        raise ValueError(f"temperatures must be above zero, not {min(temperatures):g}")
    found = np.empty((len(logits), len(temperatures)))
    rows = max(1, _HELD // logits.shape[-1])
    for k in range(0, len(logits), rows):
        part = logits[k : k + rows].double()
        for j, temperature in enumerate(temperatures):
            log_p = torch.log_softmax(part / temperature, -1)
            # A token that is masked out adds nothing: 0 · log 0 is 0.
            found[k : k + rows, j] = -torch.xlogy(log_p.exp(), log_p.exp()).sum(-1).cpu().numpy()
    return found


def of_texts(model: Any, texts: Sequence[Encoded], temperatures: Sequence[float]) -> npt.NDArray[np.float64]:
    """Mean entropy of the next token along each response, at each temperature; the contexts are the texts' own.

    Parameters
    ----------
    model
        A causal language model of `transformers`.
    texts
        Tokens of prompts and responses; entropy is taken where the model is to say a token of the response.
    temperatures
        All above zero.

    Returns
    -------
    numpy.ndarray
        In nats a token, of shape (texts, temperatures).
    """
    found = np.empty((len(texts), len(temperatures)))
    for i, text in enumerate(texts):
        with torch.inference_mode():
            read = torch.tensor([text.ids[:-1]], device=model.device)
            logits = model(read, use_cache=False).logits[0, text.start - 1 :]
            found[i] = entropy(logits, temperatures).mean(0)
    return found
