"""The shape of the effect: how the log-odds of being preferred change with the measure."""

import re

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.regression.shape import CURVE
from analysis.report.figures import style
from analysis.report.figures.rows import Cell, Interval, cells, interval, number, unit
from analysis.report.words import p_value

_TERM = re.compile(rf"{CURVE} at (?P<x>\S+) against (?P<middle>\S+)")
_SPLINE, _LINEAR = style.Look("o", style.BLUE), style.Look("", style.VERMILION)
_QUADRATIC = style.Look("s", style.GREEN, hollow=True)


def shape(estimates: pd.DataFrame, measure: str | None = None, slice: str = "all") -> Figure:
    """Log-odds that a response is preferred to one at the median, over the measure, one panel a cell.

    The spline with its pointwise 95 % intervals as a band, the parabola, and the straight line of Bradley–Terry.

    Parameters
    ----------
    estimates
        Rows of the table `estimates`, of one study.
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
        If no cell has a spline; the message says what is missing.
    """
    measure, shown = cells(estimates, measure, slice, ("spline",))
    with style.styled():
        figure, axes = style.grid(shown, 2.3)
        for one, cell in zip(axes, shown, strict=True):
            _panel(one, cell)
        style.share_x(axes, shown)
        looks = [("spline, with 95 % band", _SPLINE), ("parabola", _QUADRATIC), ("Bradley–Terry", _LINEAR)]
        style.legend(figure, looks)
        figure.supxlabel(f"typicality of a response, {unit(measure)}", fontsize=9.5)
        figure.supylabel("log-odds against the median one", fontsize=9.5)
    return figure


def place(term: str) -> tuple[float, float] | None:
    """Where a point of the curve is, and the median, from the name of its term, `curve at X against MEDIAN`."""
    found = _TERM.fullmatch(term)
    return (float(found["x"]), float(found["middle"])) if found else None


def curve(cell: Cell, specification: str) -> dict[tuple[float, float], Interval]:
    """The points of a curve."""
    points = {place(str(row["term"])): interval(row) for row in cell.all(specification)}
    return {at: found for at, found in points.items() if at and found}


def _panel(axes: Axes, cell: Cell) -> None:
    points, bent, alpha = curve(cell, "spline"), curve(cell, "quadratic"), cell.estimate("bt")
    if not points:
        style.say(axes, cell.reason(["spline"]))
        return
    x, middle = np.array(list(points)).T
    value, low, high = np.array(list(points.values())).T
    axes.fill_between(x, low, high, color=_SPLINE.colour, alpha=0.15, linewidth=0)
    axes.plot(x, value, _SPLINE.marker, linestyle="-", color=_SPLINE.colour, markersize=3, markevery=3, linewidth=1.5)
    if bent:
        at, found = np.array(list(bent)).T[0], np.array(list(bent.values())).T[0]
        axes.plot(
            at, found, _QUADRATIC.marker, linestyle="-", color=_QUADRATIC.colour, markerfacecolor=_QUADRATIC.face,
            markersize=3, markevery=(1, 3), linewidth=1,
        )  # fmt: skip
    if alpha:
        axes.plot(x, alpha.value * (x - middle), color=_LINEAR.colour, linewidth=1.5)
    p = number(cell.row("spline") or {}, "p_linearity")
    if p is not None:
        axes.annotate(
            f"straight line: p {p_value(p)}", (1, 0), xytext=(-4, 5), xycoords="axes fraction", ha="right", fontsize=8,
            textcoords="offset points", color=style.GREY,
        )  # fmt: skip
    style.null_line(axes, 0, horizontal=True)
    axes.grid(axis="y", color=style.PALE, linewidth=0.8)
    axes.locator_params(axis="x", nbins=5)
