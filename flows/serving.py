"""Starting a schedule's runs until a signal comes, and telling how they go."""

import asyncio
import io
import os
import signal
import warnings
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
    # A run imports its flow from the working directory first, where another `flows` may lie.
    os.chdir(ROOT)
    # Where its server stays away for long, Prefect forgets to await something.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    # Should the server be away just now, the next lines meet it too.
    with suppress(*_AWAY):
        async with get_client() as client:
            await _end_open_runs(client, deployment)
    # Prefect prints tracebacks to standard output before it gives a server up; what runs say is on standard error.
    with redirect_stdout(io.StringIO()):
        serving = asyncio.create_task(runner.start())
        watching = asyncio.create_task(_watch(deployment))
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
    await _close(deployment)
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


async def _close(deployment: UUID) -> None:
    """End what was running and pause the schedule; say so."""
    try:
        async with get_client() as client:
            await client.pause_deployment(deployment)
            await _end_open_runs(client, deployment)
    except _AWAY:
        console.print("The schedule stopped; it could not be paused, because the Prefect server does not answer.")
    else:
        console.print("The schedule stopped and is paused; the same command takes it up again.")


async def _end_open_runs(client: PrefectClient, deployment: UUID) -> None:
    """Cancel the runs whose process is gone, but not for the server.

    Each would hold the one slot that the schedule has, and no run could start: for minutes, or for ever where the
    server was started anew meanwhile.
    """
    active = filters.FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])
    for run in await _runs(client, deployment, active):
        await client.set_flow_run_state(run.id, Cancelled(message="the schedule was stopped"), force=True)


async def _watch(deployment: UUID) -> None:
    """Say when a run starts, and how it ends."""
    since = datetime.now(UTC)
    begun = filters.FlowRunFilterStateType(not_any_=[StateType.SCHEDULED, StateType.PENDING])
    told: dict[UUID, str] = {}
    async with get_client() as client:
        while True:
            # A server may be away for a while.
            with suppress(*_AWAY):
                for run in await _runs(client, deployment, begun, since):
                    line = _line(run)
                    if line != told.get(run.id):
                        told[run.id] = line
                        console.print(line, markup=False)
            await asyncio.sleep(_LOOK_EVERY)


async def _runs(
    client: PrefectClient, deployment: UUID, states: filters.FlowRunFilterStateType, since: datetime | None = None
) -> list[FlowRun]:
    """The latest runs in certain states that fell due since a time, oldest first."""
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
