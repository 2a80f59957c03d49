"""Base models that the tests of this folder share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from analysis.likelihood.model import LoadedModel, load, locate, tokenizer_of
from analysis.study import BaseModelSpec
from tests.tiny import tiny_model

BASE_MODEL = Path(__file__).parents[2] / "data" / "base-model"


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small gain nothing from threads, and lose much by them where other work wants the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Folders of tiny base models; each set of options is made once. Tests must not write to them."""
    made: dict[Any, Path] = {}

    def folder(**options: Any) -> Path:
        key = tuple(sorted(options.items()))
        if key not in made:
            made[key] = tiny_model(tmp_path_factory.mktemp("tiny"), **options)
        return made[key]

    return folder


@pytest.fixture(scope="session")
def tokenizer(tiny_folder: Callable[..., Path]) -> Callable[..., Any]:
    """Tokenizers of tiny base models, as the scorer reads them from their folders."""
    made: dict[Path, Any] = {}

    def read(**options: Any) -> Any:
        folder = tiny_folder(**options)
        if folder not in made:
            made[folder] = tokenizer_of(locate(BaseModelSpec(name=str(folder))))
        return made[folder]

    return read


@pytest.fixture(scope="session")
def loaded(tiny_folder: Callable[..., Path]) -> Callable[..., LoadedModel]:
    """Tiny base models in memory, as the scorer loads them."""
    made: dict[Path, LoadedModel] = {}

    def read(**options: Any) -> LoadedModel:
        folder = tiny_folder(**options)
        if folder not in made:
            made[folder] = _load(folder)
        return made[folder]

    return read


@pytest.fixture(scope="session")
def base_model() -> LoadedModel:
    """The real base model of the repository, in float32."""
    return _load(BASE_MODEL)


def _load(folder: Path) -> LoadedModel:
    spec = BaseModelSpec(name=str(folder), device="cpu")
    return load(locate(spec), spec)
