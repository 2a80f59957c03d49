"""A file of generations → groups of them: what is usable, what is empty, what failed."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.collapse.diversity.ngrams import Array
from analysis.collapse.diversity.sets import Group, Texts
from analysis.errors import CellError, StudyError, shown
from analysis.preferences.files import Row, kind_of, rows_of, schema_of, with_columns

ALL = "all"
DEFAULTS = {"prompt": "prompt", "response": "response", "group": "group", "status": "status", "error": "error"}
DEFAULTS["entropy"] = "entropy"
NEEDED = ("prompt", "response")
DONE = ("", "ok", "success", "completed")


@dataclass(frozen=True)
class Generations:
    """Usable generations and their groups.

    Attributes
    ----------
    texts
        The usable ones.
    entropies
        (m,) mean next-token entropy along each, in nats; NaN where it is not known.
    groups
        The groups in the order of their names, with indices into `texts`.
    columns
        Which column was read for what.
    rows
        (m,) which row each stands in, 0 the first.
    """

    texts: tuple[str, ...]
    entropies: Array
    groups: tuple[Group, ...]
    columns: Mapping[str, str]
    rows: tuple[int, ...]


def read(path: Path, columns: Mapping[str, str | None]) -> Generations:
    """Read a CSV, TSV, JSON Lines or Parquet file, a row a generation.

    Parameters
    ----------
    path
        The file.
    columns
        Names of the columns `prompt`, `response`, `group`, `status`, `error` and `entropy`. Of those that are None the
        one of that very name is read; `prompt` and `response` must exist. A generation failed where `error` holds
        anything, or `status` anything but ok, success, completed or nothing.

    Raises
    ------
    StudyError
        If the file or a column does not exist, or a value is not what it must be; the message names the row.
    """
    try:
        return gather(*rows_and_columns(path, columns))
    except CellError as error:
        raise StudyError(str(error)) from error


def rows_and_columns(path: Path, columns: Mapping[str, str | None]) -> tuple[list[Row], dict[str, str]]:
    """The rows of a file, and which columns are read for what: as `read` says, and any others that are declared.

    Raises
    ------
    StudyError
        If there is no such file.
    CellError
        If it or a column cannot be read.
    """
    if not path.is_file():
        raise StudyError(f"there is no file {path}")
    declared = {role: name for role, name in columns.items() if name}
    needed = {role: declared.get(role, DEFAULTS[role]) for role in NEEDED} | declared
    kind = kind_of(path)
    if kind == "parquet":
        there = set(schema_of(path).names)
        wanted = [name for name in {**DEFAULTS, **needed}.values() if name in there]
        rows = with_columns(rows_of(path, wanted) if wanted else rows_of(path), needed.values(), str(path))
    else:
        rows = with_columns(rows_of(path), needed.values(), str(path))
    kept = list(rows)
    found = {name for row in kept for name in row}
    defaults = {role: name for role, name in DEFAULTS.items() if role not in needed and name in found}
    return kept, {**needed, **defaults}


def gather(rows: Iterable[Row], columns: Mapping[str, str]) -> Generations:
    """Sort generations into groups.

    Parameters
    ----------
    rows
        One a generation.
    columns
        The column of each role that is read.

    Raises
    ------
    CellError
        If a value is not what it must be.
    """
    texts: list[str] = []
    entropies: list[float] = []
    places: list[int] = []
    members: dict[str, dict[str, list[int]]] = {}
    empty: dict[str, int] = {}
    failed: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        one = {role: row.get(name) for role, name in columns.items()}
        try:
            prompt, group, text = map(unicode_, (_prompt(one["prompt"]), _group(one, columns), _text(one["response"])))
            entropy = _entropy(one.get("entropy"))
        except ValueError as error:
            raise CellError(f"row {number:,}: {error}") from error
        held = members.setdefault(group, {})
        if _failed(one):
            failed[group] = failed.get(group, 0) + 1
        elif not text.strip():
            empty[group] = empty.get(group, 0) + 1
        else:
            held.setdefault(prompt, []).append(len(texts))
            texts.append(text)
            entropies.append(entropy)
            places.append(number - 1)
    groups = tuple(
        Group(name, _frozen(members[name]), empty.get(name, 0), failed.get(name, 0)) for name in sorted(members)
    )
    return Generations(tuple(texts), np.array(entropies), groups, dict(columns), tuple(places))


def unicode_(text: str) -> str:
    """The text; ValueError where no tokenizer can read it and no file store it, such as half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"it holds text that is not valid Unicode: {shown(text)}") from error
    return text


def _frozen(held: Mapping[str, list[int]]) -> dict[str, Texts]:
    return {prompt: tuple(indices) for prompt, indices in held.items()}


def _prompt(value: Any) -> str:
    if value is None:
        raise ValueError("it has no prompt")
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _group(one: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    if "group" not in columns:
        return ALL
    value = one["group"]
    if value is None or not str(value).strip():
        raise ValueError(f"it has no {columns['group']}, by which generations are grouped")
    return str(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"the response is not text: {shown(value)}")
    return value


def _failed(one: Mapping[str, Any]) -> bool:
    error, status = one.get("error"), one.get("status")
    told = "" if status is None else str(status).strip().lower()
    return told not in DONE or not (error is None or error is False or not str(error).strip())


def _entropy(value: Any) -> float:
    if value is None or value == "":
        return math.nan
    try:
        found = float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the entropy is not a number: {shown(value)}") from error
    if found < 0 or math.isinf(found):
        raise ValueError(f"the entropy is not a number of nats: {shown(value)}")
    return found
