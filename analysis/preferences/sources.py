"""Opening a dataset: its rows at a commit, checked against what is expected, and read into judgements."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from analysis import hub
from analysis.errors import CellError, one_line
from analysis.hub import Origin
from analysis.ids import file_sha256
from analysis.preferences import own
from analysis.preferences.catalogue import At, Beside, Entry, Item, Row, entry
from analysis.preferences.columns import Kind, check_schema, checked_rows
from analysis.preferences.files import kind_of, rows_of, schema_of, with_columns
from analysis.preferences.records import Ties
from analysis.preferences.spec import CatalogueDataset, OwnDataset

Tick = Callable[[int], None]
_TICK_EVERY = 1000


class Counted:
    """Rows, with a count of how many went by."""

    def __init__(self, rows: Iterable[Row], tick: Tick) -> None:
        self.rows, self.n, self.tick = rows, 0, tick

    def __iter__(self) -> Iterator[Row]:
        for row in self.rows:
            self.n += 1
            if self.n % _TICK_EVERY == 0:
                self.tick(self.n)
            yield row
        self.tick(self.n)


@dataclass(frozen=True)
class Source:
    """A dataset that is open.

    Attributes
    ----------
    location, revision
        Hub id or file name; commit or SHA-256.
    from_cache
        The commit is the local cache's, because the Hub could not be asked.
    rater, order_known
        Who judged, and whether the first response stood first when they did.
    ties, strengths
        What becomes of pairs of equal rating or rank, and whether a difference in rating is a strength.
    rows, items
        What is read, and what it is read into.
    """

    location: str
    revision: str
    from_cache: bool
    rater: str
    order_known: bool
    ties: Ties
    strengths: bool
    rows: Counted
    items: Iterator[Item]


def origin_of(spec: CatalogueDataset | OwnDataset) -> Origin:
    """What a dataset's revision stands for now: a commit of the Hub, or the SHA-256 of a file.

    Raises
    ------
    CellError
        If it cannot be had.
    """
    if isinstance(spec, CatalogueDataset):
        found = entry(spec.name)
        return Origin(found.hub, *hub.resolve("dataset", found.hub, spec.revision or found.default_revision))
    if spec.path is None:
        return Origin(str(spec.hub), *hub.resolve("dataset", str(spec.hub), spec.revision))
    path = Path(spec.path)
    try:
        return Origin(path.name, file_sha256(path))
    except OSError as error:
        raise CellError(f"cannot read {path}: {one_line(error)}") from error


def open_source(spec: CatalogueDataset | OwnDataset, origin: Origin, tick: Tick) -> Source:
    """Open a dataset as the study declares it; `tick` is called with the number of rows read so far.

    Raises
    ------
    CellError
        If it cannot be had, or is not as declared. Reading `items` may raise it, too.
    """
    return _own(spec, origin, tick) if isinstance(spec, OwnDataset) else _catalogue(spec, origin, tick)


def _own(spec: OwnDataset, origin: Origin, tick: Tick) -> Source:
    where = f"dataset {spec.key!r} ({origin.location})"
    if spec.path is not None:
        raw = rows_of(Path(spec.path))
    else:
        raw = iter(hub.load_split(origin.location, origin.revision, spec.load_split, spec.config, spec.data_dir))
    rows = Counted(with_columns(raw, own.columns(spec), where), tick)
    graded = spec.shape == "graded"
    return Source(
        *origin, spec.rater, spec.order_known, spec.ties or "drop", graded, rows, _located(own.read(rows, spec), where)
    )


def _located(items: Iterator[Item], where: str) -> Iterator[Item]:
    """The items; an error that names a row names the dataset, too."""
    try:
        yield from items
    except CellError as error:
        text = str(error)
        raise CellError(f"{where}, {text} (rows count from 0)" if text.startswith("row ") else text) from error


def _catalogue(spec: CatalogueDataset, origin: Origin, tick: Tick) -> Source:
    found = entry(spec.name)
    split = spec.split or found.default_split
    parts = (spec.part,) if spec.part else found.parts or (None,)
    wanted = {part: [pattern.format(part=part, split=split) for pattern in found.files] for part in parts}
    beside = found.beside.files if found.beside else ()
    where = f"dataset {spec.key!r} ({found.hub})"
    patterns = [*(p for ps in wanted.values() for p in ps), *beside]
    folder, held = hub.pull("dataset", found.hub, origin.revision, patterns)
    outcome = spec.outcome or found.default_outcome
    quality = found.quality if spec.quality is None else spec.quality
    at = At(
        row="",
        split=split,
        outcome=outcome,
        quality=tuple(q for q in quality if q != outcome),
        each_annotator=spec.annotators == "each",
        beside=found.beside and _index(found.beside, [folder / f for f in _fitting(held, beside, where)], where),
    )
    pieces = {part: [folder / f for f in _fitting(held, patterns, where)] for part, patterns in wanted.items()}
    for files in pieces.values():
        _check(files, found.columns, found.optional, where)
    rows = Counted((), tick)
    items = _read(found, pieces, at, rows, where)
    graded = found.shape == "graded"
    return Source(*origin, found.rater, found.order_known, spec.ties or "drop", graded, rows, items)


def _fitting(held: Sequence[str], patterns: Sequence[str], where: str) -> list[str]:
    for pattern in patterns:
        if not any(hub.matches(f, pattern) for f in held):
            raise CellError(f"{where} has no file {pattern} at this revision; choose another part, split or revision")
    return [f for f in held if any(hub.matches(f, p) for p in patterns)]


def _index(beside: Beside, paths: Sequence[Path], where: str) -> object:
    _check(paths, beside.columns, {}, where)
    return beside.index(row for path in paths for row in _rows(path, beside.columns, {}, where))


def _check(paths: Sequence[Path], columns: Mapping[str, Kind], optional: Mapping[str, Kind], where: str) -> None:
    """Check the Parquet files' columns before anything is read."""
    for path in paths:
        if path.suffix == ".parquet":
            check_schema(columns, optional, schema_of(path), where)


def _rows(path: Path, columns: Mapping[str, Kind], optional: Mapping[str, Kind], where: str) -> Iterator[Row]:
    if path.suffix == ".parquet":
        there = schema_of(path).names
        return rows_of(path, [*columns, *(name for name in optional if name in there)])
    kind = "jsonl" if path.suffix == ".json" else kind_of(path)
    return checked_rows(rows_of(path, kind=kind), columns, optional, where)


def _read(
    found: Entry, pieces: Mapping[str | None, Sequence[Path]], at: At, counted: Counted, where: str
) -> Iterator[Item]:
    for part, paths in pieces.items():
        told = f"{where}, {part}" if part else where
        counted.rows = (row for path in paths for row in _rows(path, found.columns, found.optional, told))
        name = f"{part} row" if len(pieces) > 1 else "row"
        for i, row in enumerate(counted):
            yield from found.read(row, replace(at, row=f"{name} {i}", part=part))
