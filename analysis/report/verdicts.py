"""Verdicts in fixed words, decided by stated rules on the estimates: the same rules every run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.report.words import fixed, interval, is_number, p_value, percent

Row = Mapping[str, Any]
LEVEL = 0.05
# The rungs that may decide, from the raw one up; fluency splits typicality and decides nothing.
RUNGS = {"bt": "", "bt_length": "length", "bt_style": "style", "bt_quality": "quality", "bt_source": "source"}


@dataclass(frozen=True)
class Verdict:
    """What the estimates of one cell say.

    Attributes
    ----------
    words
        The verdict, one of the fixed ones.
    kind
        Its short name: none, within, biased, against, explained or open.
    why
        The numbers that decided it.
    rung
        The row of the last rung of the ladder that has a number, and what it holds equal; empty where there is none.
    """

    words: str
    kind: str
    why: str
    rung: Row
    controls: tuple[str, ...]


def definitions(margin: float) -> list[tuple[str, str]]:
    """The verdicts and their rules, in the order in which they are tried."""
    points = points_of(margin)
    last = "the last rung of the ladder (length, style, quality, source) that has a number"
    return [
        ("no estimate", "no rung has a number"),
        (
            f"no bias within ±{points} points",
            f"at {last}, two one-sided tests put the adjusted rate within {points} points of one half (p < {LEVEL})",
        ),
        (
            "typicality-biased",
            f"at {last}, α lies above zero: its 95 % interval does, and p is below {LEVEL} after Holm's adjustment "
            "over the study's cells",
        ),
        ("favours the untypical", "the same below zero"),
        (
            "explained by …",
            "the raw α lies apart from zero in that sense, that of the last rung includes zero, and significantly less "
            "than all of the raw effect is left there; named is the first control from which on α includes zero",
        ),
        (
            "cannot tell",
            "none of these: the sample is too small, the interval excludes zero but p after Holm's adjustment does not "
            "decide (alone, a cell might), or the raw effect and the adjusted one disagree",
        ),
    ]


def points_of(margin: float) -> str:
    """A margin in percentage points."""
    return f"{100 * margin:g}"


def verdict(rows: Mapping[str, Row], margin: float) -> Verdict:
    """Decide one cell.

    Parameters
    ----------
    rows
        The rows of typicality in one slice under one measure, by specification.
    margin
        What counts as no bias: adjusted rates within this distance of one half.
    """
    found = [name for name in RUNGS if is_number(rows.get(name, {}).get("estimate"))]
    if not found:
        status = next((str(rows[name]["status"]) for name in RUNGS if name in rows), "it was not asked for")
        return Verdict("no estimate", "none", status, {}, ())
    last, raw = rows[found[-1]], rows.get("bt", {})
    controls = tuple(RUNGS[name] for name in found if RUNGS[name])
    numbers = f"α {fixed(last['estimate'])}, 95 % interval {interval(last['conf_low'], last['conf_high'])}"
    if is_number(last["p_equivalence"]) and last["p_equivalence"] < LEVEL:
        points = points_of(margin)
        near = f"adjusted rate {percent(last['adjusted_rate'])} %, within {points} points of one half"
        why = f"{near}: p {p_value(last['p_equivalence'])}"
        return Verdict(f"no bias within ±{points} points", "within", why, last, controls)
    side = _side(last)
    if side:
        words, kind = ("typicality-biased", "biased") if side > 0 else ("favours the untypical", "against")
        return Verdict(words, kind, f"{numbers}; p after Holm {p_value(_p(last))}", last, controls)
    reduced = is_number(last["share_left_high"]) and last["share_left_high"] < 1
    if _side(raw) and reduced and _includes_zero(last):
        first = found[-1]
        for name in reversed(found):
            if not _includes_zero(rows[name]):
                break
            first = name
        why = f"{percent(last['share_left'])} % of the raw effect is left: {numbers}"
        return Verdict(f"explained by {RUNGS[first]}", "explained", why, last, controls)
    if not _includes_zero(last):
        numbers += f", which excludes zero; p after Holm {p_value(_p(last))}, which takes all cells into account"
    return Verdict("cannot tell", "open", numbers, last, controls)


def _p(row: Row) -> Any:
    return row["p_holm"] if is_number(row["p_holm"]) else row["p_value"]


def _includes_zero(row: Row) -> bool:
    return bool(row["conf_low"] <= 0 <= row["conf_high"])


def _side(row: Row) -> int:
    """On which side of zero α lies, 0 where that cannot be said."""
    if not is_number(row.get("estimate")) or _includes_zero(row) or not _p(row) < LEVEL:
        return 0
    return 1 if row["estimate"] > 0 else -1
