"""Reading and writing the tables of `analysis.schemas`: typed, atomic, streamed where they are large.

A file appears whole under its final name or not at all: it is written beside its destination under a hidden name,
flushed to the disk, then renamed. What was damaged later is noticed when it is read (`analysis.damage`).
"""

import errno
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from analysis import damage
from analysis.errors import TypicalityError
from analysis.schemas import TABLES, Table

PART = 16_384
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
_VERIFIED = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
)


def table(name: str) -> Table:
    """The declaration of a table.

    Raises
    ------
    ValueError
        If there is no such table; the message lists those there are.
    """
    if name not in TABLES:
        raise ValueError(f"there is no table {name!r}; the tables are {', '.join(TABLES)}")
    return TABLES[name]


def to_arrow(name: str, rows: Sequence[Mapping[str, Any]] | pd.DataFrame) -> pa.Table:
    """Rows as an Arrow table in the declared schema.

    Raises
    ------
    ValueError
        If a value does not fit its column, or a column that may not be null is.
    """
    schema = table(name).schema
    if isinstance(rows, pd.DataFrame):
        made = pa.Table.from_pandas(rows, schema=schema, preserve_index=False).replace_schema_metadata(schema.metadata)
    else:
        made = pa.Table.from_pylist(list(rows), schema=schema)
    for field, column in zip(schema, made.columns, strict=True):
        if not field.nullable and column.null_count:
            raise ValueError(f"column {field.name!r} of table {name!r} holds {column.null_count} nulls")
    return made


def cannot_write(path: Path, error: OSError) -> TypicalityError:
    """The error to raise where the disk is full or a folder cannot be written to."""
    # pyarrow puts a text of its own, of two sentences, in place of the system's.
    why = os.strerror(error.errno) if error.errno else error
    return TypicalityError(
        f"cannot write {path}: {why}; free some space or choose another folder with --outputs, "
        "then run again: what was finished is kept"
    )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell in one sentence where a folder cannot be written to, wherever in it that shows; else leave errors alone.

    Raises
    ------
    TypicalityError
        If the disk is full, its quota is used up, or the folder is closed to the user.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        raise cannot_write(Path(error.filename or path), error) from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A hidden path beside `path` to write to; on success it becomes `path`, on any error it vanishes.

    Raises
    ------
    TypicalityError
        If the disk is full or the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        move(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise cannot_write(path, error) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def move(source: Path, target: Path) -> None:
    """Rename a file that is on the disk, so that the new name is on the disk, too."""
    os.replace(source, target)
    # Not every file system can do it; the file is whole either way.
    with suppress(OSError):
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write(path: Path, name: str, rows: Sequence[Mapping[str, Any]] | pd.DataFrame | pa.Table) -> None:
    """Write one table to one Parquet file, atomically."""
    data = rows if isinstance(rows, pa.Table) else to_arrow(name, rows)
    with atomic_path(path) as temporary:
        pq.write_table(
            data, temporary, compression="zstd", row_group_size=table(name).row_group, write_page_checksum=True
        )
        damage.seal(temporary)


@contextmanager
def writer(path: Path, name: str) -> Iterator[Callable[[pa.Table], None]]:
    """Write one table from parts that need not fit in memory together, atomically: call what this gives with each."""
    with atomic_path(path) as temporary:
        schema = table(name).schema
        with pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as file:

            def add(part: pa.Table) -> None:
                # Some readers take the size of the first row group for their batch size, so none may be empty.
                if part.num_rows:
                    file.write_table(part, row_group_size=table(name).row_group)

            yield add
        damage.seal(temporary)


def stream(name: str, paths: Sequence[Path], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows of Parquet files of one table, part by part, with only the columns asked for.

    Raises
    ------
    Unreadable
        If a file is damaged or missing; parts that were read before it are given.
    """
    schema = table(name).schema
    if columns is not None:
        schema = pa.schema([schema.field(column) for column in columns])
    for path in paths:
        with opened(path) as file:
            for batch in file.iter_batches(batch_size=PART, columns=schema.names):
                yield pa.Table.from_batches([batch]).select(schema.names).cast(schema)


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """A Parquet file of a table, to look at its schema and its rows.

    Raises
    ------
    Unreadable
        If it is damaged or missing.
    """
    damage.check([path])
    # Buffering ahead would hold the whole file.
    with damage.reading([path]), pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True) as file:
        yield file


def n_rows(path: Path) -> int:
    """How many rows a file of a table has."""
    with opened(path) as file:
        return int(file.metadata.num_rows)


def write_text(path: Path, text: str) -> None:
    """Write a text file, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def files(name: str, outputs: Path) -> list[Path]:
    """The Parquet files of a table in an output folder, in the order of their names."""
    return sorted((outputs / table(name).name).glob("[!._]*.parquet"))


def scan(name: str, paths: Sequence[Path], columns: Sequence[str] | None = None, where: Any = None) -> pa.Table:
    """Rows of Parquet files of one table, with only the columns and rows asked for.

    Parameters
    ----------
    name, paths
        The table and its files; no files give an empty table.
    columns
        Names of columns; all by default.
    where
        A `pyarrow.dataset` expression.

    Raises
    ------
    Unreadable
        If a file is damaged or missing.
    """
    return dataset(name, paths).to_table(columns, where)


@dataclass(frozen=True)
class Dataset:
    """Parquet files of one table as a dataset of pyarrow; both methods raise `Unreadable` where a file is damaged."""

    paths: Sequence[Path]
    rows: ds.Dataset

    def to_table(self, columns: Sequence[str] | None = None, filter: Any = None) -> pa.Table:
        """The rows that an expression chooses."""
        with damage.reading(self.paths):
            return self.rows.to_table(columns=list(columns) if columns else None, filter=filter)

    def to_batches(self, columns: Sequence[str] | None = None, filter: Any = None) -> Iterator[pa.RecordBatch]:
        """The rows that an expression chooses, part by part."""
        with damage.reading(self.paths):
            yield from self.rows.to_batches(columns=list(columns) if columns else None, filter=filter)


def dataset(name: str, paths: Sequence[Path]) -> Dataset:
    """Parquet files of one table, for many looks at a few of their rows each.

    What is known of the files (which values each group of rows lies between) is read once and kept.

    Raises
    ------
    Unreadable
        If a file is damaged or missing.
    """
    schema = table(name).schema
    damage.check(paths)
    if not paths:
        return Dataset(paths, ds.dataset(schema.empty_table()))
    with damage.reading(paths):
        return Dataset(paths, ds.dataset([str(p) for p in paths], schema=schema, format=_VERIFIED))


def read(
    name: str,
    outputs: str | Path,
    *,
    study: str | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Read a table of an output folder into pandas.

    Parameters
    ----------
    name
        A name of `analysis.schemas.TABLES`: `responses`, `scores`, `estimates`, ….
    outputs
        The output folder.
    study
        Only the rows of this study; for tables that have a `study` column.
    columns
        Only these columns.

    Returns
    -------
    pandas.DataFrame
        Empty, with its columns, where nothing has been written yet.

    Raises
    ------
    ValueError
        If there is no such table.
    Unreadable
        If a file is damaged.
    """
    where = ds.field("study") == study if study is not None else None
    frame: pd.DataFrame = scan(name, files(name, Path(outputs)), columns, where).to_pandas()
    return frame
