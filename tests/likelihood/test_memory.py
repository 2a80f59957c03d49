"""What is held beside the weights."""

import os

import pytest

from analysis.likelihood import memory
from analysis.likelihood.forward import HEAD_ROWS, HEAD_STEP, HEAD_VALUES, head_rows

KERNELS_KEPT = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")


@pytest.mark.parametrize("told", [{}, {KERNELS_KEPT[0]: "7"}, {KERNELS_KEPT[1]: "8"}, dict.fromkeys(KERNELS_KEPT, "")])
def test_how_many_kernels_are_kept_is_said_where_nothing_says_so(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str]
) -> None:
    for name in KERNELS_KEPT:
        # Set first, so that what the function sets is undone, too.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    before = dict(os.environ)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    memory.bound()
    assert dict(os.environ) == before | dict.fromkeys(KERNELS_KEPT, "64") | told


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("vocabulary", [1, 97, 32_000, 49_152, 50_257, 128_256, 256_000, 262_144, 10**7])
def test_chunks_of_logits_are_bounded(vocabulary: int, device: str) -> None:
    rows, gpu = head_rows(vocabulary, device), device != "cpu"
    assert HEAD_STEP <= rows <= HEAD_ROWS[gpu] and rows % HEAD_STEP == 0
    assert rows == HEAD_STEP or rows * vocabulary <= HEAD_VALUES[gpu]
