"""Attention for packed rows on a GPU: one kernel for a whole row, FlexAttention with a tree-shaped block mask."""

from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.flex_attention import flex_attention_forward

from analysis.likelihood.attention import Plan, no_mask, plan_for

NAME = "typicality_flex"


def flex_tree_attention(
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
    """Attention of one packed row; what it takes, gives and raises is as for `attention.tree_attention`."""
    plan = plan_for(module, attention_mask, sliding_window, options)
    if sliding_window not in plan.masks:
        plan.masks[sliding_window] = block_mask(plan, sliding_window, query.device)
    mask = plan.masks[sliding_window]
    out, _ = flex_attention_forward(module, query, key, value, mask, scaling=scaling, softcap=softcap)
    return out, None


def block_mask(plan: Plan, window: int | None, device: torch.device) -> BlockMask:
    """Which tokens of a packed row see which: a response its context and itself, up to the window."""
    group: list[int] = []
    branch: list[int] = []
    position: list[int] = []
    for number, segment in enumerate(plan.segments):
        n = segment.stop - segment.start
        for k, (start, stop) in enumerate(((segment.start, segment.stop), *segment.responses)):
            group += [number] * (stop - start)
            branch += [k] * (stop - start)
            position += range(n if k else 0, (n if k else 0) + stop - start)
    of = torch.tensor([group, branch, position], device=device)

    def seen(batch: Any, head: Any, q: Any, k: Any) -> Any:
        found = (of[0, q] == of[0, k]) & ((of[1, k] == 0) | (of[1, q] == of[1, k])) & (k <= q)
        return found if window is None else found & (of[2, q] - of[2, k] < window)

    n = len(group)
    return create_block_mask(seen, None, None, n, n, device=device, _compile=device.type != "cpu")


AttentionInterface.register(NAME, flex_tree_attention)
AttentionMaskInterface.register(NAME, no_mask)
