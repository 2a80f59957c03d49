"""Datasets and models of the Hugging Face Hub: commits resolved first, failures said in one sentence."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from analysis.errors import CellError, NetworkError, TypicalityError, one_line
from analysis.ids import content_id
from analysis.tables import write_text

T = TypeVar("T")

ATTEMPTS = 10
LONGEST_WAIT_S = 60.0
MODEL_FILES = ("*.json", "model*.safetensors", "*.model", "*.txt", "*.jinja", "*.tiktoken")


@contextmanager
def explained(what: str, name: str, revision: str) -> Iterator[None]:
    """Turn what the Hub's clients raise into one sentence that names the thing and the remedy.

    Raises
    ------
    CellError
        For everything that can go wrong between here and the Hub; a NetworkError where it may go by.
    """
    import httpx2
    from datasets.exceptions import DatasetsError
    from huggingface_hub import errors as hub

    try:
        yield
    except (hub.GatedRepoError, hub.DisabledRepoError) as error:
        raise CellError(
            f"{what} {name} is gated: accept its terms at https://huggingface.co/{'datasets/' * (what == 'dataset')}"
            f"{name} and log in with `hf auth login` (or set HF_TOKEN)"
        ) from error
    except _Undelivered as error:
        raise NetworkError(f"the Hub did not deliver {error} of {what} {name}; try again later") from error
    except hub.RevisionNotFoundError as error:
        if revision.startswith("refs/convert/"):
            raise CellError(
                f"{what} {name} is published as a loading script, which is not run, and the Hub holds no Parquet "
                "conversion of it now; try again later, or give revision = a commit that holds Parquet files"
            ) from error
        raise CellError(f"{what} {name} has no revision {revision!r}; check it on its page on the Hub") from error
    except (hub.RepositoryNotFoundError, hub.HFValidationError) as error:
        raise CellError(
            f"there is no {what} {name} on the Hub, or it is private; check the spelling, "
            "or log in with `hf auth login`"
        ) from error
    except (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled) as error:
        if _passing(error):
            *_, first = _behind(error)
            raise NetworkError(f"the Hub did not deliver {what} {name}: {one_line(first)}; try again later") from error
        raise NetworkError(
            f"{what} {name} is not in the local cache and the Hub cannot be reached; "
            "connect to the network and run again"
        ) from error
    except (httpx2.ConnectError, httpx2.ConnectTimeout, ConnectionRefusedError) as error:
        raise NetworkError(
            f"the Hub cannot be reached for {what} {name} ({one_line(error)}), and the local cache does not hold it; "
            "connect to the network and run again"
        ) from error
    except (hub.HfHubHTTPError, httpx2.HTTPError, ConnectionError, TimeoutError) as error:
        kind = NetworkError if _passing(error) or not isinstance(error, hub.HfHubHTTPError) else CellError
        raise kind(f"the Hub did not deliver {what} {name}: {one_line(error)}; try again later") from error
    except (DatasetsError, FileNotFoundError) as error:
        raise CellError(f"{what} {name} at {revision!r} cannot be read: {one_line(error)}") from error
    except OSError as error:
        raise CellError(f"{what} {name} cannot be stored or read: {one_line(error)}") from error


class Origin(NamedTuple):
    """Where a dataset or a base model comes from.

    Attributes
    ----------
    location, revision
        Hub id or name of the file or folder; commit or SHA-256.
    from_cache
        The commit is the local cache's, because the Hub could not be asked.
    """

    location: str
    revision: str
    from_cache: bool = False


class Resolved(NamedTuple):
    """The commit of a revision; `cached` where the Hub could not be asked and the local cache's commit was taken."""

    commit: str
    cached: bool


class _Undelivered(Exception):
    """A file is not there although the client raised nothing."""


def _persistently(call: Callable[[], T], attempts: int | None = None) -> T:
    """The call's result; it is made again, after growing pauses, while the Hub is busy or connections break."""
    again = Retrying(
        stop=stop_after_attempt(attempts or ATTEMPTS), wait=_pause, retry=retry_if_exception(_passing), reraise=True
    )
    return again(call)


