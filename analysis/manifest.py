"""`manifest.json`: what an output folder holds, with checksums, so that a copy can be checked.

It depends on the files alone: the same tables give the same manifest. What makes writing it cheap, when each file was
last changed, is kept apart in a hidden file.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from analysis import tables
from analysis.errors import StudyError
from analysis.ids import content_id, file_sha256
from analysis.outputs import Outputs, describe
from analysis.runs import KEPT_PER_RUN
from analysis.schemas import TABLES

NAME = "manifest.json"
CACHE = ".manifest.json"
VERSION = 1


@dataclass(frozen=True)
class File:
    """One file of a table: its path in the output folder, size, checksum and rows.

    Attributes
    ----------
    schema_version
        Of the schema in the file. It differs from the table's where an earlier version of typicality wrote the file.
    """

    path: str
    bytes: int
    sha256: str
    rows: int
    schema_version: str


@dataclass(frozen=True)
class Seen:
    """A file as it was when it was last read, and when it had been changed."""

    mtime_ns: int
    file: File


def schema_version(schema: pa.Schema) -> str:
    """Hash of a schema: names, types, which columns may be null, and all metadata, in the order of the columns."""
    fields = [[*_field(f), _texts(f.metadata)] for f in schema]
    return content_id(json.dumps([fields, _texts(schema.metadata)], ensure_ascii=False))


def _field(field: pa.Field) -> list[Any]:
    return [field.name, _kind(field.type), field.nullable]


def _kind(type_: pa.DataType) -> Any:
    """A type in full, but for the name of a list's items: Arrow and Parquet call them differently."""
    if pa.types.is_list(type_):
        return ["list", _kind(type_.value_type), type_.value_field.nullable]
    if pa.types.is_struct(type_):
        return ["struct", *(_field(type_.field(i)) for i in range(type_.num_fields))]
    return str(type_)


def _texts(metadata: dict[bytes, bytes] | None) -> list[tuple[str, str]]:
    return sorted((k.decode(), v.decode()) for k, v in (metadata or {}).items())


def write_manifest(outputs: Outputs) -> Path:
    """Write `manifest.json` of an output folder, atomically; whoever calls holds the folder.

    Only files whose size or time of change is another than at the last writing are read again.

    Returns
    -------
    pathlib.Path
        The manifest.
    """
    known = _known(outputs)
    seen: dict[str, Seen] = {}
    listed: dict[str, list[File]] = {name: [] for name in TABLES}
    kept: list[File] = []
    for name, path, is_kept in table_files(outputs):
        told = path.stat()
        relative = path.relative_to(outputs.root).as_posix()
        before = known.get(relative)
        if before is not None and (before.file.bytes, before.mtime_ns) == (told.st_size, told.st_mtime_ns):
            file = before.file
        else:
            file = _described(name, path, relative)
        seen[relative] = Seen(told.st_mtime_ns, file)
        (kept if is_kept else listed[name]).append(file)
    manifest = {
        "manifest_version": VERSION,
        "tables": {name: _table(name, files) for name, files in sorted(listed.items())},
        "kept_per_run": [asdict(file) for file in kept],
    }
    tables.write_text(outputs.root / NAME, json.dumps(manifest, indent=1) + "\n")
    remembered = {"version": VERSION, "files": [asdict(one) for one in seen.values()]}
    tables.write_text(outputs.root / CACHE, json.dumps(remembered))
    return outputs.root / NAME


def verify(outputs: Outputs) -> list[str]:
    """Compare an output folder with its manifest: every file is read.

    Returns
    -------
    list of str
        A sentence for each file that differs, is missing, or is not in the manifest; empty where all is well.

    Raises
    ------
    StudyError
        If there is no manifest, or it cannot be read.
    """
    told = _told(outputs)
    problems = [problem for file in told for problem in _problem(outputs.root / file.path, file)]
    listed = {file.path for file in told}
    found = (path.relative_to(outputs.root).as_posix() for _, path, _ in table_files(outputs))
    return problems + [f"{path} is not in the manifest" for path in found if path not in listed]


def table_files(outputs: Outputs) -> Iterator[tuple[str, Path, bool]]:
    """Every file with its table, in a fixed order, and whether it is what one run left."""
    for name in TABLES:
        for path in tables.files(name, outputs.root):
            yield name, path, False
    for run in tables.files("runs", outputs.root):
        for name in KEPT_PER_RUN:
            path = run.with_suffix("") / f"_{name}.parquet"
            if path.is_file():
                yield name, path, True


def _described(name: str, path: Path, relative: str) -> File:
    told = describe(name, path)
    with tables.opened(path) as file:
        version = schema_version(file.schema_arrow)
    return File(relative, path.stat().st_size, told.sha256, told.rows, version)


def _table(name: str, files: list[File]) -> dict[str, Any]:
    return {
        "schema_version": schema_version(TABLES[name].schema),
        "rows": sum(file.rows for file in files),
        "files": [asdict(file) for file in files],
    }


def _known(outputs: Outputs) -> dict[str, Seen]:
    """What was seen at the last writing, by path; nothing where that cannot be told."""
    try:
        told = json.loads((outputs.root / CACHE).read_text(encoding="utf-8"))
        seen = [Seen(int(one["mtime_ns"]), File(**one["file"])) for one in told["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {one.file.path: one for one in seen} if told.get("version") == VERSION else {}


def _told(outputs: Outputs) -> list[File]:
    path = outputs.root / NAME
    if not path.is_file():
        raise StudyError(f"{outputs.root} has no {NAME}; a run of typicality writes it")
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        listed = [file for table in told["tables"].values() for file in table["files"]]
        return [File(**file) for file in (*listed, *told["kept_per_run"])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StudyError(f"{path} cannot be read: run a study again to write it anew") from error


def _problem(path: Path, file: File) -> Iterator[str]:
    try:
        size = path.stat().st_size
        if size != file.bytes:
            yield f"{file.path} has {size:,} bytes, not {file.bytes:,}"
        elif file_sha256(path) != file.sha256:
            yield f"{file.path} differs: its SHA-256 is another"
    except FileNotFoundError:
        yield f"{file.path} is missing"
    except OSError as error:
        yield f"{file.path} cannot be read: {error.strerror or error}"
