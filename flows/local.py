"""Running the flow in this process, with or without a Prefect server."""

from contextlib import AbstractContextManager, nullcontext

import httpx
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

from analysis.errors import TypicalityError
from flows.parameters import RunParameters
from flows.progress import console
from flows.run import Outcome, run_study


def run_here(parameters: RunParameters) -> Outcome:
    """Run the flow; its state goes to the configured Prefect server, or to none where none answers.

    Raises
    ------
    TypicalityError
        If the run ended without a report.
    """
    with _server():
        state = run_study(parameters, return_state=True)
    outcome = state.result(raise_on_failure=False)
    if isinstance(outcome, Outcome):
        return outcome
    if isinstance(outcome, (TypicalityError, KeyboardInterrupt)):
        raise outcome
    raise TypicalityError(state.message or "the run ended without a report")


def _server() -> AbstractContextManager[object]:
    """Leave the configured server out where it does not answer, and say so."""
    url = get_current_settings().api.url
    if url is None:
        return nullcontext()
    try:
        httpx.get(f"{url.rstrip('/')}/health", timeout=5).raise_for_status()
    except httpx.HTTPError:
        console.print(f"no Prefect server answers at {url}; running without it", markup=False)
        return temporary_settings(updates={PREFECT_API_URL: None})
    return nullcontext()
