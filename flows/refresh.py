"""A run, stage by stage: revisions are resolved first, and only what depends on a change is done again.

Nothing here knows of Prefect: a stage's work is handed to whoever performs it.
"""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from analysis import fingerprints, publishing, runs, tables
from analysis.collapse import stage as collapse
from analysis.collapse.diversity import sides
from analysis.decisions import DatasetSpec, Decision, Decisions
from analysis.dictionary import data_card
from analysis.earlier import DIVERSITY, FETCH, FIT, REPORT, SCORE, Earlier, responses_of, stored
from analysis.errors import TypicalityError, one_line
from analysis.fingerprints import Parts
from analysis.hub import Origin
from analysis.ids import file_sha256
from analysis.likelihood import backends
from analysis.likelihood.backends import Workers
from analysis.likelihood.request import blocks
from analysis.likelihood.stage import Scored, score
from analysis.manifest import write_manifest
from analysis.outputs import Outputs
from analysis.planning import NO_OFFER, to_score
from analysis.preferences import sources
from analysis.preferences.stage import Fetched, fetch
from analysis.regression.multiplicity import adjust
from analysis.regression.stage import estimate, fail
from analysis.regression.synthesis import synthesise
from analysis.report.stage import Report, published, report
from analysis.report.words import count, size
from analysis.runs import Run, Stage
from analysis.study import UNKNOWN, BaseModelSpec, Study
from flows import cluster, log, progress
from flows.planning import endpoint_estimate
from flows.progress import Ticker

RESOLVE, SYNTHESISE, PUBLISH = "resolve", "synthesise", "publish"
UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its state, its report, a sentence for each failure, and what it says of itself."""

    state: str
    report: Report
    failures: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Step:
    """One stage of one dataset, base model or cell."""

    stage: str
    dataset: str = ""
    base_model: str = ""

    @property
    def title(self) -> str:
        """The step in words."""
        return (
            f"{self.stage} {self.dataset}{' × ' if self.dataset and self.base_model else ''}{self.base_model}".strip()
        )

    @property
    def plain(self) -> bool:
        """Whether it is told where there is no terminal; resolving is too quick for that."""
        return self.stage != RESOLVE

    @property
    def unit(self) -> str:
        """What its progress counts."""
        return "rows" if self.stage == FETCH else "comparisons"


class Perform(Protocol):
    """Does a step's work, shows it while it goes on, and returns what it gives."""

    def __call__(self, step: Step, work: Callable[[Ticker], Any]) -> Any:
        """Raise a TypicalityError where the work failed."""


