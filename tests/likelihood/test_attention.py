"""Attention of packed rows against softmax over the tokens that each one may see, written out in float64.

FlexAttention, which is for GPUs, is run without being compiled: the mask and the options are what is tested.
"""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from analysis.likelihood.attention import NotPackable, Segment, segments, tree_attention
from analysis.likelihood.flex import flex_tree_attention

Array = npt.NDArray[np.float64]
N_TOKENS, HEADS, SIZE = 30, 4, 6
# A context of one token with no response that is read, one with three responses (of one token and more), and one of
# many tokens with one response.
PLAN = (Segment(0, 1, ()), Segment(1, 6, ((6, 7), (7, 12), (12, 15))), Segment(15, 26, ((26, 30),)))
MODULE: Any = SimpleNamespace(is_causal=True, training=False)


pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


@pytest.fixture(autouse=True)
def eagerly() -> Iterator[None]:
    with torch.compiler.set_stance("force_eager"), torch.inference_mode():
        yield


@pytest.fixture(params=[tree_attention, flex_tree_attention])
def attend(request: pytest.FixtureRequest) -> Any:
    return request.param


def seen(window: int | None) -> npt.NDArray[np.bool_]:
    """Which tokens (columns) each token (rows) of `PLAN` sees; a window counts positions in the text, not the row."""
    made = np.zeros((N_TOKENS, N_TOKENS), bool)
    for segment in PLAN:
        context = list(range(segment.start, segment.stop))
        for path in (context, *([*context, *range(*response)] for response in segment.responses)):
            for position, token in enumerate(path):
                first = 0 if window is None else max(0, position + 1 - window)
                made[token, path[first : position + 1]] = True
    return made


def by_hand(q: Array, k: Array, v: Array, scale: float, window: int | None, softcap: float | None) -> Array:
    """(tokens, heads, size)"""
    visible = seen(window)
    out = np.empty((N_TOKENS, HEADS, v.shape[-1]))
    for head in range(HEADS):
        shared = head * len(k) // HEADS
        logits = q[head] @ k[shared].T * scale
        if softcap is not None:
            logits = softcap * np.tanh(logits / softcap)
        weights = np.where(visible, np.exp(logits - logits.max()), 0)
        out[:, head] = weights / weights.sum(1, keepdims=True) @ v[shared]
    return out


def tensors(n_key_value_heads: int) -> list[torch.Tensor]:
    random = np.random.default_rng(0)
    shapes = [(1, heads, N_TOKENS, SIZE) for heads in (HEADS, n_key_value_heads, n_key_value_heads)]
    return [torch.from_numpy(random.normal(0, 2, shape)).float() for shape in shapes]


@pytest.mark.parametrize("n_key_value_heads", [4, 2, 1])
@pytest.mark.parametrize("window", [None, 1, 3, 5, 8, 16, 100])
@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("scale", [None, 0.7])
def test_by_hand(
    attend: Any, n_key_value_heads: int, window: int | None, softcap: float | None, scale: float | None
) -> None:
    q, k, v = tensors(n_key_value_heads)
    # A layer whose mask has a window is given a mark of no element in its place.
    mark = None if window is None else torch.empty(1, 1, 0, 0)
    with segments(PLAN):
        found, weights = attend(MODULE, q, k, v, mark, scale, sliding_window=window, softcap=softcap)
    assert weights is None and found.shape == (1, N_TOKENS, HEADS, SIZE)
    exact = by_hand(*(t[0].double().numpy() for t in (q, k, v)), scale or SIZE**-0.5, window, softcap)
    # Logits of up to 50 are known to 50 · 2⁻²⁴ = 3e-6 in float32, and the values are below 10: errors of a few 1e-5.
    np.testing.assert_allclose(found[0].double().numpy(), exact, rtol=0, atol=5e-5)


def test_nothing_leaks(attend: Any) -> None:
    """What stands in one response, or in another group, reaches no other token's output: not in one bit."""
    q, k, v = tensors(2)
    with segments(PLAN):
        before, _ = attend(MODULE, q, k, v, None)
        others_k, others_v = k.clone(), v.clone()
        # One kernel for the whole row multiplies what is not seen by zero, so that NaN would show.
        others_k[:, :, 7:12], others_v[:, :, 7:12] = 1e4, torch.nan if attend is tree_attention else 1e4
        after, _ = attend(MODULE, q, others_k, others_v, None)
    untouched = [i for i in range(N_TOKENS) if not 7 <= i < 12]
    assert torch.equal(before[:, untouched], after[:, untouched])
    assert not torch.equal(before, after)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"attention_mask": torch.ones(1, 1, 30, 30)}, "a mask of its own"),
        ({"s_aux": torch.zeros(4)}, "s_aux"),
        ({"position_bias": torch.zeros(4), "other": 1}, "other, position_bias"),
        ({"module": SimpleNamespace(is_causal=False)}, "a mask of its own"),
        # A window that only the mask knows, or only the layer, is more than the trial of a scorer can find out.
        ({"attention_mask": torch.empty(1, 1, 0, 0)}, "window"),
        ({"sliding_window": 8}, "window"),
    ],
)
def test_what_is_not_covered_is_refused(attend: Any, options: dict[str, Any], reason: str) -> None:
    q, k, v = tensors(2)
    with segments(PLAN), pytest.raises(NotPackable, match=reason):
        attend(**{"module": MODULE, "query": q, "key": k, "value": v, "attention_mask": None, **options})


def test_options_that_change_nothing_are_taken(attend: Any) -> None:
    q, k, v = tensors(2)
    with segments(PLAN):
        plain, _ = attend(MODULE, q, k, v, None)
        told, _ = attend(MODULE, q, k, v, None, s_aux=None, dropout=0.0, is_causal=True, use_cache=False)
    assert torch.equal(plain, told)


def test_without_a_plan(attend: Any) -> None:
    q, k, v = tensors(2)
    with pytest.raises(NotPackable, match="in another way"):
        attend(MODULE, q, k, v, None)
    with pytest.raises(ZeroDivisionError), segments(PLAN):
        raise ZeroDivisionError
    # Nor is one left behind by what failed.
    with pytest.raises(NotPackable, match="in another way"):
        attend(MODULE, q, k, v, None)
