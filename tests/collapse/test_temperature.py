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

from analysis.collapse.sampling import draw
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


def test_the_same_generator_draws_the_same(loaded):
    one, two = (draw(*loaded, "The dog", 3, 1.0, 12, torch.Generator().manual_seed(4)) for _ in range(2))
    assert one == two
    assert one != draw(*loaded, "The dog", 3, 1.0, 12, torch.Generator().manual_seed(5))


def test_a_cold_model_says_its_most_likely_tokens(loaded):
    model, tokenizer = loaded
    (one,) = draw(model, tokenizer, "The dog", 1, 1e-4, 8, torch.Generator().manual_seed(0))
    ids = tokenizer("The dog")["input_ids"]
    for _ in range(8):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == tokenizer.eos_token_id:
            break
    said = ids[len(tokenizer("The dog")["input_ids"]) :]
    assert one.text == tokenizer.decode(said, skip_special_tokens=True)
    assert one.entropy == pytest.approx(0, abs=1e-3)


def test_first_tokens_are_drawn_with_their_probabilities(loaded):
    model, tokenizer = loaded
    n = 4000
    drawn = draw(model, tokenizer, "What is", n, 2.0, 1, torch.Generator().manual_seed(1))
    logits = model(torch.tensor([tokenizer("What is")["input_ids"]])).logits[0, -1].detach().double()
    p = torch.softmax(logits / 2.0, -1).numpy()
    texts = np.array([tokenizer.decode([i], skip_special_tokens=True) for i in range(len(p))])
    for text in ("\ufffd", " the", "e"):  # the first stands for every piece of a character
        expected = p[texts == text].sum()
        share = np.mean([one.text == text for one in drawn])
        assert abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / n)  # five standard errors
    assert drawn[0].entropy == pytest.approx(entropy_of(p), abs=1e-5)


def test_nothing_before_the_response_begins_with_bos(loaded):
    assert len(draw(*loaded, "", 2, 1.0, 5, torch.Generator().manual_seed(0))) == 2
