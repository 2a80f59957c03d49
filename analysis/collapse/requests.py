"""Requests to a model in the user's own file: prompts to draw from, and generations to watch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from analysis.collapse.diversity.generations import Generations, gather, rows_and_columns, unicode_
from analysis.collapse.drawing import Asked
from analysis.errors import CellError, StudyError, shown
from analysis.preferences.files import kind_of, rows_of, schema_of, with_columns
from analysis.preferences.records import Prompt, messages, text_prompt
from analysis.preferences.rows import prompt_id
from analysis.preferences.sample import Sample

REQUEST = "request"


class Request(NamedTuple):
    """One usable generation: its request's name, the prompt, and the text."""

    name: str
    prompt: Prompt
    text: str


@dataclass(frozen=True)
class Requests:
    """The generations of a file, and each usable one's request at the same index."""

    generations: Generations
    requests: tuple[Request, ...]


def prompts(path: Path, prompt: str, response: str | None, limit: int | None, seed: int) -> list[Asked]:
    """The different prompts of a CSV, TSV, JSON Lines or Parquet file, with their responses if a column is declared.

    Parameters
    ----------
    path
        The file.
    prompt, response
        Names of columns. A prompt is text, or messages.
    limit, seed
        At most so many prompts, chosen by hash.

    Raises
    ------
    StudyError
        If the file or a column does not exist, or a value is not what it must be; the message names the row.
    """
    if not path.is_file():
        raise StudyError(f"there is no file {path}")
    wanted = [name for name in (prompt, response) if name is not None]
    found: dict[Prompt, dict[str, None]] = {}
    try:
        there = kind_of(path) != "parquet" or set(wanted) <= set(schema_of(path).names)
        rows = with_columns(rows_of(path, wanted if there else None), wanted, str(path))
        for number, row in enumerate(rows, 1):
            held = found.setdefault(_prompt(row, prompt, number), {})
            text = row.get(response) if response is not None else None
            if text is not None and not isinstance(text, str):
                raise CellError(f"row {number:,}: the response is not text: {shown(text)}")
            if text:
                held[_unicode(text, number)] = None
    except CellError as error:
        raise StudyError(str(error)) from error
    if limit is not None:
        sample = Sample(limit, seed)
        ids = {one: prompt_id(one) for one in found}
        for key in ids.values():
            sample.admits(key)
        found = {one: held for one, held in found.items() if sample.holds(ids[one])}
    # Sorted, so that the order of rows decides nothing.
    return [Asked(one, tuple(sorted(held))) for one, held in found.items()]


def requests(path: Path, columns: Mapping[str, str | None]) -> Requests:
    """The generations of a file.

    Parameters
    ----------
    path, columns
        As `diversity.generations.read` takes them; `request` may name a column with each request's name, else that is
        its row.

    Raises
    ------
    StudyError
        If the file or a column does not exist, or a value is not what it must be; the message names the row.
    """
    try:
        rows, found = rows_and_columns(path, columns)
        generations = gather(rows, found)
        made = []
        for text, k in zip(generations.texts, generations.rows, strict=True):
            name = rows[k].get(found[REQUEST]) if REQUEST in found else None
            told = f"row {k + 1}" if name is None else str(name)
            made.append(Request(told, _prompt(rows[k], found["prompt"], k + 1), text))
    except CellError as error:
        raise StudyError(str(error)) from error
    return Requests(generations, tuple(made))


def _prompt(row: Mapping[str, Any], column: str, number: int) -> Prompt:
    value = row.get(column)
    if value is None:
        raise CellError(f"row {number:,}: it has no {column}")
    found = text_prompt(value) if isinstance(value, str) else messages(value)
    if found is None:
        raise CellError(f"row {number:,}: column {column!r} should hold text or messages, but it holds {shown(value)}")
    for part in (part for message in found for part in message):
        _unicode(part, number)
    return found


def _unicode(text: str, number: int) -> str:
    try:
        return unicode_(text)
    except ValueError as error:
        raise CellError(f"row {number:,}: {error}") from error
