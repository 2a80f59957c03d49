"""A cell's estimates and scores → its rows of `forecasts` and `prompt_forecasts`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis import tables
from analysis.collapse.candidates import Candidates, candidates, texts_of
from analysis.collapse.forecasts import Bias, Row, by_prompt, chosen, forecasts, no_forecast
from analysis.ids import cell_name
from analysis.likelihood.measures import MEASURES
from analysis.outputs import Outputs
from analysis.regression import cell as cells
from analysis.regression.cell import LENGTHS, Cell
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
    biases = [b for m in study.measures for b in chosen([e for e in estimates if e["measure"] == m], m)]
    _write([row for bias in biases for row in forecasts(bias, responses)], study, dataset, base_model, work)
    _write_prompts(biases, responses, cell, {"study": study.name, "dataset": dataset, "base_model": base_model}, work)


def failed(study: Study, dataset: str, base_model: str, reason: str, work: Path) -> None:
    """Write rows that say why a cell has no forecast."""
    rows = [row for measure in study.measures for row in no_forecast(Bias(measure, "bt", "all", reason))]
    _write(rows, study, dataset, base_model, work)


def _write(rows: list[Row], study: Study, dataset: str, base_model: str, work: Path) -> None:
    keys = {"study": study.name, "dataset": dataset, "base_model": base_model}
    made: list[dict[str, Any]] = [{**keys, "unit": MEASURES[row["measure"]].unit, **row} for row in rows]
    tables.write(work / "forecasts" / f"{cell_name(dataset, base_model)}.parquet", "forecasts", made)


def _write_prompts(biases: Sequence[Bias], responses: Candidates, cell: Cell, keys: dict[str, str], work: Path) -> None:
    """Write what is left of every prompt's candidates: columns at once, because there may be many prompts."""
    schema, ids = tables.table("prompt_forecasts").schema, pc.unique(cell.column("prompt_id"))
    with tables.writer(
        work / "prompt_forecasts" / f"{cell_name(*list(keys.values())[1:])}.parquet", "prompt_forecasts"
    ) as add:
        for bias in biases:
            for same, columns in by_prompt(bias, responses):
                prompts = ids.take(pa.array(columns.pop("prompts")))
                constant = {name: pa.repeat(value, len(prompts)) for name, value in {**keys, **same}.items()}
                known = {"prompt_id": prompts, **constant, **{name: pa.array(x) for name, x in columns.items()}}
                made = [known.get(f.name, pa.nulls(len(prompts), f.type)).cast(f.type) for f in schema]
                add(pa.Table.from_arrays(made, schema=schema))
