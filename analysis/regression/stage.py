"""The third stage: one cell (a dataset under a base model) → `differences`, `exclusions`, and its estimates."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis import tables
from analysis.exclusions import Tally
from analysis.ids import cell_name, content_id
from analysis.outputs import Outputs
from analysis.regression import cell as cells
from analysis.regression import heterogeneity
from analysis.regression.cell import Cell
from analysis.regression.differences import write_differences
from analysis.regression.fitting import Fitter, Note, unnoted
from analysis.regression.inference import CLUSTERED, NoEstimate
from analysis.regression.influences import Influences
from analysis.regression.orders import NO_ORDER, orders
from analysis.regression.part import OUTCOME, TYPICALITY, Part
from analysis.regression.rows import Row
from analysis.regression.specifications import SPECIFICATIONS
from analysis.regression.unigram import unigram
from analysis.study import Study

TIE = "the preference is a tie"
NO_STRENGTH = "its strength is missing, which only ordered needs"
MOST_LEFT_OUT = 20


def estimate(
    dataset: str, base_model: str, scoring_id: str, study: Study, run_id: str, outputs: Outputs, work: Path
) -> int:
    """Fit every specification of a study to one cell, and write its tables to the run's folder.

    Parameters
    ----------
    dataset, base_model
        Labels of the cell.
    scoring_id
        Which scores belong to the base model.
    study, run_id, outputs, work
        The study, the run, the output folder and the run's folder of unpublished tables.

    Returns
    -------
    int
        Number of comparisons that have a difference.
    """
    name = cell_name(dataset, base_model)
    path = work / "comparisons" / f"{dataset}.parquet"
    cell = _load(path, scoring_id, dataset, study, outputs)
    write_differences(cell, study.measures, base_model, work / "differences" / f"{name}.parquet")
    tally = _left_out(cell, study, Tally(study.name, dataset, "regression", base_model))
    keys = {"study": study.name, "run_id": run_id, "dataset": dataset, "base_model": base_model}
    _estimate(cell, study, keys, work)
    tables.write(work / "exclusions" / f"regression-{name}.parquet", "exclusions", tally.rows())
    return len(cell)


def _left_out(cell: Cell, study: Study, tally: Tally) -> Tally:
    """Count what is not fitted: ties (few specifications take them), decided comparisons without strength or order."""
    asked = [(name, SPECIFICATIONS[name]) for name in study.specifications]
    takers = [name for name, s in asked if s.takes_ties and (not s.needs_outcome or OUTCOME in cell.values)]
    named = " and ".join([*([", ".join(takers[:-1])] if len(takers) > 1 else []), *takers[-1:]])
    reason = f"{TIE}; only {named} take{'s' * (len(takers) == 1)} it" if takers else TIE
    for comparison in cell.comparisons.filter(pa.array(~cell.decided))["comparison_id"].to_pylist():
        tally.add("comparison", reason, comparison)
    if "ordered" in takers:
        known = np.isfinite(cell.signed_strength)
        # Where none is known, the status of the estimate says so.
        if known[cell.decided].any():
            for comparison in cell.comparisons.filter(pa.array(~known))["comparison_id"].to_pylist():
                tally.add("comparison", NO_STRENGTH, comparison)
    for comparison in _without_order(cell, study):
        tally.add("comparison", NO_ORDER, comparison)
    return tally


def _estimate(cell: Cell, study: Study, keys: dict[str, str], work: Path) -> None:
    """Write the cell's `estimates`, `influences` and `heterogeneity`."""
    file = f"{cell_name(keys['dataset'], keys['base_model'])}.parquet"
    rows: list[Row] = []
    differing: list[Row] = []
    with tables.writer(work / "influences" / file, "influences") as add:
        for measure in study.measures:
            part = Part(cell, measure, cell.slice("all")[0])
            influences = Influences(part)
            found = list(fitted(cell, measure, study, influences.note))
            named = {name: keys[name] for name in ("study", "dataset", "base_model")} | {"measure": measure}
            add(influences.table(named))
            fitter = Fitter(part, study.margin, _random(study, "heterogeneity", "all"))
            of_all = [row for row in found if row["slice"] == "all"]
            compared = heterogeneity.rows(fitter, of_all, controlled=measure == study.measures[0])
            differing += [{**named, **row} for row in compared]
            rows += [{**keys, "measure": measure, **row} for row in found]
    tables.write(work / "estimates" / file, "estimates", rows)
    tables.write(work / "heterogeneity" / file, "heterogeneity", differing)


