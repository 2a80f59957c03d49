"""The flow: fetch every dataset, score it under every base model, fit every cell, publish, report.

Tasks are thin: they call the library, which reads tables and writes tables. What goes wrong in one cell is recorded and
shown, and leaves the others alone.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from analysis import runs, tables
from analysis.dictionary import data_card
from analysis.errors import TypicalityError
from analysis.ids import content_id
from analysis.likelihood.stage import Scored, score
from analysis.manifest import write_manifest
from analysis.outputs import Outputs
from analysis.preferences.spec import CatalogueDataset, OwnDataset
from analysis.preferences.stage import Fetched, fetch
from analysis.regression.multiplicity import adjust
from analysis.regression.stage import estimate, failed_rows
from analysis.report.stage import Report, report
from analysis.report.words import count
from analysis.runs import Run, Stage
from analysis.study import BaseModelSpec, Study
from flows import progress
from flows.parameters import RunParameters

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its state, its report, and a sentence for each failure."""

    state: str
    report: Report
    failures: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """Where a run works: the output folder and the run's id."""

    outputs: Outputs
    run_id: str

    @property
    def work(self) -> Path:
        """The run's folder of unpublished tables."""
        return self.outputs.work(self.run_id)


def _attempt(work: Callable[[], T]) -> T | State[Any]:
    """The work's result, or a failed state that holds its one sentence (and no traceback)."""
    try:
        return work()
    except TypicalityError as error:
        return Failed(message=str(error))


@task(name="fetch", task_run_name="fetch {dataset}", cache_policy=NO_CACHE)
def fetch_dataset(
    dataset: str, spec: CatalogueDataset | OwnDataset, study: Study, place: Place
) -> Fetched | State[Any]:
    """Read one dataset."""
    with progress.stage(f"fetch {dataset}") as tick:
        return _attempt(lambda: fetch(spec, study.name, study.seed, place.outputs, place.work, tick))


@task(name="score", task_run_name="score {dataset} under {base_model}", cache_policy=NO_CACHE)
def score_cell(dataset: str, base_model: str, spec: BaseModelSpec, study: Study, place: Place) -> Scored | State[Any]:
    """Score one dataset under one base model."""
    title = f"score {dataset} × {base_model}"
    with progress.stage(title, artifact_key=_slug(f"score-{study.name}-{dataset}-{base_model}")) as tick:
        made = _attempt(lambda: score(spec, dataset, study, place.outputs, place.work, tick))
        if isinstance(made, Scored):
            tick.finish()
        return made


@task(name="fit", task_run_name="fit {dataset} under {base_model}", cache_policy=NO_CACHE)
def fit_cell(dataset: str, base_model: str, scoring_id: str, study: Study, place: Place) -> int | State[Any]:
    """Fit every specification to one cell."""
    with progress.stage(f"fit {dataset} × {base_model}"):
        return _attempt(
            lambda: estimate(dataset, base_model, scoring_id, study, place.run_id, place.outputs, place.work)
        )


@task(name="report", task_run_name="report {study}", cache_policy=NO_CACHE)
def report_run(study: str, place: Place) -> Report | State[Any]:
    """Render the report and show it in Prefect."""
    with progress.stage("report"):
        made = _attempt(lambda: report(place.outputs, place.run_id))
        if isinstance(made, Report):
            text = made.markdown.read_text(encoding="utf-8")
            shown = re.sub(r"^!\[.*\n+", "", text, flags=re.M)
            create_markdown_artifact(key=_slug(f"report-{study}"), markdown=shown, description=made.headline)
        return made


@flow(name="typicality", flow_run_name="{parameters.study}", persist_result=False, log_prints=False)
def run_study(parameters: RunParameters) -> Outcome | State[Any]:
    """Run a study: fetch, score, fit, publish, report."""
    study = parameters.resolve()
    outputs = Outputs(Path(parameters.outputs))
    with outputs.lock(f"a run of study {study.name}", lambda text: progress.console.print(text, markup=False)):
        run = runs.start(study)
        place = Place(outputs, run.run_id)
        _cells(run, place)
        adjust(place.work)
        tables.write_text(outputs.root / "README.md", data_card())
        runs.publish(run, outputs)
        write_manifest(outputs)
        state: State[Any] = report_run(study.name, place, return_state=True)
    if state.is_failed():
        return Failed(message=state.message)
    outcome = Outcome(run.state, state.result(), tuple(_sentence(s) for s in run.failures))
    return Failed(message="; ".join(outcome.failures), data=outcome) if outcome.failures else Completed(data=outcome)


