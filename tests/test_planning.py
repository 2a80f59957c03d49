"""What a run would do, told before it does."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from analysis.likelihood.backends import transformers as local
from analysis.outputs import Outputs
from analysis.planning import plan
from analysis.study import load
from flows.refresh import refresh
from tests.interruption import perform
from tests.runs import GRADED, PAIRS, pair_rows, write_rows, write_study


@pytest.fixture
def place(tiny: Path, tmp_path: Path) -> Path:
    """A study of two datasets that has not been run."""
    return write_study(tmp_path, tiny, PAIRS + GRADED, 'specifications = ["rate"]')


def told(study: Path) -> list[tuple[str, str, bool]]:
    return [(s.stage, s.dataset, s.why is not None) for s in plan(load(study), Outputs(study.parent / "outputs"))]


def test_before_a_first_run_everything_is_to_be_done(place: Path, monkeypatch: pytest.MonkeyPatch):
    outputs = Outputs(place.parent / "outputs")
    with monkeypatch.context() as patched:
        patched.setattr(local, "load", None)
        steps = plan(load(place), outputs)
    cells = [(stage, dataset) for dataset in ("pairs", "graded") for stage in ("score", "fit")]
    sides = [("diversity", "pairs"), ("diversity", "graded")]
    assert [(s.stage, s.dataset) for s in steps] == [("fetch", "pairs"), ("fetch", "graded"), *cells, *sides]
    assert all(s.why == "it has not been done before" for s in steps)
    assert not outputs.root.exists()
    scoring = [s for s in steps if s.stage == "score"]
    assert all(s.seconds and s.speed_from == "the speed of this machine's matrix products" for s in scoring)

    refresh(load(place), outputs, perform)
    run = pd.read_parquet(outputs.root / "runs").iloc[0]
    took = {c["dataset"]: (c["tokens_now"], c["scored_now"]) for c in run["cells"]}
    for step in scoring:
        n_tokens, n_scored = took[step.dataset]
        # A prompt whose responses fall into two batches is read twice; padding is none.
        assert step.n_tokens == pytest.approx(n_tokens, rel=0.1)
        assert step.n_texts == n_scored
    assert told(place) == []


def test_only_what_is_missing_is_counted(place: Path):
    outputs = Outputs(place.parent / "outputs")
    refresh(load(place), outputs, perform)
    rows = pair_rows()
    write_rows(place.parent / "pairs.jsonl", [*rows, {**rows[0], "question": "A new one?"}])
    before = {path: path.read_bytes() for path in outputs.root.rglob("*") if path.is_file()}
    steps = {(s.stage, s.dataset): s for s in plan(load(place), outputs)}
    done = {(s, "pairs") for s in ("fetch", "score", "fit", "diversity")}
    assert {key for key, step in steps.items() if step.why} == done
    assert steps["score", "pairs"].n_texts == 2
    assert steps["fetch", "pairs"].why.startswith("its data changed")
    assert {path: path.read_bytes() for path in outputs.root.rglob("*") if path.is_file()} == before
    shutil.rmtree(outputs.root / "scores")
    steps = {(s.stage, s.dataset): s for s in plan(load(place), outputs)}
    assert steps["score", "graded"].why == "some of its scores are no longer in the table"
    assert steps["score", "graded"].n_texts > 20


def test_the_speed_is_that_of_the_newest_run_that_scored_much(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("analysis.planning.LEAST_TOKENS", 5_000)
    outputs = Outputs(place.parent / "outputs")
    refresh(load(place), outputs, perform)
    first = pd.read_parquet(outputs.root / "runs").iloc[0]
    rows = pair_rows()
    write_rows(place.parent / "pairs.jsonl", [*rows, {**rows[0], "question": "A new one?"}])
    refresh(load(place), outputs, perform)
    place.write_text(place.read_text().replace('template = "dialogue"', 'template = "plain"'))
    (step, _) = [s for s in plan(load(place), outputs) if s.stage == "score"]
    n_tokens = sum(c["tokens_now"] for c in first["cells"])
    took = sum(s["seconds"] for s in first["stages"] if s["stage"] == "score")
    assert step.speed_from == f"run {first['run_id']}"
    assert step.seconds == pytest.approx(step.n_tokens / (n_tokens / took))


def test_what_will_fail_is_told(place: Path):
    text = place.read_text().replace('outcome = "good"', 'outcome = "better"')
    place.write_text(text.replace("[[base_models]]", '[[base_models]]\nname = "nobody/nothing"\n[[base_models]]'))
    steps = plan(load(place), Outputs(place.parent / "outputs"))
    failing = {(s.stage, s.dataset, s.base_model): s.error for s in steps if s.error}
    assert failing.keys() == {("resolve", "", "nobody/nothing"), ("fetch", "graded", "")}
    assert "better" in failing["fetch", "graded", ""]
    assert ("score", "pairs", "tiny") in {(s.stage, s.dataset, s.base_model) for s in steps}
