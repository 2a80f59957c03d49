"""A study on a schedule: a real Prefect server, and runs that it starts by itself."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import yaml

from analysis import __version__
from flows.environment import ROOT
from flows.parameters import RunParameters
from tests.runs import GRADED, PAIRS, run_command, write_study
from tests.tiny import tiny_model

# -P: as the installed command, which does not import from the working directory.
COMMAND = [sys.executable, "-P", "-c", "from flows.cli import main; main()"]
PATIENCE = 120.0
T = TypeVar("T")


@dataclass
class Server:
    """A Prefect server, and the environment of commands that use it."""

    url: str
    environment: dict[str, str]

    def post(self, path: str, **body: Any) -> Any:
        """What the server's API answers."""

        def answered() -> httpx.Response | None:
            answer = httpx.post(f"{self.url}/{path}", json=body, timeout=30)
            # While its database is locked the server asks to be asked again.
            return None if answer.status_code == 503 else answer.raise_for_status()

        return until(answered, f"an answer to {path}").json()

    def deployment(self, name: str) -> dict[str, Any]:
        """A deployment of the flow."""
        return httpx.get(f"{self.url}/deployments/name/typicality/{name}", timeout=30).raise_for_status().json()

    def runs(self, name: str) -> list[dict[str, Any]]:
        """The runs of a deployment, those to come last."""
        chosen = {"name": {"any_": [name]}}
        return self.post("flow_runs/filter", deployments=chosen, sort="EXPECTED_START_TIME_ASC", limit=50)

    def artifacts(self, run: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The artifacts of a run by key."""
        found = self.post("artifacts/filter", artifacts={"flow_run_id": {"any_": [run["id"]]}})
        return {one["key"]: one for one in found}

    def log(self, run: dict[str, Any]) -> list[dict[str, Any]]:
        """The structured lines in a run's log."""
        found = self.post("logs/filter", logs={"flow_run_id": {"any_": [run["id"]]}}, sort="TIMESTAMP_ASC")
        return [json.loads(line["message"]) for line in found if line["message"].startswith("{")]


@dataclass(frozen=True)
class Ended:
    """A schedule that was stopped: its runs as they ended, its deployment while it ran, and what it said.

    `again` is a second run, which was asked for.
    """

    run: dict[str, Any]
    again: dict[str, Any]
    deployment: dict[str, Any]
    status: int
    out: str
    err: str
    began: datetime


def until(what: Callable[[], T | None], name: str) -> T:
    """Wait for something to be true."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.3)
    raise AssertionError(f"{name} did not come about in {PATIENCE:.0f} s")


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).is_success
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`prefect server start`, as a user runs it."""
    home, port = tmp_path_factory.mktemp("prefect"), _free_port()
    url = f"http://127.0.0.1:{port}/api"
    # The tests' own settings of Prefect's log must not hide what a user would see.
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_LOGGING")}
    environment = kept | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    log = (home / "server.log").open("wb")
    process = subprocess.Popen(command, env=environment, cwd=home, stdout=log, stderr=log, start_new_session=True)
    try:
        until(lambda: _answers(url), "a Prefect server")
        yield Server(url, environment)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        log.close()


def _start(server: Server, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "schedule", *arguments],
        env=server.environment, cwd=folder, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def _final(server: Server, process: subprocess.Popen[str], name: str, begun: str = "") -> dict[str, Any]:
    """The first run of a schedule, or the one that was begun, once it has ended."""

    def final() -> dict[str, Any] | None:
        assert process.poll() is None, process.communicate()
        found = [r for r in server.runs(name) if r["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")]
        return next((r for r in found if begun in ("", r["id"])), None)

    return until(final, f"the end of a run of {name}")


@pytest.fixture(scope="module")
def ended(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Two schedules, both stopped after their first run: of a good study, and of one with a broken dataset."""
    folder = tmp_path_factory.mktemp("scheduled")
    model = tiny_model(folder / "tiny")
    for name, datasets in (("good", GRADED), ("broken", PAIRS.replace('"best"', '"laurels"'))):
        (folder / name).mkdir()
        write_study(folder / name, model, datasets)
    # Runs must not take this for the flow's own package.
    (folder / "flows.py").write_text('raise RuntimeError("not these flows")\n', encoding="utf-8")
    began = datetime.now(UTC)
    good = _start(
        server, folder, "good/made.toml", "--every", "90m", "--outputs", "out/good", "--timezone", "Europe/Berlin"
    )  # fmt: skip
    broken = _start(server, folder, "broken/made.toml", "--every", "2d", "--outputs", "out/broken", "--name", "broken")
    runs = _final(server, good, "made"), _final(server, broken, "broken")
    deployments = server.deployment("made"), server.deployment("broken")
    begun = [server.post(f"deployments/{d['id']}/create_flow_run", state={"type": "SCHEDULED"}) for d in deployments]
    again = [
        _final(server, process, made["name"], run["id"])
        for process, made, run in zip((good, broken), deployments, begun, strict=True)
    ]
    time.sleep(4)  # the command looks every three seconds
    # As a terminal, and as a service manager.
    os.killpg(good.pid, signal.SIGINT)
    broken.send_signal(signal.SIGTERM)
    said = good.communicate(timeout=60), broken.communicate(timeout=60)
    return {
        "good": Ended(runs[0], again[0], deployments[0], good.returncode, *said[0], began),
        "broken": Ended(runs[1], again[1], deployments[1], broken.returncode, *said[1], began),
    }


def test_the_first_run_of_an_interval_starts_by_itself_and_completes(ended: dict[str, Ended], server: Server):
    good = ended["good"]
    assert good.run["state"]["type"] == "COMPLETED"
    assert good.run["auto_scheduled"]
    started = datetime.fromisoformat(good.run["expected_start_time"])
    assert started - good.began < timedelta(seconds=60)
    artifacts = server.artifacts(good.run)
    assert "Every cell" in artifacts["report-made"]["data"]
    assert "prefer the response that tiny finds more typical" in artifacts["report-made"]["description"]
    assert artifacts["score-made-graded-tiny"]["type"] == "progress"
    assert float(artifacts["score-made-graded-tiny"]["data"]) == 100.0
    assert (Path(good.run["parameters"]["parameters"]["outputs"]) / "reports/made/latest/index.html").is_file()


def test_every_stage_is_a_line_in_the_log_of_the_run(ended: dict[str, Ended], server: Server):
    def ends() -> list[dict[str, Any]]:
        lines = server.log(ended["good"].run)
        return lines if lines and lines[-1]["event"] == "end" else []

    # Prefect sends its logs a little later.
    lines = until(ends, "the log of a run")
    assert [line["event"] for line in lines] == [
        *("start", "resolve", "resolve", "fetch", "score", "fit", "diversity", "synthesise", "end")
    ]
    assert lines[-1]["outcome"] == "completed"


def test_a_run_in_which_nothing_changed_says_so(ended: dict[str, Ended]):
    assert ended["good"].again["state"]["type"] == "COMPLETED"
    assert ended["good"].again["state"]["message"].startswith("nothing changed since run ")
    assert ended["good"].again["total_run_time"] < ended["good"].run["total_run_time"]
    assert ended["broken"].again["state"]["type"] == "FAILED"


def test_the_runs_to_come_keep_the_interval(ended: dict[str, Ended]):
    schedule = ended["good"].deployment["schedules"][0]
    assert schedule["active"]
    assert schedule["schedule"]["interval"] == 90 * 60
    assert schedule["schedule"]["timezone"] == "Europe/Berlin"
    first = datetime.fromisoformat(schedule["schedule"]["anchor_date"])
    assert first == datetime.fromisoformat(ended["good"].run["expected_start_time"])


def test_the_deployment_says_what_it_is_and_asks_for_the_flows_parameters(ended: dict[str, Ended]):
    made = ended["good"].deployment
    assert made["name"] == "made"
    assert made["description"] == "Made-up data"
    assert made["version"] == __version__
    assert made["entrypoint"] == "flows.run.run_study"
    assert set(made["tags"]) == {"typicality", "study:made"}
    assert made["global_concurrency_limit"]["limit"] == 1
    assert made["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    fields = made["parameter_openapi_schema"]["definitions"]["RunParameters"]["properties"]
    assert set(fields) == set(RunParameters.model_fields)
    given = made["parameters"]["parameters"]
    assert Path(given["study"]).is_absolute()
    assert Path(given["study"]).is_file()
    assert Path(given["outputs"]).is_absolute()


def test_a_run_that_fails_is_failed_with_its_sentence(ended: dict[str, Ended]):
    state = ended["broken"].run["state"]
    assert state["type"] == "FAILED"
    assert "laurels" in state["message"]
    assert state["message"].startswith("fetch pairs: ")
    assert "Traceback" not in state["message"]
    assert f"failed: {state['message']}" in " ".join(ended["broken"].err.split("\n"))


def test_the_terminal_tells_what_is_scheduled_and_how_runs_end(ended: dict[str, Ended]):
    good = ended["good"]
    first, following, how = good.out.strip().splitlines()
    assert first.startswith("Scheduled typicality/made: every 90 minutes, results in /")
    assert following.startswith("Next run: ")
    assert "Ctrl-C" in how
    assert "✓ fit graded × tiny" in good.err
    assert ": completed: " in good.err
    assert "prefer the response that tiny finds more typical" in good.err
    for one in ended.values():
        assert not any(word in one.out + one.err for word in ("Traceback", "prefect.", "httpx", "WARNING", "INFO"))


def test_a_signal_stops_the_schedule_and_pauses_it(ended: dict[str, Ended], server: Server):
    assert ended["good"].status == 130
    assert ended["broken"].status == 0
    for one, name in ((ended["good"], "made"), (ended["broken"], "broken")):
        assert one.err.strip().endswith("is paused; the same command takes it up again.")
        assert not one.deployment["paused"]
        assert server.deployment(name)["paused"]


def test_a_run_whose_process_is_gone_keeps_no_other_from_starting(
    ended: dict[str, Ended], server: Server, tiny: Path, tmp_path: Path
):
    made = server.deployment("made")
    left = server.post(f"deployments/{made['id']}/create_flow_run", state={"type": "SCHEDULED"})
    server.post(f"flow_runs/{left['id']}/set_state", state={"type": "PENDING"})
    assert server.deployment("made")["global_concurrency_limit"]["active_slots"] == 1
    process = _start(server, tmp_path, str(write_study(tmp_path, tiny)), "--cron", "0 6 1 1 *")
    try:
        until(lambda: not server.deployment("made")["global_concurrency_limit"]["active_slots"], "a free slot")
        made = server.deployment("made")
        assert not made["paused"]
        assert made["schedules"][0]["schedule"]["cron"] == "0 6 1 1 *"
        assert [r["state"]["type"] for r in server.runs("made") if r["id"] == left["id"]] == ["CANCELLED"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "either --cron"),
        (["--cron", "0 6 * * 1", "--every", "6h"], "either --cron"),
        (["--cron", "0 25 * * *"], "'0 25 * * *' names no time"),
        (["--cron", "* * * * * *"], "'* * * * * *' names no time"),
        (["--cron", "0 0 31 2 *"], "'0 0 31 2 *' names no time"),
        (["--every", "6 parsecs"], "'6 parsecs' is no interval"),
        (["--every", "59s"], "'59s' is too short"),
        (["--every", "6h", "--timezone", "Mars/Base"], "'Mars/Base'"),
        (["--every", "6h", "--name", "a/b"], "'a/b'"),
        (["--every", "6h", "--dataset", "nothing"], "'nothing'"),
        (["--every", "6h", "--limit", "0"], "limit"),
        (["--every", "6h"], "prefect server start"),
    ],
)
def test_what_cannot_be_scheduled_is_said_in_one_sentence(tmp_path: Path, arguments: list[str], said: str):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    # Other tests of this process may have a server of theirs.
    with temporary_settings({PREFECT_API_URL: None}):
        made = run_command(tmp_path, "schedule", "demo", "--outputs", str(tmp_path / "outputs"), *arguments)
    assert made.status == 2
    assert made.out == ""
    assert said in made.err
    assert made.err.startswith("typicality: ")
    assert made.err.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


def test_a_server_that_does_not_answer_is_named(tmp_path: Path):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    url = f"http://127.0.0.1:{_free_port()}/api"
    with temporary_settings({PREFECT_API_URL: url}):
        made = run_command(tmp_path, "schedule", "demo", "--every", "6h")
    assert made.status == 2
    assert f"none answers at {url}" in made.err
    assert f"PREFECT_API_URL={url}" in made.err


def test_the_work_pools_file_is_in_step_with_the_flow():
    from prefect.flows import load_flow_from_entrypoint

    from flows.run import run_study

    file = yaml.safe_load((ROOT / "flows" / "prefect.yaml").read_text(encoding="utf-8"))
    assert file["prefect-version"] == version("prefect")
    assert file["pull"] == []
    for made in file["deployments"]:
        assert load_flow_from_entrypoint(made["entrypoint"]) is run_study
        assert RunParameters.model_validate(made["parameters"]["parameters"]).resolve().name == made["name"]
        assert made["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
