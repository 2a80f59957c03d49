"""What the cells of a study have in common: the chapter of the report on the tables `synthesis` and `agreement`."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.regression.influences import ADJUSTED, LOG_ODDS_SD, LOGIT_RATE
from analysis.regression.synthesis import ALL, DIFFERENCE, LAST_RUNG
from analysis.report.content import records
from analysis.report.verdicts import RUNGS
from analysis.report.words import count, fixed, interval, is_number, listed, p_value, percent, percent_interval

Row = dict[str, Any]
Line = tuple[str, ...]
FEWEST_TO_LEAD = 4
ROUGH = 4
COLUMNS: Line = ("Labels", "What", "Mean over datasets", "p", "New dataset", "Between datasets", "Between base models")
COLUMNS += ("All the same? Q, p", "Datasets × base models")
CELLS: Line = ("Dataset", "Base model", "What", "By itself", "Drawn towards the mean")
AGREEMENT: Line = (
    "What is ordered",
    "Base models",
    "How many",
    "Kendall's W",
    "Spearman's ρ, mean",
    "Least",
    "Same side",
)
_SHARES = (LOGIT_RATE, ADJUSTED)
_WHAT = {
    ("rate", LOGIT_RATE): "rate, %",
    ("bt", LOG_ODDS_SD): "raw odds ratio per SD",
    (LAST_RUNG, LOG_ODDS_SD): "odds ratio per SD, controls equal",
    (LAST_RUNG, ADJUSTED): "adjusted rate, controls equal, %",
}
METHOD = (
    "A multilevel random-effects meta-analysis by restricted maximum likelihood, on log-odds: effects of datasets, "
    "and of base models within them. Cells that share prompts share their errors; how much is estimated from what "
    "each prompt adds to each estimate, not assumed. Intervals of the mean are cluster-robust (CR2 with "
    "Satterthwaite's degrees of freedom), datasets being the clusters; those of a new dataset are Student's t with "
    "two degrees of freedom fewer than datasets. Controls are those of the last rung that a cell has, so they "
    "differ between datasets. What is put together is per SD of the difference, or a share, because the α of two "
    "base models are not in the same units."
)
_LABELS = {ALL: "all", DIFFERENCE: "human against AI"}


@dataclass(frozen=True)
class Chapter:
    """The chapter: what is said, the syntheses, the cells in them, the agreement of base models, what is missing."""

    sentences: tuple[str, ...]
    lines: tuple[Line, ...]
    cells: tuple[Line, ...]
    agreement: tuple[Line, ...]
    gaps: tuple[str, ...]
    columns: Line = COLUMNS
    cell_columns: Line = CELLS
    agreement_columns: Line = AGREEMENT
    method: str = METHOD


def chapter(synthesis: pd.DataFrame, agreement: pd.DataFrame, measure: str) -> Chapter | None:
    """Make the chapter from the study's rows under the headline measure; None where there are none.

    Parameters
    ----------
    synthesis, agreement
        Rows of these tables.
    measure
        The headline measure.
    """
    rows = [r for r in records(synthesis) if r["measure"] == measure]
    wanted = [r for r in rows if (r["specification"], r["scale"]) in _WHAT]
    if not wanted:
        return None
    known = [r for r in wanted if r["status"] == "ok"]
    orders = [r for r in records(agreement) if r["measure"] == measure]
    whole = [r for r in known if r["dataset"] is None]
    return Chapter(
        (*_told(whole), *_agree(orders)),
        tuple(_line(r) for r in whole),
        tuple(_cell(r) for r in known if r["dataset"] is not None and r["raters"] == ALL),
        tuple(_order(r) for r in orders if r["status"] == "ok"),
        tuple(dict.fromkeys((*_gaps(wanted), *_order_gaps(orders)))),
    )


def sentence(synthesis: pd.DataFrame, measure: str) -> str:
    """The study in one sentence; empty where it has no synthesis, or one of too few datasets to lead a report with."""
    found = {(r["specification"], r["scale"]): r for r in _whole(synthesis, measure) if r["raters"] == ALL}
    few = any(r["n_datasets"] < FEWEST_TO_LEAD for r in found.values())
    return "" if few else _mean(found, "Across")


def _whole(synthesis: pd.DataFrame, measure: str) -> list[Row]:
    return [r for r in records(synthesis) if r["measure"] == measure and r["dataset"] is None and r["status"] == "ok"]


def _told(rows: Sequence[Row]) -> Iterator[str]:
    """The syntheses in plain words."""
    groups = list(dict.fromkeys(r["raters"] for r in rows if r["raters"] != DIFFERENCE))
    sizes = {g: max(r["n_cells"] for r in rows if r["raters"] == g) for g in groups}
    # Where all labels are of one kind, that kind says nothing new.
    groups = [g for g in groups if g == ALL or sizes[g] < sizes.get(ALL, math.inf)]
    for group in groups:
        found = {(r["specification"], r["scale"]): r for r in rows if r["raters"] == group}
        said = _mean(found, "Across" if group == ALL else f"By {_labels(group)} labels alone, across")
        if said:
            yield said
        if group == ALL and ("rate", LOGIT_RATE) in found:
            yield from _spread(found["rate", LOGIT_RATE])
    for row in rows:
        if row["raters"] == DIFFERENCE and row["specification"] == "rate":
            odds = f"{fixed(math.exp(row['estimate']))} ({_odds(row, 'conf')})"
            yield (
                f"Human against AI labels: the odds that the more typical response wins are {odds} times as large by "
                f"human ones (p {p_value(row['p_value'])})."
            )


def _mean(found: dict[tuple[str, str], Row], begin: str) -> str:
    """The mean rate of some labels in words, with that where controls are equal; empty where there is none."""
    rate, top = found.get(("rate", LOGIT_RATE)), found.get((LAST_RUNG, ADJUSTED))
    if rate is None:
        return ""
    said = (
        f"{begin} {count(rate['n_datasets'], 'dataset')} under {count(rate['n_base_models'], 'base model')} the more "
        f"typical response is preferred in {percent(_share(rate['estimate']))} % of comparisons on average (95 % "
        f"interval {_ends(rate, 'conf')} %; 50 % is no bias)"
    )
    if is_number(rate["prediction_low"]):
        said += f"; in a new dataset between {_ends(rate, 'prediction', ' and ')} % are to be expected"
    if top is not None:
        said += (
            f". With what each dataset allows to hold equal it would be {percent(_share(top['estimate']))} % "
            f"({_ends(top, 'conf')} %)"
        )
    rough = " With so few datasets these intervals are rough ones." if rate["df"] < ROUGH else ""
    return f"{said}.{rough}"


def _spread(row: Row) -> Iterator[str]:
    """How much datasets and base models differ."""
    within = ""
    if is_number(row["i2_base_model"]):
        within = f", and {percent(row['i2_base_model'], 0)} % differences between base models on the same comparisons"
    degrees = count(int(row["q_df"]), "degree")
    yield (
        f"Of the variance of the rates {percent(row['i2_dataset'], 0)} % are differences between datasets{within}; the "
        f"rest is what sampling alone brings (Cochran's Q {fixed(row['q'], 1)} on {degrees} of freedom, "
        f"p {p_value(row['q_p_value'])})."
    )


def _agree(rows: Sequence[Row]) -> Iterator[str]:
    """What the agreement of base models means."""
    known = [r for r in rows if r["status"] == "ok" and r["dataset"] is not None]
    if known:
        least = min(known, key=lambda r: r["kendall_w"])
        most = max(known, key=lambda r: r["kendall_w"])
        if least is most:
            between = fixed(least["kendall_w"])
        else:
            between = (
                f"{fixed(least['kendall_w'])} ({least['dataset']}) to {fixed(most['kendall_w'])} ({most['dataset']})"
            )
        yield (
            f"The base models order a dataset's comparisons by how much more typical one response is with a Kendall's "
            f"W of {between}, and find the same response more typical in {percent(_least(known, 'same_side'), 0)} % of "
            "comparisons or more. At W = 1 it would not matter which base model is used; the lower it is, the more a "
            "finding is that base model's own."
        )
    for row in (r for r in rows if r["status"] == "ok" and r["dataset"] is None):
        yield (
            f"They put the {row['n']} datasets in the order of their α with a Kendall's W of "
            f"{fixed(row['kendall_w'])} (mean Spearman's ρ {fixed(row['spearman'])})."
        )


def _least(rows: Sequence[Row], name: str) -> float:
    return float(min(r[name] for r in rows))


def _labels(group: str) -> str:
    return "AI" if group == "ai" else _LABELS.get(group, group)


def _share(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def _ends(row: Row, name: str, between: str = " to ") -> str:
    low, high = (_share(row[f"{name}_{end}"]) for end in ("low", "high"))
    return percent_interval(low, high).replace(" to ", between)


def _odds(row: Row, name: str) -> str:
    return interval(math.exp(row[f"{name}_low"]), math.exp(row[f"{name}_high"]))


def _value(row: Row, column: str) -> str:
    """A number of a scale as it is read: a share in per cent, or an odds ratio."""
    value = row[column]
    if not is_number(value):
        return "—"
    is_share = row["scale"] in _SHARES and row["raters"] != DIFFERENCE
    return percent(_share(value)) if is_share else fixed(math.exp(value))


def _between(row: Row, low: str, high: str) -> str:
    return f"{_value(row, low)} to {_value(row, high)}" if is_number(row[low]) else "—"


def _what(row: Row) -> str:
    what = _WHAT[row["specification"], row["scale"]]
    return f"{what.removesuffix(', %')}, odds ratio" if row["raters"] == DIFFERENCE and what.endswith("%") else what


def _line(row: Row) -> Line:
    missing = f", {count(row['n_missing'], 'cell')} without a number" if row["n_missing"] else ""
    clusters = f" ({row['n_clusters']} bodies of data)" if row["n_clusters"] < row["n_datasets"] else ""
    return (
        _labels(row["raters"]),
        _what(row),
        f"{_value(row, 'estimate')} ({_between(row, 'conf_low', 'conf_high')})",
        p_value(row["p_value"]),
        _between(row, "prediction_low", "prediction_high"),
        _level(row, "dataset"),
        _level(row, "base_model"),
        f"{fixed(row['q'], 1)}, {p_value(row['q_p_value'])}" if is_number(row["q"]) else "—",
        f"{row['n_datasets']} × {row['n_base_models']}{clusters}{missing}",
    )


def _level(row: Row, level: str) -> str:
    tau, share = row[f"tau_{level}"], row[f"i2_{level}"]
    return f"τ {fixed(tau)}, I² {percent(share, 0)} %" if is_number(tau) else "—"


def _cell(row: Row) -> Line:
    rung = f" ({RUNGS[row['controls']] or 'raw'})" if row["specification"] == LAST_RUNG else ""
    return (
        row["dataset"],
        row["base_model"],
        f"{_what(row)}{rung}",
        _value(row, "estimate"),
        f"{_value(row, 'shrunken')} ({_between(row, 'shrunken_low', 'shrunken_high')})",
    )


def _order(row: Row) -> Line:
    what = f"comparisons of {row['dataset']}" if row["dataset"] else "datasets, by α per SD"
    same = f"{percent(row['same_side'])} %" if is_number(row["same_side"]) else "—"
    numbers = (fixed(row[name]) for name in ("kendall_w", "spearman", "spearman_least"))
    return (what, str(row["n_base_models"]), f"{row['n']:,}", *numbers, same)


def _gaps(rows: Sequence[Row]) -> Iterator[str]:
    """Why syntheses are missing, each reason once; where there is none at all, that of the rate."""
    if all(r["status"] != "ok" for r in rows):
        yield f"No synthesis: {rows[0]['status']}."
        return
    missing: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["status"] != "ok":
            missing.setdefault((row["raters"], row["status"]), []).append(_what(row).removesuffix(", %"))
    for (raters, status), names in missing.items():
        every = sum(r["raters"] == raters and r["dataset"] is None for r in rows) == len(names)
        labels = f"{_labels(raters)}{' labels' if raters != DIFFERENCE else ''}"
        yield f"No synthesis{'' if every else f' of {listed(names)}'} for {labels}: {status}."


def _order_gaps(rows: Sequence[Row]) -> Iterator[str]:
    missing = [r for r in rows if r["status"] != "ok"]
    if len(missing) == len(rows) and all(r["n_base_models"] < 2 for r in rows):
        yield "Whether base models agree cannot be told from one."
        return
    for status, row in {r["status"]: r for r in missing}.items():
        what = f"the comparisons of {row['dataset']}" if row["dataset"] else "datasets"
        yield f"Agreement of base models on the order of {what}: {status}."
