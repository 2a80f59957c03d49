"""The flow as Prefect's server sees it, and the validated parameter."""

import asyncio
from pathlib import Path

import pytest
from pydantic import ValidationError

from analysis.errors import CellError, NetworkError, StudyError
from analysis.hub import Origin
from analysis.preferences.sources import origin_of
from flows.parameters import RunParameters, built_in
from flows.run import run_study
from tests.runs import GRADED, PAIRS, Finished, run_command, write_study


def _read(what: str):
    from prefect.client.orchestration import get_client

    async def read():
        async with get_client() as client:
            return await getattr(client, what)()

    return asyncio.run(read())


def test_the_server_shows_the_flow_its_tasks_and_the_report(finished: Finished):
    assert finished.status == 0
    # Other flows of these tests have other parameters.
    named = [f for f in _read("read_flow_runs") if "study" in f.parameters.get("parameters", {})]
    flows = [f for f in named if f.parameters["parameters"]["study"].endswith("made.toml")]
    assert any(f.state.is_completed() for f in flows)
    names = {t.name for t in _read("read_task_runs")}
    assert {"fetch pairs", "score pairs × tiny", "fit graded × tiny", "report"} <= names
    artifacts = {a.key: a for a in _read("read_artifacts")}
    assert "Every cell" in artifacts["report-made"].data
    assert artifacts["score-made-pairs-tiny"].type == "progress"
    assert float(artifacts["score-made-pairs-tiny"].data) == 100.0


def test_a_failed_cell_is_a_failed_task_with_its_sentence(prefect_server: None, tiny: Path, tmp_path: Path):
    study = write_study(tmp_path, tiny, PAIRS.replace('"best"', '"laurels"') + GRADED)
    made = run_command(tmp_path, "run", str(study), "--outputs", str(tmp_path / "outputs"))
    assert made.status == 1
    failed = [t for t in _read("read_task_runs") if t.state.is_failed() and "laurels" in (t.state.message or "")]
    assert [t.name for t in failed] == ["fetch pairs"]
    assert any(f.state.is_failed() and "laurels" in (f.state.message or "") for f in _read("read_flow_runs"))


@pytest.mark.parametrize(("error", "calls"), [(NetworkError, 3), (CellError, 1)])
def test_what_failed_is_tried_again_where_it_was_the_network(
    error: type[CellError],
    calls: int,
    prefect_server: None,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    asked = []

    def flaky(spec: object) -> Origin:
        asked.append(spec)
        if len(asked) < 3:
            raise error("the Hub did not deliver it; try again later")
        return origin_of(spec)

    monkeypatch.setattr("flows.refresh.sources.origin_of", flaky)
    monkeypatch.setattr("flows.run.FIRST_PAUSE_S", 0.01)
    study = write_study(tmp_path, tiny, GRADED, 'specifications = ["rate"]')
    parameters = RunParameters(study=str(study), outputs=str(tmp_path / "outputs"), network_retries=3)
    state = run_study(parameters, return_state=True)
    assert len(asked) == calls
    assert state.is_completed() == (error is NetworkError)
    if error is CellError:
        assert state.message == "resolve graded: the Hub did not deliver it; try again later"


def test_parameters_are_validated():
    with pytest.raises(ValidationError, match="extra"):
        RunParameters.model_validate({"study": "demo", "speed": 11})
    with pytest.raises(StudyError, match="built in: demo"):
        RunParameters(study="demos").resolve()


def test_built_in_studies_are_valid():
    for name in built_in():
        assert RunParameters(study=name).resolve().name == name
