"""Distribution of the differences between preferred and other responses."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.report.figures import style
from analysis.report.figures.rows import Cell, check, of, unit

Array = npt.NDArray[np.float64]
_COLUMNS = ("dataset", "base_model", "measure", "difference", "agrees")
_TYPICAL, _OTHER = style.Look("s", style.BLUE), style.Look("s", style.VERMILION)
_HALF = 20
# Of the differences, the share that the axis spans; a few far out would make the rest a spike.
_SPAN = 0.995


def distribution(differences: pd.DataFrame, measure: str | None = None) -> Figure:
    """Histogram of the preferred response's measure minus the other's, one panel a cell.

    Right of zero the more typical response was preferred; the share of these is written there. The line on the right
    is the left half mirrored: without bias the two would be alike. Comparisons in which either is a tie are left out,
    and the axis spans the middle 99.5 % of sizes. The panels of one dataset share their axis.

    Parameters
    ----------
    differences
        Rows of the table `differences`, of one study.
    measure
        Name of the measure; None: the first in the frame.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If no comparison has a difference and a preference; the message says what is missing.
    """
    check(differences, "differences", _COLUMNS)
    measure = str(differences["measure"].iloc[0]) if measure is None else measure
    rows = of(differences, "measure", measure)
    groups = [
        (Cell(str(dataset), str(model)), _signed(group))
        for (dataset, model), group in rows.groupby(["dataset", "base_model"], sort=False, observed=True)
    ]
    if not any(len(values) for _, values in groups):
        raise ValueError(f"every comparison is a tie by the measure {measure}, so there is no difference to draw")
    cells = [cell for cell, _ in groups]
    with style.styled():
        figure, axes = style.grid(cells, 1.95)
        for one, (_, values) in zip(axes, groups, strict=True):
            _panel(one, values)
        style.share_x(axes, cells)
        entries = [("more typical preferred", _TYPICAL), ("less typical preferred", _OTHER)]
        style.legend(figure, entries, lines="")
        figure.supxlabel(f"preferred minus other response, {unit(measure)}", fontsize=9.5)
    return figure


def _signed(rows: pd.DataFrame) -> Array:
    """Differences of preferred minus other (n,), without ties."""
    decided = rows[rows["agrees"].notna() & rows["difference"].notna() & (rows["difference"] != 0)]
    size = decided["difference"].abs().to_numpy(np.float64)
    return np.where(decided["agrees"].astype(bool), size, -size)


def _panel(axes: Axes, values: Array) -> None:
    if not len(values):
        style.say(axes, "every comparison is a tie")
        return
    end = float(np.quantile(np.abs(values), _SPAN))
    counts, edges = np.histogram(values, bins=2 * _HALF, range=(-end, end))
    shares = 100 * counts / len(values)
    for half, look in ((np.s_[:_HALF], _OTHER), (np.s_[_HALF:], _TYPICAL)):
        at = edges[half.start or 0 : (half.stop or 2 * _HALF) + 1]
        axes.stairs(shares[half], at, fill=True, color=look.colour, alpha=0.75, linewidth=0)
    axes.stairs(shares[:_HALF][::-1], edges[_HALF:], color=style.INK, linewidth=0.9)
    axes.axvline(0, color=style.INK, linewidth=1)
    axes.set_xlim(-end, end)
    axes.set_ylim(0, 1.3 * shares.max())
    for x, where, share in ((0.99, "right", np.mean(values > 0)), (0.01, "left", np.mean(values < 0))):
        axes.text(
            x, 0.99, f"{100 * share:.1f} %", transform=axes.transAxes, ha=where, va="top", fontsize=9,
            color=(_TYPICAL if where == "right" else _OTHER).colour, fontweight="bold",
        )  # fmt: skip
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=5)
