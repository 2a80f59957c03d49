"""Dose and response: how often the more typical response wins, by how much more typical it is."""

import re

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import expit

from analysis.report.figures import style
from analysis.report.figures.rows import Cell, Interval, Row, cells, interval, number, unit

_TERM = re.compile(r"\|difference\|\s+(?P<low>\S+)\s+to\s+(?P<high>\S+)")
_BINS, _CURVE = style.Look("o", style.BLUE), style.Look("", style.VERMILION)


def dose_response(estimates: pd.DataFrame, measure: str | None = None, slice: str = "all") -> Figure:
    """Win rate of the more typical response by the size of the difference, one panel a cell.

    Points are the bins of the specification `binned` with 95 % intervals, each at the root mean square of its
    differences (a wide last bin's middle would lie beyond nearly all of them), with its width drawn pale. The curve is
    what Bradley–Terry implies, σ(α |Δ|), with α's interval as a band. The quadratic specification is not drawn: it is
    no function of |Δ| alone.

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
        If no cell has a binned rate; the message says what is missing.
    """
    measure, shown = cells(estimates, measure, slice, ("binned",))
    with style.styled():
        figure, axes = style.grid(shown, 2.15)
        for one, cell in zip(axes, shown, strict=True):
            _panel(one, cell)
        drawn = [one for one in axes if one.axison]
        low, high = (f(one.get_ylim()[k] for one in drawn) for f, k in ((min, 0), (max, 1)))
        for one in drawn:
            one.set_ylim(low, high)
        style.share_x(axes, shown)
        style.legend(figure, [("rate within a tenth of the comparisons", _BINS), ("Bradley–Terry", _CURVE)])
        figure.supxlabel(f"difference in typicality between the two responses, {unit(measure)}", fontsize=9.5)
        figure.supylabel("more typical one preferred, %", fontsize=9.5)
    return figure


def bounds(term: str) -> tuple[float, float] | None:
    """The ends of a bin from the name of its term, `|difference| LOW to HIGH`."""
    found = _TERM.search(term)
    if not found:
        return None
    try:
        return float(found["low"]), float(found["high"])
    except ValueError:
        return None


def _bin(row: Row) -> tuple[float, float, float, Interval] | None:
    """Place, lower and upper end, and rate of a bin."""
    ends, rate, place = bounds(str(row["term"])), interval(row), number(row, "difference_sd")
    if not ends or not rate:
        return None
    return (sum(ends) / 2 if place is None else place), *ends, rate


def _panel(axes: Axes, cell: Cell) -> None:
    bins = [found for row in cell.all("binned") if (found := _bin(row))]
    if not bins:
        style.say(axes, cell.reason(["binned"]))
        return
    place, low, high, rates = zip(*bins, strict=True)
    value, conf_low, conf_high = (100 * np.array(column) for column in zip(*rates, strict=True))
    end = 1.12 * max(place)
    alpha = cell.estimate("bt")
    if alpha:
        x = np.linspace(0, end, 41)
        axes.fill_between(
            x, 100 * expit(alpha.low * x), 100 * expit(alpha.high * x), color=_CURVE.colour, alpha=0.15, linewidth=0
        )
        axes.plot(x, 100 * expit(alpha.value * x), color=_CURVE.colour, linewidth=1.5)
    axes.plot(
        style.strokes(low, [min(x, end) for x in high]), np.repeat(value, 3), color=style.SKY, linewidth=0.8, alpha=0.7
    )
    axes.plot(np.repeat(place, 3), style.strokes(conf_low, conf_high), color=_BINS.colour, linewidth=1.2)
    axes.plot(place, value, _BINS.marker, color=_BINS.colour, markersize=4)
    axes.set_xlim(0, end)
    style.null_line(axes, 50, horizontal=True)
    axes.grid(axis="y", color=style.PALE, linewidth=0.8)
    axes.locator_params(axis="x", nbins=5)