@dataclass
class Refresh:
    """A run of a study while it goes on."""

    run: Run
    outputs: Outputs
    perform: Perform
    decisions: Decisions
    workers: Workers

    @property
    def study(self) -> Study:
        """The study."""
        return self.run.study

    @property
    def work(self) -> Path:
        """The run's folder of unpublished tables."""
        return self.outputs.work(self.run.run_id)

    @property
    def earlier(self) -> Earlier:
        """The run whose results are kept where they will do; asked for only where there is one."""
        assert self.decisions.earlier is not None
        return self.decisions.earlier

    def resolve(self) -> None:
        """Ask what every dataset's and base model's revision stands for now."""
        for dataset in self.study.datasets:
            self._resolve(Step(RESOLVE, dataset.key), partial(sources.origin_of, dataset), self.decisions.datasets)
        for spec in self.study.base_models:
            step = Step(RESOLVE, base_model=spec.key)
            self._resolve(step, partial(backends.origin_of, spec), self.decisions.base_models)

    def _resolve(self, step: Step, ask: Callable[[], Origin], origins: dict[str, Origin]) -> None:
        found = self._step(step, lambda tick: ask(), lambda origin: origin.revision[:12])
        if found is not None:
            origins[step.dataset or step.base_model] = found

    def cells(self) -> None:
        """Every cell of the study: base models outside, so that each is loaded once."""
        for dataset in self.study.datasets:
            if dataset.key in self.decisions.datasets:
                self._fetch(dataset)
        for spec in self.study.base_models:
            for dataset in self.study.datasets:
                ready = spec.key in self.decisions.base_models and dataset.key in self.run.fetched
                if not (ready and self._cell(dataset, spec)):
                    self._gap(dataset.key, spec.key)
        for dataset in self.study.datasets:
            if not (dataset.key in self.run.fetched and self._diversity(dataset.key)):
                sides.failed(self.study, dataset.key, self._why_failed(dataset.key), self.work)

    def _fetch(self, spec: DatasetSpec) -> None:
        step, origin = Step(FETCH, spec.key), self.decisions.datasets[spec.key]
        decision = self.decisions.fetching(spec)

        def do(tick: Ticker) -> Fetched:
            return fetch(spec, self.study.name, self.study.seed, self.outputs, self.work, tick, origin)

        def keep(tick: Ticker) -> Fetched:
            self.earlier.keep_fetched(spec.key, self.work)
            return replace(self.earlier.fetched(spec.key), from_cache=origin.from_cache)

        found = self._step(step, do if decision.why else keep, _fetched, decision.why)
        if found is None:
            return
        self.run.fetched[spec.key] = found
        # Kept comparisons may lie otherwise in their file: they go on under the hash they had.
        before = {} if decision.why else self.decisions.before(FETCH, spec.key) or {}
        known = before.get("comparisons") or file_sha256(self.work / "comparisons" / f"{spec.key}.parquet")
        self._decided(step, {**decision.parts, "comparisons": known})

    def _cell(self, dataset: DatasetSpec, spec: BaseModelSpec) -> bool:
        """Score and fit one cell; whether that came to an end."""
        comparisons = self.run.decided[FETCH, dataset.key, ""]["comparisons"]
        decision = self.decisions.scoring(dataset.key, spec, comparisons)
        found = self._score(dataset.key, spec, decision)
        return found is not None and self._fit(dataset, spec, found, self.decisions.fitting(dataset, spec, decision))

    def _score(self, dataset: str, spec: BaseModelSpec, decision: Decision) -> Scored | None:
        step, origin = Step(SCORE, dataset, spec.key), self.decisions.base_models[spec.key]

        def do(tick: Ticker) -> Scored:
            if spec.endpoint:
                self._tell_cost(dataset, spec, origin)
            return score(spec, dataset, self.study, self.outputs, self.work, tick, origin, self.workers)

        def keep(tick: Ticker) -> Scored:
            self.earlier.keep_scored(dataset, spec.key, self.work)
            return replace(self.earlier.scored(dataset, spec.key), from_cache=origin.from_cache)

        found: Scored | None = self._step(step, do if decision.why else keep, _scored, decision.why)
        if found is not None:
            self.run.scored[dataset, spec.key] = found
            responses = responses_of(self.work / "comparisons" / f"{dataset}.parquet")
            self._decided(step, {**decision.parts, "stored": stored(self.outputs, responses, found.scoring_id)})
        return found

    def _tell_cost(self, dataset: str, spec: BaseModelSpec, origin: Origin) -> None:
        """Say what an endpoint will be sent, before it is."""
        backend = backends.ready(spec, self.study, origin)
        asked = blocks(self.work / "comparisons" / f"{dataset}.parquet", self.outputs)
        n_texts, tokens = to_score(backend, self.study, self.outputs, asked)
        if n_texts:
            told = endpoint_estimate(tokens.sent, NO_OFFER.dollars(tokens.sent, spec), None)
            progress.console.print(f"{count(n_texts, 'text')} of {dataset} to score. {told}", markup=False)

    def _fit(self, dataset: DatasetSpec, spec: BaseModelSpec, found: Scored, decision: Decision) -> bool:
        step = Step(FIT, dataset.key, spec.key)

        def do(tick: Ticker) -> int:
            n = estimate(dataset.key, spec.key, found.scoring_id, self.study, self.run.run_id, self.outputs, self.work)
            collapse.forecast(dataset.key, spec.key, found.scoring_id, self.study, self.outputs, self.work)
            return n

        def keep(tick: Ticker) -> int:
            return self.earlier.keep_fitted(dataset.key, spec.key, self.run.run_id, self.work)

        fitted = self._step(step, do if decision.why else keep, lambda n: count(n, "comparison"), decision.why)
        if fitted is None:
            return False
        self._decided(step, decision.parts)
        self.run.estimated.add((dataset.key, spec.key))
        return True

    def _diversity(self, dataset: str) -> bool:
        """Measure the sides of one dataset; whether that came to an end."""
        models = [spec.key for spec in self.study.base_models]
        scorings = {model: self.run.decided.get((SCORE, dataset, model)) for model in models}
        step, comparisons = Step(DIVERSITY, dataset), self.run.decided[FETCH, dataset, ""]["comparisons"]
        decision = self.decisions.measuring(dataset, comparisons, scorings)

        def do(tick: Ticker) -> str:
            scored = {model: self.run.scored.get((dataset, model)) for model in models}
            ids = {model: found.scoring_id if found else None for model, found in scored.items()}
            return count(sides.diversity(dataset, ids, self.study, self.outputs, self.work), "response")

        def keep(tick: Ticker) -> str:
            self.earlier.keep_diversity(dataset, self.work)
            return "chosen and rejected"

        if self._step(step, do if decision.why else keep, str, decision.why) is None:
            return False
        self._decided(step, decision.parts)
        return True

    def _decided(self, step: Step, parts: Parts) -> None:
        self.run.decided[step.stage, step.dataset, step.base_model] = parts

    def _step(
        self, step: Step, work: Callable[[Ticker], Any], detail: Callable[[Any], str], why: str | None = ""
    ) -> Any:
        """Have one step's work done, record and show how it ended, and return its result (None where it failed).

        `why` says why it is done; None stands for an earlier result that is kept.
        """
        began = time.monotonic()
        result, status = None, "ok"
        try:
            result = self.perform(step, self._guarded(work))
        except TypicalityError as error:
            status = str(error)
        except Exception as error:  # noqa: BLE001 - a mistake of ours in one cell must cost no other
            status = f"a mistake of typicality's own: {type(error).__name__}: {one_line(error)}; please report it"
            log.line("traceback", run_id=self.run.run_id, detail=traceback.format_exc())
        seconds = time.monotonic() - began
        failed = status != "ok"
        told = "" if failed else detail(result) + (", kept: nothing changed" if why is None else "")
        if step.stage != RESOLVE or failed:
            self.run.stages.append(Stage(step.stage, step.dataset, step.base_model, status, seconds, told))
            progress.done(step.title, status if failed else told, seconds, failed)
        log.line(
            step.stage, run_id=self.run.run_id, study=self.study.name, dataset=step.dataset, base_model=step.base_model,
            outcome="failed" if failed else "kept" if why is None else "done", why=why, seconds=round(seconds, 3),
            detail=told, error=status if failed else "",
        )  # fmt: skip
        return result

    def _guarded(self, work: Callable[[Ticker], Any]) -> Callable[[Ticker], Any]:
        def guarded(tick: Ticker) -> Any:
            with tables.writing(self.outputs.root):
                return work(tick)

        return guarded

    def _gap(self, dataset: str, base_model: str) -> None:
        """Leave rows in the tables of the cell's numbers that say why it has none."""
        reason = self._why_failed(dataset, base_model)
        fail(self.study, self.run.run_id, dataset, base_model, reason, self.work)
        collapse.failed(self.study, dataset, base_model, reason, self.work)

    def _why_failed(self, dataset: str, base_model: str = "") -> str:
        """Why a dataset, or a cell, has no numbers."""
        of = {"", base_model}
        return next(s.status for s in self.run.failures if s.dataset in ("", dataset) and s.base_model in of)

    def _synthesise(self) -> None:
        """Put the cells together; what cannot be had of that leaves them as they are."""
        raters = {d.key: d.rater for d in self.study.datasets}
        raters |= {key: fetched.rater for key, fetched in self.run.fetched.items()}

        def do(tick: Ticker) -> int:
            return synthesise(self.study, raters, self.work)

        found = self._step(
            Step(SYNTHESISE),
            do,
            lambda n: f"{count(n, 'synthesis', 'syntheses')} of {count(len(self.run.estimated), 'cell')}",
        )
        # A later run that finds nothing changed would leave out again what failed now.
        if found is not None:
            self._decided(Step(REPORT), fingerprints.reporting(self.study))

    def publish(self) -> Outcome:
        """Make the run's tables those of the study, and its report."""
        adjust(self.work)
        self._synthesise()
        tables.write_text(self.outputs.root / "README.md", data_card())
        runs.publish(self.run, self.outputs)
        write_manifest(self.outputs)
        made = self.perform(Step(REPORT), self._guarded(lambda tick: report(self.outputs, self.run.run_id)))
        return Outcome(self.run.state, made, tuple(_sentence(s) for s in self.run.failures))

    def copy(self, url: str, outcome: Outcome) -> Outcome:
        """Copy what is published here to where the study says."""
        failed = len(self.run.failures)
        self._step(Step(PUBLISH), lambda tick: publishing.publish(self.outputs, url), partial(_copied, url))
        failures = tuple(_sentence(s) for s in self.run.failures[failed:])
        return replace(outcome, failures=(*outcome.failures, *failures))


