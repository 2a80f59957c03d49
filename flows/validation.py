"""`typicality validate`: is a planted bias found again, on a study's own data?"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import click
import numpy as np
import pyarrow.dataset as ds
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis import tables
from analysis.errors import CellError, StudyError, TypicalityError
from analysis.ids import content_id
from analysis.outputs import Outputs
from analysis.regression.bootstrap import FEW_CLUSTERS
from analysis.regression.cell import load
from analysis.regression.inference import NoEstimate
from analysis.regression.part import Part
from analysis.regression.recovery import Recovery, recover
from analysis.report.content import latest_run
from analysis.report.words import count
from analysis.runs import run_row
from analysis.study import Study
from flows import progress
from flows.listing import emit

MEASURE = "mean_logprob"  # α is per nat a token, as in the literature, whatever the study's headline is


@dataclass(frozen=True)
class Validated:
    """One cell: what was found, on how many comparisons of how many prompts."""

    dataset: str
    base_model: str
    n_comparisons: int
    n_prompts: int
    found: list[Recovery]

    def as_json(self) -> Iterator[dict[str, Any]]:
        """A row for each α and estimate."""
        for one in self.found:
            yield {"dataset": self.dataset, "base_model": self.base_model, "measure": MEASURE, **asdict(one)}


def validate_study(name: str, outputs: Outputs, draws: int, as_json: bool) -> bool:
    """Plant α on the differences of every cell of a study's latest run, and print what the estimators find.

    Returns
    -------
    bool
        Whether that was possible in every cell.

    Raises
    ------
    StudyError
        If there is no run of the study, or it has no cell with scores.
    """
    run = run_row(outputs, latest_run(outputs, name))
    study = Study.model_validate(json.loads(run["definition"]))
    cells = {(c["dataset"], c["base_model"]): c for c in run["cells"]}
    if not cells:
        raise StudyError(f"the latest run of study {name!r} scored nothing, so there is nothing to plant a bias on")
    done: list[Validated] = []
    whole = True
    for keys in ((d.key, m.key) for d in study.datasets for m in study.base_models):
        try:
            if keys not in cells:
                raise CellError("the latest run did not score it")
            done.append(_validated(keys, cells[keys], study, outputs, draws))
        except (NoEstimate, TypicalityError) as error:
            whole = False
            click.echo(f"typicality: nothing could be planted in {keys[0]} × {keys[1]}: {error}", err=True)
        else:
            if not as_json:
                _show(done[-1])
    if as_json:
        click.echo(json.dumps([row for one in done for row in one.as_json()], indent=2))
    return whole


def _validated(keys: tuple[str, str], run: dict[str, Any], study: Study, outputs: Outputs, draws: int) -> Validated:
    path = outputs.study_table("comparisons", study.name)
    if not path.is_file():
        raise CellError(f"there is no {path}; run the study again")
    comparisons = tables.scan("comparisons", [path], None, ds.field("dataset") == keys[0])
    cell = load(comparisons, run["scoring_id"], [MEASURE], outputs)
    if len(comparisons) and not len(cell):
        raise CellError("no comparison has scores; run the study again")
    n_lost = run["scored"] - int(np.isfinite(cell.values[MEASURE]).sum())
    if n_lost > 0:
        raise CellError(f"the scores of {count(n_lost, 'response')} are gone; run the study again")
    part = Part(cell, MEASURE, np.ones(len(cell), bool))
    random = np.random.default_rng([study.seed, int(content_id(*keys)[:8], 16)])
    with progress.stage(f"validate {keys[0]} × {keys[1]}", unit="draws") as tick:
        found = list(recover(part, random, draws=draws, tick=tick))
    return Validated(*keys, len(part.at), part.n_prompts, found)


def _show(cell: Validated) -> None:
    """Print one cell; narrow enough for a terminal of 80 columns."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("Planted α", "Estimate", "Truth", "Bias ± noise", "Relative", "Coverage", "Draws"):
        table.add_column(column, no_wrap=True, justify="left" if column == "Estimate" else "right")
    for one in cell.found:
        table.add_row(
            f"{one.alpha:g}",
            one.specification,
            f"{one.truth:.4f}",
            "–" if one.bias is None else f"{one.bias:+.4f}" + ("" if one.noise is None else f" ± {one.noise:.4f}"),
            "" if one.relative_bias is None else f"{one.relative_bias:+.1%}",
            "–" if one.coverage is None else f"{one.coverage:.1%}",
            f"{one.draws:,}" if one.found == one.draws else f"{one.found:,} of {one.draws:,}",
        )
    where = f"{count(cell.n_comparisons, 'comparison')} of {count(cell.n_prompts, 'prompt')}, {MEASURE}"
    notes = ["Coverage is of 95 % intervals: 95 % is right."]
    if cell.n_prompts < FEW_CLUSTERS:
        notes.append(
            f"There are fewer than {FEW_CLUSTERS} prompts: a run's own intervals come from resampling them; "
            "those here do not."
        )
    if any(one.found < one.draws for one in cell.found):
        notes.append("Where not every draw gave an estimate, bias and coverage are of those that did.")
    heading = escape(f"{cell.dataset} × {cell.base_model}: {where}")
    emit(Console(highlight=False), f"[bold]{heading}[/]", table, *notes, "")
