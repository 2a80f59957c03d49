"""Rows of the user's own files, exactly as written: no type is guessed and no text is taken for a missing value."""

import csv
import difflib
import gzip
import itertools
import json
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.errors import CellError, one_line

Row = Mapping[str, Any]
SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_LOOKED_AT = 100
_BATCH = 1024


def kind_of(path: Path) -> str:
    """What kind of file it is, by its name: csv, tsv, jsonl or parquet.

    Raises
    ------
    CellError
        If the name does not tell.
    """
    suffixes = [s.lower() for s in path.suffixes]
    zipped = suffixes[-1:] == [".gz"]
    suffix = (suffixes[-2:-1] if zipped else suffixes[-1:]) or [""]
    kind = SUFFIXES.get(suffix[0])
    if kind is None or (zipped and kind == "parquet"):
        raise CellError(f"cannot tell what kind of file {path} is; name it {', '.join(SUFFIXES)} (text may end in .gz)")
    return kind


def rows_of(path: Path, columns: Sequence[str] | None = None, kind: str | None = None) -> Iterator[Row]:
    """Rows of a CSV, TSV, JSON Lines or Parquet file (the text ones may be gzipped).

    Parameters
    ----------
    path
        The file.
    columns
        Which columns of a Parquet file to read; all by default.
    kind
        csv, tsv, jsonl or parquet, where the file's name does not tell.

    Raises
    ------
    CellError
        If the kind of file is unknown, or a line cannot be read; the message names the line.
    """
    kind = kind or kind_of(path)
    zipped = path.suffix.lower() == ".gz"
    try:
        if kind == "parquet":
            yield from _parquet(path, columns)
            return
        with (
            gzip.open(path, "rt", encoding="utf-8-sig", newline="")
            if zipped
            else path.open(encoding="utf-8-sig", newline="") as file
        ):
            yield from _json_lines(file, path) if kind == "jsonl" else _delimited(file, path, kind)
    except UnicodeDecodeError as error:
        raise CellError(f"{path} is not UTF-8 text: save it as UTF-8") from error
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise CellError(f"cannot read {path}: {one_line(error)}") from error


def schema_of(path: Path) -> pa.Schema:
    """The schema of a Parquet file.

    Raises
    ------
    CellError
        If it cannot be read.
    """
    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise CellError(f"cannot read {path}: {one_line(error)}") from error


def _parquet(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    with pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True) as file:
        for batch in file.iter_batches(batch_size=_BATCH, columns=columns):
            yield from batch.to_pylist()


def _json_lines(file: IO[str], path: Path) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CellError(
                f"{path}, line {number}: not valid JSON: {getattr(error, 'msg', one_line(error))}"
            ) from error
        if not isinstance(row, dict):
            raise CellError(f"{path}, line {number}: not a JSON object")
        yield row


def _delimited(file: IO[str], path: Path, kind: str) -> Iterator[Row]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    reader = csv.DictReader(file, delimiter="\t" if kind == "tsv" else ",", strict=True)
    try:
        names = reader.fieldnames or []
        if twice := {name for name in names if names.count(name) > 1}:
            raise CellError(f"{path} has two columns called {min(twice)!r}; rename one of them")
        for row in reader:
            if None in row or None in row.values():
                raise CellError(
                    f"{path}, line {reader.line_num}: it has not {len(names)} fields, as the header has; "
                    f"a text that holds {'a tab' if kind == 'tsv' else 'a comma'} must stand in quotes"
                )
            yield row
    except csv.Error as error:
        raise CellError(f"{path}, line {reader.reader.line_num}: {one_line(error)}") from error


def with_columns(rows: Iterable[Row], columns: Iterable[str], where: str) -> Iterator[Row]:
    """The same rows, once it is sure that every declared column exists.

    A column must occur in one of the first 100 rows (rows of JSON Lines may leave columns out).

    Raises
    ------
    CellError
        If a column is missing, or there is no row at all.
    """
    iterator = iter(rows)
    head = list(itertools.islice(iterator, _LOOKED_AT))
    if not head:
        raise CellError(f"{where} holds no rows")
    found = list(dict.fromkeys(itertools.chain.from_iterable(head)))
    for name in columns:
        if name not in found:
            close = difflib.get_close_matches(name, found, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise CellError(f"{where} has no column {name!r}; it has {', '.join(found)}{hint}")
    return itertools.chain(head, iterator)
