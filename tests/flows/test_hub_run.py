"""The command in a process of its own, against a stand-in of the Hub: real clients, real exit statuses."""

import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.hub_stand_in import Repository, closed_endpoint, environment, hub_stand_in
from tests.runs import sentence

STUDY = """
name = "pulled"
template = "dialogue"
[[base_models]]
name = "made/tiny"
{more}
[[datasets]]
name = "hh-rlhf"
part = "harmless-base"
split = "test"
"""


@dataclass(frozen=True)
class Ended:
    """A process that ended, and where its results are."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="module")
def hub(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    root = tmp_path_factory.mktemp("hub")
    random = np.random.default_rng(0)
    folder = root / "datasets/Anthropic/hh-rlhf/harmless-base"
    folder.mkdir(parents=True)
    rows = []
    for i in range(40):
        prompt = f"\n\nHuman: {sentence(random, 6)} {i}\n\nAssistant:"
        pair = [f"{prompt} {sentence(random, int(n))}" for n in random.integers(3, 12, 2)]
        rows.append(dict(zip(("chosen", "rejected"), pair, strict=True)))
    rows[4]["rejected"] = rows[4]["rejected"].replace("Human: ", "Human: other ")
    with gzip.open(folder / "test.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    shutil.copytree(tiny, root / "models/made/tiny")
    with hub_stand_in(root) as endpoint:
        yield root, endpoint


def run(folder: Path, endpoint: str, more: str = "", **variables: str) -> Ended:
    study = folder / "pulled.toml"
    study.write_text(STUDY.format(more=more), encoding="utf-8")
    command = [sys.executable, "-c", "from flows.cli import main; main()", "run", str(study)]
    done = subprocess.run(
        [*command, "--outputs", str(folder / "outputs")],
        env=environment(endpoint, folder / "hf", **variables),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def test_datasets_and_models_are_pulled_and_their_commits_recorded(hub: tuple[Path, str], tmp_path: Path):
    root, endpoint = hub
    made = run(tmp_path, endpoint)
    assert made.status == 0, made.err
    row = pd.read_parquet(tmp_path / "outputs/runs").iloc[0]
    assert row["datasets"][0]["revision"] == Repository(root / "datasets/Anthropic/hh-rlhf").sha
    assert row["base_models"][0]["revision"] == Repository(root / "models/made/tiny").sha
    kept = len(pd.read_parquet(tmp_path / "outputs/comparisons"))
    assert kept + pd.read_parquet(tmp_path / "outputs/exclusions").query("unit == 'row'")["n"].sum() == 40
    before = pd.read_parquet(tmp_path / "outputs/estimates").drop(columns="run_id")

    offline = run(tmp_path, closed_endpoint())
    assert offline.status == 0, offline.err
    assert "nothing was done (the Hub could not be asked about Anthropic/hh-rlhf, made/tiny)" in offline.out
    after = pd.read_parquet(tmp_path / "outputs/estimates").drop(columns="run_id")
    pd.testing.assert_frame_equal(after, before, check_exact=True)


def test_an_unknown_model_fails_its_cells_only(hub: tuple[Path, str], tmp_path: Path):
    made = run(tmp_path, hub[1], more='[[base_models]]\nname = "made/huge"')
    assert made.status == 1
    told = [line for line in made.err.splitlines() if line.startswith("typicality: ")]
    assert told == [
        "typicality: resolve made/huge: there is no model made/huge on the Hub, or it is private; "
        "check the spelling, or log in with `hf auth login`"
    ]
    assert "Traceback" not in made.err
    rows = pd.read_parquet(tmp_path / "outputs/estimates")
    estimates = rows[rows["specification"].isin(["rate", "bt"])].set_index("base_model")["status"]
    assert (estimates["made/tiny"] == "ok").all()
    assert estimates["made/huge"].str.startswith("there is no model").all()


def test_a_hub_that_fails_half_its_requests_changes_no_number(hub: tuple[Path, str], tmp_path: Path):
    (tmp_path / "calm").mkdir()
    assert run(tmp_path / "calm", hub[1]).status == 0
    (tmp_path / "busy").mkdir()
    with hub_stand_in(hub[0], fail=0.5, cut=0.2, seed=3) as endpoint:
        busy = run(tmp_path / "busy", endpoint)
    assert busy.status == 0, busy.err
    tables = [
        pd.read_parquet(tmp_path / name / "outputs/estimates").drop(columns="run_id") for name in ("calm", "busy")
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_a_token_is_told_to_nobody(hub: tuple[Path, str], tmp_path: Path):
    token = "hf_canaryCanaryCanaryCanaryCanary"
    made = run(tmp_path, hub[1], more='[[base_models]]\nname = "made/huge"', HF_TOKEN=token)
    assert made.status == 1
    assert token not in made.out + made.err
    for path in (tmp_path / "outputs").rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes()
