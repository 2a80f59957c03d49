"""How all figures look: palette, shapes, small multiples, whiskers, legends."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from analysis.report.figures.rows import Cell, Interval

# Okabe & Ito's palette, which colour-blind readers can tell apart.
BLUE, VERMILION, GREEN, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9"
INK, GREY, PALE = "#1f2937", "#6b7280", "#e5e7eb"
DASHES = (0, (4, 3))
WIDTH = 9.6
RC = {
    "font.family": "sans-serif",
    # Laid out in the widest of them, which comes with matplotlib, so that text fits whichever the reader has.
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#9ca3af",
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "typicality",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}


@dataclass(frozen=True)
class Look:
    """How a series is drawn: a shape, a colour, filled or hollow, so that it can be told apart without colour."""

    marker: str
    colour: str
    hollow: bool = False

    @property
    def face(self) -> str:
        """Colour inside the marker."""
        return "white" if self.hollow else self.colour


def styled() -> AbstractContextManager[None]:
    """The context in which figures are made and saved."""
    context: AbstractContextManager[None] = mpl.rc_context(RC)
    return context


def short(name: str, most: int) -> str:
    """A name of at most `most` characters, cut in the middle: what tells names apart is often at their end."""
    if len(name) <= most:
        return name
    head = (most - 1) // 2
    return f"{name[:head]}…{name[len(name) - (most - 1 - head) :]}"


def grid(cells: Sequence[Cell], height: float) -> tuple[Figure, list[Axes]]:
    """Small multiples, one panel a cell, each with its name; where there are a few base models, one column each.

    Parameters
    ----------
    cells
        The cells, in the order of reading.
    height
        Height of a panel with its name, in inches.
    """
    models = len({c.base_model for c in cells})
    columns = models if 2 <= models <= 4 and len(cells) > models else min(len(cells), 4)
    rows = math.ceil(len(cells) / columns)
    width = WIDTH if columns > 1 else 0.6 * WIDTH
    figure = Figure(figsize=(width, rows * height + 0.9), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for spare in axes[len(cells) :]:
        spare.remove()
    fits = int(width / columns / 0.088)
    for one, cell in zip(axes, cells, strict=False):
        one.set_title(short(cell.dataset, fits), loc="left", fontsize=9, fontweight="bold", pad=17)
        one.annotate(
            short(cell.base_model, int(1.15 * fits)), (0, 1), xytext=(0, 5), textcoords="offset points",
            xycoords="axes fraction", fontsize=8, color=GREY,
        )  # fmt: skip
    return figure, axes[: len(cells)]


def share_x(axes: Sequence[Axes], cells: Sequence[Cell]) -> None:
    """Give the panels of one dataset the same limits: what is compared is one dataset under several base models."""
    for dataset in {c.dataset for c in cells}:
        group = [a for a, c in zip(axes, cells, strict=True) if c.dataset == dataset and a.axison]
        limits = np.array([a.get_xlim() for a in group])
        for one in group:
            one.set_xlim(limits[:, 0].min(), limits[:, 1].max())


def say(axes: Axes, text: str) -> None:
    """Say in an empty panel why it is empty."""
    axes.set_axis_off()
    axes.text(
        0.5, 0.5, textwrap.fill(f"no number: {text}", 26), ha="center", va="center", color=GREY, fontsize=8.5,
        transform=axes.transAxes,
    )  # fmt: skip


def whisker(axes: Axes, at: float, interval: Interval, look: Look, scale: float = 1, size: float = 5.5) -> None:
    """A horizontal interval with its estimate, at a height."""
    axes.plot([scale * interval.low, scale * interval.high], [at, at], color=look.colour, linewidth=1.5)
    axes.plot(
        [scale * interval.value], [at], look.marker, color=look.colour, markerfacecolor=look.face, markersize=size
    )


def diamond(axes: Axes, at: float, interval: Interval, look: Look) -> None:
    """A mean as a diamond as wide as its interval, at a height."""
    corners = ([interval.low, interval.value, interval.high, interval.value], [at, at + 0.13, at, at - 0.13])
    axes.fill(*corners, facecolor=look.face, edgecolor=look.colour, linewidth=1.2)


def strokes(low: Iterable[float], high: Iterable[float]) -> list[float]:
    """Ends of many intervals as the coordinates of one broken line, which is one path and not one for each."""
    return [x for pair in zip(low, high, strict=True) for x in (*pair, math.nan)]


def null_line(axes: Axes, at: float, *, horizontal: bool = False) -> None:
    """A dashed line where there is no bias."""
    (axes.axhline if horizontal else axes.axvline)(at, color=GREY, linewidth=1, linestyle=DASHES, zorder=1)


def rule(axes: Axes, axis: Literal["x", "y"]) -> None:
    """Pale lines to read values by, and no ticks on the axis that names things."""
    axes.grid(axis=axis, color=PALE, linewidth=0.8)
    axes.tick_params(axis="y" if axis == "x" else "x", length=0)


def cell_name(cell: Cell) -> str:
    """A cell's name for the axis of a figure with one row a cell."""
    return f"{short(cell.dataset, 32)}\n{short(cell.base_model, 32)}"


def say_row(axes: Axes, at: float, reason: str) -> None:
    """Say in a cell's row why it is empty."""
    axes.text(
        0.02, at, f"no number: {short(reason, 50)}", transform=axes.get_yaxis_transform(), va="center", fontsize=7.5,
        color=GREY, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )  # fmt: skip


Entries = Sequence[tuple[str, Look]]


def legend(figure: Figure, entries: Entries, lines: str = "-") -> None:
    """The key of the series, above all panels."""
    figure.legend(
        _handles(entries, lines), [n for n, _ in entries], loc="outside upper right", ncols=len(entries), **_KEY
    )


def legend_above(axes: Axes, entries: Entries, lines: str = "-") -> None:
    """The key of the series of one panel, above it."""
    axes.legend(_handles(entries, lines), [n for n, _ in entries], loc="lower left", bbox_to_anchor=(0, 1), **_KEY)


_KEY: dict[str, Any] = {"frameon": False, "fontsize": 8.5, "handletextpad": 0.5, "columnspacing": 1.4}


def _handles(entries: Entries, lines: str) -> list[Line2D]:
    return [
        Line2D([], [], color=k.colour, marker=k.marker, markerfacecolor=k.face, markersize=5.5, linestyle=lines)
        for _, k in entries
    ]
