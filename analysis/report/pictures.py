"""The report's figures, each with what it shows in words and as a table."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.regression.part import TYPICALITY
from analysis.report import figures
from analysis.report.figures import svg
from analysis.report.figures.rows import Interval
from analysis.report.figures.rows import cells as in_cells
from analysis.report.figures.shape import curve
from analysis.report.words import fixed, interval, is_number, number, p_value, percent, percent_interval

Line = tuple[str, ...]
_LADDER = ("bt", "bt_length", "bt_style", "bt_quality", "bt_source", "bt_fluency")
_PLACEBOS = ("bt", "placebo_labels", "placebo_prompts", "length_only", "unigram_only", "surprisal_entropy")
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)

CAPTIONS = {
    "forest": (
        "Every cell",
        "Forest plot: typicality bias rate and α of every cell, with 95 % intervals",
        "Left: share of comparisons whose preferred response is the more typical one. Right: α, the log-odds by which "
        "one more unit of the measure raises the preference, raw and with all controls held equal. Bars are 95 % "
        "intervals clustered by prompt; the dashed lines mark no bias. Diamonds are means over datasets, as wide as "
        "their 95 % intervals, and dotted lines, cut off where they leave the page, the ranges in which new datasets "
        "are expected. α per unit compares base models only roughly.",
    ),
    "ladder": (
        "Controls",
        "What is left as controls are added",
        "The average marginal effect of typicality (points of preference per unit of the measure), raw and as length, "
        "style, quality and source are held equal, one after the other. The last rung, fluency apart from the prompt, "
        "splits typicality itself: verdicts stop before it. Bars are 95 % intervals.",
    ),
    "dose-response": (
        "Dose–response",
        "The larger the difference, the surer the preference?",
        "How often the more typical response is preferred, by how much more typical it is (tenths of the comparisons); "
        "the curve is what Bradley–Terry implies. Bars are 95 % intervals; the dashed line marks no bias.",
    ),
    "shape": (
        "Shape",
        "Is more always better?",
        "How a response's log-odds of being preferred to one of median typicality change with its typicality: a curve "
        "that is free to bend (restricted cubic spline), a parabola, and the straight line of Bradley–Terry. Where the "
        "curve bends down, labels punish what is too typical. The band holds each point with 95 %; p tests the "
        "straight line.",
    ),
    "distribution": (
        "Differences",
        "The preferred response less the other",
        "How much more typical the preferred response is than the other one. Where typicality and preference have "
        "nothing to do with each other, the two sides of zero are mirror images.",
    ),
    "specification-curve": (
        "Specification curve",
        "Every way of asking",
        "α of typicality in log-odds per SD of the difference, under every base model, measure, slice and set of "
        "controls, sorted; the marks below say which. An effect that depends on one choice shows here.",
    ),
    "placebos": (
        "Placebos and rivals",
        "Placebos and rivals",
        "α where there can be none (labels flipped by prompt; differences of other prompts) beside the real one: a "
        "placebo's 95 % interval misses zero once in twenty. And how well typicality, length, the frequency of "
        "words, and the nearness of surprisal to entropy predict the preferences by themselves.",
    ),
}


@dataclass(frozen=True)
class Picture:
    """A figure with its caption and its numbers.

    Attributes
    ----------
    name, short, title, caption
        The file's name, a word or two, a heading, and what is to be seen.
    image
        The figure as SVG.
    columns, lines
        Its numbers as a table of texts; the first `n_keys` columns name the row. No columns where another table of the
        report holds them.
    """

    name: str
    short: str
    title: str
    caption: str
    image: str
    columns: Line = ()
    lines: Sequence[Line] = ()
    n_keys: int = 2


def forest(estimates: pd.DataFrame, synthesis: pd.DataFrame, measure: str) -> Picture | None:
    """The forest plot, whose numbers the tables of cells and syntheses hold; None where no cell has any."""
    shown = estimates[(estimates["measure"] == measure) & (estimates["slice"] == "all") & (estimates["status"] == "ok")]
    if not shown["specification"].isin(("rate", "bt")).any():
        return None
    return _picture("forest", figures.forest(estimates, measure, synthesis=synthesis))


def pictures(estimates: pd.DataFrame, differences: pd.DataFrame, measure: str) -> Iterator[Picture]:
    """Draw everything that the tables of a run allow, but the forest plot.

    Parameters
    ----------
    estimates, differences
        Rows of these tables.
    measure
        The headline measure.
    """
    columns: Line
    headline = estimates[(estimates["measure"] == measure) & (estimates["slice"] == "all")]
    typical = headline[headline["term"] == TYPICALITY]
    ok = headline[headline["status"] == "ok"]["specification"]
    if ok.isin(_LADDER).any():
        columns = ("Dataset", "Base model", "Rung", "α", "Marginal effect, points", "Share left, %", "Adjusted rate, %")
        lines = [_rung(row) for row in _rows(typical, _LADDER)]
        yield _picture("ladder", figures.ladder(estimates, measure), columns, lines, 3)
    if ok.eq("binned").any():
        columns = ("Dataset", "Base model", "Difference", "Rate, %", "95 % interval", "Comparisons")
        lines = [_bin(row) for row in _rows(headline, ("binned",))]
        yield _picture("dose-response", figures.dose_response(estimates, measure), columns, lines, 3)
    if ok.eq("spline").any():
        columns = ("Dataset", "Base model", "Typicality", "Spline, log-odds", "Parabola, log-odds", "p, straight line")
        lines = list(_shape(headline))
        yield _picture("shape", figures.shape(estimates, measure), columns, lines, 3)
    mine = differences[differences["measure"] == measure]
    if mine["agrees"].notna().any():
        columns = ("Dataset", "Base model", "Above zero, %", *(f"{q:.0%} below" for q in _QUANTILES), "Comparisons")
        cells = mine.groupby(["dataset", "base_model"], sort=False)
        lines = [_spread(str(dataset), str(model), frame) for (dataset, model), frame in cells]
        yield _picture("distribution", figures.distribution(mine, measure), columns, lines)
    if ok.str.startswith("bt").any():
        yield _picture("specification-curve", figures.specification_curve(estimates))
    if ok.isin(_PLACEBOS[1:]).any():
        columns = ("Dataset", "Base model", "Specification", "α", "p", "Log-likelihood, nats per comparison")
        shown = headline[headline["term"].isin((TYPICALITY, "log_words", "unigram", "surprisal_entropy"))]
        lines = [_placebo(row) for row in _rows(shown, _PLACEBOS)]
        yield _picture("placebos", figures.placebos(estimates, measure), columns, lines, 3)


def _picture(name: str, figure: Figure, columns: Line = (), lines: Sequence[Line] = (), n_keys: int = 2) -> Picture:
    short, title, caption = CAPTIONS[name]
    return Picture(name, short, title, caption, svg(figure, title), columns, lines, n_keys)


def _rows(frame: pd.DataFrame, specifications: Sequence[str]) -> list[dict[Hashable, Any]]:
    return frame[frame["specification"].isin(specifications)].to_dict("records")


def _rung(row: dict[Hashable, Any]) -> Line:
    keys = str(row["dataset"]), str(row["base_model"]), str(row["specification"])
    if not is_number(row["estimate"]):
        return (*keys, str(row["status"]), "", "", "")
    return (
        *keys,
        f"{fixed(row['estimate'])} ({interval(row['conf_low'], row['conf_high'])})",
        f"{percent(row['marginal_effect'])} ± {percent(row['marginal_effect_std_error'])}",
        _with_interval(row, "share_left"),
        _with_interval(row, "adjusted_rate"),
    )


def _with_interval(row: dict[Hashable, Any], name: str) -> str:
    between = percent_interval(row[f"{name}_low"], row[f"{name}_high"])
    return f"{percent(row[name])} ({between})" if is_number(row[name]) else ""


def _bin(row: dict[Hashable, Any]) -> Line:
    keys = str(row["dataset"]), str(row["base_model"]), str(row["term"]).removeprefix("|difference| ")
    n = f"{row['n_comparisons']:,}"
    if not is_number(row["estimate"]):
        return (*keys, str(row["status"]), "", n)
    return (*keys, percent(row["estimate"]), percent_interval(row["conf_low"], row["conf_high"]), n)


def _shape(headline: pd.DataFrame) -> Iterator[Line]:
    """The points of the curves; for a cell that has none the reason."""
    _, cells = in_cells(headline, None, "all", ("spline",))
    for cell in cells:
        keys, bent = (cell.dataset, cell.base_model), curve(cell, "quadratic")
        points, p = curve(cell, "spline"), p_value((cell.row("spline") or {}).get("p_linearity"))
        if not points:
            yield (*keys, "", cell.reason(["spline"]), "", "")
        for at, found in points.items():
            yield (*keys, number(at[0], 4), _with_ends(found), _with_ends(bent[at]) if at in bent else "", p)


def _with_ends(found: Interval) -> str:
    return f"{fixed(found.value)} ({interval(found.low, found.high)})"


def _spread(dataset: str, base_model: str, frame: pd.DataFrame) -> Line:
    known = frame[frame["agrees"].notna()]
    size = known["difference"].abs().to_numpy()
    signed = np.where(known["agrees"].astype(bool), size, -size)
    quantiles = np.quantile(signed, _QUANTILES) if len(signed) else [np.nan] * len(_QUANTILES)
    above = percent(float(np.mean(signed > 0))) if len(signed) else percent(None)
    return (dataset, base_model, above, *(fixed(float(q)) for q in quantiles), f"{len(signed):,}")


def _placebo(row: dict[Hashable, Any]) -> Line:
    keys = str(row["dataset"]), str(row["base_model"]), str(row["specification"])
    if not is_number(row["estimate"]):
        return (*keys, str(row["status"]), "", "")
    shown = f"{fixed(row['estimate'])} ({interval(row['conf_low'], row['conf_high'])})"
    return (*keys, shown, p_value(row["p_value"]), fixed(row["mean_log_likelihood"], 4))
