"""Forest plot: every cell's rate and α."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.report.figures import style
from analysis.report.figures.rows import RUNGS, Cell, cells, unit

RAW, CONTROLLED = style.Look("o", style.BLUE), style.Look("D", style.VERMILION)
_CONTROLS = ("bt_source", "bt_quality", "bt_style", "bt_length")


def forest(estimates: pd.DataFrame, measure: str | None = None, slice: str = "all") -> Figure:
    """Forest plot over cells: the rate on the left; α raw and with controls on the right, with 95 % intervals.

    The controls are those of the deepest rung that the cell has, up to source; the rung is named at the right.

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
        If no cell has a rate or an α; the message says what is missing.
    """
    measure, shown = cells(estimates, measure, slice, ("rate", "bt", *_CONTROLS))
    with style.styled():
        figure = Figure(figsize=(style.WIDTH, 1.35 + 0.55 * len(shown)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        rows = range(len(shown), 0, -1)
        left.set_yticks(list(rows), [style.cell_name(c) for c in shown])
        left.set_ylim(0.4, len(shown) + 0.6)
        reached = [_draw(left, right, row, cell) for row, cell in zip(rows, shown, strict=True)]
        _name_controls(right, list(rows), reached)
        left.set_xlabel("prefer the more typical response, %")
        right.set_xlabel(f"α, log-odds per unit of the measure ({unit(measure)})")
        for axes, null in ((left, 50), (right, 0)):
            style.null_line(axes, null)
            style.rule(axes, "x")
            axes.spines["left"].set_visible(False)
            axes.margins(x=0.08)
        style.legend(figure, [("raw", RAW), ("with controls", CONTROLLED)])
    return figure


def _draw(left: Axes, right: Axes, row: int, cell: Cell) -> str:
    """Draw a cell's row; the name of the rung whose α stands beside the raw one."""
    rate, raw = cell.estimate("rate"), cell.estimate("bt")
    if rate:
        style.whisker(left, row, rate, RAW, scale=100)
    else:
        style.say_row(left, row, cell.reason(["rate"]))
    if raw:
        style.whisker(right, row + 0.14, raw, RAW)
    for name in _CONTROLS:
        controlled = cell.estimate(name)
        if controlled:
            style.whisker(right, row - 0.14, controlled, CONTROLLED)
            return RUNGS[name]
    if not raw:
        style.say_row(right, row, cell.reason(["bt", *_CONTROLS]))
    return "—"


def _name_controls(axes: Axes, rows: list[int], names: list[str]) -> None:
    beside = axes.secondary_yaxis("right")
    beside.set_yticks(rows, names, color=style.VERMILION)
    beside.tick_params(length=0)
    beside.spines["right"].set_visible(False)
    axes.annotate(
        "controls up to", (1, 1), xytext=(6, 4), xycoords="axes fraction", textcoords="offset points", fontsize=8,
        ha="left", color=style.GREY,
    )  # fmt: skip
