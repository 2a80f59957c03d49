"""Diversity: the chosen less the rejected responses of every dataset, metric by metric."""

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.collapse.diversity.metrics import METRICS
from analysis.report.figures import style
from analysis.report.figures.rows import Interval, check, interval

SHOWN = ("ead", "self_bleu", "rouge_l_diversity", "embedding_diversity", "vendi", "cluster_dominance")
LOOKS = {
    "across_input": ("across input", style.Look("o", style.BLUE)),
    "per_input": ("per input", style.Look("s", style.VERMILION, hollow=True)),
}
_COLUMNS = ("dataset", "group", "other_group", "scope", "metric", "status", "estimate", "conf_low", "conf_high")
_ACROSS = 3


def diversity(rows: pd.DataFrame) -> Figure:
    """Differences in diversity between the two sides of every dataset, with 95 % intervals, a panel a metric.

    Parameters
    ----------
    rows
        Rows of the table `diversity`, of the datasets of one study.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If no dataset has a difference with an interval; the message says what is missing.
    """
    check(rows, "diversity", _COLUMNS)
    between = rows[rows["other_group"].notna()]
    found = {
        (str(row["dataset"]), str(row["metric"]), str(row["scope"])): made
        for row in between.to_dict("records")
        if row["metric"] in SHOWN and (made := interval({str(k): v for k, v in row.items()}))
    }
    if not found:
        raise ValueError("no dataset has a difference in diversity with an interval")
    why = {
        (str(row["dataset"]), str(row["metric"])): str(row["status"]).removeprefix("no interval: ")
        for row in between.to_dict("records")
        if row["scope"] == next(iter(LOOKS))
    }
    datasets = [str(name) for name in pd.unique(between["dataset"])]
    scopes = [scope for scope in LOOKS if any(key[2] == scope for key in found)]
    with style.styled():
        down = math.ceil(len(SHOWN) / _ACROSS)
        figure = Figure(figsize=(style.WIDTH, 0.9 + down * (1.05 + 0.42 * len(datasets))), layout="constrained")
        axes = figure.subplots(down, _ACROSS, sharey=True, squeeze=False)
        for one, metric in zip(axes.flat, SHOWN, strict=True):
            _panel(one, metric, datasets, found, scopes)
            for at, dataset in zip(range(len(datasets), 0, -1), datasets, strict=True):
                if not any((dataset, metric, scope) in found for scope in scopes):
                    style.say_row(one, at, why[dataset, metric])
        for row in axes:
            row[0].set_yticks(range(len(datasets), 0, -1), [style.short(name, 28) for name in datasets])
            row[0].set_ylim(0.4, len(datasets) + 0.6)
        style.legend(figure, [LOOKS[scope] for scope in scopes])
        figure.supxlabel(f"{between['group'].iloc[0]} less {between['other_group'].iloc[0]}", fontsize=9.5)
    return figure


def _panel(
    axes: Axes, metric: str, datasets: Sequence[str], found: dict[tuple[str, str, str], Interval], scopes: Sequence[str]
) -> None:
    told = METRICS[metric]
    side = "right" if told.diverse > 0 else "left"
    axes.set_title(told.title, loc="left", fontsize=9, fontweight="bold", pad=17)
    axes.annotate(
        f"more diverse: {side}", (0, 1), xytext=(0, 5), textcoords="offset points", xycoords="axes fraction",
        fontsize=8, color=style.GREY,
    )  # fmt: skip
    for row, dataset in zip(range(len(datasets), 0, -1), datasets, strict=True):
        mine = [scope for scope in scopes if (dataset, metric, scope) in found]
        for scope in mine:
            off = 0.13 * (1 if scope == scopes[0] else -1) if len(scopes) > 1 else 0.0
            style.whisker(axes, row + off, found[dataset, metric, scope], LOOKS[scope][1])
    style.null_line(axes, 0)
    style.rule(axes, "x")
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.12)
    axes.locator_params(axis="x", nbins=5)
