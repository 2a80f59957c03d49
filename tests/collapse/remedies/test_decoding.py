"""Decoding: the filters keep what their papers say, checked by brute force, and entropy is of what is drawn from."""

from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.collapse.remedies.backends import Refused
from analysis.collapse.remedies.backends.local import Local
from analysis.collapse.remedies.decoding import adaptive_temperature, warper
from analysis.collapse.remedies.methods import Decoding
from analysis.collapse.remedies.specs import LocalModel
from analysis.preferences.records import Message

LOGITS = torch.tensor(np.random.default_rng(0).normal(0, 2, (40, 30)), dtype=torch.float32)
ASK = (Message("user", "The weather"),)


def kept(**steps) -> np.ndarray:
    return torch.isfinite(warper(Decoding(**steps))(LOGITS)).numpy()


def probabilities(temperature: float = 1.0) -> np.ndarray:
    z = LOGITS.double().numpy() / temperature
    p = np.exp(z - z.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def test_top_k_keeps_the_k_likeliest():
    p = probabilities()
    for row, keep in zip(p, kept(top_k=5), strict=True):
        assert set(np.flatnonzero(keep)) == set(np.argsort(-row)[:5])


@pytest.mark.parametrize("temperature", [0.7, 1.5])
def test_top_p_keeps_the_smallest_set_with_the_mass(temperature):
    for row, keep in zip(probabilities(temperature), kept(top_p=0.8, temperature=temperature), strict=True):
        order = np.argsort(-row)
        needed = int(np.searchsorted(np.cumsum(row[order]), 0.8)) + 1
        assert set(np.flatnonzero(keep)) == set(order[:needed])


def test_min_p_keeps_what_is_likely_beside_the_likeliest():
    p = probabilities()
    np.testing.assert_array_equal(kept(min_p=0.1), p >= 0.1 * p.max(1, keepdims=True))


def test_locally_typical_keeps_what_is_as_surprising_as_expected():
    for row, keep in zip(probabilities(), kept(typical_p=0.5), strict=True):
        entropy = -(row * np.log(row)).sum()
        order = np.argsort(np.abs(-np.log(row) - entropy))
        needed = int(np.searchsorted(np.cumsum(row[order]), 0.5)) + 1
        assert set(np.flatnonzero(keep)) == set(order[:needed])


def test_adaptive_temperature_by_its_formula():
    p = probabilities()
    entropy = -(p * np.log(p)).sum(1)
    found = adaptive_temperature(LOGITS.double(), 1.5, 2.0)[:, 0].numpy()
    np.testing.assert_allclose(found, 1.5 * 0.8 ** (2.0 / entropy), rtol=1e-9)
    assert (np.diff(found[np.argsort(entropy)]) >= 0).all()
    sure = torch.tensor([[200.0, 0.0, 0.0]], dtype=torch.float64)
    assert torch.softmax(warper(Decoding(adaptive=1.0))(sure), -1)[0, 0] == 1


@pytest.fixture(scope="module")
def local(tiny: Path) -> Local:
    return Local(LocalModel(backend="transformers", name=str(tiny), template="{prompt}{response}"))


def drawn(local: Local, n: int = 3, number: int = 0, seed: int = 1, **steps):
    request = local.request(ASK, Decoding(max_tokens=12, **steps), n, number, seed)
    return request, local.read(request, local.ask(request))


def test_what_is_drawn_depends_on_the_request_alone(local: Local):
    first, one = drawn(local)
    again, other = drawn(local)
    assert first.id == again.id
    assert one == other
    assert len(one) == 3
    assert {r.n_prompt_tokens for r in one} == {one[0].n_prompt_tokens}
    assert len({drawn(local, seed=2)[0].id, drawn(local, number=1)[0].id, drawn(local, top_k=2)[0].id, first.id}) == 4


def test_entropy_is_of_the_distributions_drawn_from(local: Local):
    entropies = {k: np.mean([r.entropy for r in drawn(local, 8, top_k=k)[1]]) for k in (1, 2, 8)}
    assert entropies[1] == pytest.approx(0, abs=1e-9)
    assert 0 < entropies[2] <= np.log(2) + 1e-9
    assert entropies[2] < entropies[8] <= np.log(8) + 1e-9


def test_what_does_not_fit_is_refused(local: Local):
    request = local.request(ASK, Decoding(max_tokens=500), 1, 0, 0)
    with pytest.raises(Refused, match="exceed the window of 128"):
        local.ask(request)
