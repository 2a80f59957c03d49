"""`typicality sample`, end to end: an endpoint with known distributions, a local model, and what goes wrong."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import tables
from tests.chat_stand_in import BROKEN, WHOLE, Endpoint, chat_stand_in
from tests.runs import HOSTILE, Finished, run_command, write_remedies, write_study

HEAD = 'name = "made"\nn = 10\n'
MODEL = '[[models]]\nbackend = "chat"\nname = "small"\nparameters = 1e8\n'
LARGE = '[[models]]\nbackend = "chat"\nname = "large"\nparameters = 1e10\ntuned_from = "small"\n'
METHODS = """
[[methods]]
name = "direct"
[[methods]]
name = "vs"
kind = "vs_standard"
threshold = [0.1, 1.0]
"""
JUDGE = '[judge]\nname = "judge"\ninstruction = "Rate $response as an answer to $prompt"\n'


def distributions() -> dict[str, dict[str, float]]:
    random = np.random.default_rng(0)
    made = {}
    for k in range(6):
        shares = random.dirichlet(np.ones(5))
        made[f"Name thing {k}."] = {f"thing{k}{name}": float(p) for name, p in zip("abcde", shares, strict=True)}
    return made


def prompts(known: dict[str, dict[str, float]]) -> str:
    return "".join(
        f"[[prompts]]\nprompt = {json.dumps(p)}\nanswers = {json.dumps([*d])}\n"
        f"reference = {json.dumps([*d.values()])}\n"
        for p, d in known.items()
    )


def write(folder: Path, text: str) -> Path:
    path = folder / "made.toml"
    path.write_text(text, encoding="utf-8")
    return path


def sample(folder: Path, study: Path, *more: str) -> Finished:
    return run_command(folder, "sample", str(study), "--outputs", str(folder / "outputs"), *more)


@pytest.fixture(scope="module")
def known() -> Iterator[tuple[Endpoint, dict[str, dict[str, float]]]]:
    found = distributions()
    found["Say something."] = {HOSTILE: 0.9, "nothing": 0.1}
    with chat_stand_in(found, forms=WHOLE * 4 + tuple(BROKEN.values())) as endpoint:
        yield endpoint, found


@pytest.fixture(scope="module")
def made(known, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    endpoint, found = known
    folder = tmp_path_factory.mktemp("sampled")
    study = write(folder, HEAD + MODEL + LARGE + JUDGE + METHODS + prompts(found))
    return _with(endpoint.url, folder, study)


def _with(url: str, folder: Path, study: Path) -> Finished:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", url)
        return sample(folder, study)


def test_a_study_is_asked_measured_and_told(made: Finished):
    assert (made.status, made.err.count("✗")) == (0, 0), made.err
    assert "has the highest effective diversity" in made.out
    for name in ("answers", "generations", "remedies", "diversity", "samplings"):
        assert len(made.table(name)) > 0
    remedies = made.table("remedies")
    assert set(remedies["kind"]) == {
        *("diversity", "quality", "distribution", "cost", "failures", "size", "tuning"),
    }
    kl = remedies[remedies["measure"] == "kl"].set_index(["model", "method"])["estimate"]
    assert (kl["small", "vs p=0.1"] < kl["small", "direct"]) and (kl["large", "vs p=1.0"] < kl["large", "direct"])
    generations = made.table("generations")
    assert generations["response"].notna().eq(generations["status"] == "ok").all()
    assert not generations["response"].dropna().str.strip().eq("").any()
    assert generations["judgement"].between(1, 10).sum() == (generations["status"] == "ok").sum()
    failures = remedies[(remedies["kind"] == "failures") & (remedies["measure"] != "failed")]
    counted = failures[failures["measure"].str.startswith("response")]["n_responses"].sum()
    assert counted == (generations["status"] != "ok").sum() > 0


def test_the_report_shows_what_models_wrote_as_text(made: Finished):
    folder = made.outputs.report("made", "latest")
    html, markdown = ((folder / name).read_text(encoding="utf-8") for name in ("index.html", "report.md"))
    for text in (html, markdown):
        assert "<script>alert(1)" not in text
        assert "no list of responses in the answer" in text
        assert "None of the rules" not in text
    assert html.count("<svg") == len(list(folder.glob("*.svg"))) == 2
    assert not re.search(r"\b(nan|inf|None)\b", markdown)


def test_the_report_is_rendered_again(made: Finished):
    folder = made.outputs.report("made", "latest")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    again = run_command(made.folder, "report", "made", "--outputs", str(made.folder / "outputs"))
    assert again.status == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_second_run_asks_nothing_and_makes_the_same_tables(made: Finished, known):
    endpoint, _ = known
    before = {name: tables.read(name, made.outputs.root) for name in ("generations", "remedies", "diversity")}
    n = len(endpoint.bodies)
    again = _with(endpoint.url, made.folder, made.folder / "made.toml")
    assert again.status == 0
    assert len(endpoint.bodies) == n
    for name, frame in before.items():
        pd.testing.assert_frame_equal(tables.read(name, made.outputs.root), frame)
    assert made.table("samplings")["n_asked"].iloc[0] == 0


def test_other_models_of_an_endpoint_may_be_asked(made: Finished, known, tmp_path: Path):
    endpoint, _ = known
    found = sample(
        tmp_path, made.folder / "made.toml", "--endpoint", endpoint.url, "--served", "other", "--method", "vs p=0.1",
        "--limit", "2",
    )  # fmt: skip
    # The judge has no endpoint of its own, and the environment names none.
    assert found.status == 2
    assert "OPENAI_BASE_URL" in found.err
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", endpoint.url)
        found = sample(tmp_path, made.folder / "made.toml", "--served", "other", "--method", "vs p=0.1", "--limit", "2")
    assert found.status == 0, found.err
    generations = found.table("generations")
    assert set(generations["model"]) == {"other"}
    assert set(generations["method"]) == {"direct", "vs p=0.1"}
    assert generations["prompt"].nunique() == 2


def test_a_model_that_fails_leaves_the_others(known, tmp_path: Path):
    endpoint, found = known
    study = write(
        tmp_path,
        HEAD + METHODS + prompts(found)
        + f'[[models]]\nbackend = "chat"\nname = "a"\nendpoint = "{endpoint.url}"\n'
        + '[[models]]\nbackend = "transformers"\nname = "./nothing"\n',
    )  # fmt: skip
    (tmp_path / "nothing").mkdir()
    ran = sample(tmp_path, study, "--limit", "2")
    assert ran.status == 1
    assert "model nothing: " in ran.err
    assert "Traceback" not in ran.err
    assert set(ran.table("generations")["model"]) == {"a"}
    assert "What could not be done" in (ran.outputs.report("made", "latest") / "index.html").read_text()


def test_a_killed_run_goes_on_without_asking_twice(tmp_path: Path):
    with chat_stand_in(distributions()) as endpoint:
        slow = MODEL + "concurrency = 2\nrequests_per_minute = 1500\n"
        study = write(tmp_path, HEAD + slow + METHODS + prompts(distributions()))
        start = "from flows.cli import main; main()"
        command = [sys.executable, "-c", start, "sample", str(study), "--outputs", str(tmp_path / "outputs")]
        run = subprocess.Popen(command, env={**os.environ, "OPENAI_BASE_URL": endpoint.url}, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while len(endpoint.bodies) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
        run.wait()
        n_before = len(endpoint.bodies)
        assert 20 <= n_before < 84
        again = _with(endpoint.url, tmp_path, study)
        assert again.status == 0, again.err
        told = [json.dumps(body, sort_keys=True) for body in endpoint.bodies]
    # 6 prompts × (10 direct + 2 × 2 of five each); only what was on its way when it was killed may be asked again.
    assert len(set(told)) == 84
    assert len(told) - 84 <= 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD + METHODS + MODEL, "prompts: is missing"),
        (HEAD + METHODS + MODEL + prompts(distributions()), "has no endpoint"),
        (
            HEAD
            + 'forecast = "labels"\n'
            + METHODS
            + MODEL
            + 'endpoint = "http://127.0.0.1:9/v1"\n'
            + prompts(distributions()),
            "holds no forecasts of a study 'labels'",
        ),
    ],
)
def test_nothing_is_started_where_the_study_is_wrong(text: str, told: str, tmp_path: Path):
    ran = sample(tmp_path, write(tmp_path, text))
    assert ran.status == 2
    assert told in ran.err
    assert not (tmp_path / "outputs" / "answers").exists()


def test_no_such_study(tmp_path: Path):
    ran = run_command(tmp_path, "sample", "nothing", "--outputs", str(tmp_path / "outputs"))
    assert ran.status == 2
    assert "built in: decoding, verbalized" in ran.err


def test_decoding_on_a_local_model(tiny: Path, tmp_path: Path):
    text = f"""
