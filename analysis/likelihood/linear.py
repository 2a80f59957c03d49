"""Linear layers on a CPU, their weights laid out for the matrix kernels once and not at every call."""

from collections.abc import Sequence
from typing import Any

import torch

HEAD_COPY_BYTES = 160 * 2**20


def prepack(model: Any, rows: int, head_rows: int) -> list[tuple[Any, torch.Tensor]]:
    """Lay out the weights of a model's linear layers for oneDNN; what is computed stays the same.

    A layer's own weights are given up for the packed ones. The head may share its weights with the embedding, which
    needs them as they are: it is packed beside them if that copy is small.

    Parameters
    ----------
    model
        A causal language model on the CPU.
    rows, head_rows
        How many rows the layers, and the head, are usually called with.

    Returns
    -------
    list
        The layers packed, each with its packed weights; none where this build or processor has no such kernels.
    """
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    shared = {id(p) for m in model.modules() if isinstance(m, torch.nn.Embedding) for p in m.parameters()}
    packed = []
    for module in model.modules():
        if type(module) is not torch.nn.Linear or not _supported(module.weight):
            continue
        keeps = id(module.weight) in shared
        if keeps and module.weight.nbytes > HEAD_COPY_BYTES:
            continue
        packed.append((module, _pack(module, head_rows if module is head else rows, keeps)))
    return packed


def unpack(packed: Sequence[tuple[Any, torch.Tensor]]) -> None:
    """Give layers their own weights back, to the bit."""
    for module, weight in packed:
        del module.forward
        if module.weight.stride() == (0, 0):
            module.weight = torch.nn.Parameter(weight.to_dense(), requires_grad=False)


def _supported(weight: torch.Tensor) -> bool:
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    kernels = all(hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise"))
    if weight.dtype is torch.bfloat16:
        return kernels and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return kernels and weight.dtype is torch.float32


def _pack(module: Any, rows: int, keeps: bool) -> torch.Tensor:
    packed: torch.Tensor
    packed, bias = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach(), rows), module.bias

    def forward(x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
        return made

    module.forward = forward
    if not keeps:
        # Some architectures look at a weight's type or shape. One that computes with it gets NaN, which a trial finds
        # (a meta tensor would give whatever stands in memory).
        nothing = torch.tensor(torch.nan, dtype=module.weight.dtype).expand(module.weight.shape)
        module.weight = torch.nn.Parameter(nothing, requires_grad=False)
    return packed
