"""Base models: pulled at a commit, loaded without running any code of theirs, described for the record."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis import hub
from analysis.errors import CellError, one_line
from analysis.hub import Origin
from analysis.ids import folder_sha256
from analysis.study import BaseModelSpec


@dataclass(frozen=True)
class Located:
    """Where a base model's files are, the commit (for a folder: the SHA-256 of its files), and its parameters.

    `from_cache` says that the Hub could not be asked for the commit, so that the local cache's was taken.
    """

    name: str
    folder: Path
    revision: str
    n_parameters: int
    from_cache: bool = False


def origin_of(spec: BaseModelSpec) -> Origin:
    """What a base model's revision stands for now: a commit of the Hub, or the SHA-256 of a folder's files.

    Raises
    ------
    CellError
        If it cannot be had.
    """
    if not spec.is_folder:
        return Origin(spec.name, *hub.resolve("model", spec.name, spec.revision))
    folder = Path(spec.name)
    try:
        files = [p for part in hub.MODEL_FILES for p in folder.glob(part)]
        return Origin(folder.name, folder_sha256(files, folder))
    except OSError as error:
        raise CellError(f"the files of base model {spec.key!r} cannot be read: {one_line(error)}") from error


def locate(spec: BaseModelSpec, origin: Origin | None = None) -> Located:
    """Find a base model's files, pulling them from the Hub if needed.

    Parameters
    ----------
    spec
        The base model, as the study declares it.
    origin
        What its revision stands for, where that is known already.

    Raises
    ------
    CellError
        If it cannot be had, or has no weights as safetensors.
    """
    name, revision, from_cache = origin or origin_of(spec)
    folder = Path(spec.name) if spec.is_folder else hub.model_folder(name, revision)
    if not (folder / "config.json").is_file():
        raise CellError(f"base model {spec.key!r} has no config.json, so it is not a model of transformers")
    if not any(folder.glob("model*.safetensors")):
        raise CellError(
            f"base model {spec.key!r} has no weights as safetensors; pickled weights are not loaded, "
            "so convert them first"
        )
    return Located(name, folder, revision, _count_parameters(folder, spec.key), from_cache)


def locate_tokenizer(spec: BaseModelSpec, origin: Origin) -> Located:
    """Find a base model's tokenizer and configuration, without its weights, whose parameters are counted if they are
    at hand (else 0).

    Raises
    ------
    CellError
        If they cannot be had.
    """
    if spec.is_folder:
        folder = Path(spec.name)
    else:
        files = [pattern for pattern in hub.MODEL_FILES if not pattern.endswith(".safetensors")]
        folder = hub.pull("model", origin.location, origin.revision, files)[0]
    return Located(origin.location, folder, origin.revision, _count_parameters(folder, spec.key), origin.from_cache)


def _count_parameters(folder: Path, name: str) -> int:
    """Elements of all tensors in a folder's safetensors, read from their headers; tied weights are stored once."""
    from safetensors import SafetensorError, safe_open

    total = 0
    try:
        for path in sorted(folder.glob("model*.safetensors")):
            with safe_open(path, framework="numpy") as file:
                total += sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CellError(f"the weights of base model {name!r} cannot be read: {one_line(error)}") from error
    return total


def tokenizer_of(located: Located) -> Any:
    """The tokenizer of a base model.

    Raises
    ------
    CellError
        If it cannot be loaded.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(located.folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise CellError(f"the tokenizer of base model {located.name} cannot be loaded: {_why(error)}") from error


def tokenizer_sha256(tokenizer: Any) -> str:
    """SHA-256 of a fast tokenizer's full state and its special tokens."""
    state = tokenizer.backend_tokenizer.to_str() if getattr(tokenizer, "is_fast", False) else repr(tokenizer)
    template = getattr(tokenizer, "chat_template", None)
    return hashlib.sha256(f"{state}\0{tokenizer.special_tokens_map!r}\0{template!r}".encode()).hexdigest()


def window_of(located: Located, declared: int | None) -> int | None:
    """The context window in tokens: the study's, else the configuration's; None where neither says.

    Raises
    ------
    CellError
        If the study asks for more than the base model has.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(located.folder, trust_remote_code=False).get_text_config()
    except (OSError, ValueError, KeyError) as error:
        raise CellError(f"the configuration of base model {located.name} cannot be read: {_why(error)}") from error
    names = ("max_position_embeddings", "n_positions", "max_seq_len")
    found = next((v for n in names if isinstance(v := getattr(config, n, None), int) and v > 0), None)
    if declared is not None and found is not None and declared > found:
        raise CellError(
            f"base model {located.name} reads {found:,} tokens, and the study asks for context_window = {declared:,}"
        )
    return declared if declared is not None else found


def load(located: Located, spec: BaseModelSpec) -> Any:
    """Load a base model (of `transformers`) for scoring, in evaluation mode.

    Raises
    ------
    CellError
        If the architecture is unknown, the device is not there, or memory does not suffice.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    device = spec.device if spec.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    try:
        model, told = AutoModelForCausalLM.from_pretrained(
            located.folder,
            dtype=getattr(torch, spec.dtype),
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        if told["missing_keys"]:
            raise ValueError(f"its weights lack {min(told['missing_keys'])}")
        model = model.to(device).eval().requires_grad_(False)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, AssertionError, MemoryError) as error:
        raise CellError(f"base model {spec.key!r} cannot be loaded on {device}: {_why(error)}") from error
    return model


def _why(error: Exception) -> str:
    """Why transformers cannot load something, for quoting inside a sentence."""
    if "custom code" in str(error):
        return "it needs code of its own, which is never run; choose one whose architecture transformers has itself"
    return one_line(error)
