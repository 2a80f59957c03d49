"""Forecasts: how many responses are effectively left, over β and over generations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.collapse.forecasts import HEADLINE_BETA
from analysis.report.figures import style
from analysis.report.figures.rows import Cell, Row, check, number, of

_COLUMNS = (
    *("dataset", "base_model", "measure", "specification", "slice", "candidates", "beta", "generation"),
    *("fresh_share", "entropy_bonus", "status", "effective_number", "n_candidates"),
)
_LEFT = ("effective_number", "effective_number_low", "effective_number_high")


@dataclass(frozen=True)
class Series:
    """What a line is of: its name, its look, and which rows."""

    name: str
    look: style.Look
    holds: Callable[[Row], bool]


def _plain(row: Row) -> bool:
    return not row["fresh_share"] and not row["entropy_bonus"]


def _rewarded(name: str, look: style.Look, kind: str) -> Series:
    return Series(name, look, lambda r: r["candidates"] == kind and r["generation"] == 1 and _plain(r))


def _kept(name: str, look: style.Look, holds: Callable[[Row], bool]) -> Series:
    return Series(name, look, lambda r: r["candidates"] == "typicality" and r["beta"] == HEADLINE_BETA and holds(r))


_BETA = (
    _rewarded("typicality", style.Look("o", style.BLUE), "typicality"),
    _rewarded("quality", style.Look("s", style.GREEN, hollow=True), "quality"),
    _rewarded("both", style.Look("D", style.VERMILION), "both"),
)
_GENERATIONS = (
    _kept("trained again and again", style.Look("o", style.BLUE), _plain),
    _kept("with fresh data", style.Look("s", style.GREEN, hollow=True), lambda r: r["fresh_share"] > 0),
    _kept("with an entropy bonus", style.Look("D", style.VERMILION), lambda r: r["entropy_bonus"] > 0),
)


def narrowing(forecasts: pd.DataFrame, measure: str | None = None, slice: str = "all") -> Figure:
    """Effective number of a prompt's candidates after training, against β, one panel a cell.

    Lines are what is rewarded: typicality alone, quality alone, both; bands are carried through from the 95 % interval
    of α. The dashed line is without training. α is that of the last specification in the cell's rows: the top rung of
    the ladder. Cells without a number are left out.

    Parameters
    ----------
    forecasts
        Rows of the table `forecasts`, of one study.
    measure
        Name of the measure; None: the first in the frame.
    slice
        Name of the slice.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If no cell has three or more candidates a prompt; the message says what is missing.
    """
    return _drawn(forecasts, measure, slice, _BETA, "beta", "β, weight of the KL penalty")


def generations(forecasts: pd.DataFrame, measure: str | None = None, slice: str = "all") -> Figure:
    """Effective number of a prompt's candidates over generations at β = 0.1, one panel a cell, rewarding typicality.

    Lines are training on one's own output again and again, the same with a share of fresh data, and with an entropy
    bonus; bands are carried through from the 95 % interval of α. Parameters, result and errors are those of
    `narrowing`.
    """
    return _drawn(forecasts, measure, slice, _GENERATIONS, "generation", "generation")


def _drawn(
    forecasts: pd.DataFrame, measure: str | None, slice: str, series: Sequence[Series], x: str, label: str
) -> Figure:
    shown = _cells(forecasts, measure, slice)
    with style.styled():
        figure, axes = style.grid(shown, 2.3)
        there = [s for s in series if any(_ok(row) and s.holds(row) for cell in shown for row in cell.rows)]
        for one, cell in zip(axes, shown, strict=True):
            _panel(one, cell, there, x)
        style.share_x(axes, shown)
        style.legend(figure, [(s.name, s.look) for s in there])
        figure.supxlabel(label, fontsize=9.5)
        figure.supylabel("effective number of candidates", fontsize=9.5)
    return figure


def _cells(forecasts: pd.DataFrame, measure: str | None, slice: str) -> list[Cell]:
    check(forecasts, "forecasts", _COLUMNS)
    measure = str(forecasts["measure"].iloc[0]) if measure is None else measure
    rows = of(of(forecasts, "measure", measure), "slice", slice)
    rows = rows[rows["candidates"].notna()]
    found = []
    for (dataset, model), group in rows.groupby(["dataset", "base_model"], sort=False, observed=True):
        top = group[group["specification"] == group["specification"].iloc[-1]]
        records = tuple({str(k): v for k, v in row.items()} for row in top.to_dict("records"))
        found.append(Cell(str(dataset), str(model), records))
    # Of the others the status is told beside the figure: half of its panels may have nothing to show.
    shown = [cell for cell in found if any(_ok(row) for row in cell.rows)]
    if not shown:
        raise ValueError(f"no cell has a prompt with three or more candidates by the measure {measure}")
    return shown


def _ok(row: Row) -> bool:
    return row["status"] == "ok" and number(row, "effective_number") is not None


def _panel(axes: Axes, cell: Cell, series: Sequence[Series], x: str) -> None:
    known = [row for row in cell.rows if _ok(row)]
    without = float(known[0]["n_candidates"])
    for one in series:
        rows = sorted((row for row in known if one.holds(row)), key=lambda row: float(row[x]))
        if rows:
            _line(axes, one.look, rows, x, without)
    style.null_line(axes, without, horizontal=True)
    axes.set_ylim(0.9, without + 0.15)
    if x == "beta":
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    style.rule(axes, "y")


def _line(axes: Axes, look: style.Look, rows: Sequence[Row], x: str, without: float) -> None:
    # Before the first generation nothing has been trained.
    before = [] if x == "beta" else [(0.0, without, without, without)]
    points = [*before, *((float(row[x]), *(number(row, name) for name in _LEFT)) for row in rows)]
    at, left, low, high = (np.array(column, float) for column in zip(*points, strict=True))
    axes.fill_between(at, low, high, color=look.colour, alpha=0.15, linewidth=0)
    axes.plot(at, left, look.marker, linestyle="-", color=look.colour, markerfacecolor=look.face, markersize=4.5)
