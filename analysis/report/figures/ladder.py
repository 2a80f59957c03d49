"""The control ladder: how the effect shrinks as controls are added."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.report.figures import style
from analysis.report.figures.rows import RUNGS, Cell, Interval, cells, marginal, unit

_LOOKS = {"bt": style.Look("o", style.BLUE), "bt_fluency": style.Look("D", style.VERMILION, hollow=True)}
_CONTROLLED = style.Look("D", style.VERMILION)


def ladder(estimates: pd.DataFrame, measure: str | None = None, slice: str = "all") -> Figure:
    """Average marginal effect of typicality at each rung of the control ladder, one panel a cell, from the top down.

    In percentage points per unit of the measure, with 95 % intervals. Fluency stands apart, since it splits typicality
    into its parts and is no control. A rung without a number has a grey name with a dash. The panels of one dataset
    share their axis.

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
        If no cell has an effect; the message says what is missing.
    """
    measure, shown = cells(estimates, measure, slice, RUNGS)
    fitted = {row["specification"] for cell in shown for row in cell.rows}
    rungs = [name for name in RUNGS if name in fitted]
    with style.styled():
        figure, axes = style.grid(shown, 0.85 + 0.235 * len(rungs))
        for one, cell in zip(axes, shown, strict=True):
            _panel(one, cell, rungs)
        style.share_x(axes, shown)
        entries = [("raw", _LOOKS["bt"]), ("with this control and those above", _CONTROLLED)]
        if "bt_fluency" in rungs:
            entries.append(("with fluency", _LOOKS["bt_fluency"]))
        style.legend(figure, entries)
        figure.supxlabel(
            f"average marginal effect, percentage points per unit of the measure ({unit(measure)})", fontsize=9.5
        )
    return figure


def _effects(cell: Cell, rungs: list[str]) -> dict[str, Interval]:
    found = {name: marginal(row) for name in rungs if (row := cell.row(name))}
    return {name: effect for name, effect in found.items() if effect}


def _panel(axes: Axes, cell: Cell, rungs: list[str]) -> None:
    effects = _effects(cell, rungs)
    if not effects:
        style.say(axes, cell.reason(rungs))
        return
    heights = {name: -float(k) - 0.3 * (name == "bt_fluency") for k, name in enumerate(rungs)}
    path = [(100 * effects[name].value, heights[name]) for name in effects if name != "bt_fluency"]
    axes.plot(*zip(*path, strict=True) if path else ((), ()), color="#cbd5e1", linewidth=1, zorder=1)
    for name, effect in effects.items():
        style.whisker(axes, heights[name], effect, _LOOKS.get(name, _CONTROLLED), scale=100, size=5)
    if "bt_fluency" in rungs:
        axes.axhline(heights["bt_fluency"] + 0.65, color=style.GREY, linewidth=0.6, linestyle=":")
    labels = [RUNGS[name] if name in effects else f"{RUNGS[name]} —" for name in rungs]
    axes.set_yticks([heights[name] for name in rungs], labels)
    for name, tick in zip(rungs, axes.get_yticklabels(), strict=True):
        tick.set_color(style.INK if name in effects else style.GREY)
    axes.set_ylim(min(heights.values()) - 0.5, 0.5)
    axes.spines["left"].set_visible(False)
    style.null_line(axes, 0)
    style.rule(axes, "x")
    axes.locator_params(axis="x", nbins=5)
