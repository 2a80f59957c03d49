"""`typicality clean`: what superseded runs and scores take up, and their removal."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis.housekeeping import Removal, age, plan, remove, total
from analysis.outputs import Outputs
from analysis.report.words import count, size
from flows.listing import emit


def clean_folder(outputs: Outputs, older_than: str, studies: Sequence[str], yes: bool, as_json: bool) -> None:
    """Print what may go from an output folder; remove it where that is asked for.

    Parameters
    ----------
    older_than
        An age such as `30d`.
    studies
        Only these studies; all where there is none.
    yes
        Remove it.

    Raises
    ------
    TypicalityError
        If the age, the folder or a study is none, or something cannot be read or removed.
    """
    limit = age(older_than)
    # Asked first without the lock, because taking that makes the folder where there is none.
    removals = _plan(outputs, limit, studies)
    if yes:
        with outputs.lock("typicality clean", lambda text: click.echo(text, err=True)):
            # A run may have ended since, and use what was superseded.
            removals = _plan(outputs, limit, studies)
            remove(outputs, removals)
    if as_json:
        click.echo(json.dumps(_as_json(outputs, removals, yes), indent=2, ensure_ascii=False))
    else:
        _show(outputs, removals, older_than, yes)


def _plan(outputs: Outputs, older_than: timedelta, studies: Sequence[str]) -> list[Removal]:
    return plan(outputs, older_than, datetime.now(UTC), studies)


def _as_json(outputs: Outputs, removals: Sequence[Removal], yes: bool) -> dict[str, Any]:
    n_files, n_bytes = total(removals)
    listed = [
        {
            "kind": one.kind,
            "name": one.name,
            "why": one.why,
            "paths": [path.relative_to(outputs.root).as_posix() for path in one.paths],
            "files": one.n_files,
            "bytes": one.n_bytes,
        }
        for one in removals
    ]
    return {"removed": yes, "files": n_files, "bytes": n_bytes, "removals": listed}


def _show(outputs: Outputs, removals: Sequence[Removal], older_than: str, yes: bool) -> None:
    """Print a line for each thing; narrow enough for a terminal of 80 columns."""
    console = Console(highlight=False)
    if not removals:
        emit(console, escape(f"Nothing in {outputs.root} is superseded and older than {older_than}."))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("What", "Why"):
        table.add_column(column, overflow="fold")
    for column in ("Files", "Size"):
        table.add_column(column, no_wrap=True, justify="right")
    for one in removals:
        table.add_row(escape(f"{one.kind} {one.name}"), escape(one.why), f"{one.n_files:,}", size(one.n_bytes))
    n_files, n_bytes = total(removals)
    told = f"{count(n_files, 'file')}, {size(n_bytes)}"
    end = f"Removed {told}." if yes else f"Nothing was removed: this would free {told}. Add --yes to remove it."
    emit(console, table, "", escape(end))
