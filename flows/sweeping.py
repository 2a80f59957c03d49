"""`typicality temperature`: entropy and diversity of a base model's draws against temperature."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from analysis import tables
from analysis.collapse.drawing import Plan
from analysis.collapse.requests import prompts
from analysis.collapse.sweep import (
    AT_1,
    BEYOND,
    DRAWN,
    EMPTY,
    ENDED,
    ENTROPY,
    LENGTH,
    LOGPROB,
    OWN,
    Sweep,
    definition,
    rows,
    sweep,
)
from analysis.errors import StudyError
from analysis.likelihood.texts import BaseModel
from analysis.outputs import Outputs
from analysis.report.words import count, fixed, percent
from analysis.study import base_model as validated
from flows import progress
from flows.keeping import keep, keys, named
from flows.listing import emit

Row = Mapping[str, Any]
_ENTROPIES = {ENTROPY: "Fixed contexts", DRAWN: "Own draws", BEYOND: "Beyond"}
_DRAWS = {
    **{AT_1: "H at T=1", LOGPROB: "log p", LENGTH: "Tokens", ENDED: "Ended, %", "repetition": "Repeats, %"},
    **{"distinct_2": "dist-2", "self_bleu": "S-BLEU", "vendi": "Vendi"},
}
_PERCENT = (ENDED, EMPTY, "repetition")


@dataclass(frozen=True)
class Options:
    """What is asked for."""

    base_model: Mapping[str, Any]
    temperatures: str
    samples: int
    max_tokens: int
    seed: int
    template: str
    prompt: str
    response: str | None
    limit: int | None
    name: str | None
    draws: Path | None
    figure: Path | None


def measure(path: Path, asked: Options, outputs: Outputs, as_json: bool) -> None:
    """Sweep the temperature, keep the table, and print it.

    Raises
    ------
    StudyError
        If the file, a column, the temperatures or the base model are not what they must be.
    """
    name, spec = named(asked.name, path), validated(dict(asked.base_model))
    plan = Plan(temperatures(asked.temperatures), asked.samples, asked.max_tokens, asked.seed)
    read = prompts(path, asked.prompt, asked.response, asked.limit, asked.seed)
    with progress.stage(f"draw from {spec.key}", unit="prompts") as tick:
        base_model = BaseModel.of(spec, asked.template)
        found = sweep(read, base_model, plan, tick)
    made, told = rows(found), keys(name, path, base_model)
    (kept,) = keep(outputs, {"temperature": made}, told)
    progress.console.print(f"table: {kept}", markup=False)
    if asked.draws is not None:
        tables.write_text(asked.draws, "".join(f"{line}\n" for line in _drawn(found)))
    if asked.figure is not None:
        tables.write_text(asked.figure, _figure(made, told))
    if as_json:
        click.echo(json.dumps([{**told, **row} for row in made], indent=2, ensure_ascii=False))
    else:
        emit(Console(highlight=False), *_shown(found, made, told))


def temperatures(text: str) -> tuple[float, ...]:
    """Temperatures from a list with commas, rising.

    Raises
    ------
    StudyError
        If one is no number above zero, or stands there twice.
    """
    try:
        found = sorted(float(part) for part in text.split(","))
    except ValueError as error:
        raise StudyError(f"--temperatures is {text!r}; give numbers with commas between, such as 0.3,1,2") from error
    if not all(0 < t < float("inf") for t in found):
        raise StudyError(f"--temperatures is {text!r}; every temperature must be above zero (0.01 is nearly greedy)")
    if len(set(found)) < len(found):
        raise StudyError(f"--temperatures is {text!r}, which names one twice")
    return tuple(found)


def _drawn(found: Sweep) -> Iterator[str]:
    """Every draw as a line of JSON, as `typicality diversity` and `typicality monitor` read them."""
    for one, mine in zip(found.prompts, found.draws, strict=True):
        turns = one.prompt
        plain = len(turns) == 1 and turns[0].role == "user"
        prompt: Any = turns[0].content if plain else [turn._asdict() for turn in turns]
        for temperature, drawn in zip(found.plan.temperatures, mine, strict=True):
            for d in drawn:
                row = {"prompt": prompt, "response": d.text, "group": f"T={temperature:g}", "ended": d.ended}
                yield json.dumps(row, ensure_ascii=False)


def _figure(made: Sequence[Row], told: Row) -> str:
    import pandas as pd

    from analysis.report import figures

    frame = pd.DataFrame([{**told, **row} for row in made])
    return figures.svg(figures.temperature(frame), f"Entropy and diversity of {told['base_model']} against temperature")


def _shown(found: Sweep, made: Sequence[Row], told: Row) -> Iterator[RenderableType]:
    plan, contexts = found.plan, found.contexts if found.contexts == OWN else "responses of the file"
    yield (
        f"[bold]{escape(told['base_model'])}[/]: {count(len(found.prompts), 'prompt')} of {escape(told['file'])}, "
        f"{count(plan.samples, 'draw')} each of at most {count(plan.n_tokens, 'token')} at every temperature"
    )
    at = {(row["temperature"], row["quantity"]): row for row in made if row["other_temperature"] is None}
    yield ""
    yield "[bold]Next-token entropy, nats a token[/] (95 % intervals over prompts)"
    yield _entropies(plan, at)
    if all(row["conf_low"] is None for row in at.values()):
        yield "No intervals: too few prompts."
    yield f"Fixed contexts: {contexts}, exact from the logits. Beyond: what own draws add to that, or take away."
    yield from _sentences(made)
    yield ""
    yield "[bold]The draws[/] (means over prompts)"
    yield _draws(plan, at)
    for name in (AT_1, LOGPROB, "repetition", "self_bleu"):
        yield f"{_DRAWS[name].removesuffix(', %')}: {definition(name)}."
    for reason, n in found.left_out.items():
        yield f"Left out: {n:,}, because {escape(reason)}."


def _entropies(plan: Plan, at: Mapping[tuple[float, str], Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("T", no_wrap=True, justify="right")
    for title in _ENTROPIES.values():
        table.add_column(title, no_wrap=True)
    for t in plan.temperatures:
        table.add_row(f"{t:g}", *(_with_interval(at[t, name]) for name in _ENTROPIES))
    return table


def _with_interval(row: Row) -> str:
    if row["estimate"] is None:
        return "—"
    value, low, high = (row[name] for name in ("estimate", "conf_low", "conf_high"))
    return _plain(value) if low is None else f"{_plain(value)} ({_plain(low)} to {_plain(high)})"


def _plain(value: float) -> str:
    """A number with two decimals, whatever stands behind them: differences may be rounding alone."""
    # Adding zero turns −0 into 0.
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def _draws(plan: Plan, at: Mapping[tuple[float, str], Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("T", *_DRAWS.values()):
        table.add_column(title, no_wrap=True, justify="right")
    for t in plan.temperatures:
        values = ((name, at[t, name]["estimate"]) for name in _DRAWS)
        table.add_row(f"{t:g}", *(percent(x, 1) if name in _PERCENT else fixed(x, 2) for name, x in values))
    return table


def _sentences(made: Sequence[Row]) -> Iterator[str]:
    """What the entropy along the draws does from each temperature to the next: measured, never assumed."""
    steps = [row for row in made if row["other_temperature"] is not None and row["quantity"] == DRAWN]
    falls = [row for row in steps if row["estimate"] is not None and row["estimate"] < 0]
    yield "For fixed contexts entropy cannot fall as T rises: dH/dT = Var(logits) / T³, a theorem."
    if steps and not falls:
        yield "Along the draws it rises from every temperature to the next, too."
    for row in falls:
        known = row["conf_high"] is not None
        clear = "" if known and row["conf_high"] < 0 else "; the interval does not exclude that it rises"
        yield (
            f"Along the draws it falls from T = {row['other_temperature']:g} to {row['temperature']:g}: "
            f"{_with_interval(row)}{clear}."
        )
