"""The output folder: one run at a time, and tables that change together or not at all."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from analysis import tables
from analysis.errors import StudyError, TypicalityError
from analysis.ids import file_sha256
from analysis.outputs import STUDY_TABLES, Outputs, describe
from analysis.schemas import TABLES
from tests.test_tables import filled

HOLD = """
import sys
from pathlib import Path
from analysis.outputs import Outputs

def waiting(text):
    print("waiting: " + text, flush=True)

with Outputs(Path(sys.argv[1])).lock(sys.argv[2], waiting):
    print("holding", flush=True)
    sys.stdin.readline()
print("done", flush=True)
"""


@contextmanager
def process(root: Path, name: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that takes the folder, and lets it go when it is sent a line."""
    command = [sys.executable, "-c", HOLD, str(root), name]
    running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    try:
        yield running
    finally:
        running.kill()
        running.communicate(timeout=60)


def said(running: "subprocess.Popen[str]") -> str:
    assert running.stdout is not None
    return running.stdout.readline().strip()


def let_go(running: "subprocess.Popen[str]") -> None:
    assert running.stdin is not None
    running.stdin.write("\n")
    running.stdin.flush()


def never(text: str) -> None:
    raise AssertionError(f"the folder should be free, but: {text}")


# The lock.


def test_a_second_run_waits_and_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with process(tmp_path, "study first") as first:
        assert said(first) == "holding"
        with process(tmp_path, "study second") as second:
            told = said(second)
            assert told.startswith(f"waiting: {tmp_path} is held by study first (process {first.pid} on ")
            let_go(first)
            assert said(first) == "done"
            assert said(second) == "holding"
            let_go(second)
            assert said(second) == "done"
    with Outputs(tmp_path).lock("third", never):
        pass


def test_a_holder_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    with process(tmp_path, "study first") as first:
        assert said(first) == "holding"
        os.kill(first.pid, signal.SIGKILL)
        first.wait(timeout=60)
    with Outputs(tmp_path).lock("second", never):
        assert json.loads((tmp_path / ".lock.json").read_text(encoding="utf-8"))["holder"] == "second"


def test_a_run_that_failed_holds_nothing(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path)
    with pytest.raises(RuntimeError), outputs.lock("first"):
        raise RuntimeError("a bug")
    with outputs.lock("second", never):
        pass
    assert not (tmp_path / ".lock.json").exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StudyError) as caught, Outputs(tmp_path / "file" / "outputs").lock("first"):
        pass
    assert "cannot write to the output folder" in str(caught.value)
    assert "--outputs" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_is_no_output_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match="cannot write to the output folder"), Outputs(tmp_path / "file").lock("first"):
        pass


def test_a_folder_that_is_read_only_is_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write to read-only folders")
    with pytest.raises(StudyError, match="cannot write to the output folder"), Outputs(folder).lock("first"):
        pass


def test_a_full_disk_is_one_sentence_and_frees_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    outputs = Outputs(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(TypicalityError, match="No space left"), outputs.lock("first"):
            pass
    with outputs.lock("second", never):
        pass


# Publishing.


def stage(outputs: Outputs, run_id: str, n: int, study: str = "study") -> dict[Path, Path]:
    """Tables of `n` rows in a run's folder, and where they are to go."""
    moves = {}
    for name in STUDY_TABLES:
        path = outputs.work(run_id) / f"{name}.parquet"
        tables.write(path, name, [filled(TABLES[name], study=study)] * n)
        moves[path] = outputs.study_table(name, study)
    return moves


def lengths(outputs: Outputs) -> list[int]:
    return [len(tables.read(name, outputs.root)) for name in STUDY_TABLES]


def test_a_runs_tables_replace_the_earlier_ones_together(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path)
    with outputs.lock("first"):
        outputs.publish("run-1", stage(outputs, "run-1", 3))
        assert set(lengths(outputs)) == {3}
        outputs.publish("run-2", stage(outputs, "run-2", 5))
    assert set(lengths(outputs)) == {5}
    assert not outputs.work("run-2").exists()
    assert list((tmp_path / ".publish").iterdir()) == []


def test_another_studys_tables_stay(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path)
    with outputs.lock("first"):
        outputs.publish("run-1", stage(outputs, "run-1", 3, "one"))
        outputs.publish("run-2", stage(outputs, "run-2", 5, "two"))
    assert set(lengths(outputs)) == {8}


@pytest.mark.parametrize("n_moved", range(len(STUDY_TABLES) + 1))
def test_a_publication_that_was_broken_off_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_moved: int
) -> None:
    outputs = Outputs(tmp_path)
    with outputs.lock("first"):
        outputs.publish("run-1", stage(outputs, "run-1", 3))
    with outputs.lock("second"):
        moves = stage(outputs, "run-2", 5)
        real, moved = os.replace, []

        def replace(source: Any, target: Any) -> None:
            if Path(source) in moves:
                if len(moved) == n_moved:
                    raise KeyboardInterrupt  # nothing after this line happens, as when the process dies
                moved.append(source)
            real(source, target)

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", replace)
            if n_moved < len(moves):
                with pytest.raises(KeyboardInterrupt):
                    outputs.publish("run-2", moves)
                assert lengths(outputs) == [5] * n_moved + [3] * (len(moves) - n_moved)
            else:
                outputs.publish("run-2", moves)
    with outputs.lock("third"):
        assert lengths(outputs) == [5] * len(moves)
        assert list((tmp_path / ".publish").iterdir()) == []
        assert not outputs.work("run-2").exists()


def test_a_publication_that_was_never_written_down_never_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = Outputs(tmp_path)
    with outputs.lock("first"):
        outputs.publish("run-1", stage(outputs, "run-1", 3))

        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        moves = stage(outputs, "run-2", 5)
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(TypicalityError, match="No space left"):
                outputs.publish("run-2", moves)
    with outputs.lock("second"):
        assert set(lengths(outputs)) == {3}


def test_what_a_dead_run_left_is_removed(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path)
    stage(outputs, "dead", 3)
    (tmp_path / ".work" / "stray").write_text("x", encoding="utf-8")
    with outputs.lock("second"):
        assert not outputs.work("dead").exists()
    assert set(lengths(outputs)) == {0}


def test_latest_points_to_the_newest_report(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path)
    for run_id in ("run-1", "run-2", "run-2"):
        outputs.report("study", run_id).mkdir(parents=True, exist_ok=True)
        (outputs.report("study", run_id) / "index.html").write_text(run_id, encoding="utf-8")
        latest = outputs.point_latest("study", run_id)
        assert (latest / "index.html").read_text(encoding="utf-8") == run_id
    assert sorted(p.name for p in (tmp_path / "reports" / "study").iterdir()) == ["latest", "run-1", "run-2"]
    assert not latest.readlink().is_absolute()  # so that the output folder can be moved


def test_a_file_is_described_by_its_bytes_and_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    tables.write(path, "features", [filled(TABLES["features"])] * 4)
    found = describe("features", path)
    assert (found.table, found.sha256, found.rows) == ("features", file_sha256(path), 4)
    assert pq.read_metadata(path).num_rows == len(pd.read_parquet(path)) == 4
