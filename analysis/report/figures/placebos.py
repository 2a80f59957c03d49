"""Placebos and rivals: what should be zero, and what typicality has to beat."""

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.report.figures import style
from analysis.report.figures.rows import Cell, cells, number, unit

_BT = style.Look("o", style.BLUE)
_PLACEBOS = {
    "bt": ("typicality", _BT),
    "placebo_labels": ("placebo: labels flipped", style.Look("s", style.GREY, hollow=True)),
    "placebo_prompts": ("placebo: other prompt's difference", style.Look("^", style.GREY, hollow=True)),
}
_RIVALS = {
    "bt": ("typicality", _BT),
    "length_only": ("length alone", style.Look("D", style.VERMILION)),
    "unigram_only": ("word frequency alone", style.Look("v", style.GREEN)),
    "surprisal_entropy": ("surprisal near entropy", style.Look("P", style.PURPLE)),
}


def placebos(estimates: pd.DataFrame, measure: str | None = None, slice: str = "all") -> Figure:
    """Checks of every cell: α beside its placebos on the left, the fit of typicality and of its rivals on the right.

    The placebos are expected at zero, which one 95 % interval in twenty misses. The fit is the gain in mean
    log-likelihood over a coin, in thousandths of a nat per comparison.

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
        If no cell has a placebo or a rival; the message says what is missing.
    """
    names = [name for name in (*_PLACEBOS, *_RIVALS) if name != "bt"]
    measure, shown = cells(estimates, measure, slice, names)
    with style.styled():
        figure = Figure(figsize=(style.WIDTH, 1.5 + 0.6 * len(shown)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        rows = range(len(shown), 0, -1)
        left.set_yticks(list(rows), [style.cell_name(c) for c in shown])
        left.set_ylim(0.45, len(shown) + 0.55)
        for row, cell in zip(rows, shown, strict=True):
            _alphas(left, row, cell)
            _gains(right, row, cell)
        left.set_xlabel(f"α, log-odds per unit of the measure ({unit(measure)})")
        right.set_xlabel("gain over a coin, thousandths of a nat per comparison")
        for axes in (left, right):
            style.null_line(axes, 0)
            style.rule(axes, "x")
            axes.spines["left"].set_visible(False)
        style.legend_above(left, list(_PLACEBOS.values()), "-")
        style.legend_above(right, list(_RIVALS.values()), "")
    return figure


def _alphas(axes: Axes, row: int, cell: Cell) -> None:
    found = [(k, name, alpha) for k, name in enumerate(_PLACEBOS) if (alpha := cell.estimate(name))]
    for k, name, alpha in found:
        style.whisker(axes, row + 0.22 * (1 - k), alpha, _PLACEBOS[name][1], size=5)
    if not found:
        style.say_row(axes, row, cell.reason(_PLACEBOS))


def _gains(axes: Axes, row: int, cell: Cell) -> None:
    fits = [(k, name, cell.row(name, None)) for k, name in enumerate(_RIVALS)]
    found = [(k, name, mean) for k, name, r in fits if r and (mean := number(r, "mean_log_likelihood")) is not None]
    for k, name, mean in found:
        look, at, gain = _RIVALS[name][1], row + 0.22 * (1 - k), 1000 * (mean + math.log(2))
        axes.plot([0, gain], [at, at], color=look.colour, linewidth=1.2, alpha=0.5)
        axes.plot([gain], [at], look.marker, color=look.colour, markersize=5)
    if not found:
        style.say_row(axes, row, cell.reason(_RIVALS))
