"""What the report says, gathered from the tables of one run."""

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from analysis import tables
from analysis.errors import StudyError
from analysis.outputs import Outputs
from analysis.regression.part import TYPICALITY
from analysis.report.words import is_number
from analysis.runs import run_row
from analysis.study import Study

Row = dict[str, Any]
STAGES = ("preferences", "likelihood", "regression")


# How the status of a cell ends that failed.
SEE = "failed: see what failed"
MAIN = ("rate", "bt", "bt_length")


@dataclass(frozen=True)
class Cell:
    """A dataset under a base model, by the headline measure, over all comparisons.

    Attributes
    ----------
    dataset, base_model, rater
        Its labels, and who judged.
    status
        `ok`, or why it has no rate.
    rows
        The rows of `estimates` on typicality, by specification.
    facts
        What scoring gave.
    """

    dataset: str
    base_model: str
    rater: str
    status: str
    rows: dict[str, Row]
    facts: Row

    @property
    def rate(self) -> Row:
        """The typicality bias rate."""
        return self.rows.get("rate", {})

    @property
    def raw(self) -> Row:
        """Bradley–Terry without controls."""
        return self.rows.get("bt", {})

    @property
    def ok(self) -> bool:
        """Whether there is a rate."""
        return is_number(self.rate.get("estimate"))


@dataclass(frozen=True)
class Planted:
    """A planted α beside what was recovered."""

    dataset: str
    base_model: str
    alpha: float
    slice: str
    estimate: Row

    @property
    def covered(self) -> bool:
        """Whether the interval holds the planted value."""
        return bool(self.estimate["conf_low"] <= self.alpha <= self.estimate["conf_high"])


@dataclass(frozen=True)
class Content:
    """What one run left: the study, its row of `runs`, its cells and its rows (`table` holds the estimates, too)."""

    study: Study
    run: Row
    cells: list[Cell]
    planted: list[Planted]
    estimates: list[Row]
    exclusions: list[Row]
    failures: list[Row]
    table: pa.Table

    @property
    def measure(self) -> str:
        """The headline measure."""
        return self.study.measures[0]

    def is_published(self, outputs: Outputs) -> bool:
        """Whether the study's tables are those of this run, not of a later one."""
        path = outputs.study_table("estimates", self.study.name)
        held = tables.scan("estimates", [path] if path.is_file() else [], ["run_id"])
        return held.num_rows > 0 and bool(held["run_id"][0].as_py() == self.run["run_id"])


def records(rows: pd.DataFrame) -> list[Row]:
    """Rows of a table as dictionaries, None where there is no value."""
    frame = rows.astype(object)
    return [{str(k): v for k, v in row.items()} for row in frame.where(frame.notna(), None).to_dict("records")]


def latest_run(outputs: Outputs, study: str) -> str:
    """Id of the newest run of a study, preferring one of which not every cell failed.

    Raises
    ------
    StudyError
        If the output folder holds no run of it.
    """
    runs = tables.read("runs", outputs.root, study=study, columns=["run_id", "started", "state"])
    if runs.empty:
        known = sorted(set(tables.read("runs", outputs.root, columns=["study"])["study"]))
        remedy = f"it holds runs of {', '.join(known)}" if known else "make one with: typicality run"
        raise StudyError(f"{outputs.root} holds no run of study {study!r}; {remedy}")
    ordered = runs.assign(done=runs["state"] != "failed").sort_values(["done", "started", "run_id"])
    return str(ordered["run_id"].iloc[-1])


def gather(outputs: Outputs, run_id: str) -> Content:
    """Read what one run left."""
    run = run_row(outputs, run_id)
    study = Study.model_validate(json.loads(run["definition"]))
    kept = outputs.root / "runs" / run_id
    failures = [s for s in run["stages"] if s["status"] != "ok"]
    table = told_once(tables.scan("estimates", [kept / "_estimates.parquet"]), failures)
    estimates: list[Row] = table.to_pylist()
    exclusions: list[Row] = tables.scan("exclusions", [kept / "_exclusions.parquet"]).to_pylist()
    order = [d.key for d in study.datasets]
    exclusions.sort(key=lambda x: (STAGES.index(x["stage"]), order.index(x["dataset"])))
    raters = {d.key: d.rater for d in study.datasets} | {d["dataset"]: d["rater"] for d in run["datasets"]}
    facts = {(c["dataset"], c["base_model"]): c for c in run["cells"]}
    cells = []
    for dataset in study.datasets:
        for model in study.base_models:
            key = dataset.key, model.key
            rows = {
                e["specification"]: e
                for e in estimates
                if (e["dataset"], e["base_model"]) == key
                and (e["measure"], e["slice"], e["term"]) == (study.measures[0], "all", TYPICALITY)
            }
            main = [rows[name] for name in MAIN if name in rows]
            status = next((r["status"] for r in main if r["status"] != "ok"), "ok") if rows else "not fitted"
            cells.append(Cell(dataset.key, model.key, raters[dataset.key], status, rows, facts.get(key, {})))
    return Content(
        study=study,
        run=run,
        cells=cells,
        planted=_planted(study, estimates),
        estimates=estimates,
        exclusions=exclusions,
        failures=failures,
        table=table,
    )


def told_once(table: pa.Table, failures: list[Row]) -> pa.Table:
    """Rows whose status names a failed stage in place of its whole sentence, which the report tells in one place."""
    brief = {f["status"]: f"{f['stage']} {SEE}" for f in failures}
    at = table.schema.get_field_index("status")
    statuses = [brief.get(status, status) for status in table["status"].to_pylist()]
    return table.set_column(at, table.schema.field(at), pa.array(statuses, pa.string()))


def _planted(study: Study, estimates: list[Row]) -> list[Planted]:
    """The planted α of simulated datasets beside `bt`, in the slice where it is what `bt` estimates and in all."""
    alphas = {d.key: alpha for d in study.datasets if (alpha := getattr(d, "planted_alpha", None)) is not None}
    return [
        Planted(e["dataset"], e["base_model"], alphas[e["dataset"]], e["slice"], e)
        for name in ("equal_quality", "all")
        for e in estimates
        if e["dataset"] in alphas
        and e["measure"] == "mean_logprob"
        and (e["specification"], e["term"], e["slice"]) == ("bt", "typicality", name)
        and is_number(e["estimate"])
    ]
