"""`typicality sample`: prompts × methods × models → generations, what was measured of them, and a report."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis import tables
from analysis.collapse.remedies import asking, quality, stage, store
from analysis.collapse.remedies.backends import Backend
from analysis.collapse.remedies.specs import ChatModel, endpoint_of
from analysis.collapse.remedies.stage import Sampling
from analysis.collapse.remedies.study import SampleStudy, load
from analysis.errors import CellError, StudyError
from analysis.manifest import write_manifest
from analysis.outputs import Outputs
from analysis.report.remedies.page import report
from analysis.report.stage import Report
from analysis.report.words import count
from flows import progress
from flows.parameters import STUDIES
from flows.progress import Ticker

Perform = Callable[[str, str, Callable[[Ticker], Any]], Any]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its report, and a sentence for everything that failed."""

    report: Report
    failures: tuple[str, ...]


def sample(study: SampleStudy, outputs: Outputs, perform: Perform | None = None) -> Outcome:
    """Ask, measure, publish, report.

    Parameters
    ----------
    study, outputs
        What to ask, and where to put the results.
    perform
        Does one step's work, given its title and what its progress counts; shows it in the terminal by default.

    Raises
    ------
    StudyError
        If the output folder cannot be written to, or a model has no endpoint.
    CellError
        If no model could be asked.
    """
    for model in study.models:
        if isinstance(model, ChatModel):
            endpoint_of(model)
    if study.judge is not None:
        endpoint_of(study.judge)
    do = perform or alone
    with (
        tables.writing(outputs.root),
        outputs.lock(f"a run of study {study.name}", lambda text: progress.console.print(text, markup=False)),
    ):
        stage.check_name(study, outputs)
        run, forecasts = Sampling.start(study), stage.forecasts_of(study, outputs)
        earlier = stage.earlier_rows(study, outputs)
        with store.opened(outputs) as answers:
            for spec in study.models:
                _ask(run, spec, answers, do)
            if not run.models:
                raise CellError("; ".join(run.failures))
            _quality(run, answers, earlier, do)
            run.n_asked = answers.n_asked
        remedies, diversity, bar = do("measure", "methods", lambda tick: stage.measure(run, forecasts, tick))
        stage.publish(run, remedies, diversity, bar, outputs)
        found = do("report", "pages", lambda tick: report(outputs, study.name))
        write_manifest(outputs)
    return Outcome(found, tuple(run.failures))


def _ask(run: Sampling, spec: Any, answers: store.Answers, do: Perform) -> None:
    """Ask one model; where it fails the others go on."""

    def work(tick: Ticker) -> tuple[Backend, list[asking.Row], int]:
        backend = _backend(spec)
        return backend, *asking.ask(run.study, spec.key, backend, answers, tick)

    before, began, title = answers.n_asked, time.monotonic(), f"ask {spec.key}"
    try:
        backend, rows, n = do(title, "conversations", work)
    except CellError as error:
        progress.done(title, str(error), time.monotonic() - began, failed=True)
        run.failures.append(f"model {spec.key}: {error}")
        return
    told = f"{count(n, 'request')}, {answers.n_asked - before:,} of them now; {count(len(rows), 'response')}"
    progress.done(title, told, time.monotonic() - began)
    run.add(rows)
    run.n_requests += n
    run.told[spec.key] = backend.told
    if backend.parameters is not None:
        run.parameters[spec.key] = backend.parameters


def _backend(spec: Any) -> Backend:
    if isinstance(spec, ChatModel):
        from analysis.collapse.remedies.backends.chat import Chat

        return Chat(spec)
    from analysis.collapse.remedies.backends.local import Local

    return Local(spec)


def _quality(run: Sampling, answers: store.Answers, earlier: list[asking.Row], do: Perform) -> None:
    """How good the responses are, by the base model and the judge."""
    study, wanted = run.study, quality.pairs(run.generations)
    if (base := study.base_model) is not None:
        _fill(
            run, f"score under {base.key}", "tokens", "logprob_status", do,
            lambda tick: quality.likelihoods(wanted, base, study.template, earlier, tick),
        )  # fmt: skip
    if (judge := study.judge) is not None:
        _fill(
            run, f"ask the judge {judge.name}", "responses", "judgement_status", do,
            lambda tick: quality.judgements(wanted, judge, answers, tick),
        )  # fmt: skip


def _fill(run: Sampling, title: str, unit: str, column: str, do: Perform, work: Callable[[Ticker], Any]) -> None:
    """Put one kind of quality into the generations; where it fails the rows say so."""
    began = time.monotonic()
    try:
        found = do(title, unit, work)
    except CellError as error:
        progress.done(title, str(error), time.monotonic() - began, failed=True)
        run.failures.append(f"{title}: {error}")
        found = {pair: {column: str(error)} for pair in quality.pairs(run.generations)}
    else:
        progress.done(title, count(len(found), "response"), time.monotonic() - began)
    stage.fill(run.generations, found)


def render(outputs: Outputs, study: str) -> Report:
    """The report of a study again, of remedies or of labels.

    Raises
    ------
    StudyError
        If the output folder holds no run of it.
    """
    if outputs.study_table("samplings", study).is_file():
        return report(outputs, study)
    from analysis.report.content import latest_run
    from analysis.report.stage import report as report_labels

    return report_labels(outputs, latest_run(outputs, study))


def alone(title: str, unit: str, work: Callable[[Ticker], Any]) -> Any:
    """Do one step's work, and show it."""
    with progress.stage(title, unit=unit) as tick:
        return work(tick)


def built_in() -> dict[str, Path]:
    """The built-in studies of remedies by name."""
    return {path.stem: path for path in sorted((STUDIES / "remedies").glob("*.toml"))}


def study_of(name: str) -> SampleStudy:
    """The study of a built-in name or a file.

    Raises
    ------
    StudyError
        If it is neither, or invalid.
    """
    known, path = built_in(), Path(name)
    if name not in known and not path.is_file():
        raise StudyError(
            f"there is no study of remedies {name!r}: it is neither a TOML file nor built in (built in: "
            f"{', '.join(known)})"
        )
    return load(known.get(name, path))
