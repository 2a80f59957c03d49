"""Forest plot: every cell's rate and α, and what they have in common."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.report.figures import style
from analysis.report.figures.rows import RUNGS, Cell, Interval, Row, cells, number, of, unit

RAW, CONTROLLED = style.Look("o", style.BLUE), style.Look("D", style.VERMILION)
_RATERS = {"all": "all", "human": "human", "ai": "AI", "mixed": "mixed", "simulated": "simulated"}
_ROOM = 0.35
_CONTROLS = ("bt_source", "bt_quality", "bt_style", "bt_length")


def forest(
    estimates: pd.DataFrame, measure: str | None = None, slice: str = "all", synthesis: pd.DataFrame | None = None
) -> Figure:
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
    synthesis
        Rows of the table `synthesis`, of the same study: below the cells stands a row for the mean of all labels and of
        each kind of them, a diamond as wide as its 95 % interval on a line as long as the prediction interval.

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
        means = _means(synthesis, measure)
        n = len(shown) + len(means)
        figure = Figure(figsize=(style.WIDTH, 1.35 + 0.55 * n), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        rows = list(range(n, 0, -1))
        left.set_yticks(rows, [*(style.cell_name(c) for c in shown), *(_mean_name(group) for group in means)])
        left.set_ylim(0.4, n + 0.6)
        reached = [_draw(left, right, row, cell) for row, cell in zip(rows, shown, strict=False)]
        outer = [
            found
            for row, group in zip(rows[len(shown) :], means, strict=True)
            for found in _draw_mean(left, right, row, group)
        ]
        _name_controls(right, rows, [*reached, *("as above" for _ in means)])
        left.set_xlabel("prefer the more typical response, %")
        right.set_xlabel(f"α, log-odds per unit of the measure ({unit(measure)})")
        for axes, null in ((left, 50), (right, 0)):
            style.null_line(axes, null)
            style.rule(axes, "x")
            axes.spines["left"].set_visible(False)
            axes.margins(x=0.08)
            if means:
                axes.axhline(len(means) + 0.5, color=style.GREY, linewidth=0.8)
            _draw_outer(axes, [found for found in outer if found.axes is axes])
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


def _means(synthesis: pd.DataFrame | None, measure: str) -> list[Sequence[Row]]:
    """The rows of the syntheses that have a number, by kind of labels; a kind that is all there is comes once."""
    if synthesis is None or synthesis.empty:
        return []
    rows = of(synthesis, "measure", measure)
    rows = rows[rows["dataset"].isna() & (rows["status"] == "ok") & rows["raters"].isin(_RATERS)]
    found: list[Sequence[Row]] = [
        [{str(k): v for k, v in row.items()} for row in group.to_dict("records")]
        for _, group in rows.groupby("raters", sort=False)
    ]
    return found[:1] if len(found) == 2 and found[0][0]["n_cells"] == found[1][0]["n_cells"] else found


def _mean_name(group: Sequence[Row]) -> str:
    first = group[0]
    return f"mean, {_RATERS[first['raters']]} labels\n{first['n_datasets']} datasets × {first['n_base_models']}"


@dataclass(frozen=True)
class _Outer:
    """A prediction interval, and where it is drawn."""

    axes: Axes
    at: float
    interval: Interval
    look: style.Look


def _draw_mean(left: Axes, right: Axes, row: int, group: Sequence[Row]) -> Iterator[_Outer]:
    """Draw the means of one kind of labels (the rate, and α raw and with controls); what is to be drawn around them."""
    found = {(r["specification"], r["scale"]): r for r in group}
    for axes, key, at, look in (
        (left, ("rate", "logit_rate"), row, RAW),
        (right, ("bt", "log_odds"), row + 0.16, RAW),
        (right, ("last_rung", "log_odds"), row - 0.16, CONTROLLED),
    ):
        if key in found:
            ends, outer = _ends(found[key], "conf"), _ends(found[key], "prediction")
            if ends:
                style.diamond(axes, at, ends, look)
            if outer:
                yield _Outer(axes, at, outer, look)


def _draw_outer(axes: Axes, outer: Sequence[_Outer]) -> None:
    """Draw prediction intervals; the axis makes room for them, but not so much that nothing else can be read."""
    if not outer:
        return
    low, high = axes.get_xlim()
    room = _ROOM * (high - low)
    for one in outer:
        axes.plot(
            [one.interval.low, one.interval.high], [one.at, one.at], color=one.look.colour, linewidth=1.1,
            linestyle=(0, (1, 1.2)),
        )  # fmt: skip
    ends = min(one.interval.low for one in outer), max(one.interval.high for one in outer)
    margin = 0.03 * (high - low)
    axes.set_xlim(max(low - room, min(low, ends[0] - margin)), min(high + room, max(high, ends[1] + margin)))


def _ends(row: Row, name: str) -> Interval | None:
    """The mean between two ends, as the axis has it; None where there are none."""
    low, high = number(row, f"{name}_low"), number(row, f"{name}_high")
    if low is None or high is None:
        return None
    ends = (float(row["estimate"]), low, high)
    return Interval(*(100 / (1 + math.exp(-x)) for x in ends) if row["scale"] == "logit_rate" else ends)


def _name_controls(axes: Axes, rows: list[int], names: list[str]) -> None:
    beside = axes.secondary_yaxis("right")
    beside.set_yticks(rows, names, color=style.VERMILION)
    beside.tick_params(length=0)
    beside.spines["right"].set_visible(False)
    axes.annotate(
        "controls up to", (1, 1), xytext=(6, 4), xycoords="axes fraction", textcoords="offset points", fontsize=8,
        ha="left", color=style.GREY,
    )  # fmt: skip
