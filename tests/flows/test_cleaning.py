"""`typicality clean`: what it shows, what it removes, and that a study goes on as if nothing had happened."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from analysis import tables
from analysis.manifest import verify
from analysis.outputs import Outputs
from analysis.report.stage import published, report
from flows import cleaning
from tests.flows.test_cli import one_sentence
from tests.flows.test_refresh import Place
from tests.folders import Folder, scoring, seen
from tests.runs import Finished, run_command


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Two studies with a superseded run each, scores that nobody uses, and a damaged file."""
    made = Folder(tmp_path / "outputs")
    for study in ("one", "two"):
        made.run(study, 20, [f"{study} before"])
        made.run(study, 1, [f"{study} now"])
        for when in ("before", "now"):
            made.scores(f"{study} {when}", 21)
    made.scores("nobodys", 21)
    made.damaged(20)
    return made.with_manifest()


def clean(folder: Folder, *arguments: str) -> Finished:
    return run_command(folder.root.parent, "clean", "--outputs", str(folder.root), *arguments)


def words(made: Finished) -> str:
    """What it printed, however its lines are broken."""
    return " ".join(made.out.split())


def test_nothing_is_removed_unless_that_is_asked_for(folder: Folder) -> None:
    before = seen(folder.root)
    made = clean(folder, "--older-than", "2w")
    assert (made.status, made.err) == (0, "")
    lines = made.out.splitlines()
    assert lines[0].split() == ["What", "Why", "Files", "Size"]
    assert max(map(len, lines)) <= 80
    assert "Nothing was removed: this would free 12 files, " in words(made)
    assert words(made).endswith("Add --yes to remove it.")
    assert json.loads(clean(folder, "--older-than", "2w", "--json").out)["removed"] is False
    assert words(clean(folder)) == f"Nothing in {folder.root} is superseded and older than 30d."
    assert seen(folder.root) == before


def test_with_yes_what_was_shown_goes(folder: Folder) -> None:
    before = folder.left()
    shown = json.loads(clean(folder, "--older-than", "2w", "--json").out)
    made = clean(folder, "--older-than", "2w", "--yes", "--json")
    assert (made.status, made.err) == (0, "")
    assert json.loads(made.out) == shown | {"removed": True}
    listed = {path for one in shown["removals"] for path in one["paths"]}
    gone = before - folder.left()
    assert listed <= gone
    assert all(any(path == one or path.startswith(f"{one}/") for one in listed) for path in gone)
    assert sum(one["files"] for one in shown["removals"]) == shown["files"] == 12
    assert set(tables.read("scores", folder.root)["scoring_id"]) == {scoring("one now"), scoring("two now")}
    assert verify(folder.outputs) == []
    again = clean(folder, "--older-than", "2w", "--yes")
    assert words(again).startswith("Nothing in ")
    assert verify(folder.outputs) == []


def test_with_yes_it_says_what_was_freed(folder: Folder) -> None:
    made = clean(folder, "--older-than", "336h", "--yes")
    assert made.status == 0
    assert "Removed 12 files, " in words(made)


def test_one_study_alone(folder: Folder) -> None:
    made = clean(folder, "--older-than", "2w", "--study", "one", "--json")
    removals = json.loads(made.out)["removals"]
    assert [one["kind"] for one in removals] == ["scores", "run"]
    assert removals[0]["name"] == scoring("one before")
    assert removals[1]["why"].startswith("of one, ended ")
    both = json.loads(clean(folder, "--older-than", "2w", "--study", "one", "--study", "two", "--json").out)
    assert [one["kind"] for one in both["removals"]] == ["scores", "scores", "run", "run"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--older-than", "soon"],
            "an age is a whole number of hours, days or weeks, such as 12h, 30d or 8w, not 'soon'",
        ),
        (["--older-than", "-1d"], "not '-1d'"),
        (["--study", "three"], "holds no run of study 'three'; it holds runs of one, two"),
        (["--outputs", "nowhere"], "there is no output folder nowhere"),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = seen(tmp_path)
    for more in ([], ["--yes"]):
        made = clean(folder, *arguments, *more)
        assert made.status == 2
        assert one_sentence(made.err)
        assert told in made.err
    assert seen(tmp_path) == before


