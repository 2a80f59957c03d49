"""The manifest: what an output folder holds, the same for the same files, and what a copy has lost."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import manifest, tables
from analysis.errors import StudyError
from analysis.ids import file_sha256
from analysis.manifest import CACHE, NAME, schema_version, verify, write_manifest
from analysis.outputs import Outputs
from analysis.schemas import TABLES
from tests.runs import Finished
from tests.test_tables import filled

RUN = "20260101T000000Z-aaaaaaaa"


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    """A folder with two studies' estimates, one run, and what is no table's file."""
    made = Outputs(tmp_path / "outputs")
    for study in ("one", "two"):
        tables.write(made.study_table("estimates", study), "estimates", [filled(TABLES["estimates"], study=study)] * 3)
    tables.write(made.run_row(RUN), "runs", [filled(TABLES["runs"], run_id=RUN)])
    for name in ("estimates", "exclusions"):
        tables.write(made.root / "runs" / RUN / f"_{name}.parquet", name, [filled(TABLES[name])])
    (made.root / ".work").mkdir()
    (made.root / "estimates" / ".torn.parquet.tmp").touch()
    (made.root / "README.md").write_text("x", encoding="utf-8")
    return made


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the files that are hashed when a manifest is written."""
    names: list[str] = []
    real = manifest.describe

    def counted(name: str, path: Path) -> Any:
        names.append(path.name)
        return real(name, path)

    monkeypatch.setattr(manifest, "describe", counted)
    yield names


def told(outputs: Outputs) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((outputs.root / NAME).read_text(encoding="utf-8"))
    return made


def test_every_file_is_told(outputs: Outputs) -> None:
    assert write_manifest(outputs) == outputs.root / NAME
    made = told(outputs)
    assert list(made["tables"]) == sorted(TABLES)
    estimates = made["tables"]["estimates"]
    assert estimates["rows"] == 6
    assert [f["path"] for f in estimates["files"]] == ["estimates/one.parquet", "estimates/two.parquet"]
    first = outputs.study_table("estimates", "one")
    assert estimates["files"][0] == {
        "path": "estimates/one.parquet",
        "bytes": first.stat().st_size,
        "sha256": file_sha256(first),
        "rows": 3,
        "schema_version": estimates["schema_version"],
    }
    assert made["tables"]["scores"] == {
        "schema_version": schema_version(TABLES["scores"].schema), "rows": 0, "files": [],
    }  # fmt: skip
    assert [f["path"] for f in made["kept_per_run"]] == [
        f"runs/{RUN}/_{n}.parquet" for n in ("estimates", "exclusions")
    ]
    assert verify(outputs) == []


