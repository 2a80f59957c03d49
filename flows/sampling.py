"""`typicality sample`: prompts × methods × models → generations, what was measured of them, and a report."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis import tables
from analysis.collapse.remedies import asking, quality, stage, store
from analysis.collapse.remedies.backends import Backend
from analysis.collapse.remedies.stage import Sampling
from analysis.collapse.remedies.specs import ChatModel, endpoint_of
from analysis.collapse.remedies.study import SampleStudy
from analysis.errors import CellError
from analysis.manifest import write_manifest
from analysis.outputs import Outputs
from analysis.report.remedies.page import Report, report
from analysis.report.words import count
from flows import progress
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
    for model in [m for m in study.models if isinstance(m, ChatModel)] + ([study.judge] if study.judge else []):
        endpoint_of(model)
    do = perform or alone
    with (
        tables.writing(outputs.root),
        outputs.lock(f"a run of study {study.name}", lambda text: progress.console.print(text, markup=False)),
    ):
        stage.check_name(study, outputs)
        run = Sampling.start(study)
        earlier = stage.earlier_rows(study, outputs)
        with store.opened(outputs) as answers:
            for model in study.models:
                _ask(run, model, answers, do)
            if not run.models:
                raise CellError("; ".join(run.failures))
            _quality(run, answers, earlier, do)
            run.n_asked = answers.n_asked
        made = do("measure", "methods", lambda tick: stage.measure(run, tick))
        stage.publish(run, *made, outputs)
        found = do("report", "pages", lambda tick: report(outputs, study.name))
        write_manifest(outputs)
    return Outcome(found, tuple(run.failures))


def _ask(run: Sampling, spec: Any, answers: store.Answers, do: Perform) -> None:
    """Ask one model; where it fails the others go on."""

    def work(tick: Ticker) -> tuple[Backend, list[asking.Row], int]:
        backend = _backend(spec)
        return backend, *asking.ask(run.study, spec.key, backend, answers, tick)

    before = answers.n_asked
    try:
        with _told(f"ask {spec.key}") as tell:
            backend, rows, n = do(f"ask {spec.key}", "conversations", work)
            tell(f"{count(n, 'request')}, {answers.n_asked - before:,} of them now; {count(len(rows), 'response')}")
    except CellError as error:
        run.failures.append(f"model {spec.key}: {error}")
        return
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
    """How good the responses are, by the base model and the judge; where one fails the rows say so."""
    study, wanted = run.study, quality.pairs(run.generations)
    base, judge = study.base_model, study.judge
    for name, column, work in (
        (
            f"score under {base.key}" if base else "",
            "logprob_status",
            lambda tick: quality.likelihoods(wanted, base, study.template, earlier, tick) if base else {},
        ),
        (
            f"ask the judge {judge.name}" if judge else "",
            "judgement_status",
            lambda tick: quality.judgements(wanted, judge, answers, tick) if judge else {},
        ),
    ):
        if not name:
            continue
        try:
            found = do(name, "responses", work)
        except CellError as error:
            run.failures.append(f"{name}: {error}")
            found = {pair: {column: str(error)} for pair in wanted}
        stage.fill(run.generations, found)


def alone(title: str, unit: str, work: Callable[[Ticker], Any]) -> Any:
    """Do one step's work, and show it."""
    with progress.stage(title, unit=unit) as tick:
        return work(tick)


class _told:
    """Says how a step ended."""

    def __init__(self, title: str) -> None:
        self.title, self.began, self.detail = title, time.monotonic(), ""

    def __enter__(self) -> Callable[[str], None]:
        def tell(detail: str) -> None:
            self.detail = detail

        return tell

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, CellError):
            detail = self.detail if error is None else str(error)
            progress.done(self.title, detail, time.monotonic() - self.began, failed=error is not None)


def built_in() -> dict[str, Path]:
    """The built-in studies of remedies by name."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "studies" / "remedies").glob("*.toml"))}
