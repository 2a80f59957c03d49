"""Copies on object storage: whole or not at all for whoever follows the manifest, whatever happens on the way."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from analysis import publishing
from analysis.errors import CellError
from analysis.ids import file_sha256
from analysis.outputs import Outputs
from analysis.publishing import publish
from analysis.study import publishing_url
from tests.folders import Folder
from tests.runs import PAIRS, run_command, write_study

URL = "memory://store/results"


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    MemoryFileSystem.store.clear()
    yield
    MemoryFileSystem.store.clear()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An output folder with one run of one study, which used one scoring."""
    made = Folder(tmp_path / "outputs")
    made.scores("one", 3)
    published(made, "a", 3)
    return made


def published(folder: Folder, study: str, days: float) -> str:
    """A run with its report, which is the latest."""
    run_id = folder.run(study, days, ["one"])
    folder.outputs.point_latest(study, run_id)
    return run_id


def read(url: str = URL) -> dict[str, bytes]:
    """Everything that a reader finds who follows the manifest; each file must be what the manifest says."""
    fs, root = fsspec.url_to_fs(url, skip_instance_cache=True)
    manifest = json.loads(fs.cat_file(f"{root}/manifest.json"))
    files = [f for table in manifest["tables"].values() for f in table["files"]]
    found = {}
    for file in [*files, *manifest["kept_per_run"], *manifest["reports"]]:
        data = found[file["path"]] = fs.cat_file(f"{root}/{file['path']}")
        assert len(data) == file["bytes"]
    return found


def held(url: str = URL) -> set[str]:
    fs, root = fsspec.url_to_fs(url, skip_instance_cache=True)
    return {str(path).removeprefix(f"{root}/") for path in fs.find(root)}


def test_everything_is_there(folder: Folder) -> None:
    told = publish(folder.outputs, URL)
    found = read()
    assert told.n_files == told.n_copied == len(found)
    local = [p for p in folder.root.rglob("[!.]*") if p.is_file() and "latest" not in p.parts]
    expected = {file_sha256(p)[:16] for p in local if p.suffix == ".parquet" or p.name == "index.html"}
    assert {path.rpartition("-")[2].partition(".")[0] for path in found} == expected
    assert {"README.md", "manifest.json", "reports/a/latest/index.html"} <= held()
    assert not any("/." in path for path in held())


def test_what_is_there_is_not_copied_again(folder: Folder) -> None:
    first = publish(folder.outputs, URL)
    assert publish(folder.outputs, URL) == publishing.Copied(first.n_files, 0, 0)
    before = read()
    published(folder, "b", 2)
    second = publish(folder.outputs, URL)
    assert second.n_copied == second.n_files - first.n_files > 0
    assert before.items() <= read().items()


def test_what_was_removed_there_is_copied_again(folder: Folder) -> None:
    publish(folder.outputs, URL)
    fs, gone = fsspec.filesystem("memory"), min(path for path in read() if path.startswith("scores/"))
    fs.rm(f"/store/results/{gone}")
    assert publish(folder.outputs, URL).n_copied == 1
    assert gone in read()


def test_what_is_listed_no_more_goes_one_publication_later(folder: Folder) -> None:
    publish(folder.outputs, URL)
    before = read()
    published(folder, "a", 1)
    publish(folder.outputs, URL)
    # Whoever read the manifest before goes on reading what it lists.
    assert before.keys() <= held()
    gone = before.keys() - read().keys()
    assert any(path.startswith("estimates/a-") for path in gone)
    publish(folder.outputs, URL)
    assert not gone & held()


