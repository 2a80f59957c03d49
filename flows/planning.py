"""`typicality plan`: what a run would do, and why."""

import json
from dataclasses import asdict

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis.earlier import SCORE
from analysis.outputs import Outputs
from analysis.planning import Planned, plan
from analysis.report.words import count, seconds
from analysis.study import Study
from flows import progress
from flows.listing import emit


def plan_study(study: Study, outputs: Outputs, as_json: bool) -> bool:
    """Print what a run of a study would do.

    Returns
    -------
    bool
        Whether nothing is known to fail.
    """
    steps = plan(study, outputs, lambda text: progress.console.print(f"{text} …", markup=False))
    if as_json:
        click.echo(json.dumps([asdict(step) for step in steps], indent=2, ensure_ascii=False))
    else:
        _show(study, steps)
    return not any(step.error for step in steps)


def _show(study: Study, steps: list[Planned]) -> None:
    """Print the steps; narrow enough for a terminal of 80 columns."""
    console = Console(highlight=False)
    if not steps:
        emit(console, f"Nothing to do: the tables and the report of study {study.name} are up to date.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Step", no_wrap=True)
    table.add_column("Of", overflow="fold")
    table.add_column("Why", overflow="fold")
    for step in steps:
        table.add_row(step.stage if step.why or step.error else "keep", escape(_of(step)), escape(_why(step)))
    emit(console, table, "", _total(steps))


def _of(step: Planned) -> str:
    return f"{step.dataset}{' × ' if step.dataset and step.base_model else ''}{step.base_model}"


def _why(step: Planned) -> str:
    if step.error:
        return f"will fail: {step.error}"
    if step.why is None:
        return f"{step.stage}: nothing changed"
    found = f"; {count(step.n_comparisons, 'comparison')}" if step.n_comparisons else ""
    if step.stage == SCORE:
        found = f"; {_scoring(step)}"
    return f"{step.why}{found}"


def _scoring(step: Planned) -> str:
    if not step.n_texts:
        return "every text has a score already"
    return f"{count(step.n_texts, 'text')} without a score, about {count(step.n_tokens, 'token')}"


def _total(steps: list[Planned]) -> str:
    scoring = [step for step in steps if step.n_texts]
    if not scoring:
        return "Nothing is to be scored."
    total = f"To score: about {count(sum(step.n_tokens for step in scoring), 'token')}"
    known = [step for step in scoring if step.seconds is not None]
    if not known:
        return f"{total}; how long that takes here is not known before a first run."
    took = seconds(sum(step.seconds or 0.0 for step in known))
    part = "" if len(known) == len(scoring) else " for those whose speed is known"
    return f"{total}, about {took} here{part} (by {', '.join(sorted({step.speed_from for step in known}))})."