@pytest.mark.parametrize("name", TABLES)
def test_the_schema_of_a_file_is_that_of_its_table(name: str, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    tables.write(path, name, [filled(TABLES[name])])
    assert schema_version(pq.read_schema(path)) == schema_version(TABLES[name].schema)


def test_anything_else_about_a_schema_is_another_version() -> None:
    def of(type_: pa.DataType = pa.int64(), name: str = "x", null: bool = True, **unit: str) -> str:  # noqa: B008
        return schema_version(pa.schema([pa.field(name, type_, null, unit or None)], {"table": "t"}))

    others = [
        of(pa.int32()), of(name="y"), of(null=False), of(unit="words"), of(unit="chars"),
        of(pa.list_(pa.int64())), of(pa.list_(pa.field("item", pa.int64(), False))), of(pa.list_(pa.string())),
        of(pa.struct([("a", pa.int64())])), of(pa.struct([("b", pa.int64())])),
        of(pa.list_(pa.struct([("a", pa.int64())]))),
        of(pa.timestamp("us", tz="UTC")), of(pa.timestamp("us")),
    ]  # fmt: skip
    assert len({of(), *others}) == len(others) + 1
    two = [pa.field("a", pa.int64()), pa.field("b", pa.int64())]
    assert schema_version(pa.schema(two)) != schema_version(pa.schema(two[::-1]))
    assert schema_version(pa.schema(two)) != schema_version(pa.schema(two, {"table": "t"}))


def test_a_file_of_an_earlier_schema_shows(outputs: Outputs) -> None:
    old = pq.read_table(outputs.study_table("estimates", "one")).drop_columns(["p_bh"])
    pq.write_table(old, outputs.study_table("estimates", "one"))
    write_manifest(outputs)
    estimates = told(outputs)["tables"]["estimates"]
    differs = [f["schema_version"] != estimates["schema_version"] for f in estimates["files"]]
    assert differs == [True, False]


def test_the_same_files_give_the_same_bytes(outputs: Outputs, tmp_path: Path) -> None:
    first = write_manifest(outputs).read_bytes()
    assert write_manifest(outputs).read_bytes() == first
    copy = Outputs(tmp_path / "copy")
    shutil.copytree(outputs.root, copy.root, ignore=shutil.ignore_patterns(CACHE))
    for path in copy.root.rglob("*.parquet"):
        os.utime(path, (1, 1))
    assert write_manifest(copy).read_bytes() == first


def test_only_what_changed_is_read_again(outputs: Outputs, read: list[str]) -> None:
    write_manifest(outputs)
    assert len(read) == 5
    read.clear()
    write_manifest(outputs)
    assert not read
    path = outputs.study_table("estimates", "two")
    tables.write(path, "estimates", [filled(TABLES["estimates"], study="two")] * 9)
    write_manifest(outputs)
    assert read == ["two.parquet"]
    assert told(outputs)["tables"]["estimates"]["rows"] == 12
    read.clear()
    os.utime(path)
    write_manifest(outputs)
    assert read == ["two.parquet"]
    path.unlink()
    write_manifest(outputs)
    assert told(outputs)["tables"]["estimates"]["rows"] == 3
    assert verify(outputs) == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 1}', '{"version": 0, "files": []}', '{"version": 1, "files": [{"at": 1}]}']
)
def test_what_was_seen_may_be_lost(outputs: Outputs, read: list[str], text: str) -> None:
    first = write_manifest(outputs).read_bytes()
    read.clear()
    (outputs.root / CACHE).write_text(text, encoding="utf-8")
    assert write_manifest(outputs).read_bytes() == first
    assert len(read) == 5


def test_what_a_copy_has_lost_is_told(outputs: Outputs) -> None:
    write_manifest(outputs)
    one, two = (outputs.study_table("estimates", study) for study in ("one", "two"))
    size, data = two.stat(), bytearray(two.read_bytes())
    one.unlink()
    data[20] ^= 1
    two.write_bytes(data)
    os.utime(two, ns=(size.st_atime_ns, size.st_mtime_ns))
    with outputs.run_row(RUN).open("ab") as file:
        file.write(b"x")
    tables.write(outputs.root / "scores" / "new.parquet", "scores", [])
    problems = verify(outputs)
    assert problems[:2] == ["estimates/one.parquet is missing", "estimates/two.parquet differs: its SHA-256 is another"]
    assert f"runs/{RUN}.parquet has " in problems[2]
    assert problems[3:] == ["scores/new.parquet is not in the manifest"]


def test_a_manifest_that_is_not_there_or_broken_is_one_sentence(outputs: Outputs) -> None:
    with pytest.raises(StudyError, match=r"outputs has no manifest.json; a run of typicality writes it"):
        verify(outputs)
    for text in ("", "[]", '{"tables": {}}', '{"tables": {"x": {"files": [1]}}, "kept_per_run": []}'):
        (outputs.root / NAME).write_text(text, encoding="utf-8")
        with pytest.raises(StudyError, match="cannot be read: run a study again"):
            verify(outputs)


def test_an_empty_folder_has_a_manifest_too(tmp_path: Path) -> None:
    write_manifest(Outputs(tmp_path))
    assert verify(Outputs(tmp_path)) == []


def test_the_manifest_agrees_with_the_run(finished: Finished, tmp_path: Path) -> None:
    copy = Outputs(tmp_path / "outputs")
    shutil.copytree(finished.outputs.root, copy.root, symlinks=True)
    write_manifest(copy)
    assert verify(copy) == []
    made = told(copy)["tables"]
    for name, table in made.items():
        assert table["rows"] == len(finished.table(name))
        assert all(f["schema_version"] == table["schema_version"] for f in table["files"])
    hashes = {f["sha256"] for table in made.values() for f in table["files"]}
    latest = finished.table("runs").set_index("run_id").loc[finished.table("estimates")["run_id"].iloc[0]]
    assert {one["sha256"] for one in latest["table_hashes"]} <= hashes
