"""α by the values of a column: by itself, and drawn towards the mean."""

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.report.figures import style
from analysis.report.figures.rows import Interval, check, of, unit

PANELS = 12
OWN, SHRUNKEN = style.Look("o", style.BLUE, hollow=True), style.Look("D", style.VERMILION)
_COLUMNS = ("dataset", "base_model", "measure", "specification", "column", "kind", "value", "estimate", "shrunken")
_KEYS = ["dataset", "base_model", "column"]


def heterogeneity(heterogeneity: pd.DataFrame, measure: str | None = None, specification: str = "bt") -> Figure:
    """A panel for each cell and column: α by value, with 95 % intervals.

    Where there are more than twelve, those with the smallest p values are shown.

    Parameters
    ----------
    heterogeneity
        Rows of the table `heterogeneity`, of one study.
    measure
        Name of the measure; None: the first in the frame.
    specification
        Where α comes from.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If nothing was compared; the message says what is missing.
    """
    check(heterogeneity, "heterogeneity", _COLUMNS)
    measure = str(heterogeneity["measure"].iloc[0]) if measure is None else measure
    rows = of(of(heterogeneity, "measure", measure), "specification", specification)
    tests = rows[(rows["kind"] == "equality") & (rows["status"] == "ok")]
    if tests.empty:
        raise ValueError(f"no column has an α for two values by the measure {measure}")
    shown = tests.loc[tests["p_value"].sort_values(kind="stable").index[:PANELS].sort_values()]
    groups = dict(list(rows[rows["status"] == "ok"].groupby(_KEYS, sort=False)))
    with style.styled():
        n_columns = 1 if len(shown) == 1 else 2
        n_rows = math.ceil(len(shown) / n_columns)
        width = style.WIDTH if n_columns > 1 else 0.6 * style.WIDTH
        most = [max(len(groups[tuple(t)]) for t in part) for part in _in_rows(shown, n_columns)]
        heights = [0.9 + 0.25 * n for n in most]
        figure = Figure(figsize=(width, sum(heights) + 0.6), layout="constrained")
        axes = list(figure.subplots(n_rows, n_columns, squeeze=False, height_ratios=heights).flat)
        for spare in axes[len(shown) :]:
            spare.remove()
        for one, key in zip(axes, shown[_KEYS].itertuples(index=False), strict=False):
            _draw(one, tuple(key), groups[tuple(key)])
        for one in axes[max(len(shown) - n_columns, 0) : len(shown)]:
            one.set_xlabel(f"α, log-odds per unit ({unit(measure)})")
        style.legend(figure, [("by itself", OWN), ("drawn towards the mean", SHRUNKEN)])
    return figure


def _in_rows(shown: pd.DataFrame, n_columns: int) -> list[list[tuple[str, ...]]]:
    keys = list(shown[_KEYS].itertuples(index=False))
    return [[tuple(k) for k in keys[i : i + n_columns]] for i in range(0, len(keys), n_columns)]


def _draw(axes: Axes, key: tuple[str, ...], rows: pd.DataFrame) -> None:
    """One panel."""
    dataset, base_model, column = key
    values = rows[rows["kind"].isin(("value", "other"))].to_dict("records")
    mean = float(rows.loc[rows["kind"] == "equality", "estimate"].iloc[0])
    heights = range(len(values), 0, -1)
    for at, row in zip(heights, values, strict=True):
        style.whisker(axes, at + 0.13, Interval(row["estimate"], row["conf_low"], row["conf_high"]), OWN)
        drawn = Interval(row["shrunken"], row["shrunken_low"], row["shrunken_high"])
        style.whisker(axes, at - 0.13, drawn, SHRUNKEN, size=4.5)
    names = [row["value"] if row["kind"] == "value" else f"{row['n_values']:.0f} rarer ones" for row in values]
    axes.set_yticks(list(heights), [style.short(str(name), 26) for name in names])
    axes.set_ylim(0.4, len(values) + 0.6)
    style.null_line(axes, mean)
    style.rule(axes, "x")
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.08)
    axes.set_title(style.short(column.replace("_", " "), 40), loc="left", fontsize=9, fontweight="bold", pad=17)
    axes.annotate(
        style.short(f"{dataset}, {base_model}", 52), (0, 1), xytext=(0, 5), textcoords="offset points",
        xycoords="axes fraction", fontsize=8, color=style.GREY,
    )  # fmt: skip
