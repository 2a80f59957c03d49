"""The catalogue: one declarative entry for each dataset, found in the module of its family."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from analysis.errors import CellError, StudyError
from analysis.preferences.records import Excluded, Judgement

Reader = Callable[[Iterable[Mapping[str, Any]], str], Iterator[Judgement | Excluded]]


@dataclass(frozen=True)
class Entry:
    """One dataset of the catalogue.

    `files` are patterns of the files to read, with {part} and {split} in them. `columns` maps each column that is read
    to its kind: `text`, `number` or `messages`. `read` turns rows and the split's name into judgements. Where there are
    `parts`, one must be chosen.
    """

    name: str
    hub: str
    shape: str
    labels: str
    rater: str
    licence: str
    size: str
    citation: str
    splits: tuple[str, ...]
    files: tuple[str, ...]
    columns: Mapping[str, str]
    read: Reader
    parts: tuple[str, ...] = ()
    defects: tuple[str, ...] = ()

    @property
    def default_split(self) -> str:
        """The split that is read where the study names none."""
        return self.splits[0]


def entries() -> dict[str, Entry]:
    """Every entry by its name."""
    from analysis.preferences import hh_rlhf, ultrafeedback_binarized

    found = (hh_rlhf.ENTRY, ultrafeedback_binarized.ENTRY)
    return {e.name: e for e in found}


def entry(name: str) -> Entry:
    """The entry of that name.

    Raises
    ------
    StudyError
        If there is none; the message names the closest ones, or all.
    """
    known = entries()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(known)}"
        raise StudyError(
            f"dataset {name!r} is not in the catalogue; {hint} "
            "(for your own data add path or hub, shape, rater and the columns)"
        )
    return known[name]


def check_columns(expected: Mapping[str, str], features: Mapping[str, Any], where: str) -> None:
    """Check the columns and types found against those expected.

    Parameters
    ----------
    expected
        Column name to kind, as in `Entry.columns`.
    features
        The dataset's `features`.
    where
        What to call the dataset in the message.

    Raises
    ------
    CellError
        If a column is missing or of another type.
    """
    for name, kind in expected.items():
        if name not in features:
            raise CellError(f"{where} has no column {name!r}; it has {', '.join(features)}")
        if not _is(kind, features[name]):
            raise CellError(f"{where}: column {name!r} should hold {kind}, but it holds {features[name]}")


def _is(kind: str, feature: Any) -> bool:
    dtype = str(getattr(feature, "dtype", ""))
    if kind == "text":
        return dtype in ("string", "large_string")
    if kind == "number":
        return dtype.startswith(("int", "uint", "float"))
    item = getattr(feature, "feature", feature[0] if isinstance(feature, list) and feature else None)
    return isinstance(item, dict) and {"role", "content"} <= set(item)