def refresh(study: Study, outputs: Outputs, perform: Perform, force: bool = False) -> Outcome:
    """Run a study: resolve, fetch, score, fit, measure, publish, report; or nothing of it, where nothing has changed.

    Parameters
    ----------
    study, outputs
        What to run, and where to put its results.
    perform
        Does the work of one step.
    force
        Whether to do everything again but the scoring of what has scores.

    Raises
    ------
    StudyError
        If the output folder cannot be written to, or holds a study of remedies of this name.
    TypicalityError
        If the results cannot be published.
    """
    with (
        tables.writing(outputs.root),
        outputs.lock(f"a run of study {study.name}", lambda text: progress.console.print(text, markup=False)),
        log.written(outputs),
        cluster.workers() as workers,
    ):
        runs.check_name(study, outputs)
        began = time.monotonic()
        earlier = None if force else Earlier.find(outputs, study.name)
        made = Refresh(runs.start(study), outputs, perform, Decisions(study, outputs, earlier), workers)
        log.line("start", run_id=made.run.run_id, study=study.name)
        made.resolve()
        if made.decisions.unchanged():
            outcome = _nothing(made)
        else:
            made.cells()
            outcome = made.publish()
        if study.publish:
            outcome = made.copy(study.publish, outcome)
        log.line(
            "end", run_id=made.run.run_id, study=study.name, outcome=outcome.state,
            seconds=round(time.monotonic() - began, 3), detail=outcome.report.headline, note=outcome.note,
        )  # fmt: skip
    return outcome


