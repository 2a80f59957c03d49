"""Remedies: diversity against quality, the sweep over temperatures, how well known distributions are found again."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.report.figures import style
from analysis.report.figures.rows import Cell, Interval, check, interval, number

_COLUMNS = ("model", "method", "measure", "status", "estimate", "conf_low", "conf_high")
_LOOKS = (
    style.Look("o", style.BLUE),
    style.Look("s", style.VERMILION, hollow=True),
    style.Look("D", style.GREEN),
    style.Look("^", style.PURPLE, hollow=True),
)
_IDEAL = style.Look("D", style.GREY, hollow=True)
_MADE = style.Look("o", style.BLUE)


@dataclass(frozen=True)
class Axis:
    """A measure and how it is called on an axis."""

    measure: str
    label: str


def frontier(remedies: pd.DataFrame, methods: Mapping[str, str], x: Axis, y: Axis) -> Figure:
    """One measure of every method against another, one panel a model, with 95 % intervals.

    The numbers are the methods, the line joins those that no other method beats in both.

    Parameters
    ----------
    remedies
        Rows of the table `remedies`, of one study.
    methods
        Colour of each method, in the order in which they are numbered.
    x, y
        The measures; more is better in both.

    Raises
    ------
    ValueError
        If no method has both.
    """
    check(remedies, "remedies", _COLUMNS)
    models = [Cell(str(m), "") for m in pd.unique(remedies["model"])]
    points = {c.dataset: _points(remedies[remedies["model"] == c.dataset], x, y) for c in models}
    shown = [c for c in models if points[c.dataset]]
    if not shown:
        raise ValueError(f"no method has both {x.measure} and {y.measure}")
    with style.styled():
        figure, axes = style.grid(shown, 3.4)
        for one, cell in zip(axes, shown, strict=True):
            _cloud(one, points[cell.dataset], methods)
        handles = [
            Line2D([], [], linestyle="", marker=f"${k}$", color=colour, markersize=6 + 2.5 * (k > 9))
            for k, colour in enumerate(methods.values(), 1)
        ]
        columns = max(1, min(4, 96 // (max(map(len, methods)) + 6)))
        figure.legend(
            handles, list(methods), loc="outside lower left", ncols=columns, frameon=False, fontsize=8.5,
            handletextpad=0.6, columnspacing=1.6,
        )  # fmt: skip
        rows = -(-len(methods) // columns)
        figure.set_figheight(figure.get_figheight() + 0.2 * rows)
        for one in axes:
            one.set_xlabel(x.label)
        figure.supylabel(y.label, fontsize=9.5)
    return figure


def _points(rows: pd.DataFrame, x: Axis, y: Axis) -> dict[str, tuple[Interval, Interval]]:
    found = {}
    for method, group in rows.groupby("method", sort=False):
        sides = [_interval(group, axis.measure) for axis in (x, y)]
        if sides[0] is not None and sides[1] is not None:
            found[str(method)] = (sides[0], sides[1])
    return found


def _interval(rows: pd.DataFrame, measure: str) -> Interval | None:
    """The estimate of a measure; with no interval it stands alone."""
    for row in rows[rows["measure"] == measure].to_dict("records"):
        named = {str(k): v for k, v in row.items()}
        value = number(named, "estimate")
        if value is not None:
            return interval(named) or Interval(value, value, value)
    return None


def _cloud(axes: Axes, points: Mapping[str, tuple[Interval, Interval]], methods: Mapping[str, str]) -> None:
    order = sorted(points.values(), key=lambda p: (-p[0].value, -p[1].value))
    best, line = -math.inf, []
    for at, height in order:
        if height.value > best:
            best = height.value
            line.append((at.value, height.value))
    axes.plot(*zip(*line, strict=True), color="#cbd5e1", linewidth=5, solid_capstyle="round", zorder=0)
    for k, (name, colour) in enumerate(methods.items(), 1):
        if name not in points:
            continue
        at, height = points[name]
        axes.plot([at.low, at.high], [height.value] * 2, color=colour, linewidth=0.8, alpha=0.45, zorder=1)
        axes.plot([at.value] * 2, [height.low, height.high], color=colour, linewidth=0.8, alpha=0.45, zorder=1)
        axes.plot(
            at.value, height.value, "o", color="white", markersize=9 + 4 * (k > 9), markeredgecolor="none", zorder=2
        )
        axes.plot(
            at.value, height.value, marker=f"${k}$", color=colour, markersize=6 + 2.5 * (k > 9), linestyle="", zorder=3
        )
    axes.grid(color=style.PALE, linewidth=0.8)
    axes.margins(0.06)


def sweep(remedies: pd.DataFrame, values: Mapping[str, float], axes_of: Sequence[Axis], label: str) -> Figure:
    """Measures against a setting that several methods differ in, one panel a measure, one line a model.

    Parameters
    ----------
    remedies
        Rows of the table `remedies`, of one study.
    values
        The setting of each method.
    axes_of
        The measures.
    label
        What the setting is called.

    Raises
    ------
    ValueError
        If no measure has values.
    """
    check(remedies, "remedies", _COLUMNS)
    rows = remedies[remedies["method"].isin(list(values))]
    shown = [axis for axis in axes_of if any(_interval(g, axis.measure) for _, g in rows.groupby("method"))]
    if not shown:
        raise ValueError("no measure has a value at any of these settings")
    models = [str(m) for m in pd.unique(rows["model"])]
    with style.styled():
        columns = min(3, len(shown))
        height = 2.1 * math.ceil(len(shown) / columns) + 0.7
        figure = Figure(figsize=(style.WIDTH * (1 if columns > 1 else 0.6), height), layout="constrained")
        axes = list(figure.subplots(math.ceil(len(shown) / columns), columns, squeeze=False).flat)
        for spare in axes[len(shown) :]:
            spare.remove()
        for one, axis in zip(axes, shown, strict=False):
            one.set_title(axis.label, loc="left", fontsize=9, fontweight="bold")
            for k, model in enumerate(models):
                _line(one, rows[rows["model"] == model], values, axis, _LOOKS[k % len(_LOOKS)])
            style.rule(one, "y")
        if len(models) > 1:
            style.legend(figure, [(style.short(m, 28), _LOOKS[k % len(_LOOKS)]) for k, m in enumerate(models)])
        figure.supxlabel(label, fontsize=9.5)
    return figure


def _line(axes: Axes, rows: pd.DataFrame, values: Mapping[str, float], axis: Axis, look: style.Look) -> None:
    found = [
        (value, *known)
        for method, value in sorted(values.items(), key=lambda pair: pair[1])
        if (known := _interval(rows[rows["method"] == method], axis.measure)) is not None
    ]
    if not found:
        return
    at, value, low, high = (np.array(column, float) for column in zip(*found, strict=True))
    axes.fill_between(at, low, high, color=look.colour, alpha=0.15, linewidth=0)
    axes.plot(at, value, look.marker, linestyle="-", color=look.colour, markerfacecolor=look.face, markersize=4.5)


def recovery(remedies: pd.DataFrame) -> Figure:
    """KL and coverage of every method beside what as many draws from the reference itself would have, on average.

    Parameters
    ----------
    remedies
        Rows of the table `remedies`, of one study.

    Raises
    ------
    ValueError
        If no method has either.
    """
    check(remedies, "remedies", _COLUMNS)
    wanted = remedies["measure"].isin(["kl", "coverage"]) & remedies["estimate"].notna()
    keys = list(dict.fromkeys(zip(remedies[wanted]["model"], remedies[wanted]["method"], strict=True)))
    if not keys:
        raise ValueError("no prompt lists its answers")
    several = len({model for model, _ in keys}) > 1
    panels = [(m, n) for m, n in (("kl", "KL to the reference, nats"), ("coverage", "answers covered, %"))]
    panels = [p for p in panels if (remedies[wanted]["measure"] == p[0]).any()]
    with style.styled():
        figure = Figure(
            figsize=(style.WIDTH * (1 if len(panels) > 1 else 0.6), 1.2 + 0.34 * len(keys)), layout="constrained"
        )
        axes = list(figure.subplots(1, len(panels), sharey=True, squeeze=False).flat)
        heights = range(len(keys), 0, -1)
        names = [
            f"{style.short(method, 26)}\n{style.short(model, 26)}" if several else method for model, method in keys
        ]
        axes[0].set_yticks(list(heights), names)
        axes[0].set_ylim(0.4, len(keys) + 0.6)
        for one, (measure, label) in zip(axes, panels, strict=True):
            scale = 100 if measure == "coverage" else 1
            for at, (model, method) in zip(heights, keys, strict=True):
                rows = remedies[(remedies["model"] == model) & (remedies["method"] == method)]
                limit, found = _interval(rows, f"{measure}_of_reference"), _interval(rows, measure)
                if limit:
                    alone = Interval(limit.value, limit.value, limit.value)
                    style.whisker(one, at, alone, _IDEAL, scale)
                if found:
                    style.whisker(one, at, found, _MADE, scale)
            one.set_xlabel(label)
            one.set_xlim(left=0)
            style.rule(one, "x")
        style.legend(figure, [("the method", _MADE), ("draws from the reference itself", _IDEAL)], lines="")
    return figure
