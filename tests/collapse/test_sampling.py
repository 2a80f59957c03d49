"""Drawing from a tiny model: its probabilities, its end, what is measured along the way."""

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from scipy.stats import entropy as entropy_of

from analysis.collapse.sampling import Drawn, draw
from analysis.errors import CellError
from analysis.likelihood.encoding import Encoder
from analysis.likelihood.model import load, locate, tokenizer_of
from analysis.study import BaseModelSpec


@pytest.fixture(scope="module")
def loaded(tiny: Path):
    spec = BaseModelSpec(name=str(tiny), device="cpu")
    located = locate(spec)
    return load(located, spec), tokenizer_of(located)


def drawn(loaded, text: str, n: int, temperature: float, n_tokens: int, seed: int = 0) -> list[Drawn]:
    model, tokenizer = loaded
    context = Encoder(tokenizer, None, "exclude", chat=False).context(text)
    return draw(model, tokenizer, context, n, temperature, n_tokens, torch.Generator().manual_seed(seed))


def test_the_same_generator_draws_the_same(loaded):
    assert drawn(loaded, "The dog", 3, 1.0, 12, 4) == drawn(loaded, "The dog", 3, 1.0, 12, 4)
    assert drawn(loaded, "The dog", 3, 1.0, 12, 4) != drawn(loaded, "The dog", 3, 1.0, 12, 5)


def test_a_cold_model_says_its_most_likely_tokens(loaded):
    model, tokenizer = loaded
    (one,) = drawn(loaded, "The dog", 1, 1e-4, 8)
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
    found = drawn(loaded, "What is", n, 2.0, 1, 1)
    logits = model(torch.tensor([tokenizer("What is")["input_ids"]])).logits[0, -1].detach().double()
    p, own = (torch.softmax(logits / t, -1).numpy() for t in (2.0, 1.0))
    counts = np.bincount([one.ids[0] for one in found], minlength=len(p)) / n
    for token in np.argsort(-p)[:10]:
        assert abs(counts[token] - p[token]) < 5 * np.sqrt(p[token] * (1 - p[token]) / n)  # five standard errors
    assert found[0].entropy == pytest.approx(entropy_of(p), abs=1e-5)
    assert found[0].entropy_at_1 == pytest.approx(entropy_of(own), abs=1e-5)
    assert found[0].logprob == pytest.approx(np.log(own[found[0].ids[0]]), abs=1e-5)


def test_what_is_told_is_a_mean_over_the_tokens_drawn(loaded):
    """Against one pass over the whole text, without any cache: float32 logits, to 1e-4."""
    model, tokenizer = loaded
    context = Encoder(tokenizer, None, "exclude", chat=False).context("The answer")
    for one in drawn(loaded, "The answer", 4, 1.5, 20, 2):
        logits = model(torch.tensor([[*context, *one.ids[:-1]]])).logits[0, len(context) - 1 :].detach().double()
        own, hot = torch.log_softmax(logits, -1).numpy(), torch.softmax(logits / 1.5, -1).numpy()
        assert one.logprob == pytest.approx(own[np.arange(len(one.ids)), list(one.ids)].mean(), abs=1e-4)
        assert one.entropy == pytest.approx(entropy_of(hot, axis=1).mean(), abs=1e-4)
        assert one.entropy_at_1 == pytest.approx(entropy_of(np.exp(own), axis=1).mean(), abs=1e-4)


def test_the_end_is_no_token_of_the_response(loaded):
    _, tokenizer = loaded
    found = drawn(loaded, "The dog", 300, 3.0, 30, 3)
    ended = [one for one in found if one.ended]
    assert ended and len(ended) < len(found)
    for one in found:
        assert one.ended == (one.ids[-1] == tokenizer.eos_token_id) and tokenizer.eos_token_id not in one.ids[:-1]
        assert one.n_tokens == len(one.ids) - one.ended
        assert one.ended or one.n_tokens == 30
        assert "</s>" not in one.text


def test_nothing_before_the_response_begins_with_bos(loaded):
    assert len(drawn(loaded, "", 2, 1.0, 5)) == 2


def test_what_looks_like_a_special_token_in_a_prompt_is_text(loaded):
    _, tokenizer = loaded
    encoder = Encoder(tokenizer, None, "exclude", chat=False)
    context = encoder.context("</s> The dog")
    assert context[0] == tokenizer.bos_token_id and tokenizer.eos_token_id not in context
    (whole,) = encoder.encode(["</s> The dog"], [" barks"])
    assert whole.ids[: whole.start] == context


def test_logits_that_are_no_numbers_are_refused(loaded):
    model, tokenizer = loaded
    nothing = mock.Mock(logits=torch.full((2, 1, 9), torch.nan))
    with (
        mock.patch.object(model, "forward", lambda *a, **k: nothing),
        pytest.raises(CellError, match="logits that are no numbers"),
    ):
        draw(model, tokenizer, [1], 2, 1.0, 3, torch.Generator())
