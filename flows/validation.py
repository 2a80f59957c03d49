"""`typicality validate`: is a planted bias found again, on a study's own data?"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click
import numpy as np
import pyarrow.dataset as ds
from rich.console import Console
from rich.table import Table

from analysis import tables
from analysis.errors import StudyError
from analysis.ids import content_id
from analysis.outputs import Outputs
from analysis.regression.cell import load
from analysis.regression.inference import NoEstimate
from analysis.regression.part import Part
from analysis.regression.recovery import recover
from analysis.report.content import latest_run
from analysis.runs import run_row
from analysis.study import Study


def validate_study(name: str, outputs: Outputs, draws: int, as_json: bool) -> None:
    """Plant α on the differences of every cell of a study's latest run, and print what the estimators find.

    Raises
    ------
    StudyError
        If there is no run of the study, or it has no cell with scores.
    """
    rows = list(_rows(name, outputs, draws))
    if not rows:
        raise StudyError(f"the latest run of study {name!r} has no scored cell; run it first: typicality run {name}")
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("Dataset", "Base model", "Planted α", "Estimate", "Truth", "Bias", "Coverage of 95 %", "Draws"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        bias = f"{row['bias']:+.4f}" + ("" if row["relative_bias"] is None else f" ({row['relative_bias']:+.1%})")
        table.add_row(
            row["dataset"], row["base_model"], f"{row['alpha']:g}", row["specification"], f"{row['truth']:.4f}",
            bias, f"{row['coverage']:.1%}", f"{row['draws']:,}",
        )  # fmt: skip
    console = Console(highlight=False)
    console.print(table, soft_wrap=True) if console.is_terminal else Console(width=400).print(table)


def _rows(name: str, outputs: Outputs, draws: int) -> Iterator[dict[str, Any]]:
    run = run_row(outputs, latest_run(outputs, name))
    study = Study.model_validate(json.loads(run["definition"]))
    measure = study.measures[0]
    for found in run["cells"]:
        keys = {"dataset": found["dataset"], "base_model": found["base_model"]}
        where = ds.field("dataset") == found["dataset"]
        comparisons = tables.scan("comparisons", [outputs.study_table("comparisons", name)], None, where)
        cell = load(comparisons, found["scoring_id"], [measure], outputs)
        part = Part(cell, measure, np.ones(len(cell), bool))
        random = np.random.default_rng([study.seed, int(content_id(*keys.values())[:8], 16)])
        try:
            for one in recover(part, random, draws=draws):
                yield {**keys, "measure": measure, **asdict(one)}
        except NoEstimate:
            continue
