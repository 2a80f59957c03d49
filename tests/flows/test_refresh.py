"""What a run does again, and what it leaves as it is; run without Prefect."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from analysis import fingerprints
from analysis.likelihood import request
from analysis.likelihood.backends import transformers as local
from analysis.outputs import Outputs
from analysis.study import load
from flows.progress import Ticker
from flows.refresh import Outcome, refresh
from tests.runs import GRADED, PAIRS, graded_rows, pair_rows, write_rows, write_study
from tests.tiny import tiny_model

SPECIFICATIONS = 'specifications = ["rate", "bt", "bt_length"]\n'


def perform(step, work):
    return work(Ticker(step.title))


class Place:
    """A study with its data, and an output folder that is run into again and again."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.outputs = folder, Outputs(folder / "outputs")
        self.file = write_study(folder, model, PAIRS + GRADED, SPECIFICATIONS)
        self.edit('["mean_logprob", "logprob_per_byte", "sum_logprob", "mean_pmi"]', '["mean_logprob"]')

    def edit(self, before: str, after: str) -> None:
        text = self.file.read_text()
        assert before in text
        self.file.write_text(text.replace(before, after, 1))

    def run(self, force: bool = False) -> Outcome:
        return refresh(load(self.file), self.outputs, perform, force)

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.outputs.root / name)

    def estimates(self) -> pd.DataFrame:
        return self.table("estimates").drop(columns="run_id")

    def did(self) -> dict[str, str]:
        """Every step of the last run, with its outcome and why."""
        lines = [json.loads(line) for line in (self.outputs.root / "log.jsonl").read_text().splitlines()]
        last = [line for line in lines if line["run_id"] == lines[-1]["run_id"]]
        return {
            " ".join([step["event"], step.get("dataset", "")]): step["outcome"] + f": {step.get('why', '')}"
            for step in last
            if step["event"] in ("fetch", "score", "fit", "diversity")
        }

    def done(self) -> set[str]:
        return {step for step, outcome in self.did().items() if outcome.startswith("done")}


@pytest.fixture(scope="module")
def made(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("refresh"), tiny)
    assert place.run().state == "completed"
    return place


@pytest.fixture
def place(made: Place, tmp_path: Path) -> Place:
    """A copy of the finished folder."""
    copy = object.__new__(Place)
    shutil.copytree(made.folder, tmp_path / "copy", symlinks=True)
    copy.folder, copy.outputs, copy.file = (
        tmp_path / "copy",
        Outputs(tmp_path / "copy/outputs"),
        tmp_path / "copy/made.toml",
    )
    # The study names its data by their absolute paths, which are another now; nothing is decided by them.
    copy.run()
    return copy


def test_where_nothing_changed_nothing_is_done(place: Place, monkeypatch: pytest.MonkeyPatch):
    def never(*arguments: object) -> None:
        raise AssertionError("a base model was loaded")

    monkeypatch.setattr(local, "load", never)
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in place.outputs.root.glob("*/**/*") if p.is_file()}
    outcome = place.run()
    assert outcome.state == "unchanged"
    assert outcome.note.startswith("nothing changed since run ")
    assert outcome.report.html.is_file()
    assert outcome.report.headline
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in before} == before
    assert not place.did()


def test_a_folder_that_was_moved_keeps_everything(place: Place):
    assert not place.done()
    assert set(place.did().values()) == {"kept: "}


def test_of_a_dataset_that_grew_only_the_new_responses_are_scored(place: Place, made: Place):
    before = place.estimates()
    rows = pair_rows()
    more = [{**row, "question": f"{row['question']} Again?"} for row in rows[:6] if row["first"].strip()]
    write_rows(place.folder / "pairs.jsonl", rows + more)
    assert place.run().state == "completed"
    assert place.done() == {"fetch pairs", "score pairs", "fit pairs", "diversity pairs"}
    assert place.did()["fetch pairs"].startswith("done: its data changed: ")
    assert place.did()["score pairs"] == "done: its comparisons changed"
    latest = place.table("runs").sort_values("started").iloc[-1]
    scored = {cell["dataset"]: cell["scored_now"] for cell in latest["cells"]}
    # Four rows of two responses each: an empty response stands in one of the six, two equal ones in another.
    assert scored == {"pairs": 8, "graded": 0}
    keys = ["dataset", "measure", "specification", "slice", "term"]
    same = before["dataset"] == "graded"
    kept = place.estimates()
    pd.testing.assert_frame_equal(
        kept[kept["dataset"] == "graded"].drop(columns=["p_holm", "p_bh"]).set_index(keys),
        before[same].drop(columns=["p_holm", "p_bh"]).set_index(keys),
        check_exact=True,
    )


