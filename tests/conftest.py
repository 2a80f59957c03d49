"""Settings that must stand before Prefect and the Hub's clients are imported, and runs that several tests look at."""

import os
import tempfile
from pathlib import Path

_HOME = Path(tempfile.mkdtemp(prefix="typicality-tests-"))
os.environ |= {
    "PREFECT_HOME": str(_HOME / "prefect"),
    "HF_HOME": str(_HOME / "hf"),
    "HF_HUB_DISABLE_XET": "1",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MPLBACKEND": "Agg",
    # As the command sets it: threads that spin while they wait slow everything when another process wants the cores.
    "OMP_WAIT_POLICY": "PASSIVE",
}
os.environ.pop("PREFECT_API_URL", None)

import pytest  # noqa: E402

from tests.runs import Finished, run_command, write_remedies, write_rows, write_study  # noqa: E402
from tests.tiny import tiny_model  # noqa: E402


@pytest.fixture(scope="session")
def prefect_server():
    """A Prefect server of the tests' own, started once."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base model."""
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def finished(prefect_server: None, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run of a study of two datasets under one base model, in which nothing failed, beside measurements of a file and
    a study of remedies.

    These come first: the report tells of all tables in the folder.
    """
    folder = tmp_path_factory.mktemp("finished")
    file = write_rows(folder / "log.jsonl", [{"prompt": f"{k % 3}", "response": f"the dog {k}"} for k in range(6)])
    under = (str(file), "--base-model", str(tiny), "--outputs", str(folder / "outputs"))
    run_command(folder, "temperature", *under, "--temperatures", "1,2", "--samples", "2", "--max-tokens", "4")
    run_command(folder, "monitor", *under, "--baseline-draws", "2", "--max-tokens", "4")
    run_command(folder, "sample", str(write_remedies(folder, tiny)), "--outputs", str(folder / "outputs"))
    study = write_study(folder, tiny, more="token_logprobs = true")
    return run_command(folder, "run", str(study), "--outputs", str(folder / "outputs"))