def _nothing(made: Refresh) -> Outcome:
    """The outcome where the tables are up to date: those of the earlier run."""
    # A run that was killed may have left the manifest behind its tables.
    write_manifest(made.outputs)
    run, decisions = made.earlier.run, made.decisions
    cached = [o.location for o in (*decisions.datasets.values(), *decisions.base_models.values()) if o.from_cache]
    unasked = f" (the Hub could not be asked about {', '.join(cached)})" if cached else ""
    silent = [o.location for o in decisions.base_models.values() if o.revision == UNKNOWN]
    unseen = f" (whether {', '.join(silent)} changed, its endpoint does not say)" if silent else ""
    note = f"nothing changed since run {run['run_id']}, so nothing was done{unasked}{unseen}"
    return Outcome(UNCHANGED, published(made.outputs, run["run_id"]), (), note)


def _copied(url: str, found: publishing.Copied) -> str:
    now = f"{count(found.n_copied, 'file')} copied, {size(found.n_bytes)}" if found.n_copied else "all there already"
    return f"{count(found.n_files, 'file')} at {url}, {now}"


def _fetched(found: Fetched) -> str:
    kept = f"{count(found.n_comparisons, 'comparison')} of {count(found.n_prompts, 'prompt')}"
    return f"{count(found.n_rows, 'row')}, {kept}"


def _scored(found: Scored) -> str:
    stored = "all stored already" if not found.n_scored_now else f"{found.n_tokens_now:,} tokens scored now"
    note = f", {found.note}" if found.note else ""
    precision = f"; {found.dtype} {found.precision}" if found.precision else ""
    return f"{count(found.n_scored, 'response')}, {stored}{note}{precision}"


def _sentence(stage: Stage) -> str:
    return f"{Step(stage.stage, stage.dataset, stage.base_model).title}: {stage.status}"
