"""Running the flow in this process, with or without a Prefect server."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import httpx
from prefect.exceptions import PrefectException, TerminationSignal
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_LOGGING_TO_API_ENABLED,
    get_current_settings,
    temporary_settings,
)

from analysis.errors import TypicalityError, one_line
from flows.environment import INTERRUPTED
from flows.parameters import RunParameters
from flows.progress import console
from flows.refresh import Outcome
from flows.run import run_study


def run_here(parameters: RunParameters) -> Outcome:
    """Run the flow; its state goes to the configured Prefect server, or to none where none answers.

    Raises
    ------
    TypicalityError
        If the run ended without a report.
    """
    try:
        with _server():
            state = run_study(parameters, return_state=True)
    except (httpx.HTTPError, PrefectException) as error:
        # A signal from the terminal ends the temporary server too, and Prefect then fails to tell it so.
        if _interrupted(error):
            raise KeyboardInterrupt from error
        raise TypicalityError(
            f"the Prefect server went away: {one_line(error)}; run again: what was scored is kept"
        ) from error
    outcome = state.result(raise_on_failure=False)
    if isinstance(outcome, Outcome):
        return outcome
    if isinstance(outcome, (TypicalityError, KeyboardInterrupt)):
        raise outcome
    raise TypicalityError(state.message or "the run ended without a report")


def _interrupted(error: BaseException | None) -> bool:
    """Whether a signal stands somewhere behind an error."""
    while error is not None:
        if isinstance(error, (KeyboardInterrupt, TerminationSignal)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _server() -> AbstractContextManager[object]:
    """Leave the configured server out where it does not answer, and say so."""
    url = get_current_settings().api.url
    if url is None:
        return _alone()
    try:
        # Any answer will do: a server that asks for a login answers, too.
        httpx.get(f"{url.rstrip('/')}/health", timeout=5)
    except httpx.TransportError:
        console.print(f"no Prefect server answers at {url}; running without it", markup=False)
        return _alone()
    return nullcontext()


def _alone() -> AbstractContextManager[object]:
    """Prefect with a temporary server of its own, which needs no log lines."""
    stack = ExitStack()
    updates = {PREFECT_API_URL: None, PREFECT_LOGGING_TO_API_ENABLED: False, PREFECT_CLIENT_MAX_RETRIES: 2}
    stack.enter_context(temporary_settings(updates=updates))
    stack.enter_context(_ended_at_once())
    return stack


@contextmanager
def _ended_at_once() -> Iterator[None]:
    """End the process at the first Ctrl-C.

    The terminal sends it to the temporary server too, and Prefect would wait long for a server that is gone to tell it
    that the run was cancelled. Ending at once is safe: every file is written whole, and the lock goes with the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: object) -> None:
        from prefect.server.api.server import SubprocessASGIServer

        os.write(2, f"\ntypicality: {INTERRUPTED}\n".encode())
        SubprocessASGIServer().stop()
        os._exit(128 + number)

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
