"""The rows of a table that a figure draws, cell by cell."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.likelihood.measures import MEASURES
from analysis.regression.part import TYPICALITY

Row = Mapping[str, Any]
NORMAL = 1.96

# The control ladder in words, from the raw estimate down; verdicts stop before fluency.
RUNGS = {
    "bt": "raw",
    "bt_length": "length",
    "bt_style": "style",
    "bt_quality": "quality",
    "bt_source": "source",
    "bt_fluency": "fluency",
}


class Interval(NamedTuple):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Cell:
    """A dataset under a base model, with its rows of `estimates` in one measure and slice."""

    dataset: str
    base_model: str
    rows: tuple[Row, ...] = ()

    def all(self, specification: str) -> list[Row]:
        """Every row of a specification, in the table's order."""
        return [r for r in self.rows if r["specification"] == specification]

    def row(self, specification: str, term: str | None = TYPICALITY) -> Row | None:
        """The first row of a specification and term (None: of any term) that has a number."""
        for row in self.all(specification):
            if term in (None, row["term"]) and number(row, "estimate") is not None:
                return row
        return None

    def estimate(self, specification: str) -> Interval | None:
        """The coefficient of typicality with its interval."""
        row = self.row(specification)
        return interval(row) if row else None

    def reason(self, specifications: Iterable[str]) -> str:
        """Why there is no number."""
        stated = (r["status"] for name in specifications for r in self.all(name) if r["status"] != "ok")
        return next(stated, "not fitted")


def number(row: Row, column: str) -> float | None:
    """A finite number of a row, or None."""
    value = row.get(column)
    return float(value) if pd.notna(value) and np.isfinite(value) else None


def interval(row: Row) -> Interval | None:
    """The estimate of a row with its interval, where all three are finite."""
    found = [number(row, name) for name in ("estimate", "conf_low", "conf_high")]
    return Interval(*(x for x in found if x is not None)) if None not in found else None


def marginal(row: Row) -> Interval | None:
    """The average marginal effect of a row with its interval.

    The interval takes as many standard errors as the coefficient's own does (t with the clusters' degrees of freedom),
    and 1.96 where that is not known.
    """
    value, error = number(row, "marginal_effect"), number(row, "marginal_effect_std_error")
    if value is None or error is None:
        return None
    coefficient, coefficient_error = interval(row), number(row, "std_error")
    t = (coefficient.high - coefficient.value) / coefficient_error if coefficient and coefficient_error else NORMAL
    return Interval(value, value - t * error, value + t * error)


def check(frame: pd.DataFrame, table: str, columns: Iterable[str]) -> None:
    """Raise ValueError, saying what is missing, unless a frame holds rows of one study with these columns."""
    if frame.empty:
        raise ValueError(f"there is nothing to draw: the frame of {table} has no row")
    lacks = [name for name in columns if name not in frame.columns]
    if lacks:
        raise ValueError(f"the frame is not of the table {table}: it lacks the columns {', '.join(lacks)}")
    studies = list(pd.unique(frame["study"])) if "study" in frame.columns else []
    if len(studies) > 1:
        raise ValueError(f"the frame holds several studies ({', '.join(map(str, studies))}): choose one")


def of(frame: pd.DataFrame, column: str, value: str) -> pd.DataFrame:
    """The rows with a value.

    Raises
    ------
    ValueError
        If there is none; the message lists the values there are.
    """
    found = frame[frame[column] == value]
    if found.empty:
        known = ", ".join(map(str, pd.unique(frame[column])))
        raise ValueError(f"no row has the {column} {value!r}; there are: {known}")
    return found


COLUMNS = ("dataset", "base_model", "measure", "specification", "slice", "term", "status", "estimate")


def cells(estimates: pd.DataFrame, measure: str | None, slice: str, needs: Iterable[str]) -> tuple[str, list[Cell]]:
    """The measure and the cells of a frame of `estimates`, in the table's order.

    Parameters
    ----------
    estimates
        Rows of the table `estimates`, of one study.
    measure
        Name of the measure; None: the first in the frame.
    slice
        Name of the slice.
    needs
        Specifications of which at least one must have a number in some cell.

    Raises
    ------
    ValueError
        If there is nothing to draw; the message says what is missing.
    """
    check(estimates, "estimates", COLUMNS)
    measure = str(estimates["measure"].iloc[0]) if measure is None else measure
    rows = of(of(estimates, "measure", measure), "slice", slice)
    found = [
        Cell(str(dataset), str(model), tuple({str(k): v for k, v in row.items()} for row in group.to_dict("records")))
        for (dataset, model), group in rows.groupby(["dataset", "base_model"], sort=False, observed=True)
    ]
    wanted = tuple(needs)
    if not any(cell.row(name, None) for cell in found for name in wanted):
        raise ValueError(f"no cell has a number of {', '.join(wanted)} by the measure {measure} in the slice {slice}")
    return measure, found


def unit(measure: str) -> str:
    """Unit of a measure, or its name where it is none of ours."""
    return MEASURES[measure].unit if measure in MEASURES else measure
