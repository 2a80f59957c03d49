"""Files that are no longer as they were written: how that is noticed, and what becomes of them.

Every page of a table has a checksum, which is verified as the page is read. The footer, which says where the pages are
and what lies in them, has none in the format; so a seal stands before it, where readers of Parquet do not look:

    … pages │ TYPC │ CRC-32 of all before it │ CRC-32 of all after it │ footer, its length, PAR1

Files without a seal (of an earlier version, or of another program) are read, too.
"""

import errno
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.errors import TypicalityError, one_line

FOLDER = ".damaged"
TIME = "%Y%m%dT%H%M%S.%fZ"
SMALL, WHOLE = 262_144, sys.maxsize
_MAGIC, _MARK = b"PAR1", b"TYPC"
_TAIL, _SEAL = 8, 12
_CHUNK = 1 << 20

# The output folders that this process holds, with what it found damaged in each.
_held: dict[Path, set[Path]] = {}


class Unreadable(TypicalityError):
    """A file of the output folder is damaged, missing or closed to the user."""


def seal(path: Path) -> None:
    """Put the seal into a finished Parquet file."""
    with path.open("r+b") as file:
        at, _ = _footer(file, path.stat().st_size)
        body = _checksum(file, at)
        file.seek(at)
        footer = file.read()
        file.seek(at)
        file.write(_MARK + body.to_bytes(4, "little") + zlib.crc32(footer).to_bytes(4, "little") + footer)


def _footer(file: IO[bytes], size: int) -> tuple[int, int]:
    """Where the footer begins, and its length."""
    file.seek(size - _TAIL)
    length = int.from_bytes(file.read(4), "little")
    return size - _TAIL - length, length


def _checksum(file: IO[bytes], n: int) -> int:
    """CRC-32 of the first n bytes."""
    file.seek(0)
    found = 0
    while n > 0 and (chunk := file.read(min(n, _CHUNK))):
        found = zlib.crc32(chunk, found)
        n -= len(chunk)
    return found


def fault(path: Path, up_to: int = 0) -> str | None:
    """What is wrong with a Parquet file, in a few words; None where nothing is.

    Parameters
    ----------
    up_to
        A file of at most so many bytes is read whole. Otherwise this is a look of some microseconds at both ends; where
        there is no seal, the footer is read unless this is 0.

    Raises
    ------
    OSError
        If the file is missing or may not be read, which does not mean that it is damaged.
    """
    try:
        with path.open("rb", buffering=0) as file:
            why, sealed = _look(file, up_to)
        return why if why or sealed or not up_to else _parsed(path, up_to == WHOLE)
    except OSError as error:
        if error.errno == errno.EIO:
            return "the disk cannot read it"
        raise


def _look(file: IO[bytes], up_to: int) -> tuple[str | None, bool]:
    """What is wrong, and whether there is a seal that tells."""
    size = os.fstat(file.fileno()).st_size
    if why := _ends(file, size):
        return why, False
    at, length = _footer(file, size)
    file.seek(max(at - _SEAL, 0))
    found = file.read(_SEAL + length + _TAIL)
    if found[:4] != _MARK:
        return None, False
    if zlib.crc32(found[_SEAL:]).to_bytes(4, "little") != found[8:_SEAL]:
        return "its footer does not match its checksum", True
    if size <= up_to and _checksum(file, at - _SEAL).to_bytes(4, "little") != found[4:8]:
        return "it does not match its checksum", True
    return None, True


def _ends(file: IO[bytes], size: int) -> str | None:
    if size < len(_MAGIC) + _TAIL:
        return f"it has {size} bytes"
    if file.read(len(_MAGIC)) != _MAGIC:
        return "it does not begin as Parquet does"
    at, _ = _footer(file, size)
    if file.read(len(_MAGIC)) != _MAGIC:
        return "its end is missing"
    return "its footer is longer than the file" if at < len(_MAGIC) else None


def _parsed(path: Path, whole: bool) -> str | None:
    """What pyarrow finds wrong with the footer, or with the whole, of a file without a seal."""
    try:
        with pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True) as file:
            for _ in file.iter_batches() if whole else ():
                pass
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return one_line(error, 80)
    return None


def check(paths: Sequence[Path]) -> None:
    """Look at files that are about to be read.

    Raises
    ------
    Unreadable
        If one of them is damaged, missing or closed to the user.
    """
    for path in paths:
        _refuse(path)


@contextmanager
def reading(paths: Sequence[Path]) -> Iterator[None]:
    """What goes wrong while files are read is one sentence that names the file; an error of the program stays as it is.

    Raises
    ------
    Unreadable
        If one of them is damaged, missing or closed to the user.
    """
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        # What pyarrow says does not always name the file.
        for path in paths:
            _refuse(path, WHOLE)
        if isinstance(error, OSError):
            names = ", ".join(map(str, paths[:3])) + (" …" if len(paths) > 3 else "")
            raise Unreadable(f"cannot read {names}: {one_line(error)}; run again") from error
        raise


def _refuse(path: Path, up_to: int = 0) -> None:
    try:
        why = fault(path, up_to)
    except FileNotFoundError as error:
        raise Unreadable(f"there is no {path}; run its study again to make it anew") from error
    except OSError as error:
        raise Unreadable(f"cannot read {path}: {error.strerror or error}; see to it and run again") from error
    if why is None:
        return
    for root, found in _held.items():
        if path.is_relative_to(root):
            found.add(path)
            raise Unreadable(
                f"{path} is damaged ({why}); it is set aside when this run ends: run again to make what it held anew"
            )
    raise Unreadable(f"{path} is damaged ({why}); run its study again: it is set aside, and what it held is made anew")


@contextmanager
def holding(root: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Whoever holds an output folder sets aside, at the end, what was found damaged while it was read.

    Not before: a cell whose scores vanished would have fewer comparisons and look fine.
    """
    found = _held[root] = set()
    try:
        yield
    finally:
        del _held[root]
        set_aside(root, sorted(found), tell, WHOLE)


def set_aside(root: Path, paths: Sequence[Path], tell: Callable[[str], None], up_to: int = SMALL) -> None:
    """Move the damaged ones of some files of an output folder into its hidden folder `.damaged`.

    Parameters
    ----------
    root, paths
        The output folder, which the caller holds, and files in it.
    tell
        Called with a sentence about each file that is moved.
    up_to
        Files of at most so many bytes are read whole to find out.
    """
    for path in paths:
        # What is missing or closed is not damaged; whoever reads it is told.
        with suppress(OSError):
            if why := fault(path, up_to):
                move_aside(root, path, why, tell)


def move_aside(root: Path, path: Path, why: str, tell: Callable[[str], None]) -> None:
    """Move one file into `.damaged`, and tell why and what that costs."""
    relative = path.relative_to(root)
    target = root / FOLDER / f"{datetime.now(UTC):{TIME}}" / relative
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
    except OSError as error:
        return tell(f"{path} is damaged ({why}) and cannot be set aside: {error.strerror or error}; delete it")
    lost = {
        "runs": "what it told of that run is lost",
        ".publish": "the study whose tables it was to replace is to be run again",
    }.get(relative.parts[0], "runs that need what it held make it again")
    return tell(f"{path} is damaged ({why}) and was set aside as {target}; {lost}")
