"""What may go from an output folder, what never does, and a clean that breaks off."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from analysis import damage, housekeeping, tables
from analysis.errors import StudyError, TypicalityError
from analysis.housekeeping import Removal, age, plan, remove, total
from analysis.manifest import verify
from tests.folders import REVISION, Folder, scoring, seen

NOW = datetime(2026, 6, 1, tzinfo=UTC)
MONTH = timedelta(days=30)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "outputs", NOW)


@pytest.fixture
def used(folder: Folder) -> Folder:
    """Two studies with runs of all ages, scores that both use, that one used, and that none did, and damaged files."""
    folder.run("one", 90, ["first", "shared"])
    folder.run("one", 60, ["second", "shared"])
    folder.run("one", 50, ["newest"])
    folder.run("two", 80, ["shared"])
    folder.run("two", 5, ["twos", "shared"])
    for name in ("first", "second", "shared", "newest", "twos", "nobodys"):
        folder.scores(name, 70)
        folder.scores(name, 60, shard=1)
    folder.scores("first", 70, table="token_logprobs")
    folder.scores("newest", 70, table="token_logprobs")
    folder.damaged(40)
    folder.damaged(1)
    return folder.with_manifest()


def found(folder: Folder, older_than: timedelta = MONTH, *studies: str) -> list[Removal]:
    return plan(folder.outputs, older_than, NOW, studies)


def names(folder: Folder, kind: str, *studies: str) -> set[str]:
    return {one.name for one in found(folder, MONTH, *studies) if one.kind == kind}


def scored(*given: str) -> set[str]:
    return {scoring(name) for name in given}


@pytest.mark.parametrize(
    ("text", "given"),
    [("12h", timedelta(hours=12)), ("30d", MONTH), (" 8w ", timedelta(weeks=8)), ("0d", timedelta()),
     ("99999w", timedelta(weeks=99_999))],
)  # fmt: skip
def test_ages(text: str, given: timedelta) -> None:
    assert age(text) == given


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5d", "30 d", "30m", "1y", "30D", "100000d", "٣d", "30d\n1"])
def test_what_is_no_age_is_told(text: str) -> None:
    with pytest.raises(StudyError, match="an age is a whole number of hours, days or weeks, such as 12h, 30d or 8w"):
        age(text)


def test_a_run_that_is_published_pointed_to_or_newest_stays_at_any_age(folder: Folder) -> None:
    folder.run("one", 500)
    published = folder.run("one", 400)
    pointed = folder.run("one", 300, published=False)
    folder.outputs.point_latest("one", pointed)
    ok = folder.run("one", 200, published=False, state="partial")
    folder.run("one", 150, published=False, state="failed")
    failed = folder.run("one", 100, published=False, state="failed")
    only = folder.run("two", 600, published=False, state="failed")
    runs = {path.stem for path in tables.files("runs", folder.root)}
    assert runs - names(folder, "run") == {published, pointed, ok, failed, only}
    assert len(names(folder, "run")) == 2


def test_age_is_counted_from_the_end_of_a_run(folder: Folder) -> None:
    old = folder.run("one", 31)
    folder.run("one", 30)
    folder.run("one", 29)
    folder.run("one", 0)
    assert names(folder, "run") == {old}


def test_of_scores_those_that_no_run_left_uses_go(used: Folder) -> None:
    assert names(used, "scores") == scored("first", "second", "nobodys")
    assert names(used, "token_logprobs") == scored("first")
    assert {one.n_files for one in found(used) if one.kind == "scores"} == {2}


def test_scores_that_two_studies_use_stay_until_neither_does(folder: Folder) -> None:
    folder.scores("shared", 100)
    folder.run("one", 90, ["shared"])
    folder.run("one", 80)
    folder.run("two", 70, ["shared"])
    assert names(folder, "scores") == set()
    folder.run("two", 60)
    assert names(folder, "scores") == scored("shared")


def test_scores_of_every_run_that_stays_stay(folder: Folder) -> None:
    folder.run("one", 500, ["published"])
    pointed = folder.run("one", 400, ["pointed"], published=False)
    folder.outputs.point_latest("one", pointed)
    folder.run("one", 300, ["ok"], published=False)
    folder.run("one", 200, ["failed"], published=False, state="failed")
    for name in ("published", "pointed", "ok", "failed", "nobodys"):
        folder.scores(name, 600)
    assert names(folder, "scores") == scored("nobodys")


def test_scores_go_when_the_newest_of_them_are_old(folder: Folder) -> None:
    folder.run("one", 0)
    path = folder.scores("killed", 90)
    folder.scores("killed", 90, table="token_logprobs")
    assert names(folder, "scores") == scored("killed")
    # A run that was killed added to them: what it found is as dear to the next one as what it made.
    later = folder.scores("killed", 10, shard=1)
    assert found(folder) == []
    folder.aged(later, 90)
    folder.scores("killed", 10, table="token_logprobs")
    assert found(folder) == []
    assert path.exists()


def test_references_in_float32_stay_with_the_run_that_recorded_them(folder: Folder) -> None:
    folder.run("one", 0, ["coarse", "reference"])
    folder.scores("coarse", 90, dtype="bfloat16")
    folder.scores("reference", 90)
    folder.scores("nobodys", 90)
    assert names(folder, "scores") == scored("nobodys")


def coarse_cell(precision: dict[str, Any] | None) -> dict[str, Any]:
    cell = {"dataset": "d", "base_model": "m", "scoring_id": scoring("coarse"), "precision": precision}
    model = {"base_model": "m", "location": "org/m", "revision": REVISION, "dtype": "bfloat16"}
    return {"cells": [cell], "base_models": [model], "scorings": None}


def test_references_stay_where_a_run_did_not_record_them(folder: Folder) -> None:
    folder.run("one", 0, **coarse_cell({"status": "ok"}))
    folder.scores("coarse", 90, dtype="bfloat16")
    folder.scores("reference", 90)
    folder.scores("in bfloat16", 90, dtype="bfloat16")
    folder.scores("of another", 90, revision="3" * 40)
    torn = folder.scores("unreadable", 90)
    torn.write_bytes(torn.read_bytes()[:-20])
    folder.aged(torn, 90)
    folder.scores("tokens alone", 90, table="token_logprobs")
    assert {one.name for one in found(folder)} == scored("in bfloat16", "of another")


def test_a_run_in_float32_that_did_not_record_its_scorings_keeps_its_own_alone(folder: Folder) -> None:
    folder.run("one", 0, **coarse_cell(None))
    folder.scores("coarse", 90)
    folder.scores("another", 90)
    assert names(folder, "scores") == scored("another")


def test_a_row_of_an_earlier_version_is_read(folder: Folder) -> None:
    path = folder.outputs.run_row(folder.run("one", 0, **coarse_cell({"status": "ok"})))
    pq.write_table(pq.read_table(path).drop_columns(["scorings", "fingerprints"]), path)
    folder.scores("reference", 90)
    folder.scores("of another", 90, revision="3" * 40)
    assert names(folder, "scores") == scored("of another")


def test_only_the_studies_that_are_named(used: Folder) -> None:
    ones = {run.stem for run in tables.files("runs", used.root) if pq.read_table(run)["study"][0].as_py() == "one"}
    assert names(used, "run", "one") < ones
    assert names(used, "scores", "one") == scored("first", "second")
    assert names(used, "damaged", "one") == set()
    assert len(names(used, "run", "two")) == 1
    assert names(used, "scores", "two") == set()
    assert found(used, MONTH, "one", "two") == [
        one for one in found(used) if one.kind != "damaged" and one.name != scoring("nobodys")
    ]


def test_what_was_set_aside_is_as_old_as_that(used: Folder) -> None:
    (removal,) = (one for one in found(used) if one.kind == "damaged")
    assert removal.name == f".damaged/{NOW - timedelta(days=40):%Y%m%dT%H%M%S.%fZ}"
    assert removal.why == "set aside as damaged 2026-04-22"
    assert (removal.n_files, removal.n_bytes) == (1, 4)
    elsewhere = used.root / ".damaged" / "mine" / "x.parquet"
    tables.write_text(elsewhere, "x")
    used.aged(elsewhere, 400)
    assert len(names(used, "damaged")) == 1


def test_nothing_but_what_was_listed_goes(used: Folder) -> None:
    before, removals = used.left(), found(used)
    assert {one.kind for one in removals} == {"run", "scores", "token_logprobs", "damaged"}
    listed = {p for one in removals for path in one.paths for p in (path, *path.rglob("*"))}
    files = [path for path in listed if path.is_file()]
    assert total(removals) == (len(files), sum(path.stat().st_size for path in files))
    remove(used.outputs, removals)
    assert used.left() == before - {path.relative_to(used.root).as_posix() for path in listed}
    assert verify(used.outputs) == []
    assert found(used) == []
    remove(used.outputs, removals)
    assert verify(used.outputs) == []


def test_planning_changes_nothing(used: Folder) -> None:
    before = seen(used.root)
    assert found(used)
    assert seen(used.root) == before


def test_readers_find_whole_tables_afterwards(used: Folder) -> None:
    going = names(used, "run")
    remove(used.outputs, found(used))
    left = set(tables.read("runs", used.root)["run_id"])
    assert len(left) == 2
    assert not left & going
    assert set(tables.read("estimates", used.root)["run_id"]) == left
    assert set(tables.read("scores", used.root)["scoring_id"]) == scored("newest", "shared", "twos")
    for study in ("one", "two"):
        assert (used.root / "reports" / study / "latest" / "index.html").is_file()


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


def test_a_clean_that_is_killed_is_completed_by_the_next(
    used: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied(name: str) -> Folder:
        return Folder(shutil.copytree(used.root, tmp_path / name, symlinks=True), NOW)

    whole = copied("whole")
    removals = found(whole)
    remove(whole.outputs, removals)
    delete, paths = housekeeping._delete, [path for one in removals for path in one.paths]
    for at in range(len(paths)):
        torn, done = copied(str(at)), 0

        def killed(path: Path, at: int = at) -> None:
            nonlocal done
            if done == at:
                raise Killed
            done += 1
            delete(path)

        with monkeypatch.context() as patch:
            patch.setattr(housekeeping, "_delete", killed)
            patch.setattr(housekeeping, "write_manifest", lambda outputs: None)
            with pytest.raises(Killed):
                remove(torn.outputs, found(torn))
        assert len(tables.read("runs", torn.root)) >= 2
        tables.read("scores", torn.root)
        remove(torn.outputs, found(torn))
        assert torn.left() == whole.left()
        assert verify(torn.outputs) == []
        shutil.rmtree(torn.root)
    assert len(paths) > 9


def test_the_manifest_tells_how_far_a_clean_came(used: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", closed)
    removals = found(used)
    with pytest.raises(TypicalityError, match=r"cannot remove .*: Permission denied; see who may write there, then"):
        remove(used.outputs, removals)
    assert not any(path.exists() for one in removals if one.kind == "scores" for path in one.paths)
    assert verify(used.outputs) == []


def test_a_run_that_cannot_be_read_costs_nothing(used: Folder) -> None:
    bad = tables.files("runs", used.root)[-1]
    bad.write_bytes(bad.read_bytes()[:-4] + b"xxxx")
    with pytest.raises(StudyError, match=rf"^nothing was removed, .*: {bad} is damaged \(its end is missing\)"):
        found(used)


def test_a_study_whose_published_run_is_not_recorded_costs_nothing(used: Folder) -> None:
    published = tables.read("estimates", used.root, study="two")["run_id"][0]
    used.outputs.run_row(published).unlink()
    with pytest.raises(StudyError, match=rf"estimates/two.parquet rests .*: its run {published} is not recorded; run"):
        found(used)
    used.outputs.study_table("estimates", "two").unlink()
    assert scoring("twos") in names(used, "scores")


def test_mistakes_are_told(used: Folder, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"there is no output folder .*nowhere; name yours with --outputs"):
        plan(Folder(tmp_path / "nowhere").outputs, MONTH, NOW)
    with pytest.raises(StudyError, match=r"outputs holds no run of study 'three'; it holds runs of one, two"):
        found(used, MONTH, "one", "three")
    (tmp_path / "empty").mkdir()
    empty = Folder(tmp_path / "empty").outputs
    assert plan(empty, MONTH, NOW) == []
    with pytest.raises(StudyError, match=r"it holds no run at all"):
        plan(empty, MONTH, NOW, ["one"])


def test_files_of_others_stay(folder: Folder) -> None:
    folder.run("one", 0)
    for name in ("mine.parquet", "backup-0.parquet", f"{'g' * 32}-0.parquet", f".{'a' * 32}-0.parquet"):
        folder.aged(shutil.copy(folder.scores("x", 400), folder.root / "scores" / name), 400)
    folder.scores("x", 0)
    assert found(folder) == []


@pytest.mark.parametrize("study", ["..", ".", "../..", "/", "one/../.."])
def test_no_name_in_a_table_leads_anywhere(folder: Folder, tmp_path: Path, study: str) -> None:
    old, new = (folder.run("one", days) for days in (90, 80))
    for run_id, name in ((old, "scores"), (new, "other")):
        row = pq.read_table(folder.outputs.run_row(run_id)).to_pylist()[0]
        values = row | {"study": study, "run_id": name}
        tables.write(folder.outputs.run_row(name), "runs", [values])
    kept = folder.scores("x", 0)
    outside = tmp_path / "scores" / "mine"
    tables.write_text(outside, "x")
    removals = found(folder)
    assert {one.name for one in removals} == {old, "scores"}
    remove(folder.outputs, removals)
    assert kept.is_file() and outside.is_file()


def test_what_a_link_leads_to_stays(folder: Folder, tmp_path: Path) -> None:
    old = folder.run("one", 90)
    folder.run("one", 80)
    outside = tmp_path / "outside"
    tables.write_text(outside / old / "index.html", "page")
    tables.write_text(outside / "kept" / "_estimates.parquet", "x")
    shards = Folder(outside, NOW).scores("linked", 400)
    before = seen(outside)
    # A study's reports, what a run keeps, a shard and what was set aside: each elsewhere, behind a link.
    (folder.root / "reports" / "linked").symlink_to(outside)
    shutil.rmtree(folder.root / "runs" / old)
    (folder.root / "runs" / old).symlink_to(outside / "kept")
    (folder.root / "scores").mkdir()
    (folder.root / "scores" / shards.name).symlink_to(shards)
    aside = folder.damaged(90).parent
    (aside / "linked").symlink_to(outside)
    aside.parent.parent.joinpath("20200101T000000.000000Z").symlink_to(outside)
    removals = found(folder)
    assert {one.kind for one in removals} == {"run", "damaged"}
    assert all(path.resolve().is_relative_to(folder.root.resolve()) for one in removals for path in one.paths)
    remove(folder.outputs, removals)
    assert not aside.exists()
    assert not folder.outputs.run_row(old).exists()
    assert seen(outside) == before


def test_a_folder_may_itself_be_a_link(used: Folder, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(used.root)
    link = Folder(tmp_path / "link", NOW)
    assert [one.n_files for one in found(link)] == [one.n_files for one in found(used)]
    remove(link.outputs, found(link))
    assert found(used) == []


def test_what_is_set_aside_now_is_not_old(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "outputs")
    folder.run("one", 0)
    torn = folder.scores("x", 400)
    torn.write_bytes(b"PAR1")
    folder.aged(torn, 400)
    with folder.outputs.lock("the test"):
        assert plan(folder.outputs, MONTH, datetime.now(UTC)) == []
    (aside,) = (folder.root / damage.FOLDER).rglob("*.parquet")
    assert datetime.fromtimestamp(aside.stat().st_mtime, UTC) < folder.now - 12 * MONTH
