"""Datasets and models of the Hugging Face Hub: commits resolved first, failures said in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from analysis.errors import CellError, one_line

_MODEL_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.tiktoken")


@contextmanager
def explained(what: str, name: str, revision: str) -> Iterator[None]:
    """Turn what the Hub's clients raise into one sentence that names the thing and the remedy.

    Raises
    ------
    CellError
        For everything that can go wrong between here and the Hub.
    """
    import httpx
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
    except (hub.HfHubHTTPError, httpx.HTTPError, ConnectionError, TimeoutError) as error:
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
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub import errors as hub

    with explained(kind, name, revision):
        try:
            sha = HfApi().repo_info(name, repo_type=kind, revision=revision).sha
            return str(sha)
        except (hub.OfflineModeIsEnabled, httpx.ConnectError, httpx.TimeoutException, ConnectionError):
            cached = _cached_commit(kind, name, revision)
            if cached is None:
                raise
            return cached


def _cached_commit(kind: str, name: str, revision: str) -> str | None:
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"{kind}s--{name.replace('/', '--')}"
    reference = folder / "refs" / revision
    if reference.is_file():
        return reference.read_text().strip()
    if (folder / "snapshots" / revision).is_dir():
        return revision
    return None


def load_split(name: str, commit: str, split: str, config: str | None = None, data_dir: str | None = None) -> Any:
    """One split of a Hub dataset at a commit, memory-mapped (`datasets.Dataset`).

    Raises
    ------
    CellError
        If it cannot be had: no such split, configuration or folder, or the Hub fails.
    """
    import datasets
    from datasets import load_dataset

    datasets.disable_progress_bars()
    with explained("dataset", name, commit):
        try:
            return load_dataset(name, name=config, data_dir=data_dir, split=split, revision=commit)
        except (ValueError, RuntimeError) as error:
            raise CellError(f"dataset {name} cannot be loaded: {one_line(error)}") from error


def only_split(name: str, commit: str, config: str | None, data_dir: str | None) -> str:
    """The split of a Hub dataset that has just one.

    Raises
    ------
    CellError
        If it has several, so that the study must name one.
    """
    from datasets import get_dataset_split_names

    with explained("dataset", name, commit):
        try:
            splits = get_dataset_split_names(name, config, revision=commit, data_dir=data_dir)
        except (ValueError, RuntimeError) as error:
            raise CellError(f"dataset {name} cannot be loaded: {one_line(error)}") from error
    if len(splits) != 1:
        raise CellError(f"dataset {name} has the splits {', '.join(splits)}; add load_split = one of them")
    return str(splits[0])


def model_folder(name: str, commit: str) -> Path:
    """The folder that holds a Hub model's configuration, tokenizer and safetensors at a commit, pulled if needed.

    Raises
    ------
    CellError
        If it cannot be had.
    """
    from huggingface_hub import snapshot_download

    with explained("model", name, commit):
        return Path(snapshot_download(name, revision=commit, allow_patterns=list(_MODEL_FILES)))