def _cells(run: Run, place: Place) -> None:
    """Every cell of the study: base models outside, so that each is loaded once."""
    study = run.study
    for dataset in study.datasets:
        found = _stage(run, "fetch", dataset.key, "", _fetching(dataset, study, place), _fetched)
        if isinstance(found, Fetched):
            run.fetched[dataset.key] = found
    for model in study.base_models:
        for dataset in study.datasets:
            if dataset.key in run.fetched:
                _cell(run, place, dataset.key, model)
            else:
                _gap(run, place, dataset.key, model.key)


def _fetching(spec: CatalogueDataset | OwnDataset, study: Study, place: Place) -> Callable[[], State[Any]]:
    return lambda: fetch_dataset(spec.key, spec, study, place, return_state=True)


def _cell(run: Run, place: Place, dataset: str, model: BaseModelSpec) -> None:
    found = _stage(
        run, "score", dataset, model.key,
        lambda: score_cell(dataset, model.key, model, run.study, place, return_state=True), _scored,
    )  # fmt: skip
    if not isinstance(found, Scored):
        return _gap(run, place, dataset, model.key)
    run.scored[dataset, model.key] = found
    fitted = _stage(
        run, "fit", dataset, model.key,
        lambda: fit_cell(dataset, model.key, found.scoring_id, run.study, place, return_state=True),
        lambda n: f"{n:,} comparisons",
    )  # fmt: skip
    if fitted is None:
        return _gap(run, place, dataset, model.key)
    run.estimated.add((dataset, model.key))
    return None


def _stage(
    run: Run, name: str, dataset: str, base_model: str, work: Callable[[], State[Any]], detail: Callable[[Any], str]
) -> Any:
    """Run one task, record and show how it ended, and return its result (None where it failed)."""
    began = time.monotonic()
    state = work()
    seconds = time.monotonic() - began
    failed = not state.is_completed()
    result = None if failed else state.result()
    status = (state.message or "it failed without a message") if failed else "ok"
    told = "" if failed else detail(result)
    run.stages.append(Stage(name, dataset, base_model, status, seconds, told))
    title = f"{name} {dataset}{' × ' if base_model else ''}{base_model}"
    progress.done(title, status if failed else told, seconds, failed)
    return result


def _gap(run: Run, place: Place, dataset: str, base_model: str) -> None:
    """Leave rows in `estimates` that say why the cell has no numbers."""
    reason = next(s.status for s in run.failures if s.dataset == dataset and s.base_model in ("", base_model))
    rows = failed_rows(run.study, run.run_id, dataset, base_model, reason)
    path = place.work / "estimates" / f"{dataset}--{content_id(base_model)[:12]}.parquet"
    tables.write(path, "estimates", rows)


def _fetched(found: Fetched) -> str:
    kept = f"{count(found.n_comparisons, 'comparison')} of {count(found.n_prompts, 'prompt')}"
    return f"{count(found.n_rows, 'row')}, {kept}"


def _scored(found: Scored) -> str:
    stored = "all stored already" if not found.n_scored_now else f"{found.n_tokens_now:,} tokens scored now"
    padded = f", in padded batches ({found.why_padded})" if found.why_padded else ""
    precision = f"; {found.dtype} {found.precision}" if found.precision else ""
    return f"{count(found.n_scored, 'response')}, {stored}{padded}{precision}"


def _sentence(stage: Stage) -> str:
    under = f" under {stage.base_model}" if stage.base_model else ""
    return f"{stage.stage} {stage.dataset}{under}: {stage.status}"


def _slug(text: str) -> str:
    """Text as a Prefect artifact's key."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
