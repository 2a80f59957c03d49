"""Runs at once over one output folder, and readers while one writes."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from analysis.outputs import Outputs
from tests.runs import GRADED, graded_rows, write_rows, write_study

COMMAND = [sys.executable, "-c", "from flows.cli import main; main()", "run"]


def start(study: Path, outputs: Path) -> subprocess.Popen[str]:
    command = [*COMMAND, str(study), "--outputs", str(outputs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")


def test_of_two_runs_at_once_one_waits_and_finds_nothing_left_to_do(tiny: Path, tmp_path: Path):
    study, outputs = write_study(tmp_path, tiny, GRADED), tmp_path / "outputs"
    # Held until both have asked for it, however long one of them takes to start.
    with Outputs(outputs).lock("the test"):
        both = [start(study, outputs) for _ in range(2)]
        for process in both:
            assert process.stderr is not None
            assert "is held by the test (process " in process.stderr.readline()
    ended = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    assert sorted(out.startswith("Nothing changed since run ") for out, _ in ended) == [False, True]
    assert len(pd.read_parquet(outputs / "runs")) == 1
    scores = pd.read_parquet(outputs / "scores")
    assert not scores.duplicated(["response_id", "conditional"]).any()
    lines = [json.loads(line) for line in (outputs / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["outcome"] for line in lines if line["event"] == "end"] == ["completed", "unchanged"]


def test_a_lock_whose_holder_was_killed_is_free(tiny: Path, tmp_path: Path):
    study, outputs = write_study(tmp_path, tiny, GRADED), tmp_path / "outputs"
    first = start(study, outputs)
    while not (outputs / ".lock.json").exists() and first.poll() is None:
        time.sleep(0.01)
    first.kill()
    first.communicate()
    second = start(study, outputs)
    _, err = second.communicate(timeout=240)
    assert second.returncode == 0
    assert "is held by" not in err


def test_a_reader_sees_whole_tables_while_a_run_writes(tiny: Path, tmp_path: Path):
    study, outputs = write_study(tmp_path, tiny, GRADED), tmp_path / "outputs"
    first = start(study, outputs)
    assert first.communicate(timeout=240) and first.returncode == 0
    before = len(pd.read_parquet(outputs / "comparisons"))
    write_rows(tmp_path / "graded.jsonl", graded_rows(60))
    second = start(study, outputs)
    seen: dict[str, set[int]] = {name: set() for name in ("comparisons", "estimates", "scores", "responses", "runs")}
    while second.poll() is None:
        for name, found in seen.items():
            found.add(len(pd.read_parquet(outputs / name)))
    second.communicate()
    assert second.returncode == 0
    assert seen["comparisons"] == {before, len(pd.read_parquet(outputs / "comparisons"))}
    assert len(seen["estimates"]) <= 2
