"""`typicality datasets`: the catalogue, and all about one of its entries."""

import json
from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from analysis.preferences.catalogue import Entry, entries, entry

_WIDE = 400
_COLUMNS = ("name", "hub", "shape", "rater", "size", "licence", "labels")
_TOLD = (
    *(*_COLUMNS, "splits", "parts", "outcomes", "ratings", "quality"),
    *("individual", "order_known", "citation", "defects"),
)


def show_catalogue() -> None:
    """Print the catalogue as a table: what a terminal has room for, else in full width."""
    console, wide = Console(highlight=False), Console(width=_WIDE)
    n = len(_COLUMNS)
    while console.is_terminal and n > 1 and wide.measure(_catalogue(n)).maximum > console.width:
        n -= 1
    (console if console.is_terminal else wide).print(_catalogue(n))


def _catalogue(n_columns: int) -> Table:
    """Its first columns; the rest is in what is told of one entry."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in _COLUMNS[:n_columns]:
        table.add_column(column.capitalize() if column != "hub" else "Hub id", no_wrap=True)
    for e in entries().values():
        table.add_row(*(escape(getattr(e, column)) for column in _COLUMNS[:n_columns]))
    return table


def as_json(names: Sequence[str]) -> str:
    """What the catalogue says of datasets, as JSON.

    Raises
    ------
    StudyError
        If one of them is not in the catalogue.
    """
    return json.dumps([{field: getattr(entry(name), field) for field in _TOLD} for name in names], indent=2)


def show_entry(name: str) -> None:
    """Print all about one dataset.

    Raises
    ------
    StudyError
        If it is not in the catalogue.
    """
    found = entry(name)
    emit(Console(highlight=False), block(found.name, about(found)))


def emit(console: Console, *renderables: RenderableType) -> None:
    """Print; where it does not go to a terminal, without the spaces that fill up lines."""
    if console.is_terminal:
        console.print(*renderables, sep="\n")
        return
    with console.capture() as captured:
        console.print(*renderables, sep="\n")
    console.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def about(found: Entry) -> Iterator[tuple[str, str]]:
    """What the catalogue says of a dataset, as labels and values."""
    yield "Hub id", f"{found.hub}{' (its Parquet conversion)' if found.converted else ''}"
    yield "size", found.size
    yield "shape", found.shape
    yield "labels", found.labels
    first = "a was seen first" if found.order_known else "which response they saw first is not recorded"
    yield "raters", f"{found.rater}; {first}"
    for what, values in (
        ("splits", found.splits),
        ("parts", found.parts),
        ("outcomes", found.outcomes),
        ("ratings", found.ratings),
        ("quality", found.quality),
    ):
        default = {"parts": "all", "splits": "the first", "outcomes": "the first"}.get(what)
        if values:
            yield what, f"{', '.join(values)}{f' ({default} by default)' if default and len(values) > 1 else ''}"
    if found.individual:
        yield "annotators", 'each annotator\'s own judgement with annotators = "each"'
    yield "licence", found.licence
    yield "cite", found.citation
    for defect in found.defects:
        yield "known", defect


def block(title: str, rows: Iterator[tuple[str, str]]) -> RenderableType:
    """A title over labels and values."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows:
        table.add_row(escape(label), escape(value))
    return Group(Text(title, style="bold"), Padding(table, (0, 0, 0, 2)))
