"""The flow of a study of remedies: asking, scoring, measuring and reporting as tasks of Prefect."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from analysis.collapse.remedies.study import SampleStudy
from analysis.errors import TypicalityError
from analysis.outputs import Outputs
from flows import progress
from flows.local import outcome_of, server_answers
from flows.progress import Ticker
from flows.run import result_of, slug
from flows.sampling import Outcome, sample


def sample_here(study: SampleStudy, outputs: Outputs) -> Outcome:
    """Run a study of remedies in this process; its state goes to the configured Prefect server, if one answers.

    Raises
    ------
    TypicalityError
        If the run ended without a report.
    """
    if not server_answers():
        return sample(study, outputs)
    return outcome_of(lambda: sample_study(study, str(outputs.root), return_state=True), Outcome)


@flow(name="typicality-sample", flow_run_name="{study.name}", persist_result=False, log_prints=False)
def sample_study(study: SampleStudy, outputs: str = "outputs") -> Outcome | State[Any]:
    """Ask models by every method, measure, publish, report; what was answered is not asked again."""
    try:
        outcome = sample(study, Outputs(Path(outputs)), _as_task)
    except TypicalityError as error:
        return Failed(message=str(error), data=error)
    create_markdown_artifact(key=slug(f"report-{study.name}"), markdown=outcome.report.headline)
    if outcome.failures:
        return Failed(message="; ".join(outcome.failures), data=outcome)
    return Completed(message=outcome.report.headline, data=outcome)


def _as_task(title: str, unit: str, work: Callable[[Ticker], Any]) -> Any:
    """One step as a task."""

    def attempt() -> Any:
        with progress.stage(title, artifact_key=slug(title), unit=unit) as tick:
            try:
                made = work(tick)
            except TypicalityError as error:
                return Failed(message=str(error), data=error)
            tick.finish()
            return made

    a_task = task(name=title.split(maxsplit=1)[0], task_run_name=title, cache_policy=NO_CACHE)(attempt)
    return result_of(a_task(return_state=True))
