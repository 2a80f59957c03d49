"""Does α differ between kinds of comparisons? The chapter of the report on the table `heterogeneity`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.regression.columns import ABSENT, ONE_VALUE
from analysis.regression.heterogeneity import FEWEST_PROMPTS, MOST_VALUES
from analysis.report import figures
from analysis.report.content import records
from analysis.report.figures import svg
from analysis.report.figures.heterogeneity import PANELS
from analysis.report.pictures import Picture
from analysis.report.words import count, fixed, interval, is_number, listed, p_value

Row = dict[str, Any]
Line = tuple[str, ...]
LEVEL = 0.05
TESTS: Line = (
    "Dataset",
    "Base model",
    "Column",
    "α from",
    "Values",
    "F",
    "p",
    "p, Holm",
    "SD between values",
    "Mean α",
)
VALUES: Line = ("Dataset", "Base model", "Column", "Value", "α", "α, drawn towards the mean", "Comparisons", "Prompts")
_WORDS = {
    "source": "source of the two responses",
    "same_source": "whether the sources are the same",
    "disagreement": "disagreement of judges",
}


@dataclass(frozen=True)
class Chapter:
    """The chapter: what is said, the tests, the figure (where anything was compared), and what was not compared."""

    sentences: tuple[str, ...]
    tests: tuple[Line, ...]
    picture: Picture | None
    gaps: tuple[str, ...]
    disagreement: bool
    columns: Line = TESTS


def chapter(heterogeneity: pd.DataFrame, measure: str) -> Chapter | None:
    """Make the chapter from the study's rows under the headline measure; None where there are none.

    Parameters
    ----------
    heterogeneity
        Rows of the table.
    measure
        The headline measure.
    """
    rows = [r for r in records(heterogeneity) if r["measure"] == measure]
    if not rows:
        return None
    tests = [r for r in rows if r["kind"] == "equality"]
    known = [r for r in tests if r["status"] == "ok"]
    return Chapter(
        tuple(_told(rows, known)),
        tuple(_test(r) for r in known),
        _picture(heterogeneity, measure, rows) if any(r["specification"] == "bt" for r in known) else None,
        tuple(_gaps(tests)),
        any(r["column"] == "disagreement" for r in known),
    )


def name_of(column: str) -> str:
    """A column in words."""
    return _WORDS.get(column, column)


def _told(rows: Sequence[Row], tests: Sequence[Row]) -> Iterator[str]:
    """What differs, in plain words: by the raw α, where the test stands after Holm's adjustment."""
    raw = [r for r in tests if r["specification"] == "bt"]
    differing = [r for r in raw if r["p_holm"] < LEVEL]
    for test in differing:
        same = ("dataset", "base_model", "column", "specification")
        mine = [r for r in rows if r["kind"] in ("value", "other") and all(r[k] == test[k] for k in same)]
        mine = sorted((r for r in mine if r["status"] == "ok"), key=lambda r: r["estimate"])
        ends = [f"{fixed(r['estimate'])} ({_between(r)}) in {_named(r)}" for r in (mine[0], mine[-1])]
        yield (
            f"{test['dataset']} under {test['base_model']}: α differs by {name_of(test['column'])} (p after Holm "
            f"{p_value(test['p_holm'])}), from {' to '.join(ends)}."
        )
    if raw and len(differing) < len(raw):
        rest = len(raw) - len(differing)
        yield (
            f"In {rest} of {count(len(raw), 'test')} the differences between values are no larger than chance may "
            "bring (p after Holm at or above 0.05)."
        )


def _between(row: Row) -> str:
    return interval(row["conf_low"], row["conf_high"])


def _test(row: Row) -> Line:
    return (
        row["dataset"],
        row["base_model"],
        name_of(row["column"]),
        row["specification"],
        f"{row['n_values']:.0f}",
        f"{fixed(row['statistic'])} ({row['df_1']:.0f}, {row['df_2']:.0f})",
        p_value(row["p_value"]),
        p_value(row["p_holm"]),
        fixed(row["tau"]),
        f"{fixed(row['estimate'])} ({_between(row)})",
    )


def _named(row: Row) -> str:
    if row["kind"] == "other":
        return f"{row['n_values']:.0f} rarer values together"
    return f"“{row['value']}”" if row["kind"] == "value" else "not compared"


def _value(row: Row) -> Line:
    numbers = (row["status"], "")
    if is_number(row["estimate"]):
        shrunken = f"{fixed(row['shrunken'])} ({interval(row['shrunken_low'], row['shrunken_high'])})"
        numbers = f"{fixed(row['estimate'])} ({_between(row)})", shrunken
    keys = row["dataset"], row["base_model"], name_of(row["column"]), _named(row)
    return (*keys, *numbers, f"{row['n_comparisons']:,}", f"{row['n_prompts']:,}")


def _gaps(tests: Sequence[Row]) -> Iterator[str]:
    """What was not compared in a dataset, and why; the same for all base models is told once."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in tests:
        if row["status"] != "ok":
            columns = found.setdefault(row["dataset"], {}).setdefault(_reason(row["status"]), [])
            if name_of(row["column"]) not in columns:
                columns.append(name_of(row["column"]))
    for dataset, by_reason in found.items():
        yield f"{dataset}: " + "; ".join(f"{reason}: {listed(columns)}" for reason, columns in by_reason.items()) + "."


def _reason(status: str) -> str:
    """A reason in a few words where it is the same for many columns."""
    if status in ABSENT or status.startswith("the dataset has no "):
        return "not in the data"
    return "one value in all" if status == ONE_VALUE else status


def _picture(heterogeneity: pd.DataFrame, measure: str, rows: Sequence[Row]) -> Picture:
    title = "α by kind of comparison"
    shown = [r for r in rows if r["kind"] != "equality" and r["specification"] == "bt"]
    return Picture(
        "heterogeneity",
        "Heterogeneity",
        title,
        "α without controls in the comparisons with one value of a column: by itself (hollow, with its 95 % interval "
        "clustered by prompt) and drawn towards the mean as far as its error is large (filled). The dashed line is the "
        f"mean. Values have {FEWEST_PROMPTS} prompts or more; beyond the {MOST_VALUES} most frequent they are one. At "
        f"most {PANELS} panels are drawn, those with the smallest p; the table has all.",
        svg(figures.heterogeneity(heterogeneity, measure), title),
        VALUES,
        [_value(r) for r in shown],
        4,
    )
