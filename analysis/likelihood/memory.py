"""What a process holds beside the weights of a model that runs on a CPU, kept small."""

import ctypes
import os
import platform

_MIB = 2**20
_KERNELS_KEPT = "64"
# Options of glibc's `mallopt`, and their values.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = (-1, 64 * _MIB), (-3, 14 * _MIB)


def bound() -> None:
    """Keep kernels and free memory from piling up in this process; best called before the first model runs.

    oneDNN, and torch beside it, keep 1,024 kernels each, one for every shape they meet: hundreds of MiB. And glibc
    keeps what was freed in a heap for each thread, where chunks of logits, the largest things there are, do not fit
    where the last ones were; beyond 14 MiB (a chunk of a large vocabulary) they get memory of their own and give it
    back at once. Smaller ones are reused, which is faster.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, _KERNELS_KEPT)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for option, value in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            libc.mallopt(option, value)
