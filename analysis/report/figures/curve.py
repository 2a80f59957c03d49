"""Specification curve: every α of a dataset, sorted, with the choices that made it."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from analysis.regression.part import TYPICALITY
from analysis.report.figures import style
from analysis.report.figures.rows import COLUMNS, RUNGS, check

Array = npt.NDArray[np.float64]
_CLEAR, _UNCLEAR = style.Look("o", style.BLUE), style.Look("o", style.GREY, hollow=True)
_CHOICES = {"base_model": "base model", "measure": "measure", "slice": "slice", "specification": "controls"}
_NAMES = {"bt_prompts": "raw, prompts weigh the same", "bt_annotators": "raw, annotators clustered"}
_SCALED = ("estimate", "conf_low", "conf_high")
_ROW, _CURVE = 0.175, 1.9


def specification_curve(estimates: pd.DataFrame) -> Figure:
    """Every α of each dataset, sorted, in log-odds per standard deviation, over the choices that made it.

    Drawn are all base models, measures, slices and Bradley–Terry specifications that have a number, with 95 %
    intervals; standardised by `difference_sd`, so that measures can be compared. Filled points have intervals that
    exclude zero. A choice that is the same throughout has no row below.

    Parameters
    ----------
    estimates
        Rows of the table `estimates`, of one study.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is no α with a standard deviation; the message says what is missing.
    """
    rows = _standardised(estimates)
    panels = [(str(name), group) for name, group in rows.groupby("dataset", sort=False, observed=True)]
    with style.styled():
        heights = [h for _, group in panels for h in (_CURVE, _ROW * _lines(group))]
        size = style.WIDTH, sum(heights) + 0.5 * len(panels) + 0.4
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.06))
        axes = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        for k, (name, group) in enumerate(panels):
            _curve(axes[2 * k], name, group)
            _matrix(axes[2 * k + 1], group)
        entries = [("95 % interval excludes zero", _CLEAR), ("includes zero", _UNCLEAR)]
        style.legend(figure, entries)
    return figure


def _standardised(estimates: pd.DataFrame) -> pd.DataFrame:
    """The α of every Bradley–Terry specification in log-odds per standard deviation, sorted."""
    check(estimates, "estimates", (*COLUMNS, *_SCALED, "difference_sd"))
    rows = estimates[(estimates["term"] == TYPICALITY) & estimates["specification"].str.startswith("bt")]
    values = rows[[*_SCALED, "difference_sd"]].astype(np.float64)
    rows = rows[np.isfinite(values.to_numpy()).all(axis=1)]
    if rows.empty:
        raise ValueError("no Bradley–Terry specification has an estimate with its interval and difference_sd")
    scaled = rows.assign(**{name: rows[name] * rows["difference_sd"] for name in _SCALED})
    # Datasets keep the table's order; equal estimates too, so that the same table gives the same figure.
    place = {dataset: k for k, dataset in enumerate(rows["dataset"].unique())}
    made: pd.DataFrame = scaled.sort_values("estimate", kind="stable").sort_values(
        "dataset", kind="stable", key=lambda column: column.map(place)
    )
    return made


def _varying(rows: pd.DataFrame) -> dict[str, list[str]]:
    """The choices that differ, each with its values; specifications in the ladder's order."""
    order = {name: k for k, name in enumerate(("bt", *_NAMES, *RUNGS))}
    found = {
        column: sorted(map(str, rows[column].unique()), key=lambda v: (order.get(v, 99), v)) for column in _CHOICES
    }
    return {column: values for column, values in found.items() if len(values) > 1}


def _lines(rows: pd.DataFrame) -> float:
    varying = _varying(rows)
    return max(1.0, sum(map(len, varying.values())) + 0.6 * len(varying))


def _curve(axes: Axes, dataset: str, rows: pd.DataFrame) -> None:
    estimate, low, high = (rows[name].to_numpy(np.float64) for name in _SCALED)
    at = np.arange(len(rows))
    clear = (low > 0) | (high < 0)
    size = float(np.clip(260 / len(rows), 1.8, 5))
    for chosen, look in ((clear, _CLEAR), (~clear, _UNCLEAR)):
        axes.plot(np.repeat(at[chosen], 3), style.strokes(low[chosen], high[chosen]), color=look.colour, linewidth=0.8)
        axes.plot(
            at[chosen], estimate[chosen], look.marker, color=look.colour, markerfacecolor=look.face, markersize=size,
            markeredgewidth=0.8,
        )  # fmt: skip
    style.null_line(axes, 0, horizontal=True)
    style.rule(axes, "y")
    axes.set_xticks([])
    axes.set_xlim(-0.8, len(rows) - 0.2)
    axes.set_ylabel("α per SD, log-odds")
    axes.set_title(style.short(dataset, 40), loc="left", fontsize=9, fontweight="bold")
    axes.set_title(_summary(estimate, low, high), loc="right", fontsize=8.5, color=style.GREY)


def _summary(estimate: Array, low: Array, high: Array) -> str:
    median = f"{np.median(estimate):.2f}".replace("-", "−")
    return (
        f"{len(estimate)} specifications, median {median}; "
        f"interval above zero in {np.count_nonzero(low > 0)}, below in {np.count_nonzero(high < 0)}"
    )


def _matrix(axes: Axes, rows: pd.DataFrame) -> None:
    varying = _varying(rows)
    y, ticks, labels = 0.0, [], []
    for column, values in varying.items():
        top = y
        for value in values:
            chosen = np.flatnonzero((rows[column].astype(str) == value).to_numpy())
            starts, ends = _runs(chosen)
            axes.plot(
                style.strokes(starts - 0.4, ends + 0.4), [y] * (3 * len(starts)), color=style.INK, linewidth=4,
                solid_capstyle="butt",
            )  # fmt: skip
            ticks.append(y)
            labels.append(style.short(_NAMES.get(value, RUNGS.get(value, value)), 30))
            y -= 1
        axes.annotate(
            _CHOICES[column], (1, (top + y + 1) / 2), xytext=(6, 0), xycoords=axes.get_yaxis_transform(),
            textcoords="offset points", va="center", fontsize=8, color=style.GREY,
        )  # fmt: skip
        y -= 0.6
    axes.set_yticks(ticks, labels, fontsize=7.5)
    axes.set_ylim(y + 0.9, 0.7)
    axes.set_xlim(-0.8, len(rows) - 0.2)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if not varying:
        axes.set_axis_off()


def _runs(at: npt.NDArray[np.intp]) -> tuple[Array, Array]:
    """First and last of each run of neighbours: drawn as one mark, which is smaller than one for each."""
    breaks = np.flatnonzero(np.diff(at) > 1)
    return at[np.r_[0, breaks + 1]].astype(np.float64), at[np.r_[breaks, len(at) - 1]].astype(np.float64)