def _behind(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _passing(error: BaseException) -> bool:
    """Whether an error may go by itself: 408, 429 and 5xx, and transfers that broke off; not a network that is gone."""
    import httpx2

    for cause in _behind(error):
        if isinstance(cause, (httpx2.ConnectError, httpx2.ConnectTimeout)):
            return False
        status = getattr(getattr(cause, "response", None), "status_code", 0)
        broke = isinstance(cause, (httpx2.TransportError, _Undelivered)) or "Consistency check failed" in str(cause)
        if broke or status in (408, 429) or status >= 500:
            return True
    return False


_growing = wait_exponential_jitter(multiplier=0.25, max=8, jitter=0.25)


def _pause(state: RetryCallState) -> float:
    """Seconds to wait: those that the Hub asks for, else ever more."""
    error = state.outcome.exception() if state.outcome else None
    told = [getattr(getattr(e, "response", None), "headers", {}).get("Retry-After", "") for e in _behind(error)]
    asked = max((float(t) for t in told if t.isdigit()), default=0.0)
    return min(max(asked, _growing(state)), LONGEST_WAIT_S)


def resolve(kind: str, name: str, revision: str) -> Resolved:
    """The commit that a revision of a repository stands for now.

    Where the Hub cannot be reached, the commit that the local cache holds under that name is taken.

    Parameters
    ----------
    kind
        `dataset` or `model`.
    name, revision
        `org/name`, and a branch, tag or commit.

    Raises
    ------
    CellError
        If there is no such repository or revision, it is gated, or it is neither reachable nor cached.
    """
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub import errors as hub

    with explained(kind, name, revision):
        try:
            commit = str(_persistently(lambda: HfApi().repo_info(name, repo_type=kind, revision=revision)).sha)
        except (hub.OfflineModeIsEnabled, hub.HfHubHTTPError, httpx2.TransportError, ConnectionError) as error:
            gone = not isinstance(error, hub.HfHubHTTPError) or _passing(error)
            cached = _cached_commit(kind, name, revision) if gone else None
            if cached is None:
                raise
            # A commit is the same for ever; what a branch or tag stands for may have changed since.
            return Resolved(cached, cached=cached != revision)
        if commit != revision:
            # The clients note down a branch's commit only where they are asked for the branch; we ask for the commit.
            _note(_cache(kind, name) / "refs" / revision, commit)
        return Resolved(commit, cached=False)


def _cache(kind: str, name: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"{kind}s--{name.replace('/', '--')}"


def _note(path: Path, text: str) -> None:
    try:
        write_text(path, text)
    except TypicalityError as error:
        raise CellError(f"the cache of downloads cannot be written: {path}; free some space or set HF_HOME") from error


def _cached_commit(kind: str, name: str, revision: str) -> str | None:
    folder = _cache(kind, name)
    reference = folder / "refs" / revision
    if reference.is_file():
        return reference.read_text(encoding="utf-8").strip()
    return revision if (folder / "snapshots" / revision).is_dir() else None


def pull(kind: str, name: str, commit: str, patterns: Sequence[str]) -> tuple[Path, list[str]]:
    """The files of a repository at a commit that match, downloaded where they are not cached whole.

    What was pulled is noted beside the cache once it is complete, so a later run needs no network for it, and files of
    a download that broke off are never taken for the whole.

    Parameters
    ----------
    kind, name, commit
        `dataset` or `model`, `org/name`, and the commit.
    patterns
        Shell patterns of paths inside the repository; `*` stays within a folder, `**/` before the file's name means at
        any depth (of the folder before it, which is no pattern).

    Returns
    -------
    tuple of Path and list of str
        The folder that holds them, and their paths in it, sorted.

    Raises
    ------
    CellError
        If they cannot be had, or none matches.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    note = _cache(kind, name) / "complete" / f"{content_id(commit, *patterns)}.json"
    with explained(kind, name, commit):
        if note.is_file():
            known = json.loads(note.read_text(encoding="utf-8"))
            folder = Path(known["folder"])
            if all((folder / f).is_file() for f in known["files"]):
                return folder, known["files"]
        # The client asks for its lists six times by itself.
        held = _persistently(lambda: HfApi().list_repo_files(name, repo_type=kind, revision=commit), attempts=2)
        files = sorted(f for f in held if any(matches(f, p) for p in patterns))
        if not files:
            raise CellError(
                f"{kind} {name} at {commit[:12]} has no file {' or '.join(patterns[:3])}{' …' * (len(patterns) > 3)}; "
                "choose another part, split or revision"
                if kind == "dataset"
                else f"{kind} {name} at {commit[:12]} has no file {' or '.join(patterns)}; choose another revision"
            )

        def download() -> Path:
            here = Path(
                snapshot_download(name, repo_type=kind, revision=commit, allow_patterns=[escape(f) for f in files])
            )
            # Where the Hub fails while the client asks for its list, the client gives back what it has, whole or not.
            if missing := next((f for f in files if not (here / f).is_file()), None):
                raise _Undelivered(missing)
            return here

        folder = _persistently(download)
    _note(note, json.dumps({"folder": str(folder), "files": files}))
    return folder, files


def matches(path: str, pattern: str) -> bool:
    """Whether a path in a repository fits a pattern (see `pull`)."""
    folder, any_depth, name = pattern.rpartition("**/")
    if any_depth:
        return path.startswith(folder) and fnmatchcase(path.rpartition("/")[2], name)
    return path.count("/") == pattern.count("/") and fnmatchcase(path, pattern)


def load_split(name: str, commit: str, split: str | None, config: str | None, data_dir: str | None) -> Any:
    """One split of a Hub dataset at a commit, as the dataset's own card divides it, memory-mapped.

    Raises
    ------
    CellError
        If it cannot be had or read, or has several splits and none was named.
    """
    from datasets import get_dataset_split_names

    inside = f"{data_dir.strip('/')}/**/" if data_dir else "**/"
    folder, _ = pull("dataset", name, commit, [*(f"{inside}*{suffix}" for suffix in _READ), "README.md"])
    options = {"name": config, "data_dir": data_dir}
    if split is None:
        with explained("dataset", name, commit), _loading(name):
            splits = get_dataset_split_names(str(folder), config, data_dir=data_dir)
        if len(splits) != 1:
            raise CellError(f"dataset {name} has the splits {', '.join(splits)}; add load_split = one of them")
        split = str(splits[0])
    return _load(name, commit, str(folder), split=split, **options)


_READ = (".parquet", ".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".csv.gz")


def _load(dataset: str, commit: str, path: str, **options: Any) -> Any:
    import datasets
    from datasets import load_dataset

    datasets.disable_progress_bars()
    with explained("dataset", dataset, commit), _loading(dataset):
        return load_dataset(path, **options)


@contextmanager
def _loading(name: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise CellError(f"dataset {name} cannot be loaded: {one_line(error)}") from error


def model_folder(name: str, commit: str) -> Path:
    """The folder that holds a Hub model's configuration, tokenizer and safetensors at a commit, pulled if needed.

    Raises
    ------
    CellError
        If it cannot be had.
    """
    return pull("model", name, commit, MODEL_FILES)[0]
