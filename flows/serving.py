"""Starting a schedule's runs until a signal comes, and telling how they go."""

import asyncio
import io
import os
import signal
from contextlib import redirect_stdout, suppress
from datetime import UTC, datetime
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas import filters
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import PrefectException
from prefect.runner import Runner
from prefect.settings import get_current_settings
from prefect.states import Cancelled

from analysis.errors import TypicalityError
from flows.environment import ROOT
from flows.progress import console

_LOOK_EVERY = 3.0
_ACTIVE = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_AWAY = (PrefectException, httpx.HTTPError, OSError, RuntimeError)


async def until_signal(runner: Runner, deployment: UUID) -> bool:
    """Start runs as they fall due, until Ctrl-C or SIGTERM.

    The schedule is then paused: nobody would start its runs, and they would be shown as late.

    Returns
    -------
    bool
        Whether it was Ctrl-C.

    Raises
    ------
    TypicalityError
        If the server goes away.
    """
    since = datetime.now(UTC)
    # A run imports its flow from the working directory first, where another `flows` may lie.
    os.chdir(ROOT)
    # Prefect prints tracebacks to standard output before it gives a server up; what runs say is on standard error.
    with redirect_stdout(io.StringIO()):
        serving = asyncio.create_task(runner.start())
        watching = asyncio.create_task(_watch(deployment, since))
        await asyncio.sleep(0)  # the runner sets handlers of its own first
        received = _on_signals(serving)
        try:
            await serving
        except asyncio.CancelledError:
            pass
        except Exception as error:
            raise TypicalityError(
                f"the Prefect server at {get_current_settings().api.url} went away, so the schedule stopped; "
                "start the server, and run the same command again"
            ) from error
        finally:
            watching.cancel()
    await _close(deployment, since)
    return received[:1] == [signal.SIGINT]


def _on_signals(serving: asyncio.Task[None]) -> list[int]:
    """End serving at a signal; the list holds those that came."""
    received: list[int] = []
    loop = asyncio.get_running_loop()

    def end(number: int, frame: object) -> None:
        received.append(number)
        loop.call_soon_threadsafe(serving.cancel)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    return received


async def _close(deployment: UUID, since: datetime) -> None:
    """Cancel what was running and pause the schedule; say so."""
    try:
        async with get_client() as client:
            await client.pause_deployment(deployment)
            # A run that ended without its server's knowledge would keep the next one from starting for minutes.
            for run in await _runs(client, deployment, since, filters.FlowRunFilterStateType(any_=_ACTIVE)):
                await client.set_flow_run_state(run.id, Cancelled(message="the schedule was stopped"), force=True)
    except _AWAY:
        console.print("The schedule stopped; it could not be paused, because the Prefect server does not answer.")
    else:
        console.print("The schedule stopped and is paused; the same command takes it up again.")


async def _watch(deployment: UUID, since: datetime) -> None:
    """Say when a run starts, and how it ends."""
    begun = filters.FlowRunFilterStateType(not_any_=[StateType.SCHEDULED, StateType.PENDING])
    told: dict[UUID, str] = {}
    async with get_client() as client:
        while True:
            # A server may be away for a while.
            with suppress(*_AWAY):
                for run in await _runs(client, deployment, since, begun):
                    line = _line(run)
                    if line != told.get(run.id):
                        told[run.id] = line
                        console.print(line, markup=False)
            await asyncio.sleep(_LOOK_EVERY)


async def _runs(
    client: PrefectClient, deployment: UUID, since: datetime, states: filters.FlowRunFilterStateType
) -> list[FlowRun]:
    """The latest runs that fell due since a time and are in certain states, oldest first."""
    latest = await client.read_flow_runs(
        deployment_filter=filters.DeploymentFilter(id=filters.DeploymentFilterId(any_=[deployment])),
        flow_run_filter=filters.FlowRunFilter(
            state=filters.FlowRunFilterState(type=states),
            expected_start_time=filters.FlowRunFilterExpectedStartTime.model_validate({"after_": since}),
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=10,
    )
    return latest[::-1]


def _line(run: FlowRun) -> str:
    due = local(run.expected_start_time) if run.expected_start_time else run.name
    state = run.state
    if state is None or not state.is_final():
        return f"Run of {due}: started"
    message = f": {state.message}" if state.message else ""
    ended = state.type.value.lower()
    return f"Run of {due}: {ended}{message} ({run.total_run_time.total_seconds():.0f} s)"


def local(time: datetime) -> str:
    """A time on this machine's clock."""
    return time.astimezone().strftime("%A %Y-%m-%d %H:%M:%S %Z")
