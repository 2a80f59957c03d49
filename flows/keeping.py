"""Results that belong to no study: read from a file of the user's, kept as a file of a table."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis import tables
from analysis.dictionary import data_card
from analysis.errors import StudyError
from analysis.ids import cell_name, file_sha256
from analysis.likelihood.texts import BaseModel
from analysis.manifest import write_manifest
from analysis.outputs import Outputs
from flows import progress

Row = Mapping[str, Any]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def named(name: str | None, path: Path) -> str:
    """The name of a measurement: as given, else the file's.

    Raises
    ------
    StudyError
        If a name is given that cannot be part of a file's name.
    """
    if name is None:
        return re.sub(r"[^A-Za-z0-9._-]+", "-", path.name.partition(".")[0]).strip("-._") or "file"
    if not _NAME.fullmatch(name):
        raise StudyError(f"--name is {name!r}; use letters, digits, dots, hyphens and underscores")
    return name


def keys(name: str, path: Path, base_model: BaseModel) -> dict[str, Any]:
    """The columns that say what was measured under which base model."""
    constant = base_model.constant
    told = {column: constant[column] for column in ("base_model", "revision", "template", "dtype")}
    return {"name": name, "file": path.name, "file_sha256": file_sha256(path), **told}


def keep(outputs: Outputs, made: Mapping[str, Sequence[Row]], keys: Mapping[str, Any]) -> list[Path]:
    """Write rows to their tables, in place of those of the same name and base model.

    Returns
    -------
    list of pathlib.Path
        The files.
    """
    name = f"{cell_name(keys['name'], keys['base_model'])}.parquet"
    files = {outputs.root / table / name: (table, [{**keys, **row} for row in rows]) for table, rows in made.items()}
    write(outputs, files, f"a measurement of {keys['file']}")
    return list(files)


def write(outputs: Outputs, files: Mapping[Path, tuple[str, Sequence[Row]]], holder: str) -> None:
    """Write files of tables, each a name of a table and its rows, and the dictionary and the manifest anew.

    Parameters
    ----------
    outputs, files
        The output folder, and what goes where in it.
    holder
        Who holds the folder meanwhile.
    """
    with (
        tables.writing(outputs.root),
        outputs.lock(holder, lambda text: progress.console.print(text, markup=False)),
    ):
        for path, (table, rows) in files.items():
            tables.write(path, table, rows)
        tables.write_text(outputs.root / "README.md", data_card())
        write_manifest(outputs)
