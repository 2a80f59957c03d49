"""A base model against temperature: entropy where contexts stay, along its own draws, and what the draws are like."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from analysis.collapse.diversity.metrics import METRICS
from analysis.report.figures import style
from analysis.report.figures.rows import check

_COLUMNS = (
    *("name", "base_model", "temperature", "other_temperature", "quantity", "status", "estimate"),
    *("conf_low", "conf_high"),
)
_ENTROPIES = {
    "entropy": ("fixed contexts, exact", style.Look("o", style.BLUE)),
    "entropy_drawn": ("along own draws", style.Look("s", style.VERMILION)),
    "entropy_drawn_at_1": ("at T = 1 along own draws", style.Look("D", style.GREEN, hollow=True)),
}
_PANELS = {
    "mean_logprob": "log p of draws at T = 1, nats a token",
    "n_tokens": "length of draws, tokens",
    "repetition": "4-grams that repeat, share",
    "distinct_2": METRICS["distinct_2"].title,
    "vendi": METRICS["vendi"].title,
}
_LOOK = style.Look("o", style.BLUE)


def temperature(rows: pd.DataFrame) -> Figure:
    """Next-token entropy against temperature, and what the draws are like, with 95 % intervals over prompts.

    Parameters
    ----------
    rows
        Rows of the table `temperature`, of one measurement under one base model.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is nothing to draw, or the rows are of several measurements; the message says which.
    """
    check(rows, "temperature", _COLUMNS)
    several = rows[["name", "base_model"]].drop_duplicates()
    if len(several) > 1:
        told = ", ".join(f"{row.name} under {row.base_model}" for row in several.itertuples(index=False))
        raise ValueError(f"the frame holds several measurements ({told}): choose one")
    alone = rows[rows["other_temperature"].isna() & rows["estimate"].notna()]
    if alone.empty:
        raise ValueError("no quantity has a number at any temperature")
    with style.styled():
        figure = Figure(figsize=(style.WIDTH, 5.6), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
        axes = list(figure.subplots(2, 3, squeeze=False).flat)
        for name, (_, look) in _ENTROPIES.items():
            _line(axes[0], alone, name, look)
        _dress(axes[0], "next-token entropy, nats a token")
        for one, (name, title) in zip(axes[1:], _PANELS.items(), strict=True):
            if not _line(one, alone, name, _LOOK):
                style.say(one, _reason(rows, name))
                continue
            _dress(one, title)
        style.legend(figure, [(title, look) for title, look in _ENTROPIES.values()])
        figure.supxlabel("temperature", fontsize=9.5)
    return figure


def _line(axes: Axes, rows: pd.DataFrame, quantity: str, look: style.Look) -> bool:
    """Draw a quantity; whether there is anything to draw."""
    mine = rows[rows["quantity"] == quantity].sort_values("temperature")
    if mine.empty:
        return False
    at, value, low, high = (
        mine[name].to_numpy(np.float64) for name in ("temperature", "estimate", "conf_low", "conf_high")
    )
    axes.fill_between(at, low, high, color=look.colour, alpha=0.15, linewidth=0)
    axes.plot(at, value, look.marker, linestyle="-", color=look.colour, markerfacecolor=look.face, markersize=4.5)
    return True


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=9, fontweight="bold")
    axes.set_xlim(left=0)
    style.rule(axes, "y")


def _reason(rows: pd.DataFrame, quantity: str) -> str:
    return str(next(iter(rows.loc[rows["quantity"] == quantity, "status"]), "not measured"))