def test_a_run_that_ended_meanwhile_keeps_what_it_uses(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, planned = cleaning.plan, []

    def late(*arguments: object) -> object:
        found = plan(*arguments)
        if not planned:
            folder.run("three", 0, ["nobodys", "one before"])
        planned.append(found)
        return found

    monkeypatch.setattr(cleaning, "plan", late)
    made = clean(folder, "--older-than", "2w", "--yes", "--json")
    assert {one["name"] for one in json.loads(made.out)["removals"] if one["kind"] == "scores"} == {
        scoring("two before")
    }
    assert {scoring("nobodys"), scoring("one before")} < set(tables.read("scores", folder.root)["scoring_id"])


def test_damaged_files_are_set_aside_and_stay(folder: Folder) -> None:
    torn = folder.scores("torn", 400)
    torn.write_bytes(torn.read_bytes()[:-1])
    folder.aged(torn, 400)
    made = clean(folder, "--older-than", "2w", "--yes", "--json")
    assert made.status == 0
    assert f"{torn} is damaged (" in made.err
    assert scoring("torn") not in {one["name"] for one in json.loads(made.out)["removals"]}
    assert len(list((folder.root / ".damaged").rglob(torn.name))) == 1


@pytest.fixture(scope="module")
def twice(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A study in bfloat16 that was run under one template, then under another."""
    place = Place(tmp_path_factory.mktemp("clean"), tiny)
    place.edit("[[base_models]]\n", '[[base_models]]\ndtype = "bfloat16"\n')
    assert place.run().state == "completed"
    place.edit('template = "dialogue"', 'template = "plain"')
    assert place.run().state == "completed"
    return place


@pytest.fixture
def place(twice: Place, tmp_path: Path) -> Place:
    """The study, with a copy of its output folder."""
    made = object.__new__(Place)
    shutil.copytree(twice.outputs.root, tmp_path / "outputs", symlinks=True)
    made.folder, made.outputs = twice.folder, Outputs(tmp_path / "outputs")
    # Beside its data: where those are is part of a run's definition.
    made.file = Path(shutil.copy(twice.file, twice.file.with_name(f"{tmp_path.name}.toml")))
    return made


def test_a_study_goes_on_with_all_that_its_last_run_used(place: Place) -> None:
    before = {name: place.table(name) for name in ("responses", "features", "comparisons", "differences", "estimates")}
    first, last = place.table("runs").sort_values("started").to_dict("records")
    scores, headline = place.table("scores"), published(place.outputs, last["run_id"]).headline
    assert set(scores["scoring_id"]) == {*first["scorings"], *last["scorings"]}
    assert sorted(set(scores["dtype"])) == ["bfloat16", "float32"]
    made = clean(Folder(place.outputs.root), "--older-than", "0h", "--yes", "--json")
    assert made.status == 0, made.err
    removals = json.loads(made.out)["removals"]
    assert {one["name"] for one in removals} == {*first["scorings"], first["run_id"]}
    assert sorted(one["why"].split(";")[0] for one in removals if one["kind"] == "scores") == [
        "under tiny in bfloat16", "under tiny in float32",
    ]  # fmt: skip
    pd.testing.assert_frame_equal(
        place.table("scores"), scores[scores["scoring_id"].isin(last["scorings"])].reset_index(drop=True)
    )
    for name, table in before.items():
        pd.testing.assert_frame_equal(place.table(name), table, check_exact=True)
    assert verify(place.outputs) == []
    page = place.outputs.report("made", "latest") / "index.html"
    assert page.is_file()
    # Its disk use is another now, and the run before is no longer there to be compared with.
    assert report(place.outputs, last["run_id"]).headline == headline
    assert 'id="disk"' in page.read_text(encoding="utf-8")
    assert place.run().state == "unchanged"


def test_what_went_is_made_again_where_it_is_asked_for(place: Place) -> None:
    runs = place.table("runs").sort_values("started")
    wanted = runs["scorings"].iloc[0]
    before = place.table("scores")
    clean(Folder(place.outputs.root), "--older-than", "0h", "--yes")
    place.edit('template = "plain"', 'template = "dialogue"')
    assert place.run().state == "completed"
    keys = ["scoring_id", "response_id", "conditional"]
    found = place.table("scores")
    pd.testing.assert_frame_equal(
        found[found["scoring_id"].isin(wanted)].sort_values(keys, ignore_index=True),
        before[before["scoring_id"].isin(wanted)].sort_values(keys, ignore_index=True),
        check_exact=True,
    )
