"""What the cells of a study have in common: a multilevel random-effects meta-analysis on each scale.

The cells of a dataset under several base models share their comparisons, and so may datasets. The covariance of their
errors is estimated from what each prompt adds to each estimate (`influences`). The mean is that of restricted maximum
likelihood with random effects of datasets, and of base models within them; its interval is cluster-robust (CR2 with
Satterthwaite's degrees of freedom), because it keeps its level with few datasets, whether they differ or not, and where
the random effects are not as assumed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from scipy import stats

from analysis import tables
from analysis.regression import multilevel
from analysis.regression.agreement import agreement
from analysis.regression.inference import Array, Codes, NoEstimate
from analysis.regression.influences import ADJUSTED, LOG_ODDS, LOG_ODDS_SD, LOGIT_RATE, RATE, scaled
from analysis.regression.multilevel import Multilevel
from analysis.regression.part import TYPICALITY
from analysis.schemas.synthesis import INFLUENTIAL
from analysis.study import Study

Row = dict[str, Any]
ALL, DIFFERENCE, SIMULATED, LAST_RUNG = "all", "human - ai", "simulated", "last_rung"
RATERS = ("human", "ai", "mixed", SIMULATED)
# Datasets of which a twentieth of the prompts of the smaller one are in the other, too, are one body of data.
SHARED = 0.05
FEWEST_FOR_PREDICTION = 3


@dataclass(frozen=True)
class Cell:
    """A cell's number on one scale: its keys, who judged, the rung it is from, and the column of its influences."""

    dataset: str
    base_model: str
    rater: str
    rung: str
    value: float
    column: str


@dataclass(frozen=True)
class Shares:
    """What every prompt adds to every cell under one measure.

    Attributes
    ----------
    prompts
        By cell, the codes of its prompts.
    values
        By cell, the columns of influences.
    clusters
        By dataset, which body of data it belongs to.
    """

    prompts: Mapping[tuple[str, str], Codes]
    values: Mapping[tuple[str, str], Mapping[str, Array]]
    clusters: Mapping[str, int]

    def covariance(self, cells: Sequence[Cell]) -> Array:
        """(k, k) covariance of the errors; between different bodies of data it is zero."""
        made = np.zeros((len(cells), len(cells)))
        codes = np.array([self.clusters[c.dataset] for c in cells])
        for cluster in np.unique(codes):
            at = np.flatnonzero(codes == cluster).tolist()
            keys = [(cells[i].dataset, cells[i].base_model) for i in at]
            mine = [(self.prompts[k], self.values[k][cells[i].column]) for i, k in zip(at, keys, strict=True)]
            among = np.unique(np.concatenate([prompts for prompts, _ in mine]))
            spread = np.zeros((len(among), len(at)))
            for j, (prompts, values) in enumerate(mine):
                spread[np.searchsorted(among, prompts), j] = np.nan_to_num(values)
            made[np.ix_(at, at)] = spread.T @ spread
        return made


def synthesise(study: Study, raters: Mapping[str, str], work: Path) -> int:
    """Write `synthesis` and `agreement` of a run's unpublished tables.

    Parameters
    ----------
    study
        The study.
    raters
        Who judged, by dataset; datasets that could not be read are missing.
    work
        The run's folder, with the estimates, influences and differences of its cells.

    Returns
    -------
    int
        How many syntheses have a number.
    """
    keys = [(d.key, m.key) for d in study.datasets for m in study.base_models]
    estimates = tables.scan("estimates", sorted((work / "estimates").glob("*.parquet")))
    asked = pc.and_(pc.equal(estimates["slice"], "all"), pc.equal(estimates["term"], TYPICALITY))
    found = estimates.filter(asked).to_pylist()
    rows: list[Row] = []
    orders: list[Row] = []
    for measure in study.measures:
        mine = {(r["dataset"], r["base_model"], r["specification"]): r for r in found if r["measure"] == measure}
        shares = read_shares(work, measure)
        named = {"study": study.name, "measure": measure}
        rows += [{**named, **row} for row in syntheses(keys, mine, raters, shares)]
        orders += [{**named, **row} for row in agreement(study, measure, mine, work)]
    tables.write(work / "synthesis" / "all.parquet", "synthesis", rows)
    tables.write(work / "agreement" / "all.parquet", "agreement", orders)
    return sum(row["status"] == "ok" and row.get("dataset") is None for row in rows)


