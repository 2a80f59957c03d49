"""`typicality plan`: what a run would do, and why."""

import json
from collections.abc import Iterator
from dataclasses import asdict

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis.earlier import SCORE
from analysis.outputs import Outputs
from analysis.planning import NO_OFFER, Offer, Planned, plan
from analysis.report.words import count, seconds
from analysis.study import Study
from flows import progress
from flows.listing import emit


def plan_study(study: Study, outputs: Outputs, as_json: bool, offer: Offer) -> bool:
    """Print what a run of a study would do.

    Returns
    -------
    bool
        Whether nothing is known to fail.
    """
    steps = plan(study, outputs, lambda text: progress.console.print(f"{text} …", markup=False), offer)
    if as_json:
        click.echo(json.dumps([asdict(step) for step in steps], indent=2, ensure_ascii=False))
    else:
        _show(study, steps, offer)
    return not any(step.error for step in steps)


def _show(study: Study, steps: list[Planned], offer: Offer) -> None:
    """Print the steps; narrow enough for a terminal of 80 columns."""
    console = Console(highlight=False)
    notes = [f"{step.base_model}: {step.note}." for step in steps if step.note]
    steps = [step for step in steps if not step.note]
    if not steps:
        emit(console, f"Nothing to do: the tables and the report of study {study.name} are up to date.", *notes)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Step", no_wrap=True)
    table.add_column("Of", overflow="fold")
    table.add_column("Why", overflow="fold")
    for step in steps:
        table.add_row(step.stage if step.why or step.error else "keep", escape(_of(step)), escape(_why(step)))
    emit(console, table, "", _total(steps), *_on_endpoints(study, steps, offer), *notes)


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
        failing = any(step.error for step in steps)
        return "Of what can be planned nothing is to be scored." if failing else "Nothing is to be scored."
    total = f"To score: about {count(sum(step.n_tokens for step in scoring), 'token')}"
    known = [step for step in scoring if step.seconds is not None]
    if not known:
        return f"{total}; how long that takes is not known before a first run."
    took = seconds(sum(step.seconds or 0.0 for step in known))
    part = "" if len(known) == len(scoring) else " for those whose speed is known"
    return f"{total}, about {took}{part} (by {', '.join(sorted({step.speed_from for step in known}))})."


def _on_endpoints(study: Study, steps: list[Planned], offer: Offer) -> Iterator[str]:
    """What scoring takes on an endpoint, where one is in the study or a price or a speed is stated."""
    used = {spec.key for spec in study.base_models if spec.endpoint}
    told = [s for s in steps if s.n_texts and (s.base_model in used or offer != NO_OFFER)]
    if told:
        yield endpoint_estimate(
            sum(step.n_tokens_sent for step in told),
            _sum([step.dollars for step in told]),
            _sum([step.endpoint_seconds for step in told]),
        )


def endpoint_estimate(n_tokens: int, dollars: float | None, took: float | None) -> str:
    """Tokens, cost and time of an endpoint, in a sentence."""
    cost = "; no price is stated" if dollars is None else f", which cost about ${dollars:,.2f} at the stated price"
    time = "" if took is None else f" and take about {seconds(took)}"
    return f"On an endpoint: about {count(n_tokens, 'token')} (each response with its prompt){cost}{time}."


def _sum(values: list[float | None]) -> float | None:
    """Their sum; None where one is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
