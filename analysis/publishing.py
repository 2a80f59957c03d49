"""Copies of an output folder's finished tables and reports on object storage, by any URL that fsspec knows.

Every file goes to a name that holds a hash of its content, so none is ever overwritten; `manifest.json` is written when
all that it lists is there, and only then what neither it nor the one before lists is removed. Whoever follows the
manifest sees a publication whole or not at all, also where it was begun before the newest one was there.
"""

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from analysis import tables
from analysis.dictionary import data_card
from analysis.errors import CellError, one_line
from analysis.ids import file_sha256
from analysis.manifest import NAME, write_manifest
from analysis.outputs import Outputs
from analysis.schemas import TABLES

VERSION = 1
AT_A_TIME = 8
_HASH_DIGITS = 16
_ID = ".published"
_EXTRAS = {"s3": "s3", "s3a": "s3"}
# They have no folders, and their clients make a bucket where one is asked for.
_BUCKETS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss"}
_OURS = re.compile(
    rf"(?:{'|'.join([*TABLES, 'reports'])})/(?:[^/]+/)*[^/]+-[0-9a-f]{{{_HASH_DIGITS}}}\.(?:parquet|html|md|svg)"
)


@dataclass(frozen=True)
class Copied:
    """What a publication took: files in all, those copied now, and their bytes."""

    n_files: int
    n_copied: int
    n_bytes: int


@dataclass(frozen=True)
class _Entry:
    """A file to publish: where it is, where it goes, and what the manifest says of it."""

    source: Path
    told: dict[str, Any]


def publish(outputs: Outputs, url: str) -> Copied:
    """Copy an output folder's tables, and the latest report of every study, to a URL; whoever calls holds the folder.

    What the URL holds already is not copied again.

    Parameters
    ----------
    outputs
        The output folder.
    url
        A folder or a prefix that holds nothing but what this output folder published. Credentials come from the
        environment.

    Raises
    ------
    CellError
        If it cannot be written to, holds another output folder's tables, or a local file is not what the local manifest
        says. What was published before is still whole then.
    """
    told = json.loads(write_manifest(outputs).read_text(encoding="utf-8"))
    source = _identity(outputs)
    with _explained(url, outputs):
        store = _Store(url)
        before = store.manifest()
        if before and before.get("source") != source:
            raise CellError(
                f"{url} holds what another output folder published, and would lose it; choose another URL, or remove "
                f"{url}/{NAME} if it is not needed"
            )
        entries = list(_entries(outputs, told))
        listed = {file["path"] for file in _listed(before)} if before else set()
        there = store.sizes()
        missing = [e for e in entries if e.told["path"] not in listed or there.get(e.told["path"]) != e.told["bytes"]]
        store.copy(missing)
        manifest = _manifest(told, entries, source)
        if manifest != before:
            store.write(NAME, json.dumps(manifest, indent=1) + "\n")
        store.write("README.md", data_card())
        for entry in entries:
            if latest := _latest(entry.told):
                store.write(latest, entry.source.read_text(encoding="utf-8"))
        store.remove_others({file["path"] for known in (manifest, before) if known for file in _listed(known)})
    return Copied(len(entries), len(missing), sum(e.told["bytes"] for e in missing))


def _identity(outputs: Outputs) -> str:
    """What tells an output folder from all others; made when it first publishes."""
    path = outputs.root / _ID
    if not path.is_file():
        tables.write_text(path, secrets.token_hex(8))
    return path.read_text(encoding="utf-8").strip()


def _entries(outputs: Outputs, told: dict[str, Any]) -> Iterator[_Entry]:
    """Every file to publish, under the name it is published by."""
    for file in [file for table in told["tables"].values() for file in table["files"]] + told["kept_per_run"]:
        yield _Entry(outputs.root / file["path"], {**file, "path": _named(file["path"], file["sha256"])})
    for latest in sorted((outputs.root / "reports").glob("*/latest")):
        study, run_id = latest.parent.name, latest.resolve().name
        for path in sorted(p for p in latest.iterdir() if p.is_file()):
            sha256 = file_sha256(path)
            name = _named(f"reports/{study}/{run_id}/{path.name}", sha256)
            facts = {"path": name, "bytes": path.stat().st_size, "sha256": sha256}
            yield _Entry(path, {"study": study, "run_id": run_id, "name": path.name, **facts})


