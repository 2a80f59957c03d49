"""The flow: a refresh of a study, with every step a task of Prefect."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from prefect.tasks import exponential_backoff

from analysis.earlier import SCORE
from analysis.errors import CellError, NetworkError, TypicalityError
from analysis.outputs import Outputs
from flows import progress
from flows.parameters import RunParameters
from flows.progress import Ticker
from flows.refresh import UNCHANGED, Outcome, Perform, Step, refresh

FIRST_PAUSE_S = 30


@flow(name="typicality", flow_run_name="{parameters.label}", persist_result=False, log_prints=False)
def run_study(parameters: RunParameters) -> Outcome | State[Any]:
    """Run a study: resolve, fetch, score, fit, publish, report; what has not changed is not done again."""
    study = parameters.resolve()
    try:
        outcome = refresh(study, Outputs(Path(parameters.outputs)), _tasks(study.name, parameters), parameters.force)
    except TypicalityError as error:
        return Failed(message=str(error), data=error)
    if outcome.state == UNCHANGED:
        return Completed(message=outcome.note, data=outcome)
    _show(study.name, outcome)
    if outcome.failures:
        return Failed(message="; ".join(outcome.failures), data=outcome)
    return Completed(message=outcome.report.headline, data=outcome)


def _tasks(study: str, parameters: RunParameters) -> Perform:
    """Every step as a task, tried again only where it is the network that failed."""

    def perform(step: Step, work: Callable[[Ticker], Any]) -> Any:
        # Of the other stages nobody knows beforehand how long they are.
        key = slug(f"{SCORE}-{study}-{step.dataset}-{step.base_model}") if step.stage == SCORE else None

        def attempt() -> Any:
            with progress.stage(step.title, artifact_key=key, plain=step.plain, unit=step.unit) as tick:
                try:
                    made = work(tick)
                except NetworkError:
                    raise
                except TypicalityError as error:
                    return Failed(message=str(error))
                tick.finish()
                return made

        a_task = task(
            name=step.stage,
            task_run_name=lambda: step.title,
            cache_policy=NO_CACHE,
            retries=parameters.network_retries,
            retry_delay_seconds=exponential_backoff(FIRST_PAUSE_S),
            retry_condition_fn=_network,
        )(attempt)
        return result_of(a_task(return_state=True))

    return perform


def _network(task: Any, run: Any, state: State[Any]) -> bool:
    """Whether a task failed for the network."""
    return isinstance(state.result(raise_on_failure=False), NetworkError)


def result_of(state: State[Any]) -> Any:
    """What a task gave; a TypicalityError where it failed."""
    if state.is_completed():
        return state.result()
    error = state.result(raise_on_failure=False)
    if isinstance(error, Exception):
        raise error
    raise CellError(state.message or "it failed without a message")


def _show(study: str, outcome: Outcome) -> None:
    """Show the report in Prefect, without its figures."""
    text = outcome.report.markdown.read_text(encoding="utf-8")
    shown = re.sub(r"^!\[.*\n+", "", text, flags=re.M)
    create_markdown_artifact(key=slug(f"report-{study}"), markdown=shown, description=outcome.report.headline)


def slug(text: str) -> str:
    """Text as a Prefect artifact's key."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