def _load(path: Path, scoring_id: str, dataset: str, study: Study, outputs: Outputs) -> Cell:
    kinds = [SPECIFICATIONS[name] for name in study.specifications]
    fluency = any(s.needs_unconditional for s in kinds)
    cell = cells.load(tables.scan("comparisons", [path]), scoring_id, study.measures, outputs, fluency)
    if any("unigram" in s.groups for s in kinds):
        cell.values["unigram"] = unigram(path, outputs, cell.response_ids)
    spec = next(d for d in study.datasets if d.key == dataset)
    cell, rating = replace(cell, complete=spec.judged != "pairs"), spec.outcome_rating
    if rating is not None and any(s.needs_outcome for s in kinds):
        cell.values[OUTCOME] = cells.ratings(rating, cell.response_ids, outputs)
    return cell


def _without_order(cell: Cell, study: Study) -> list[str]:
    """The comparisons that the conditional logits leave out of all, under the headline measure."""
    if not any(SPECIFICATIONS[name].needs_orders for name in study.specifications):
        return []
    try:
        found = orders(Part(cell, study.measures[0], np.ones(len(cell), bool)).with_quality())
    except NoEstimate:
        # Where nothing is left, the row in `estimates` says why.
        return []
    left_out: list[str] = cell.comparisons["comparison_id"].filter(pa.array(found.left_out)).to_pylist()
    return left_out


def fitted(cell: Cell, measure: str, study: Study, note: Note = unnoted) -> Iterator[Row]:
    """Rows of `estimates` of all slices and specifications under one measure, without the cell's keys.

    `note` is called with what each rung of the ladder was fitted to in all comparisons, and the fit.
    """
    for name in study.slices or _slices(cell):
        rows, reason = cell.slice(name)
        part = Part(cell, measure, rows)
        for specification in study.specifications:
            if SPECIFICATIONS[specification].kind == "leave_one_source_out":
                if name == "all":
                    yield from _without_each_source(specification, part, study)
                continue
            noted = note if name == "all" else unnoted
            fitter = Fitter(part, study.margin, _random(study, specification, name), noted)
            for row in fitter.rows(specification, reason):
                yield {"slice": name, **row}


def _random(study: Study, specification: str, name: str) -> np.random.Generator:
    """A generator of its own for each specification and slice, so that leaving one out changes no other."""
    return np.random.default_rng([study.seed, int(content_id(specification, name)[:8], 16)])


def _without_each_source(specification: str, part: Part, study: Study) -> Iterator[Row]:
    both = [part.cell.column(side) for side in ("source_a", "source_b")]
    counts = pc.value_counts(pa.chunked_array([*both[0].chunks, *both[1].chunks], both[0].type))
    found = [(v["values"], v["counts"]) for v in counts.to_pylist() if v["values"] is not None]
    most = sorted(found, key=lambda pair: (-pair[1], pair[0]))[:MOST_LEFT_OUT]
    random = _random(study, specification, "all")
    if len(found) < 2:
        reason = "the dataset names fewer than two sources" if len(part.at) else None
        yield {"slice": "all", **Fitter(part, study.margin, random).rows(specification, reason)[0]}
        return
    for source, _ in most:
        name = f"source!={source}"
        fitter = Fitter(part.narrowed(part.cell.slice(name)[0]), study.margin, random)
        yield {"slice": name, **fitter.rows("bt")[0], "specification": specification}


def _slices(cell: Cell) -> tuple[str, ...]:
    return ("all", "equal_quality") if cell.quality else ("all",)


def fail(study: Study, run_id: str, dataset: str, base_model: str, reason: str, work: Path) -> None:
    """Write the rows of `estimates` and `heterogeneity` that say why a cell has no numbers."""
    name, keys = cell_name(dataset, base_model), {"study": study.name, "dataset": dataset, "base_model": base_model}
    rows = failed_rows(study, run_id, dataset, base_model, reason)
    tables.write(work / "estimates" / f"{name}.parquet", "estimates", rows)
    differing = [
        {**keys, "measure": measure, **row}
        for measure in study.measures
        for row in heterogeneity.without_number(reason)
    ]
    tables.write(work / "heterogeneity" / f"{name}.parquet", "heterogeneity", differing)


def failed_rows(study: Study, run_id: str, dataset: str, base_model: str, reason: str) -> list[dict[str, Any]]:
    """Rows of `estimates` that say why a cell has no numbers."""
    return [
        {
            "study": study.name,
            "run_id": run_id,
            "dataset": dataset,
            "base_model": base_model,
            "measure": measure,
            "slice": "all",
            "specification": specification,
            "term": TYPICALITY,
            "status": reason,
            "n_comparisons": 0,
            "n_prompts": 0,
            "n_likelihood_ties": 0,
            "covariance": CLUSTERED,
        }
        for measure in study.measures
        for specification in study.specifications
    ]