def _named(path: str, sha256: str) -> str:
    plain = PurePosixPath(path)
    return str(plain.with_name(f"{plain.stem}-{sha256[:_HASH_DIGITS]}{plain.suffix}"))


def _latest(told: dict[str, Any]) -> str | None:
    """The name by which people find a page, whichever run it is of."""
    return f"reports/{told['study']}/latest/{told['name']}" if "study" in told else None


def _manifest(told: dict[str, Any], entries: Sequence[_Entry], source: str) -> dict[str, Any]:
    """The local manifest under the published names, with the reports."""

    def renamed(files: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**file, "path": _named(file["path"], file["sha256"])} for file in files]

    return {
        **told,
        "publication_version": VERSION,
        "source": source,
        "tables": {name: {**table, "files": renamed(table["files"])} for name, table in told["tables"].items()},
        "kept_per_run": renamed(told["kept_per_run"]),
        "reports": [entry.told for entry in entries if "study" in entry.told],
    }


def _listed(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Every file that a published manifest lists."""
    held = [file for table in manifest["tables"].values() for file in table["files"]]
    return [*held, *manifest["kept_per_run"], *manifest["reports"]]


class _Store:
    """A place that fsspec writes to."""

    def __init__(self, url: str) -> None:
        import fsspec

        protocol = url.partition("://")[0]
        self.has_folders = protocol not in _BUCKETS
        try:
            self.fs, self.root = fsspec.url_to_fs(url.rstrip("/"), skip_instance_cache=True, use_listings_cache=False)
        except ImportError as error:
            extra = _EXTRAS.get(protocol)
            remedy = f"pip install 'typicality[{extra}]'" if extra else one_line(error)
            raise CellError(f"publishing to {protocol}:// needs a package of its own: {remedy}") from error

    def manifest(self) -> dict[str, Any] | None:
        """What was published before; None where nothing was."""
        try:
            read: dict[str, Any] = json.loads(self.fs.cat_file(f"{self.root}/{NAME}"))
        except FileNotFoundError:
            return None
        if not isinstance(read, dict) or read.get("publication_version") != VERSION:
            raise CellError(f"{self.root}/{NAME} is not what typicality published; choose another URL")
        return read

    def sizes(self) -> dict[str, int]:
        """Every file there, by its name, and its size in bytes."""
        found = self.fs.find(self.root, detail=True)
        return {str(path).removeprefix(f"{self.root}/"): int(told["size"]) for path, told in found.items()}

    def copy(self, entries: Sequence[_Entry]) -> None:
        """Copy files, several at a time; each must arrive with the bytes it has here."""
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            for _ in pool.map(self._copy, entries):
                pass

    def _copy(self, entry: _Entry) -> None:
        path = f"{self.root}/{entry.told['path']}"
        self._folder(path)
        self.fs.put_file(str(entry.source), path)
        arrived = self.fs.info(path)["size"]
        if arrived != entry.told["bytes"]:
            raise OSError(f"{path} arrived with {arrived:,} of {entry.told['bytes']:,} bytes")

    def write(self, name: str, text: str) -> None:
        """Write a text at once: a reader sees the one before or this one."""
        from fsspec.implementations.local import LocalFileSystem

        path = f"{self.root}/{name}"
        if isinstance(self.fs, LocalFileSystem):
            tables.write_text(Path(path), text)
        else:
            self._folder(path)
            self.fs.pipe_file(path, text.encode())

    def _folder(self, path: str) -> None:
        if self.has_folders:
            self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)

    def remove_others(self, kept: set[str]) -> None:
        """Remove files that were published, or half published, and are listed no more."""
        if others := [f"{self.root}/{n}" for n in self.sizes() if n not in kept and _OURS.fullmatch(n)]:
            self.fs.rm(others)


@contextmanager
def _explained(url: str, outputs: Outputs) -> Iterator[None]:
    try:
        yield
    except CellError:
        raise
    except Exception as error:
        # Every file system has errors of its own.
        raise CellError(
            f"the results could not be published to {url} ({one_line(error, 160)}); they are whole in {outputs.root}, "
            "and the same command publishes them"
        ) from error
