"""Damaged files: never read, always named, set aside by whoever holds the folder, and made again."""

import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import damage, runs, tables
from analysis.collapse.diversity.sides import diversity
from analysis.collapse.stage import forecast
from analysis.damage import Unreadable
from analysis.errors import TypicalityError
from analysis.likelihood import scoring
from analysis.likelihood.stage import score
from analysis.manifest import verify, write_manifest
from analysis.outputs import STUDY_TABLES, Outputs
from analysis.preferences.stage import fetch
from analysis.regression.multiplicity import adjust
from analysis.regression.stage import estimate
from analysis.regression.synthesis import synthesise
from analysis.report.stage import report
from analysis.schemas import TABLES
from analysis.study import Study, load
from tests.runs import run_command, write_study
from tests.test_tables import filled

N = 500


def features_table(n: int = N) -> pa.Table:
    return tables.to_arrow("features", [filled(TABLES["features"], response_id=f"r{i}", n_words=i) for i in range(n)])


WHOLE = features_table()


def feature_file(path: Path) -> Path:
    """A table of several pages and groups of rows."""
    with tables.writer(path, "features") as add:
        for at in range(0, N, 100):
            add(WHOLE.slice(at, 100))
    return path


def change(path: Path, how: Callable[[bytes], bytes]) -> None:
    path.write_bytes(how(path.read_bytes()))


def flip(at: float, bit: int = 0) -> Callable[[bytes], bytes]:
    """Turn one bit, so far into the file."""

    def flipped(data: bytes) -> bytes:
        made = bytearray(data)
        made[int(at * len(made))] ^= 1 << bit
        return bytes(made)

    return flipped


def footer(data: bytes) -> int:
    return len(data) - 8 - int.from_bytes(data[-8:-4], "little")


def in_the_footer(data: bytes) -> bytes:
    return flip((footer(data) + 30) / len(data))(data)


