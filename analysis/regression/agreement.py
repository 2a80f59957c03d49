"""Do base models agree on what is typical? Rank agreement on comparisons of a dataset, and on the order of datasets."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from scipy import stats

from analysis import tables
from analysis.ids import cell_name
from analysis.regression.inference import Array, NoEstimate
from analysis.regression.influences import LOG_ODDS_SD, scaled
from analysis.study import Study

Row = dict[str, Any]
FEWEST_DATASETS = 3
RAW = "bt"


def agreement(study: Study, measure: str, estimates: Mapping[tuple[str, str, str], Row], work: Path) -> Iterator[Row]:
    """Rows of `agreement` under one measure, without the study's keys: of each dataset, then of the order of datasets.

    Parameters
    ----------
    study, measure
        The study, and the measure.
    estimates
        Rows of typicality in all comparisons, by dataset, base model and specification.
    work
        The run's folder, with the differences of its cells.
    """
    models = [m.key for m in study.base_models]
    for dataset in (d.key for d in study.datasets):
        paths = [work / "differences" / f"{cell_name(dataset, model)}.parquet" for model in models]
        yield {"dataset": dataset} | _of_dataset(_aligned([p for p in paths if p.is_file()], measure))
    order = []
    for model in models:
        found = {}
        for dataset in (d.key for d in study.datasets):
            row = estimates.get((dataset, model, RAW))
            if row is not None and row["status"] == "ok":
                found[dataset] = scaled(row, LOG_ODDS_SD)
        order.append(found)
    yield {"dataset": None} | _of_datasets([found for found in order if found])


def _aligned(paths: Sequence[Path], measure: str) -> Array:
    """(base models, comparisons) differences, of the comparisons that all have."""
    tables_ = [
        tables.scan("differences", [path], ["comparison_id", "difference"], pc.field("measure") == measure)
        for path in paths
    ]
    if not tables_:
        return np.zeros((0, 0))
    ids = tables_[0]["comparison_id"].combine_chunks()
    at = [pc.index_in(ids, value_set=t["comparison_id"].combine_chunks()) for t in tables_]
    known = np.logical_and.reduce([a.is_valid().to_numpy(zero_copy_only=False) for a in at])
    rows = [t["difference"].take(a.filter(known)).to_numpy() for t, a in zip(tables_, at, strict=True)]
    return np.array(rows).reshape(len(rows), -1)


def _of_dataset(differences: Array) -> Row:
    n_models, n = differences.shape
    counted = {"n_base_models": n_models, "n": n}
    if n_models < 2:
        return {"status": "fewer than two base models have differences"} | counted
    if n < 2:
        return {"status": "fewer than two comparisons have a difference under every base model"} | counted
    # Each comparison both ways round, so that it does not matter which response is a.
    try:
        found = concordance(np.concatenate([differences, -differences], axis=1))
    except NoEstimate as error:
        return {"status": str(error)} | counted
    sides = np.sign(differences)
    same = [np.mean(np.where(x * y == 0, 0.5, x * y > 0)) for x, y in combinations(sides, 2)]
    return {"status": "ok", **found, "same_side": float(np.mean(same))} | counted


def _of_datasets(order: Sequence[Mapping[str, float]]) -> Row:
    shared = [d for d in order[0] if all(d in found for found in order)] if order else []
    counted = {"n_base_models": len(order), "n": len(shared)}
    if len(order) < 2:
        return {"status": "fewer than two base models have an α"} | counted
    if len(shared) < FEWEST_DATASETS:
        return {"status": f"fewer than {FEWEST_DATASETS} datasets have an α under every base model"} | counted
    try:
        return {"status": "ok"} | concordance(np.array([[found[d] for d in shared] for found in order])) | counted
    except NoEstimate as error:
        return {"status": str(error)} | counted


def concordance(values: Array) -> Row:
    """Kendall's W, corrected for ties (Kendall & Gibbons 1990), and Spearman's ρ over pairs of m orders of n things.

    Parameters
    ----------
    values
        (m, n) what the things are ordered by.

    Raises
    ------
    NoEstimate
        If one of the orders ranks all alike.
    """
    m, n = values.shape
    if np.any(np.ptp(values, axis=1) == 0):
        raise NoEstimate("a base model finds all alike, so there is no order")
    ranks = stats.rankdata(values, axis=1)
    correlations = np.corrcoef(ranks)[np.triu_indices(m, 1)]
    ties = sum(float(np.sum(count**3 - count)) for row in ranks for count in [np.unique(row, return_counts=True)[1]])
    sums = ranks.sum(0)
    w = 12 * float(np.sum((sums - sums.mean()) ** 2)) / (m**2 * (n**3 - n) - m * ties)
    return {
        "kendall_w": w, "spearman": float(np.mean(correlations)), "spearman_least": float(np.min(correlations)),
    }  # fmt: skip
