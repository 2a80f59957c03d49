"""What the tables of an output folder take up on the disk."""

from dataclasses import dataclass
from pathlib import Path

from analysis import tables
from analysis.damage import Unreadable
from analysis.manifest import table_files
from analysis.outputs import Outputs

KEPT = "kept of each run"


@dataclass(frozen=True)
class Use:
    """A table's files, rows and bytes; rows are None where a file cannot be read."""

    table: str
    n_files: int
    n_rows: int | None
    n_bytes: int


def disk_use(outputs: Outputs) -> list[Use]:
    """Every table that has files, and last what is kept of each run; only the files' footers are read."""
    found: dict[str, list[Path]] = {}
    for name, path, is_kept in table_files(outputs):
        found.setdefault(KEPT if is_kept else name, []).append(path)
    return [_use(name, paths) for name, paths in found.items()]


def _use(name: str, paths: list[Path]) -> Use:
    n_bytes = sum(path.stat().st_size for path in paths)
    try:
        return Use(name, len(paths), sum(map(tables.n_rows, paths)), n_bytes)
    except Unreadable:
        # A file that is torn must not cost a report that needs none of it.
        return Use(name, len(paths), None, n_bytes)