TORN = {
    "empty": lambda data: b"",
    "four bytes": lambda data: data[:4],
    "eleven bytes": lambda data: data[:11],
    "half": lambda data: data[: len(data) // 2],
    "without its footer": lambda data: data[: footer(data)],
    "all but eight bytes": lambda data: data[:-8],
    "all but the last byte": lambda data: data[:-1],
    "its end without its beginning": lambda data: data[100:],
    "zeroes": lambda data: bytes(len(data)),
    "a long footer": lambda data: data[:-8] + b"\xff\xff\xff\x7fPAR1",
    "no footer": lambda data: data[:-8] + b"\0\0\0\0PAR1",
    "a flipped bit in the footer": in_the_footer,
    "another file": lambda data: b"no table at all, but a note",
}
SPOILT = {
    "zeroes in a page": lambda data: data[:2000] + bytes(200) + data[2200:],
    "a flipped bit in a page": flip(0.3),
}
EVERY = pytest.mark.parametrize("how", [*TORN.values(), *SPOILT.values()], ids=[*TORN, *SPOILT])


def looked_at(path: Path) -> None:
    """The rows of a dataset in parts, as for many looks at a few of them."""
    for _ in tables.dataset("features", [path]).to_batches(columns=None, filter=None):
        pass


READS: dict[str, Callable[[Path], Any]] = {
    "scan": lambda path: tables.scan("features", [path]),
    "read": lambda path: tables.read("features", path.parent.parent),
    "stream": lambda path: list(tables.stream("features", [path])),
    "batches": looked_at,
}


# Reading.


@EVERY
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_damaged_file_is_named_in_one_sentence(
    tmp_path: Path, how: Callable[[bytes], bytes], read: Callable[[Path], Any]
) -> None:
    path = feature_file(tmp_path / "features" / "x.parquet")
    change(path, how)
    with pytest.raises(Unreadable) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path} is damaged (")
    assert "run its study again" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.exists()


def test_the_damaged_one_of_many_is_named(tmp_path: Path) -> None:
    paths = [feature_file(tmp_path / "features" / f"{i}.parquet") for i in range(4)]
    change(paths[2], flip(0.3))
    for read in (lambda: tables.scan("features", paths), lambda: list(tables.stream("features", paths))):
        with pytest.raises(Unreadable, match=r"2\.parquet is damaged \("):
            read()


@settings(max_examples=150, deadline=None)
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_changes_a_row(tmp_path_factory: pytest.TempPathFactory, at: float, bit: int) -> None:
    """Wherever it is, in pages, footer or seal: the rows are those that were written, or there is the one sentence."""
    path = feature_file(tmp_path_factory.mktemp("flipped") / "x.parquet")
    change(path, flip(at, bit))
    where = ds.field("n_words") > 50
    for whole, read in (
        (WHOLE, lambda: tables.scan("features", [path])),
        (WHOLE.filter(where), lambda: tables.scan("features", [path], None, where)),
    ):
        try:
            assert read().equals(whole)
        except Unreadable:
            continue
    given_before: list[pa.Table] = []
    with suppress(Unreadable):
        given_before.extend(tables.stream("features", [path]))
    n = sum(part.num_rows for part in given_before)
    assert not n or pa.concat_tables(given_before).equals(WHOLE.slice(0, n))


@settings(max_examples=60, deadline=None)
@given(n=st.floats(0, 1, exclude_max=True))
def test_no_part_of_a_file_is_read_as_a_table(tmp_path_factory: pytest.TempPathFactory, n: float) -> None:
    path = feature_file(tmp_path_factory.mktemp("cut") / "x.parquet")
    change(path, lambda data: data[: int(n * len(data))])
    with pytest.raises(Unreadable):
        tables.scan("features", [path])
    with pytest.raises(Unreadable):
        next(tables.stream("features", [path]))


@pytest.mark.parametrize("checksums", [False, True])
def test_a_file_without_a_seal_is_read(tmp_path: Path, checksums: bool) -> None:
    """As earlier versions and other programs write them."""
    path = tmp_path / "features" / "x.parquet"
    path.parent.mkdir()
    pq.write_table(WHOLE, path, compression="zstd", write_page_checksum=checksums)
    assert tables.scan("features", [path]).equals(WHOLE)
    assert pa.concat_tables(tables.stream("features", [path])).equals(WHOLE)
    assert damage.fault(path, damage.WHOLE) is None
    if checksums:
        change(path, flip(0.2))
        with pytest.raises(Unreadable, match=r"x\.parquet is damaged \(.*CRC"):
            tables.scan("features", [path])


@pytest.mark.parametrize("read", [READS["scan"], READS["stream"], READS["batches"]])
def test_a_file_that_is_gone_is_named(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    with pytest.raises(Unreadable, match=rf"there is no {tmp_path}/x\.parquet; run its study again"):
        read(tmp_path / "x.parquet")


def test_a_closed_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = feature_file(tmp_path / "features" / "x.parquet")

    def closed(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", closed)
        with pytest.raises(Unreadable, match=r"cannot read .*x\.parquet: Permission denied"):
            tables.scan("features", [path])
        damage.set_aside(tmp_path, [path], never)
    assert path.exists()


def test_an_error_of_the_program_stays_what_it_is(tmp_path: Path) -> None:
    path = feature_file(tmp_path / "x.parquet")
    with pytest.raises(pa.ArrowException):
        tables.scan("features", [path], None, ds.field("n_words") == ds.scalar("x"))


def test_the_seal_is_the_same_for_the_same_table(tmp_path: Path) -> None:
    first, second = (feature_file(tmp_path / name) for name in ("1.parquet", "2.parquet"))
    tables.write(tmp_path / "3.parquet", "features", WHOLE)
    assert first.read_bytes() == second.read_bytes()
    assert all(damage.fault(tmp_path / f"{i}.parquet", damage.WHOLE) is None for i in (1, 2, 3))


# Taking the folder.


def never(text: str) -> None:
    raise AssertionError(f"nothing should have been told, but: {text}")


def set_aside(root: Path) -> list[str]:
    """What was set aside, by the paths that it had."""
    found = (path.relative_to(root / damage.FOLDER) for path in (root / damage.FOLDER).rglob("*") if path.is_file())
    return sorted(Path(*path.parts[1:]).as_posix() for path in found)


@EVERY
def test_taking_the_folder_sets_damaged_files_aside(tmp_path: Path, how: Callable[[bytes], bytes]) -> None:
    good = feature_file(tmp_path / "features" / "good.parquet")
    bad = feature_file(tmp_path / "features" / "bad.parquet")
    change(bad, how)
    ruined, told = bad.read_bytes(), []
    with Outputs(tmp_path).lock("first", told.append):
        assert tables.files("features", tmp_path) == [good]
        assert len(tables.read("features", tmp_path)) == N
    (sentence,) = told
    assert sentence.startswith(f"{bad} is damaged (")
    assert "was set aside as" in sentence and "make it again" in sentence and "\n" not in sentence
    assert set_aside(tmp_path) == ["features/bad.parquet"]
    assert next((tmp_path / damage.FOLDER).rglob("bad.parquet")).read_bytes() == ruined
    with Outputs(tmp_path).lock("second", never):
        pass


def test_every_table_is_looked_at(tmp_path: Path) -> None:
    wanted = [f"{name}/x.parquet" for name in TABLES] + ["runs/x/_estimates.parquet", "runs/x/_exclusions.parquet"]
    for name in wanted:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"PAR1 torn")
    told: list[str] = []
    with Outputs(tmp_path).lock("first", told.append):
        pass
    assert set_aside(tmp_path) == sorted(wanted)
    assert len(told) == len(wanted)
    assert sum("what it told of that run is lost" in text for text in told) == 3


@pytest.mark.parametrize("text", ["", "[[", "null", "3", '{"a": 1}', '[["a"]]', "[[1, 2]]", "\0", "é".encode("latin1")])
def test_a_torn_journal_is_set_aside(tmp_path: Path, text: str | bytes) -> None:
    journal = tmp_path / ".publish" / "run.json"
    journal.parent.mkdir()
    journal.write_bytes(text if isinstance(text, bytes) else text.encode())
    told: list[str] = []
    with Outputs(tmp_path).lock("first", told.append):
        pass
    assert set_aside(tmp_path) == [".publish/run.json"]
    assert len(told) == 1 and "is to be run again" in told[0]


def test_what_cannot_be_set_aside_is_told(tmp_path: Path) -> None:
    bad = feature_file(tmp_path / "features" / "bad.parquet")
    change(bad, TORN["half"])
    (tmp_path / damage.FOLDER).touch()
    told: list[str] = []
    with Outputs(tmp_path).lock("first", told.append):
        pass
    assert len(told) == 1 and "cannot be set aside" in told[0]
    assert bad.exists()


def test_what_only_reading_tells_is_set_aside_when_the_folder_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damage.set_aside, "__defaults__", (0,))
    path = feature_file(tmp_path / "features" / "x.parquet")
    change(path, SPOILT["a flipped bit in a page"])
    told: list[str] = []
    with Outputs(tmp_path).lock("first", told.append):
        for _ in range(2):  # a file that vanished would look like one that holds nothing
            with pytest.raises(Unreadable, match=r"x\.parquet is damaged .*run again"):
                tables.read("features", tmp_path)
        assert not told
    assert len(told) == 1 and set_aside(tmp_path) == ["features/x.parquet"]
    with Outputs(tmp_path).lock("second", never):
        assert tables.read("features", tmp_path).empty


def test_a_file_that_was_made_anew_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damage.set_aside, "__defaults__", (0,))
    path = feature_file(tmp_path / "features" / "x.parquet")
    change(path, SPOILT["a flipped bit in a page"])
    with Outputs(tmp_path).lock("first", never):
        with pytest.raises(Unreadable):
            tables.read("features", tmp_path)
        feature_file(path)
    assert len(tables.read("features", tmp_path)) == N


