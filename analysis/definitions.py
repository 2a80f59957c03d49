"""Reading the TOML file that defines a study, and saying in one sentence what is wrong with it."""

import difflib
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from analysis.errors import StudyError

Where = tuple[Any, ...]


def read_toml(path: Path) -> dict[str, Any]:
    """The values in a study file.

    Raises
    ------
    StudyError
        If it cannot be read, or is no TOML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise StudyError(f"cannot read the study file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StudyError(f"the study file {path} is not UTF-8 text: save it as UTF-8") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"the study file {path} is not valid TOML: {error}") from error


def sentence(
    error: ValidationError, values: dict[str, Any], keys: Callable[[Where], Sequence[str]], silent: Sequence[str] = ()
) -> str:
    """The first thing that is wrong, as one sentence naming the key.

    Parameters
    ----------
    error, values
        What pydantic says of these values.
    keys
        The keys that are allowed at a place.
    silent
        Parts of a place that stand for no key of the file.
    """
    # Where an entry is wrong, the list without it may be too short: that is no second mistake.
    found = [e for e in error.errors() if e["type"] != "too_short"] or error.errors()
    # A key that is misspelt is one that is missing, too: the misspelling tells more.
    found.sort(key=lambda e: e["type"] != "extra_forbidden")
    first = found[0]
    where = [p for p in first["loc"] if p not in silent]
    place = ""
    for part in where:
        place += f"[{part + 1}]" if isinstance(part, int) else f"{'.' if place else ''}{part}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = keys(first["loc"])
        close = difflib.get_close_matches(str(where[-1]), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"allowed are {', '.join(known)}"
        message = f"is not a key here; {hint}"
    elif first["type"] == "missing":
        message = "is missing"
    elif first["type"] == "string_pattern_mismatch" and where == ["name"]:
        message = f"is {values.get('name')!r}; use lower-case letters, digits and hyphens"
    else:
        message = message[:1].lower() + message[1:]
    rest = len(found) - 1
    return f"{place + ': ' if place else ''}{message}{f' (and {rest} more)' if rest else ''}"


def absolute(path: str, folder: Path) -> str:
    """A path as taken from a folder; as it is where it can be no path (nobody's home, a null character)."""
    try:
        return str((folder / Path(path).expanduser()).resolve())
    except (RuntimeError, ValueError):
        return path


def looks_like_folder(name: Any, folder: Path) -> bool:
    """Whether a model's name is a path rather than a Hub id `org/name`."""
    if not isinstance(name, str) or not name:
        return False
    return name.startswith(("/", "./", "../", "~")) or Path(absolute(name, folder)).is_dir()
