"""A cell's estimates and scores → its rows of `forecasts`."""

from pathlib import Path
from typing import Any

from analysis import tables
from analysis.collapse.candidates import candidates, texts_of
from analysis.collapse.forecasts import Bias, Row, chosen, forecasts, no_forecast
from analysis.ids import cell_name
from analysis.likelihood.measures import MEASURES
from analysis.outputs import Outputs
from analysis.regression import cell as cells
from analysis.regression.cell import LENGTHS
from analysis.study import Study


def forecast(dataset: str, base_model: str, scoring_id: str, study: Study, outputs: Outputs, work: Path) -> None:
    """Write what training on a cell's labels would do to the run's folder.

    Parameters
    ----------
    dataset, base_model
        Labels of the cell, whose comparisons and estimates are in the run's folder.
    scoring_id
        Which scores belong to the base model.
    study, outputs, work
        The study, the output folder and the run's folder of unpublished tables.
    """
    name = cell_name(dataset, base_model)
    comparisons = tables.scan("comparisons", [work / "comparisons" / f"{dataset}.parquet"])
    cell = cells.load(comparisons, scoring_id, study.measures, outputs)
    texts = texts_of(cell.response_ids, scoring_id, outputs)
    responses = candidates(cell, texts, (*study.measures, *LENGTHS))
    estimates = tables.scan("estimates", [work / "estimates" / f"{name}.parquet"]).to_pylist()
    rows: list[Row] = []
    for measure in study.measures:
        for bias in chosen([e for e in estimates if e["measure"] == measure], measure):
            rows += forecasts(bias, responses)
    _write(rows, study, dataset, base_model, work)


def failed(study: Study, dataset: str, base_model: str, reason: str, work: Path) -> None:
    """Write rows that say why a cell has no forecast."""
    rows = [row for measure in study.measures for row in no_forecast(Bias(measure, "bt", "all", reason))]
    _write(rows, study, dataset, base_model, work)


def _write(rows: list[Row], study: Study, dataset: str, base_model: str, work: Path) -> None:
    keys = {"study": study.name, "dataset": dataset, "base_model": base_model}
    made: list[dict[str, Any]] = [{**keys, "unit": MEASURES[row["measure"]].unit, **row} for row in rows]
    tables.write(work / "forecasts" / f"{cell_name(dataset, base_model)}.parquet", "forecasts", made)