name = "local"
n = 6
template = "{{prompt}} {{response}}"
[base_model]
name = "{tiny}"
[[models]]
backend = "transformers"
name = "{tiny}"
template = "{{prompt}}{{response}}"
batch = 4
[[methods]]
name = "direct"
max_tokens = 8
[[methods]]
name = "heat"
temperature = [0.3, 2.0]
max_tokens = 8
[[methods]]
name = "typical"
typical_p = 0.5
max_tokens = 8
"""
    study = write(tmp_path, text + "".join(f'[[prompts]]\nprompt = "The weather {k}"\n' for k in range(6)))
    ran = sample(tmp_path, study)
    assert ran.status == 0, ran.err
    remedies = ran.table("remedies")
    entropy = remedies[remedies["measure"] == "entropy"].set_index("method")["estimate"]
    assert entropy["heat T=0.3"] < entropy["direct"] < entropy["heat T=2.0"]
    generations = ran.table("generations")
    usable = generations[generations["status"] == "ok"]
    assert usable["mean_logprob"].notna().eq(usable["logprob_status"] == "ok").all()
    assert {path.stem for path in ran.outputs.report("local", "latest").glob("*.svg")} == {"frontier", "temperature"}
    before = tables.read("generations", ran.outputs.root)
    assert sample(tmp_path, study).status == 0
    pd.testing.assert_frame_equal(tables.read("generations", ran.outputs.root), before)


def test_under_a_prefect_server_every_step_is_a_task(prefect_server: None, known, made: Finished):
    from prefect.client.orchestration import get_client

    from analysis.collapse.remedies.study import load
    from flows.sampling_run import sample_study

    endpoint, _ = known
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", endpoint.url)
        study = load(made.folder / "made.toml")
        state = sample_study(study, str(made.folder / "outputs"), return_state=True)
        assert state.is_completed(), state.message
        elsewhere = study.model_copy(update={"models": study.served_by("http://127.0.0.1:9/v1", ()).models[:1]})
        patch.setattr("analysis.likelihood.endpoints.connection.RETRIES", 0)
        state = sample_study(elsewhere, str(made.folder / "elsewhere"), return_state=True)
    assert state.is_failed()
    assert "cannot be reached" in state.message
    with get_client(sync_client=True) as client:
        tasks = {run.name for run in client.read_task_runs()}
    assert {"ask small", "ask large", "ask the judge judge", "measure", "report"} <= tasks


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_study_of_labels_may_not_have_its_name(tmp_path: Path, tiny: Path, command: str) -> None:
    outputs = tmp_path / "outputs"
    assert sample(tmp_path, write_remedies(tmp_path, tiny)).status == 0
    before = (outputs / "diversity" / "sampled.parquet").read_bytes()
    study = write_study(tmp_path, tiny)
    study.write_text(study.read_text().replace('name = "made"', 'name = "sampled"'))
    found = run_command(tmp_path, command, str(study), "--outputs", str(outputs))
    assert found.status == 2
    assert found.err.strip().endswith(
        f"{outputs} holds a study of remedies called 'sampled'; give this study another name"
    )
    assert (outputs / "diversity" / "sampled.parquet").read_bytes() == before
