"""The Hub: commits resolved first, and one sentence for all that can go wrong.

Datasets pulled through the clients are in `tests.preferences.test_stage`.
"""

import errno
import hashlib
import json
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets.exceptions
import huggingface_hub.errors
import pytest

from analysis.errors import CellError
from analysis.hub import explained
from tests.hub_stand_in import Repository, closed_endpoint, hub_stand_in, run_python

# The stand-in itself.


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One model, one dataset, and a gated one of each."""
    for kind in ("models", "datasets"):
        for name in ("open", "gated"):
            folder = tmp_path / "hub" / kind / "org" / name
            (folder / "inner").mkdir(parents=True)
            (folder / "config.json").write_text(json.dumps({"kind": kind}), encoding="utf-8")
            (folder / "inner" / "a b.txt").write_text("0123456789", encoding="utf-8")
            (folder / "weights.bin").write_bytes(b"never asked for")
        (folder / ".gated").touch()
    return tmp_path / "hub"


def asked(url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def test_the_stand_in_answers_as_the_hub_does(root: Path) -> None:
    repository = Repository(root / "datasets" / "org" / "open")
    file = "datasets/org/open/resolve/main/inner/a%20b.txt"
    with hub_stand_in(root) as endpoint:
        status, headers, body = asked(f"{endpoint}/{file}")
        assert (status, body, headers["X-Repo-Commit"]) == (200, b"0123456789", repository.sha)
        assert headers["ETag"] == f'"{hashlib.sha1(b"0123456789").hexdigest()}"'
        status, headers, body = asked(f"{endpoint}/{file}", "HEAD")
        assert (status, body, headers["Content-Length"]) == (200, b"", "10")
        status, headers, body = asked(f"{endpoint}/{file}", Range="bytes=3-5")
        assert (status, body, headers["Content-Range"]) == (206, b"345", "bytes 3-5/10")
        assert asked(f"{endpoint}/{file}", Range="bytes=8-")[2] == b"89"
        assert asked(f"{endpoint}/{file}", Range="bytes=10-")[0] == 416
        info = json.loads(asked(f"{endpoint}/api/datasets/org/open/revision/{repository.sha}")[2])
        assert info["sha"] == repository.sha
        tree = json.loads(asked(f"{endpoint}/api/datasets/org/open/tree/main?recursive=true")[2])
        assert [e["path"] for e in tree] == ["config.json", "inner", "inner/a b.txt", "weights.bin"]
        top = json.loads(asked(f"{endpoint}/api/datasets/org/open/tree/main")[2])
        assert [e["type"] for e in top] == ["file", "directory", "file"]
        for path, status, code in (
            ("api/datasets/org/none", 404, "RepoNotFound"),
            ("api/models/org/open/revision/v9", 404, "RevisionNotFound"),
            ("datasets/org/open/resolve/main/none", 404, "EntryNotFound"),
            ("org/gated/resolve/main/config.json", 403, "GatedRepo"),
        ):
            found, headers, _ = asked(f"{endpoint}/{path}")
            assert (found, headers["X-Error-Code"]) == (status, code)
        assert asked(f"{endpoint}/org/gated/resolve/main/config.json", Authorization="Bearer x")[0] == 200


def test_changed_contents_are_a_new_commit(root: Path) -> None:
    repository = Repository(root / "models" / "org" / "open")
    before = repository.sha
    (repository.folder / "config.json").write_text("{}", encoding="utf-8")
    assert repository.sha != before


# What the clients raise, in one sentence.


def _answered(kind: type[Exception], status: int = 404) -> Exception:
    made: Any = kind
    response = SimpleNamespace(status_code=status, headers={}, request=None)
    error: Exception = made(f"{status} Client Error.\n\nMore lines follow.", response=response)
    return error


def _raised() -> list[tuple[Exception, str]]:
    hub = huggingface_hub.errors
    found: list[tuple[Exception, str]] = [
        (_answered(hub.GatedRepoError, 403), "is gated: accept its terms"),
        (_answered(hub.DisabledRepoError, 403), "dataset org/name"),
        (_answered(hub.RevisionNotFoundError), "has no revision 'v1'"),
        (_answered(hub.RepositoryNotFoundError), "there is no dataset org/name on the Hub"),
        (_answered(hub.RemoteEntryNotFoundError), "did not deliver dataset org/name"),
        (_answered(hub.HfHubHTTPError, 503), "did not deliver dataset org/name: 503"),
        (hub.HFValidationError("Repo id must be …"), "there is no dataset org/name"),
        (hub.LocalEntryNotFoundError("not here"), "is not in the local cache"),
        (hub.OfflineModeIsEnabled("offline"), "is not in the local cache"),
        (ConnectionResetError("reset"), "did not deliver dataset org/name: reset"),
        (TimeoutError(), "did not deliver dataset org/name: TimeoutError"),
        (datasets.exceptions.DatasetGenerationError("broken\nfile"), "cannot be read: broken"),
        (datasets.exceptions.DataFilesNotFoundError("no data"), "cannot be read: no data"),
        (FileNotFoundError("gone"), "cannot be read: gone"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
    ]
    return found


@pytest.mark.parametrize(
    ("error", "said"), _raised(), ids=lambda p: type(p).__name__ if isinstance(p, Exception) else ""
)
def test_what_a_client_raises_becomes_one_sentence(error: Exception, said: str) -> None:
    with pytest.raises(CellError) as caught, explained("dataset", "org/name", "v1"):
        raise error
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


def test_the_transport_errors_of_the_clients_own_http_library_are_known() -> None:
    """The client decides which HTTP library it is built on; another one's errors would come through as tracebacks."""
    from huggingface_hub.errors import HTTPError

    library = __import__(HTTPError.__module__.split(".")[0])
    for error in (library.ConnectError("refused"), library.ReadTimeout("slow")):
        with pytest.raises(CellError), explained("model", "org/name", "main"):
            raise error