def test_a_run_that_keeps_results_equals_one_that_does_not(place: Place):
    write_rows(place.folder / "graded.jsonl", graded_rows(24))
    place.run()
    names = ("comparisons", "differences", "exclusions", "forecasts", "heterogeneity", "influences", "synthesis")
    kept = {name: place.table(name) for name in (*names, "agreement", "prompt_forecasts", "diversity")}
    estimates = place.estimates()
    assert place.done() == {"fetch graded", "fit graded", "score graded", "diversity graded"}
    place.run(force=True)
    assert len(place.done()) == 8
    for name, table in kept.items():
        pd.testing.assert_frame_equal(place.table(name), table, check_exact=True)
    pd.testing.assert_frame_equal(place.estimates(), estimates, check_exact=True)


@pytest.mark.parametrize(
    ("before", "after", "done"),
    [
        ('title = "Made-up data"', 'title = "Other words"', set()),
        ('title = "Made-up data"', 'title = "Made-up data"\nmargin = 0.03', {"fit"}),
        ('["mean_logprob"]', '["sum_logprob"]', {"fit"}),
        ('["mean_logprob"]', '["mean_logprob", "mean_pmi"]', {"score", "fit", "diversity"}),
        ('template = "dialogue"', 'template = "plain"', {"score", "fit", "diversity"}),
        ('title = "Made-up data"', 'title = "Made-up data"\nseed = 3', {"fit", "diversity"}),
    ],
    ids=["title", "margin", "measure", "unconditional", "template", "seed"],
)
def test_exactly_what_depends_on_a_change_is_done_again(place: Place, before: str, after: str, done: set[str]):
    place.edit(before, after)
    assert place.run().state == "completed"
    assert place.done() == {f"{step} {dataset}" for step in done for dataset in ("pairs", "graded")}
    assert place.run().state == "unchanged"


def test_another_base_model_is_scored_and_fitted_again(place: Place, tmp_path: Path):
    other = tiny_model(tmp_path / "tiny", seed=5)
    text = place.file.read_text()
    name = next(line for line in text.splitlines() if line.startswith("name = ") and line.endswith('tiny"'))
    place.edit(name, f'name = "{other}"')
    before = place.estimates()
    place.run()
    steps = ("score", "fit", "diversity")
    assert place.done() == {f"{step} {dataset}" for step in steps for dataset in ("pairs", "graded")}
    assert place.did()["score pairs"].startswith("done: the base model's files changed: ")
    assert (place.estimates()["estimate"] != before["estimate"]).any()


def test_another_version_of_the_scorer_scores_everything_again(place: Place, monkeypatch: pytest.MonkeyPatch):
    for module in (fingerprints, request):
        monkeypatch.setattr(module, "SCORER_VERSION", 99)
    place.run()
    entropies = "done: the base models whose entropies are compared, or their scores, changed"
    assert set(place.did().values()) == {"kept: ", "done: the scorer's version changed", entropies}
    assert set(place.table("scores")["scorer_version"]) == {2, 99}


@pytest.mark.parametrize("gone", ["scores", "responses", "features", "estimates", "differences", "reports", "runs"])
def test_what_is_lost_is_made_again(place: Place, gone: str):
    before = {name: place.table(name) for name in ("scores", "comparisons", "differences")}
    estimates = place.estimates()
    shutil.rmtree(place.outputs.root / gone)
    assert place.run().state == "completed"
    key = ["response_id", "conditional"]
    pd.testing.assert_frame_equal(
        place.table("scores").sort_values(key, ignore_index=True),
        before.pop("scores").sort_values(key, ignore_index=True),
        check_exact=True,
    )
    for name, table in before.items():
        pd.testing.assert_frame_equal(place.table(name), table, check_exact=True)
    pd.testing.assert_frame_equal(place.estimates(), estimates, check_exact=True)
    assert place.run().state == "unchanged"


def test_a_dataset_that_failed_is_done_when_it_is_mended_and_the_others_are_kept(place: Place):
    whole = (place.folder / "graded.jsonl").read_text()
    before = place.estimates()
    (place.folder / "graded.jsonl").write_text(whole.replace('"good"', '"better"'))
    outcome = place.run()
    assert outcome.state == "partial"
    assert outcome.failures[0].startswith("fetch graded: ")
    assert not place.done()
    assert place.run().state == "partial"
    (place.folder / "graded.jsonl").write_text(whole)
    assert place.run().state == "completed"
    assert place.done() == {"fetch graded", "score graded", "fit graded", "diversity graded"}
    pd.testing.assert_frame_equal(place.estimates(), before, check_exact=True)


def test_a_base_model_that_is_gone_leaves_the_others_results(place: Place):
    before = place.estimates()
    place.edit("[[base_models]]", '[[base_models]]\nname = "nobody/nothing"\nrevision = "0"\n[[base_models]]')
    outcome = place.run()
    assert outcome.state == "partial"
    assert [f.split(":")[0] for f in outcome.failures] == ["resolve nobody/nothing"]
    after = place.estimates()
    columns = ["specification", "slice", "term", "estimate", "std_error", "conf_low", "conf_high", "n_comparisons"]
    pd.testing.assert_frame_equal(
        after.loc[after["base_model"] == "tiny", columns].reset_index(drop=True), before[columns], check_exact=True
    )