def read_shares(work: Path, measure: str) -> Shares:
    """The influences of a run under one measure."""
    table = tables.scan(
        "influences", sorted((work / "influences").glob("*.parquet")), None, pc.field("measure") == measure
    )
    encoded = table["prompt_id"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.intp)
    datasets, models = (table[name].combine_chunks().dictionary_encode() for name in ("dataset", "base_model"))
    names = [name for name in table.schema.names if "__" in name]
    prompts: dict[tuple[str, str], Codes] = {}
    values: dict[tuple[str, str], dict[str, Array]] = {}
    columns = {name: table[name].to_numpy().astype(float) for name in names}
    cell = datasets.indices.to_numpy() * max(len(models.dictionary), 1) + models.indices.to_numpy()
    for k in dict.fromkeys(cell.tolist()):
        at = np.flatnonzero(cell == k)
        key = (
            datasets.dictionary[k // len(models.dictionary)].as_py(),
            models.dictionary[k % len(models.dictionary)].as_py(),
        )
        order = np.argsort(encoded[at], kind="stable")
        prompts[key] = encoded[at][order]
        values[key] = {name: column[at][order] for name, column in columns.items()}
    return Shares(prompts, values, _bodies(prompts))


def _bodies(prompts: Mapping[tuple[str, str], Codes]) -> dict[str, int]:
    """Which body of data each dataset belongs to: those that share prompts are one."""
    from scipy.sparse.csgraph import connected_components

    own: dict[str, Codes] = {}
    for (dataset, _), codes in prompts.items():
        own[dataset] = np.union1d(own.get(dataset, codes), codes)
    names = list(own)
    linked = np.zeros((len(names), len(names)), bool)
    for i, first in enumerate(names):
        for j, second in enumerate(names[:i]):
            both = len(np.intersect1d(own[first], own[second], assume_unique=True))
            linked[i, j] = both > SHARED * min(len(own[first]), len(own[second]))
    _, labels = connected_components(linked, directed=False)
    return {name: int(label) for name, label in zip(names, labels, strict=True)}


def syntheses(
    keys: Sequence[tuple[str, str]],
    estimates: Mapping[tuple[str, str, str], Row],
    raters: Mapping[str, str],
    shares: Shares,
) -> Iterator[Row]:
    """Rows of `synthesis` under one measure, without the study's keys.

    Parameters
    ----------
    keys
        Every cell of the study: dataset and base model.
    estimates
        Rows of typicality in all comparisons, by dataset, base model and specification.
    raters
        Who judged, by dataset.
    shares
        The cells' influences.
    """
    wanted = [(RATE, LOGIT_RATE)]
    wanted += [(name, s) for name in (*INFLUENTIAL, LAST_RUNG) for s in (LOG_ODDS, LOG_ODDS_SD, ADJUSTED)]
    real = {kind for kind in raters.values() if kind != SIMULATED}
    for specification, scale in wanted:
        if specification != LAST_RUNG and not any((*key, specification) in estimates for key in keys):
            continue
        found = [c for key in keys if (c := _cell(key, specification, scale, estimates, raters, shares))]
        for group in (ALL, *(kind for kind in RATERS if kind in raters.values())):
            inside = [key for key in keys if _belongs(raters.get(key[0]), group, bool(real))]
            if inside:
                named = {"specification": specification, "scale": scale, "raters": group}
                cells = [c for c in found if _belongs(c.rater, group, bool(real))]
                yield from ({**named, **row} for row in _synthesis(cells, len(inside) - len(cells), shares))
        if {"human", "ai"} <= real:
            named = {"specification": specification, "scale": scale, "raters": DIFFERENCE}
            cells = [c for c in found if c.rater in ("human", "ai")]
            missing = sum(raters.get(dataset) in ("human", "ai") for dataset, _ in keys) - len(cells)
            yield named | _difference(cells, missing, shares)


def _belongs(rater: str | None, group: str, real: bool) -> bool:
    """Whether a cell is in a group; where there are real labels, simulated ones are not among all."""
    return rater == group or (group == ALL and not (real and rater == SIMULATED))


def _cell(
    key: tuple[str, str],
    specification: str,
    scale: str,
    estimates: Mapping[tuple[str, str, str], Row],
    raters: Mapping[str, str],
    shares: Shares,
) -> Cell | None:
    """A cell's number; None where it has none."""
    rungs = reversed(INFLUENTIAL) if specification == LAST_RUNG else (specification,)
    for rung in rungs:
        row = estimates.get((*key, rung))
        if row is not None and row["status"] == "ok":
            try:
                return Cell(*key, raters[key[0]], rung, scaled(row, scale), f"{rung}__{scale}")
            except NoEstimate:
                return None
    return None


def _counted(cells: Sequence[Cell], missing: int, shares: Shares) -> Row:
    datasets = {c.dataset for c in cells}
    return {
        "n_cells": len(cells),
        "n_missing": missing,
        "n_datasets": len(datasets),
        "n_clusters": len({shares.clusters[d] for d in datasets}),
        "n_base_models": len({c.base_model for c in cells}),
    }


def _synthesis(cells: Sequence[Cell], missing: int, shares: Shares) -> Iterator[Row]:
    """The row of a synthesis, then one of each of its cells."""
    counted = _counted(cells, missing, shares)
    try:
        fitted, clusters = _fitted(cells, np.ones((len(cells), 1)), shares)
        mean = multilevel.robust(fitted, clusters, np.ones(1))
    except NoEstimate as error:
        yield {"status": str(error)} | counted
        return
    low, high = mean.interval()
    q, df, p = multilevel.heterogeneity(fitted.y, fitted.errors, fitted.design)
    i2 = multilevel.shares(fitted)
    within = len(fitted.variances) > 1
    yield {
        "status": "ok",
        "estimate": mean.estimate,
        "std_error": mean.std_error,
        "df": mean.df,
        "p_value": mean.p_value,
        "conf_low": low,
        "conf_high": high,
        **prediction(fitted, counted["n_clusters"]),
        "tau_dataset": float(np.sqrt(fitted.variances[0])),
        "tau_base_model": float(np.sqrt(fitted.variances[1])) if within else None,
        "i2_dataset": float(i2[0]),
        "i2_base_model": float(i2[1]) if within else None,
        "q": q,
        "q_df": df,
        "q_p_value": p,
    } | counted
    yield from _cell_rows(cells, fitted, counted)


def _cell_rows(cells: Sequence[Cell], fitted: Multilevel, counted: Row) -> Iterator[Row]:
    shrunken, error = multilevel.predictions(fitted)
    z = float(stats.norm.ppf(0.975))
    own = np.sqrt(np.diag(fitted.errors))
    for k, cell in enumerate(cells):
        yield {
            "dataset": cell.dataset,
            "base_model": cell.base_model,
            "status": "ok",
            "controls": cell.rung,
            "estimate": cell.value,
            "std_error": float(own[k]),
            "shrunken": float(shrunken[k]),
            "shrunken_low": float(shrunken[k] - z * error[k]),
            "shrunken_high": float(shrunken[k] + z * error[k]),
        } | counted


def prediction(fitted: Multilevel, n_clusters: int) -> Row:
    """The interval of a new dataset under a new base model: t with clusters − 2 degrees of freedom.

    Higgins, Thompson & Spiegelhalter 2009; empty where there are fewer than three clusters.
    """
    if n_clusters < FEWEST_FOR_PREDICTION:
        return {}
    spread = float(np.sqrt(fitted.covariance[0, 0] + fitted.variances.sum()))
    half = float(stats.t.ppf(0.975, n_clusters - 2)) * spread
    centre = float(fitted.coefficients[0])
    return {"prediction_low": centre - half, "prediction_high": centre + half}


def _fitted(cells: Sequence[Cell], design: Array, shares: Shares) -> tuple[Multilevel, Codes]:
    """The model of cells with their covariates, and the body of data that each cell is of.

    Raises
    ------
    NoEstimate
        If there are too few datasets, or the fit fails.
    """
    if not cells:
        raise NoEstimate("no cell has a number")
    if len({c.dataset for c in cells}) < 2:
        raise NoEstimate(f"only one dataset, {cells[0].dataset}, has a number: a synthesis needs two or more")
    clusters = np.unique([shares.clusters[c.dataset] for c in cells], return_inverse=True)[1]
    if not clusters.any():
        raise NoEstimate(
            "the datasets share their prompts, so they are one body of data: a synthesis needs two or more"
        )
    y = np.array([c.value for c in cells])
    levels = [clusters, np.arange(len(cells))] if len(cells) > clusters.max() + 1 else [clusters]
    return multilevel.fit(y, shares.covariance(cells), design, levels), clusters


def _difference(cells: Sequence[Cell], missing: int, shares: Shares) -> Row:
    """Human less AI labels: a meta-regression with both means."""
    counted = _counted(cells, missing, shares)
    try:
        for kind in ("human", "ai"):
            if len({shares.clusters[c.dataset] for c in cells if c.rater == kind}) < 2:
                raise NoEstimate(f"fewer than two datasets with {kind} labels have a number")
        human = np.array([c.rater == "human" for c in cells], float)
        fitted, clusters = _fitted(cells, np.column_stack([human, 1 - human]), shares)
        found = multilevel.robust(fitted, clusters, np.array([1.0, -1.0]))
    except NoEstimate as error:
        return {"status": str(error)} | counted
    low, high = found.interval()
    return {
        "status": "ok",
        "estimate": found.estimate,
        "std_error": found.std_error,
        "df": found.df,
        "p_value": found.p_value,
        "conf_low": low,
        "conf_high": high,
    } | counted
