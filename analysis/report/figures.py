"""The report's figures, as matplotlib figures and as SVG text."""

import io
import re
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.report.content import Cell
from analysis.report.words import is_number

# Okabe & Ito's palette, which colour-blind readers can tell apart; the shapes tell the series apart without colour.
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#6b7280"
_STYLE = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "typicality",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}


def forest(cells: Sequence[Cell], unit: str) -> Figure:
    """Forest plot over cells: the rate on the left; α raw and with length on the right, each with its 95 % interval.

    Parameters
    ----------
    cells
        The cells that have estimates, from the top down.
    unit
        Unit of the measure, for the axis of α.
    """
    with mpl.rc_context(_STYLE):
        height = 1.3 + 0.62 * len(cells)
        figure = Figure(figsize=(9.6, height), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        rows = range(len(cells), 0, -1)
        left.set_yticks(list(rows), [f"{c.dataset}\n{c.base_model}" for c in cells], fontsize=9)
        left.set_ylim(0.3, len(cells) + 0.7)
        for row, cell in zip(rows, cells, strict=True):
            _whisker(left, cell.rate, row, "o", _BLUE, 100)
            _whisker(right, cell.raw, row + 0.13, "o", _BLUE)
            _whisker(right, cell.length, row - 0.13, "D", _ORANGE)
        _finish(left, 50, "prefer the more typical response, %")
        _finish(right, 0, f"α, log-odds per unit of the measure ({unit})")
        right.plot([], [], "o-", color=_BLUE, label="raw")
        right.plot([], [], "D-", color=_ORANGE, label="with length")
        figure.legend(loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    return figure


def _whisker(axes: Axes, row: dict[str, float], y: float, marker: str, colour: str, scale: float = 1) -> None:
    if row and is_number(row.get("estimate")):
        axes.plot([scale * row["conf_low"], scale * row["conf_high"]], [y, y], color=colour, linewidth=1.8)
        axes.plot([scale * row["estimate"]], [y], marker, color=colour, markersize=6)


def _finish(axes: Axes, null: float, label: str) -> None:
    axes.axvline(null, color=_GREY, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlabel(label)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.08)


def svg(figure: Figure, title: str) -> str:
    """A figure as an SVG element with a title for screen readers; the same figure gives the same text."""
    buffer = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S)
    escaped = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return re.sub(r"<svg ", f'<svg role="img" aria-label="{escaped}" ', text, count=1)