def test_a_model_is_sent_to_its_own_page() -> None:
    with pytest.raises(CellError) as caught, explained("model", "org/name", "main"):
        raise _answered(huggingface_hub.errors.GatedRepoError, 403)
    assert "accept its terms at https://huggingface.co/org/name and log in" in str(caught.value)


def test_a_mistake_of_our_own_is_not_explained_away() -> None:
    with pytest.raises(KeyError), explained("dataset", "org/name", "main"):
        raise KeyError("a bug")


# Resolving and pulling, with the real clients.

RESOLVE = """
import json, sys
from analysis.errors import CellError
from analysis.hub import model_folder, resolve

out = []
for kind, name, revision in json.loads(sys.argv[1]):
    try:
        commit = resolve(kind, name, revision)
        folder = model_folder(name, commit) if kind == "model" else None
        files = folder and sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        out.append([commit, files])
    except CellError as error:
        out.append(str(error))
print(json.dumps(out))
"""


def resolved(endpoint: str, home: Path, *questions: tuple[str, str, str], **more: str) -> list[Any]:
    answers = run_python(RESOLVE, endpoint, home, json.dumps(questions), **more)
    assert all("\n" not in answer for answer in answers if isinstance(answer, str))
    return list(answers)


def test_a_revision_becomes_a_commit_and_a_model_a_folder(root: Path, tmp_path: Path) -> None:
    shas = {kind: Repository(root / f"{kind}s" / "org" / "open").sha for kind in ("model", "dataset")}
    questions = [
        ("dataset", "org/open", "main"),
        ("dataset", "org/open", shas["dataset"]),
        ("model", "org/open", "main"),
        ("model", "org/open", shas["model"]),
        ("model", "org/gated", "main"),
        ("model", "org/none", "main"),
        ("model", "org/open", "v9"),
        ("dataset", "org/none", "main"),
        ("dataset", "bad name", "main"),
    ]
    with hub_stand_in(root) as endpoint:
        told = resolved(endpoint, tmp_path / "home", *questions)
    files = ["config.json"]  # no weights but safetensors, and no folder of copies in other formats
    assert told[:4] == [[shas["dataset"], None]] * 2 + [[shas["model"], files]] * 2
    assert told[4].startswith("model org/gated is gated: accept its terms at https://huggingface.co/org/gated")
    assert told[5].startswith("there is no model org/none on the Hub")
    assert told[6] == "model org/open has no revision 'v9'; check it on its page on the Hub"
    assert told[7].startswith("there is no dataset org/none on the Hub")
    assert told[8].startswith("there is no dataset bad name on the Hub")


def test_without_a_network_a_pulled_model_is_the_same_commit(root: Path, tmp_path: Path) -> None:
    sha = Repository(root / "models" / "org" / "open").sha
    questions = [("model", "org/open", "main"), ("model", "org/open", sha)]
    with hub_stand_in(root) as endpoint:
        online = resolved(endpoint, tmp_path / "home", *questions)
    assert online == [[sha, ["config.json"]]] * 2
    for offline in ("1", "0"):
        home = tmp_path / "home"
        more = ("model", "org/gated", "main")
        again = resolved(closed_endpoint(), home, *questions, more, HF_HUB_OFFLINE=offline)
        assert again[:2] == online
        assert "org/gated" in again[2]
