"""`typicality compare`: what changed from one run to another."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import click
import pandas as pd
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from analysis import tables
from analysis.errors import StudyError
from analysis.outputs import Outputs
from analysis.report.changes import Change, Changes, Key, Move, SourceChange, changes
from analysis.report.content import latest_run
from analysis.report.words import MISSING, count, fixed
from flows.listing import emit

SHOWN = 20
SHOWN_OTHERS = 5
LISTED = 8
_ERRORS = "Errors: the difference over the larger of the two standard errors. The runs share data, so it is no test."


def compare_runs(before: str, after: str, outputs: Outputs, as_json: bool) -> None:
    """Print what changed from one run to another.

    Parameters
    ----------
    before, after
        A run's id, the beginning of one, or the name of a study for its latest run.

    Raises
    ------
    StudyError
        If one of them is no run, several, or both are the same.
    """
    runs = tables.read("runs", outputs.root, columns=["run_id", "study", "started"])
    first, second = (_resolved(name, runs, outputs) for name in (before, after))
    if first == second:
        raise StudyError(f"{before!r} and {after!r} are the same run, {first}; {_choice(runs)}")
    found = changes(outputs, first, second)
    if as_json:
        click.echo(json.dumps(_as_json(found), indent=2, ensure_ascii=False))
    else:
        _show(found)


def _resolved(name: str, runs: pd.DataFrame, outputs: Outputs) -> str:
    ids: list[str] = sorted(runs["run_id"])
    if name in ids:
        return name
    if name in set(runs["study"]):
        return latest_run(outputs, name)
    begun = [run_id for run_id in ids if name and run_id.startswith(name)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        raise StudyError(f"{name!r} is the beginning of {len(begun)} runs: {_listed(begun)}; give more of the id")
    raise StudyError(f"{outputs.root} holds no run or study {name!r}; {_choice(runs)}")


def _choice(runs: pd.DataFrame) -> str:
    """What there is to compare, the newest first."""
    if runs.empty:
        return "it holds no run at all: make one with typicality run"
    ordered = runs.sort_values(["started", "run_id"], ascending=False)
    return f"there are {_listed([f'{row.run_id} of {row.study}' for row in ordered.itertuples()])}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more:,} more" if more > 0 else "")


def _as_json(found: Changes) -> dict[str, Any]:
    return asdict(found) | {"new_cells": found.new_cells, "gone_cells": found.gone_cells}


def _show(found: Changes) -> None:
    """Print all sections; narrow enough for a terminal of 80 columns."""
    console = Console(highlight=False)
    emit(console, *_heading(found))
    if found.nothing:
        emit(console, f"Nothing changed: {count(len(found.estimates), 'estimate')} in both, all the same.")
    for section in (_sources, _settings, _moves, _turned, _presence):
        shown = list(section(found))
        if shown:
            emit(console, "", *shown)


def _heading(found: Changes) -> Iterator[RenderableType]:
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(2):
        table.add_column(overflow="fold")
    for word, side in (("before", found.before), ("after", found.after)):
        state = "" if side.state == "completed" else f" ({side.state})"
        table.add_row(f"[cyan]{word}[/]", escape(f"{side.study}, run {side.run_id}, {side.started}{state}"))
    yield table


def _sources(found: Changes) -> Iterator[RenderableType]:
    if found.sources:
        yield "[bold]Datasets and base models[/]"
    for source in found.sources:
        yield escape(f"{source.kind} {source.name}: {_word(source)}")
        if source.facts:
            yield _pairs(source.facts)


def _word(source: SourceChange) -> str:
    told = {"lost": "could be used before, not after", "back": "can be used again"}
    return told.get(source.change, source.change)


def _settings(found: Changes) -> Iterator[RenderableType]:
    for title, pairs in (("Settings", found.settings), ("Code and packages", found.software)):
        if pairs:
            yield f"[bold]{title}[/]"
            yield _pairs(pairs)


def _pairs(pairs: Sequence[Change]) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("  What", "Before", "After"):
        table.add_column(column, overflow="fold")
    for pair in pairs:
        first, second = _values(pair)
        table.add_row(escape(f"  {pair.name}"), escape(first), escape(second))
    return table


def _values(pair: Change) -> tuple[str, str]:
    """Both values; of lists, what only one of them holds, unless they differ in order alone."""
    if isinstance(pair.before, list) and isinstance(pair.after, list):
        only = [x for x in pair.before if x not in pair.after], [x for x in pair.after if x not in pair.before]
        if any(only):
            return _value(only[0] or None, "without "), _value(only[1] or None, "with ")
    return _value(pair.before), _value(pair.after)


def _value(value: Any, lead: str = "") -> str:
    if value is None:
        return MISSING
    if isinstance(value, list):
        return lead + (", ".join(map(str, value)) or "none")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # A commit or a SHA-256 is told apart by its beginning.
    return text[:12] if len(text) in (40, 64) and set(text) <= set("0123456789abcdef") else text


def _moves(found: Changes) -> Iterator[RenderableType]:
    if not found.moved:
        return
    named = _naming(found)
    n = sum(m.difference is not None for m in found.estimates)
    yield f"[bold]Estimates that moved[/]: {len(found.moved):,} of {n:,} with a number in both runs"
    for title, wanted, shown in (("Typicality", True, SHOWN), ("Controls and placebos", False, SHOWN_OTHERS)):
        moves = [m for m in found.moved if m.key.of_interest == wanted]
        if moves:
            yield _table_of_moves(title, moves[:shown], named)
        if len(moves) > shown:
            yield _more(len(moves) - shown)
    yield _ERRORS


def _table_of_moves(title: str, moves: Sequence[Move], named: Callable[[Key], str]) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("Errors", "Before", "After", "Difference"):
        table.add_column(column, no_wrap=True, justify="right")
    table.add_column(title, overflow="fold")
    for move in moves:
        difference = fixed(move.difference, 3)
        table.add_row(
            _errors(move),
            fixed(move.before, 3),
            fixed(move.after, 3),
            difference if difference.startswith("−") else f"+{difference}",
            escape(named(move.key)),
        )
    return table


def _errors(move: Move) -> str:
    return MISSING if move.in_errors is None else f"{move.in_errors:+.2f}".replace("-", "−")


def _turned(found: Changes) -> Iterator[RenderableType]:
    if not found.turned:
        return
    named = _naming(found)
    yield f"[bold]Estimates whose status changed[/]: {len(found.turned):,}"
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("Estimate", "Before", "After"):
        table.add_column(column, overflow="fold")
    for move in found.turned[:SHOWN]:
        table.add_row(*map(escape, (named(move.key), move.status_before, move.status_after)))
    yield table
    if len(found.turned) > SHOWN:
        yield _more(len(found.turned) - SHOWN)


def _more(n: int) -> str:
    return f"{n:,} more: --json prints all"


def _naming(found: Changes) -> Callable[[Key], str]:
    """How to name an estimate: with those parts of its key that are not the same for all."""
    keys = [m.key for m in found.estimates]
    several = {
        part: len({getattr(k, part) for k in keys}) > 1 for part in ("dataset", "base_model", "measure", "slice")
    }

    def name(key: Key) -> str:
        cell = " × ".join(getattr(key, part) for part in ("dataset", "base_model") if several[part])
        where = ", ".join(getattr(key, part) for part in ("measure", "slice") if several[part])
        what = key.specification if key.of_interest else f"{key.specification} {key.term}"
        return "; ".join(part for part in (what, cell, where) if part)

    return name


def _presence(found: Changes) -> Iterator[RenderableType]:
    for word, keys, cells in (("New", found.new, found.new_cells), ("Gone", found.gone, found.gone_cells)):
        if not keys:
            continue
        yield f"[bold]{word}[/]: {count(len(keys), 'estimate')}"
        for cell in cells:
            n = sum((k.dataset, k.base_model) == cell for k in keys)
            yield escape(f"  cell {cell[0]} × {cell[1]}: {count(n, 'estimate')}")
        others = Counter(k.specification for k in keys if (k.dataset, k.base_model) not in cells)
        if others:
            yield escape("  in cells of both: " + ", ".join(f"{n:,} of {name}" for name, n in others.items()))
