"""Datasets and models of the Hugging Face Hub: commits resolved first, failures said in one sentence."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from analysis.errors import CellError, TypicalityError, one_line
from analysis.ids import content_id
from analysis.tables import write_text

MODEL_FILES = ("*.json", "model*.safetensors", "*.model", "*.txt", "*.jinja", "*.tiktoken")


@contextmanager
def explained(what: str, name: str, revision: str) -> Iterator[None]:
    """Turn what the Hub's clients raise into one sentence that names the thing and the remedy.

    Raises
    ------
    CellError
        For everything that can go wrong between here and the Hub.
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
    except hub.RevisionNotFoundError as error:
        raise CellError(f"{what} {name} has no revision {revision!r}; check it on its page on the Hub") from error
    except (hub.RepositoryNotFoundError, hub.HFValidationError) as error:
        raise CellError(
            f"there is no {what} {name} on the Hub, or it is private; check the spelling, "
            "or log in with `hf auth login`"
        ) from error
    except (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled) as error:
        raise CellError(
            f"{what} {name} is not in the local cache and the Hub cannot be reached; "
            "connect to the network and run again"
        ) from error
    except (httpx2.ConnectError, httpx2.ConnectTimeout, ConnectionRefusedError) as error:
        raise CellError(
            f"the Hub cannot be reached for {what} {name} ({one_line(error)}), and the local cache does not hold it; "
            "connect to the network and run again"
        ) from error
    except (hub.HfHubHTTPError, httpx2.HTTPError, ConnectionError, TimeoutError) as error:
        raise CellError(f"the Hub did not deliver {what} {name}: {one_line(error)}; try again later") from error
    except (DatasetsError, FileNotFoundError) as error:
        raise CellError(f"{what} {name} at {revision!r} cannot be read: {one_line(error)}") from error
    except OSError as error:
        raise CellError(f"{what} {name} cannot be stored or read: {one_line(error)}") from error


def resolve(kind: str, name: str, revision: str) -> str:
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
            commit = str(HfApi().repo_info(name, repo_type=kind, revision=revision).sha)
        except (hub.OfflineModeIsEnabled, httpx2.ConnectError, httpx2.TimeoutException, ConnectionError):
            cached = _cached_commit(kind, name, revision)
            if cached is None:
                raise
            return cached
        if commit != revision:
            # The clients note down a branch's commit only where they are asked for the branch; we ask for the commit.
            _note(_cache(kind, name) / "refs" / revision, commit)
        return commit


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
        Shell patterns of paths inside the repository; `*` stays within a folder, `**/` before a pattern means at any
        depth.

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
        files = sorted(
            f
            for f in HfApi().list_repo_files(name, repo_type=kind, revision=commit)
            if any(_matches(f, p) for p in patterns)
        )
        if not files:
            raise CellError(f"{kind} {name} at {commit[:12]} has no file that matches {' or '.join(patterns)}")
        folder = Path(snapshot_download(name, repo_type=kind, revision=commit, allow_patterns=files))
    missing = [f for f in files if not (folder / f).is_file()]
    if missing:
        raise CellError(f"the Hub did not deliver {missing[0]} of {kind} {name}; try again later")
    _note(note, json.dumps({"folder": str(folder), "files": files}))
    return folder, files


def _matches(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatchcase(path.rpartition("/")[2], pattern[3:])
    return path.count("/") == pattern.count("/") and fnmatchcase(path, pattern)


def load_files(name: str, commit: str, patterns: Sequence[str]) -> Any:
    """The rows of a Hub dataset's files at a commit, memory-mapped (`datasets.Dataset`).

    Raises
    ------
    CellError
        If they cannot be had or read.
    """
    folder, files = pull("dataset", name, commit, patterns)
    return _load(name, commit, _builder(name, files), data_files=[str(folder / f) for f in files], split="train")


def load_split(name: str, commit: str, split: str | None, config: str | None, data_dir: str | None) -> Any:
    """One split of a Hub dataset at a commit, as the dataset's own card divides it, memory-mapped.

    Raises
    ------
    CellError
        If it cannot be had or read, or has several splits and none was named.
    """
    from datasets import get_dataset_split_names

    inside = f"{data_dir.strip('/')}/" if data_dir else "**/"
    folder, _ = pull("dataset", name, commit, [*(f"{inside}*{suffix}" for suffix in _BUILDERS), "README.md"])
    options = {"name": config, "data_dir": data_dir}
    if split is None:
        with explained("dataset", name, commit), _loading(name):
            splits = get_dataset_split_names(str(folder), config, data_dir=data_dir)
        if len(splits) != 1:
            raise CellError(f"dataset {name} has the splits {', '.join(splits)}; add load_split = one of them")
        split = str(splits[0])
    return _load(name, commit, str(folder), split=split, **options)


_BUILDERS = {
    ".parquet": "parquet",
    **dict.fromkeys((".jsonl", ".jsonl.gz", ".json", ".json.gz"), "json"),
    **dict.fromkeys((".csv", ".csv.gz"), "csv"),
}


def _builder(name: str, files: Sequence[str]) -> str:
    kinds = {next((b for suffix, b in _BUILDERS.items() if f.endswith(suffix)), None) for f in files}
    kind = kinds.pop()
    if kind is None or kinds:
        raise CellError(f"dataset {name}: {files[0]} and the files beside it are not of one kind that can be read")
    return kind


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
