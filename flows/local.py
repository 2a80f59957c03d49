"""Running a study in this process: under the Prefect server that is configured, or without Prefect."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
from prefect.exceptions import PrefectException, TerminationSignal
from prefect.settings import get_current_settings

from analysis.errors import TypicalityError, one_line
from analysis.outputs import Outputs
from flows import progress
from flows.parameters import RunParameters
from flows.progress import Ticker, console
from flows.refresh import Outcome, Step, refresh


def run_here(parameters: RunParameters) -> Outcome:
    """Run a study; its state goes to the configured Prefect server, if there is one that answers.

    Without one Prefect would start its own, which takes longer than many a refresh, and stays behind where the run is
    killed.

    Raises
    ------
    TypicalityError
        If the run ended without a report.
    """
    if not server_answers():
        return refresh(parameters.resolve(), Outputs(Path(parameters.outputs)), _alone, parameters.force)
    from flows.run import run_study

    return outcome_of(lambda: run_study(parameters, return_state=True), Outcome)


Ended = TypeVar("Ended")


def outcome_of(start: Callable[[], Any], kind: type[Ended]) -> Ended:
    """What a flow gives that runs under the Prefect server.

    Parameters
    ----------
    start
        Runs the flow and returns its final state.
    kind
        What the flow gives, whether or not parts of it failed.

    Raises
    ------
    TypicalityError
        If it ended without that.
    """
    try:
        state = start()
    except (httpx.HTTPError, PrefectException) as error:
        if _interrupted(error):
            raise KeyboardInterrupt from error
        raise TypicalityError(
            f"the Prefect server went away: {one_line(error)}; run again: what was scored is kept"
        ) from error
    outcome = state.result(raise_on_failure=False)
    if isinstance(outcome, kind):
        return outcome
    if isinstance(outcome, (TypicalityError, KeyboardInterrupt)):
        raise outcome
    raise TypicalityError(state.message or "the run ended without a report")


def _alone(step: Step, work: Callable[[Ticker], Any]) -> Any:
    """Do one step's work, and show it."""
    with progress.stage(step.title, plain=step.plain, unit=step.unit) as tick:
        return work(tick)


def server_answers() -> bool:
    """Whether a Prefect server is configured and answers; say so where it does not."""
    url = get_current_settings().api.url
    if url is None:
        return False
    try:
        # Any answer will do: a server that asks for a login answers, too.
        httpx.get(f"{url.rstrip('/')}/health", timeout=5)
    except httpx.TransportError:
        console.print(f"no Prefect server answers at {url}; running without it", markup=False)
        return False
    return True


def _interrupted(error: BaseException | None) -> bool:
    """Whether a signal stands somewhere behind an error."""
    while error is not None:
        if isinstance(error, (KeyboardInterrupt, TerminationSignal)):
            return True
        error = error.__cause__ or error.__context__
    return False