@pytest.mark.parametrize("url", [URL, "local"])
def test_interrupted_anywhere(folder: Folder, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write in turn fails; until the manifest is written readers see all of what was before, then all of now."""
    url = f"file://{tmp_path / 'store'}" if url == "local" else url
    publish(folder.outputs, url)
    before = read(url)
    published(folder, "a", 1)
    left = [0]
    for name in ("_copy", "write", "remove_others"):
        real = getattr(publishing._Store, name)

        def failing(self: Any, *arguments: Any, real: Any = real) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise OSError("the line is dead")
            return real(self, *arguments)

        monkeypatch.setattr(publishing._Store, name, failing)
    monkeypatch.setattr(publishing, "AT_A_TIME", 1)
    seen = []
    for n in range(100):
        left[0] = n
        try:
            publish(folder.outputs, url)
        except CellError as error:
            assert "the line is dead" in str(error) and "the same command publishes them" in str(error)
            seen.append(read(url) == before)
        else:
            break
    assert seen[0] and not seen[-1] and seen == sorted(seen, reverse=True)
    assert {p.rpartition("-")[2].partition(".")[0] for p in read(url)} >= {
        file_sha256(folder.outputs.study_table("estimates", "a"))[:16]
    }


def test_another_output_folder_s_copies_stay(folder: Folder, tmp_path: Path) -> None:
    publish(folder.outputs, URL)
    before = held()
    other = Folder(tmp_path / "other")
    published(other, "b", 1)
    with pytest.raises(CellError, match="another output folder published"):
        publish(other.outputs, URL)
    assert held() == before


def test_a_file_of_somebody_else_stays(folder: Folder) -> None:
    fs = fsspec.filesystem("memory")
    for name in ("notes.txt", "estimates/mine.parquet", "reports/a/mine.html"):
        fs.pipe_file(f"/store/results/{name}", b"mine")
    publish(folder.outputs, URL)
    publish(folder.outputs, URL)
    assert {"notes.txt", "estimates/mine.parquet", "reports/a/mine.html"} <= held()
    fs.pipe_file("/store/results/manifest.json", b'{"of": "something else"}')
    with pytest.raises(CellError, match="not what typicality published"):
        publish(folder.outputs, URL)


def test_a_half_copied_file_is_noticed(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryFileSystem, "put_file", lambda self, source, path, **_: self.pipe_file(path, b"half"))
    with pytest.raises(CellError, match=r"arrived with 4 of"):
        publish(folder.outputs, URL)
    assert "manifest.json" not in held()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("bucket/folder", "no URL"),
        ("s3://", "no URL"),
        ("s4://bucket", "does not know"),
        ("sftp://me:secret@host/folder", "holds a password"),
    ],
)
def test_what_is_no_url(url: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        publishing_url(url)
    assert "secret" not in str(caught.value)


class TestStudy:
    def test_by_the_command(self, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        more = f'publish = "{URL}"\nspecifications = ["rate"]'
        study = write_study(tmp_path, tiny, PAIRS, more)
        arguments = (str(study), "--outputs", str(tmp_path / "outputs"))
        real = publishing._Store.copy
        monkeypatch.setattr(publishing._Store, "copy", _refuse)
        failed = run_command(tmp_path, "run", *arguments)
        assert failed.status == 1
        assert f"publish: the results could not be published to {URL} (no room)" in failed.err
        assert "Traceback" not in failed.err and not held()
        # Nothing changed, but what was not published is now.
        monkeypatch.setattr(publishing._Store, "copy", real)
        again = run_command(tmp_path, "run", *arguments)
        assert (again.status, "nothing changed since" in again.out.lower()) == (0, True)
        assert "publish: " in again.err and read()
        assert run_command(tmp_path, "run", *arguments, "--limit", "5").status == 0
        assert not any("files at" in line for line in _lines(tmp_path)[-1:])


def _refuse(self: Any, entries: Any) -> None:
    raise OSError("no room")


def _lines(folder: Path) -> list[str]:
    return (folder / "outputs" / "log.jsonl").read_text().splitlines()


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket of a local S3-compatible server."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    import boto3

    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patched:
        for name, value in settings.items():
            patched.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="results")
        yield "s3://results"
    server.stop()


class TestS3:
    def test_a_bucket(self, folder: Folder, bucket: str) -> None:
        url = f"{bucket}/team"
        told = publish(folder.outputs, url)
        before = read(url)
        assert len(before) == told.n_files
        manifest = json.loads(fsspec.open(f"{url}/manifest.json").open().read())
        paths = [f"{url}/{file['path']}" for file in manifest["tables"]["estimates"]["files"]]
        frame = pd.concat([pd.read_parquet(path) for path in paths])
        assert frame["study"].tolist() == ["a"]
        published(folder, "a", 1)
        publish(folder.outputs, url)
        assert before.keys() <= held(url) and before.keys() != read(url).keys()
        assert publish(folder.outputs, url).n_copied == 0

    def test_no_bucket(self, folder: Folder, bucket: str) -> None:
        with pytest.raises(CellError, match="could not be published to s3://nobody"):
            publish(folder.outputs, "s3://nobody/here")
        assert os.environ["AWS_SECRET_ACCESS_KEY"] not in (folder.root / ".published").read_text()
        assert isinstance(folder.outputs, Outputs)