# A whole run.


@pytest.fixture(scope="module")
def study(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    more = 'token_logprobs = true\nspecifications = ["rate", "bt"]'
    path = write_study(tmp_path_factory.mktemp("study"), tiny, more=more)
    text = re.sub(r"measures = .*", 'measures = ["mean_logprob"]', path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")
    return load(path)


def run(study: Study, outputs: Outputs, tell: Callable[[str], None] = never) -> list[str]:
    """A run as the flow makes it, without Prefect; gives the sentences of the cells that failed."""
    failures = []
    with outputs.lock("a run", tell):
        made = runs.start(study)
        work, (model,) = outputs.work(made.run_id), study.base_models
        for dataset in study.datasets:
            try:
                made.fetched[dataset.key] = fetch(dataset, study.name, study.seed, outputs, work)
                scored = score(model, dataset.key, study, outputs, work)
                made.scored[dataset.key, model.key] = scored
                estimate(dataset.key, model.key, scored.scoring_id, study, made.run_id, outputs, work)
                forecast(dataset.key, model.key, scored.scoring_id, study, outputs, work)
                diversity(dataset.key, {model.key: scored.scoring_id}, study, outputs, work)
                made.estimated.add((dataset.key, model.key))
            except TypicalityError as error:
                failures.append(str(error))
        adjust(work)
        if not failures:
            synthesise(study, {d.key: d.rater for d in study.datasets}, work)
            runs.publish(made, outputs)
            write_manifest(outputs)
            report(outputs, made.run_id)
    return failures


@pytest.fixture(scope="module")
def undamaged(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    outputs = Outputs(tmp_path_factory.mktemp("undamaged") / "outputs")
    assert run(study, outputs) == []
    return outputs


@pytest.fixture
def copied(undamaged: Outputs, tmp_path: Path) -> Outputs:
    shutil.copytree(undamaged.root, tmp_path / "outputs", symlinks=True)
    return Outputs(tmp_path / "outputs")


def rows(outputs: Outputs) -> dict[str, pd.DataFrame]:
    """All but `runs`, without what names the run, in an order that does not depend on files."""
    found = {}
    for name in (*STUDY_TABLES, "responses", "features", "scores", "token_logprobs"):
        frame = tables.read(name, outputs.root).drop(columns=["run_id"], errors="ignore").astype(str)
        found[name] = frame.sort_values(list(frame.columns), ignore_index=True)
    return found


def same(a: Outputs, b: Outputs) -> bool:
    first, second = rows(a), rows(b)
    return all(len(first[name]) > 0 and first[name].equals(second[name]) for name in first)


KINDS = ("responses", "features", "scores", "token_logprobs", *STUDY_TABLES, "runs", "runs/*/_estimates.parquet")


def files_of(outputs: Outputs, kind: str) -> list[Path]:
    return sorted(outputs.root.glob(kind if "*" in kind else f"{kind}/[!._]*.parquet"))


@pytest.mark.parametrize(
    ("kinds", "how"),
    [
        *(((kind,), TORN["half"]) for kind in KINDS),
        (KINDS, TORN["empty"]),
        (KINDS, SPOILT["a flipped bit in a page"]),
    ],
    ids=[*KINDS, "all emptied", "all spoilt"],
)
def test_a_run_makes_again_what_damaged_files_held(
    study: Study, undamaged: Outputs, copied: Outputs, kinds: tuple[str, ...], how: Callable[[bytes], bytes]
) -> None:
    ruined = [path for kind in kinds for path in files_of(copied, kind)]
    for path in ruined:
        change(path, how)
    told: list[str] = []
    assert run(study, copied, told.append) == []
    assert len(told) == len(set_aside(copied.root)) == len(ruined) > 0
    assert same(undamaged, copied)
    assert verify(copied) == []


@pytest.mark.parametrize("kind", ["responses", "features", "scores", "token_logprobs"])
def test_running_again_completes_where_only_reading_tells(
    study: Study, undamaged: Outputs, copied: Outputs, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a large file holds is read when it is needed: the cell fails by name, and the next run makes it again."""
    monkeypatch.setattr(damage.set_aside, "__defaults__", (0,))
    for path in files_of(copied, kind):
        # All of the pages, so that it does not matter which are read.
        change(path, lambda data: data[:4] + bytes(255 - byte for byte in data[4:-12_000]) + data[-12_000:])
    told: list[str] = []
    failures = run(study, copied, told.append)
    assert failures and all("is damaged (" in text and "run again" in text for text in failures)
    while failures:
        before, failures = len(set_aside(copied.root)), run(study, copied, told.append)
        assert not failures or len(set_aside(copied.root)) > before
    assert same(undamaged, copied)


def test_only_what_was_lost_is_scored_again(study: Study, copied: Outputs, monkeypatch: pytest.MonkeyPatch) -> None:
    held = {path: set(pd.read_parquet(path)["text_id"]) for path in files_of(copied, "scores")}
    lost = min(held, key=lambda path: len(held[path]))
    change(lost, TORN["half"])
    kept: list[str] = []
    keep = scoring.Scoring._keep

    def watched(self: Any, block: Any, job: Any, *rest: Any) -> bool:
        kept.append(job.text_id)
        return keep(self, block, job, *rest)

    monkeypatch.setattr(scoring.Scoring, "_keep", watched)
    assert run(study, copied, lambda text: None) == []
    assert set(kept) == held[lost]


# The commands that only read.


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["report", "made"], "runs"),
        (["report", "made"], "runs/*/_estimates.parquet"),
        (["report", "made"], "differences"),
        (["report", "made"], "scores"),
        (["validate", "made", "--draws", "2"], "comparisons"),
        (["validate", "made", "--draws", "2"], "scores"),
        (["export", "made", "--format", "csv"], "runs/*/_estimates.parquet"),
        (["export", "made", "--format", "csv"], "runs"),
        (["compare", "made", "made"], "runs"),
    ],
)
@pytest.mark.parametrize("how", [TORN["half"], SPOILT["a flipped bit in a page"]], ids=["torn", "spoilt"])
def test_a_command_that_reads_names_the_file(
    copied: Outputs, arguments: list[str], kind: str, how: Callable[[bytes], bytes]
) -> None:
    paths = files_of(copied, kind)
    for path in paths:
        if how in SPOILT.values():
            change(path, lambda data: data[:4] + bytes(255 - byte for byte in data[4:2000]) + data[2000:])
        else:
            change(path, how)
    made = run_command(copied.root.parent, *arguments, "--outputs", str(copied.root))
    assert made.status == 1
    told = [line for line in made.err.splitlines() if line.startswith("typicality: ")]
    assert told and all("is damaged (" in line and str(copied.root / Path(kind).parts[0]) in line for line in told)
    assert "Traceback" not in made.err
    assert all(path.exists() for path in paths)


def test_validate_does_not_do_with_fewer_scores(copied: Outputs) -> None:
    """A shard that another study's run set aside."""
    files_of(copied, "scores")[0].unlink()
    made = run_command(copied.root.parent, "validate", "made", "--draws", "2", "--outputs", str(copied.root))
    assert made.status == 1
    assert "are gone; run the study again" in made.err or "no comparison has scores" in made.err
