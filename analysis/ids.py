"""Stable identifiers: hashes of content, the same on every machine."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def content_id(*parts: str) -> str:
    """Hash of a sequence of strings, as 32 hexadecimal digits (BLAKE2b, 128 bits).

    Every part is preceded by its length in bytes, so that ("ab", "c") and ("a", "bc") differ.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


def cell_name(dataset: str, base_model: str) -> str:
    """A dataset under a base model, as part of a file's name."""
    return f"{dataset}--{content_id(base_model)[:12]}"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_sha256(paths: Iterable[Path], root: Path) -> str:
    """SHA-256 over the relative names and contents of files, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.relative_to(root).as_posix()}\0{file_sha256(path)}\n".encode())
    return digest.hexdigest()
