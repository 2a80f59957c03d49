"""Entropy against temperature: a theorem, closed forms, and sampling from a tiny model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax
from scipy.stats import entropy as entropy_of

from analysis.collapse.temperature import entropy, of_texts
from analysis.likelihood.encoding import Encoder
from analysis.likelihood.model import load, locate, tokenizer_of
from analysis.study import BaseModelSpec

GRID = (0.1, 0.3, 0.7, 1.0, 1.5, 2.0, 5.0, 100.0)


@given(arrays(np.float64, (3, 7), elements=st.floats(-30, 30)))
def test_for_fixed_logits_entropy_does_not_fall_as_temperature_rises(logits: np.ndarray):
    found = entropy(torch.from_numpy(logits), GRID)
    assert (np.diff(found, axis=1) >= -1e-12).all()
    assert (found <= np.log(7) + 1e-12).all()
    for j, temperature in enumerate(GRID):
        assert found[:, j] == pytest.approx(entropy_of(softmax(logits / temperature, axis=1), axis=1), abs=1e-10)


def test_the_ends_of_the_scale_and_masked_tokens():
    logits = torch.tensor([[1.0, 3.0, 3.0, -torch.inf]])
    cold, hot = entropy(logits, [1e-3, 1e6])[0]
    assert cold == pytest.approx(np.log(2))  # two tokens share the highest logit
    assert hot == pytest.approx(np.log(3))
    with pytest.raises(ValueError, match="above zero, not 0"):
        entropy(logits, [1.0, 0.0])


@pytest.fixture(scope="module")
def loaded(tiny: Path):
    spec = BaseModelSpec(name=str(tiny), device="cpu")
    located = locate(spec)
    return load(located, spec), tokenizer_of(located)


def test_entropies_along_texts_are_those_of_their_own_contexts(loaded):
    model, tokenizer = loaded
    texts = Encoder(tokenizer, None, "exclude", chat=False).encode(["The dog", "What"], [" does not mind", " is it?"])
    found = of_texts(model, texts, GRID)
    for text, row in zip(texts, found, strict=True):
        logits = model(torch.tensor([text.ids])).logits[0, text.start - 1 : -1].detach().double().numpy()
        expected = [entropy_of(softmax(logits / t, axis=1), axis=1).mean() for t in GRID]
        assert row == pytest.approx(expected, abs=1e-6)  # float32 logits
