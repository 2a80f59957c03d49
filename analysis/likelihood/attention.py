"""Attention for packed rows, plugged into `transformers`: each response sees its context and itself, nothing else.

A packed row holds `context, response, response, …` for several groups. Positions restart after the context, and no mask
of the whole row is ever made: attention is computed group by group.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface

NAME = "typicality_tree"
_IGNORED = ("position_ids", "cache_position", "use_cache", "output_attentions", "is_causal", "dropout")


class NotPackable(Exception):
    """The model's attention does something that packed rows do not cover; the text says what."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Where a group stands in a packed row: its context, then its responses (those that are read at all)."""

    start: int
    stop: int
    responses: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Plan:
    """The segments of one packed row, and what was made of them for one kernel or another."""

    segments: Sequence[Segment]
    masks: dict[int | None, Any] = field(default_factory=dict)


_plan: ContextVar[Plan] = ContextVar("plan")


@contextmanager
def segments(found: Sequence[Segment]) -> Iterator[None]:
    """Attend by these segments."""
    token = _plan.set(Plan(found))
    try:
        yield
    finally:
        _plan.reset(token)


def plan_for(
    module: torch.nn.Module, attention_mask: torch.Tensor | None, sliding_window: int | None, options: dict[str, Any]
) -> Plan:
    """The plan to attend by.

    Raises
    ------
    NotPackable
        If the architecture asks for what a plan does not say.
    """
    plan = _plan.get(None)
    if plan is None:
        raise NotPackable("its layers are called in another way")
    unknown = sorted(name for name, given in options.items() if given is not None and name not in _IGNORED)
    # A mask of no element is that of `no_mask`: the layer's mask has a window.
    masked = attention_mask is not None and attention_mask.numel() > 0
    if masked or unknown or not getattr(module, "is_causal", True):
        raise NotPackable(f"its attention takes {', '.join(unknown) or 'a mask of its own'}")
    if (attention_mask is None) != (sliding_window is None):
        raise NotPackable("its masks and its layers differ about the window")
    return plan


def tree_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one packed row, as `transformers` calls it.

    Parameters
    ----------
    query, key, value
        Of shape (1, heads, tokens, size); there may be fewer heads of keys and values.
    scaling, sliding_window, softcap
        As the architecture has them. A sliding window counts the positions that a token sees, itself included.

    Returns
    -------
    tuple
        The output, of shape (1, tokens, heads, size), and None.

    Raises
    ------
    NotPackable
        If the architecture asks for something else.
    """
    plan = plan_for(module, attention_mask, sliding_window, options)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    out = query.new_empty(1, query.shape[2], query.shape[1], value.shape[-1])
    for segment in plan.segments:
        context = slice(segment.start, segment.stop)
        for start, stop in ((segment.start, segment.stop), *segment.responses):
            own = slice(start, stop)
            before = None if own == context else context
            made = _attend(query, key, value, own, before, scale, sliding_window, softcap)
            out[:, own] = made.transpose(1, 2)
    return out, None


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    own: slice,
    before: slice | None,
    scale: float,
    window: int | None,
    softcap: float | None,
) -> torch.Tensor:
    """Attention of the tokens of `own` to those of `before` and, causally, to themselves."""
    q, k, v = (t[:, :, own] for t in (query, key, value))
    n_before = 0 if before is None else before.stop - before.start
    if before is not None:
        k, v = torch.cat([key[:, :, before], k], 2), torch.cat([value[:, :, before], v], 2)
    n = q.shape[2]
    slides = window is not None and n_before + n > window
    if before is None and softcap is None and not slides:
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    seen = torch.ones(n, n_before + n, dtype=torch.bool, device=q.device).tril(n_before)
    if slides:
        seen &= ~torch.ones_like(seen).tril(n_before - (window or 0))
    if softcap is None:
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale)
    logits = torch.tanh(q @ k.transpose(2, 3) * (scale / softcap)) * softcap
    return torch.softmax(logits.masked_fill(~seen, -torch.inf), -1, dtype=torch.float32).to(v.dtype) @ v


def no_mask(*args: Any, local_size: int | None = None, use_vmap: bool = False, **options: Any) -> torch.Tensor | None:
    """What `transformers` passes to the layers as their mask: nothing, or a mark (0 elements) where it has a window.

    A window that only the mask knows would go unnoticed by a trial of texts that are shorter than it.
    """
    if use_vmap:
        raise NotPackable("its attention takes a mask of its own")
    return None if local_size is None else torch.empty(1, 1, 0, 0)


AttentionInterface.register(NAME, tree_attention)
AttentionMaskInterface.register(NAME, no_mask)
