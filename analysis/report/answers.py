"""The answer first: what the estimates say of each dataset, in plain words with numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from analysis.likelihood.measures import MEASURES
from analysis.report.content import Cell, Content, records
from analysis.report.forecast import sentence
from analysis.report.verdicts import RUNGS, Verdict, verdict
from analysis.report.words import fixed, interval, is_number, listed, number, p_value, percent, percent_interval

Row = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What one cell says: a verdict, and sentences."""

    dataset: str
    base_model: str
    verdict: Verdict
    sentences: tuple[str, ...]


def answers(content: Content, forecasts: pd.DataFrame) -> list[Answer]:
    """An answer for every cell, with a sentence on what training would do where the rows of `forecasts` say it."""
    unit, rows = MEASURES[content.measure].unit, records(forecasts)
    made = [answer(c.dataset, c.base_model, c.rows, content.study.margin, unit) for c in content.cells]
    told = [sentence(rows, a.dataset, a.base_model, content.measure) for a in made]
    return [replace(a, sentences=(*a.sentences, *([s] if s else []))) for a, s in zip(made, told, strict=True)]


def answer(dataset: str, base_model: str, rows: Mapping[str, Row], margin: float, unit: str) -> Answer:
    """Put one cell in words.

    Parameters
    ----------
    dataset, base_model
        Its labels.
    rows
        The rows of typicality of all comparisons under the headline measure, by specification.
    margin
        The study's margin of no bias.
    unit
        Unit of the measure.
    """
    found = verdict(rows, margin)
    sentences = (
        *_rate(rows.get("rate", {})),
        *_graded(rows),
        *_length(rows.get("bt_length", {}), found),
        *_adjusted(found),
        *_sure(found, unit),
        *_prefers(rows.get("entropy_vuong", {})),
        *_uncontrolled(rows, found),
    )
    return Answer(dataset, base_model, found, sentences)


def in_short(cell: Cell, margin: float) -> str:
    """One cell in a line: its verdict, its rate, and the rate where as much as can be is held equal."""
    found, rate = verdict(cell.rows, margin), cell.rate
    rates = f"{percent(rate['estimate'])} % ({percent_interval(rate['conf_low'], rate['conf_high'])} %)"
    if found.controls and is_number(found.rung.get("adjusted_rate")):
        rates += f"; with {listed(found.controls)} equal {_between(found.rung)}"
    return f"{cell.dataset} under {cell.base_model}: {found.words}; {rates}"


def _rate(row: Row) -> Iterator[str]:
    if is_number(row.get("estimate")):
        yield (
            f"The more typical response is preferred in {percent(row['estimate'])} % of {row['n_comparisons']:,} "
            f"comparisons (95 % interval {percent_interval(row['conf_low'], row['conf_high'])} %; 50 % is no bias)."
        )


def _graded(rows: Mapping[str, Row]) -> Iterator[str]:
    """Say so where strength or ties tell the opposite of the winners alone."""
    winners = rows.get("bt", {})
    for name, what in (("ordered", "how strongly they are preferred"), ("ties", "ties")):
        row = rows.get(name, {})
        if _sign(row) * _sign(winners) < 0:
            yield (
                f"Counting {what}, too, turns the sign: α is {fixed(row['estimate'])} "
                f"({interval(row['conf_low'], row['conf_high'])}), and {fixed(winners['estimate'])} "
                f"({interval(winners['conf_low'], winners['conf_high'])}) by winners alone."
            )


def _sign(row: Row) -> int:
    """The side of zero on which the interval lies; 0 where it includes zero, or there is none."""
    if not is_number(row.get("estimate")):
        return 0
    return int(row["conf_low"] > 0) - int(row["conf_high"] < 0)


def _length(row: Row, found: Verdict) -> Iterator[str]:
    """What length alone leaves, where more is held equal in the end."""
    if len(found.controls) > 1 and is_number(row.get("adjusted_rate")):
        yield f"With length alone equal it would be in {_between(row)}."


def _between(row: Mapping[str, Any]) -> str:
    interval = percent_interval(row["adjusted_rate_low"], row["adjusted_rate_high"])
    return f"{percent(row['adjusted_rate'])} % ({interval} %)"


def _adjusted(found: Verdict) -> Iterator[str]:
    row = found.rung
    if not found.controls or not is_number(row.get("adjusted_rate")):
        return
    left = ""
    if is_number(row["share_left"]):
        left = (
            f": {percent(row['share_left'], 0)} % of the raw effect is left "
            f"({percent_interval(row['share_left_low'], row['share_left_high'], 0)} %)"
        )
    yield f"With {listed(found.controls)} equal it would be in {_between(row)}{left}."


def _sure(found: Verdict, unit: str) -> Iterator[str]:
    row = found.rung
    if found.kind == "open" and is_number(row.get("minimum_detectable")):
        yield (
            f"A sample of this size finds, with a probability of 80 %, an α of {number(row['minimum_detectable'], 2)} "
            f"or more per unit of the measure ({unit}); here α is {fixed(row['estimate'])}."
        )


def _prefers(row: Mapping[str, Any]) -> Iterator[str]:
    """Which of two measures the labels prefer, where that can be said."""
    if not is_number(row.get("estimate")) or row["conf_low"] <= 0 <= row["conf_high"]:
        return
    first, second = "how typical a response is", "how near its surprisal is to the base model's entropy"
    if row["estimate"] < 0:
        first, second = second, first
    gain = f"{number(abs(row['estimate']), 2)} nats a comparison, p {p_value(row['p_value'])}"
    yield f"{first[0].upper()}{first[1:]} predicts the labels better than {second}, each by itself ({gain})."


def _uncontrolled(rows: Mapping[str, Row], found: Verdict) -> Iterator[str]:
    missing = [
        f"{RUNGS[name]} ({rows[name]['status']})"
        for name in RUNGS
        if name in rows and RUNGS[name] and not is_number(rows[name].get("estimate"))
    ]
    if missing and found.kind != "none":
        yield f"Not held equal: {listed(missing)}."
