"""Base models that the tests of this folder share, and watchers of what is run."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from analysis.likelihood.backends import transformers as local
from analysis.likelihood.encoding import Encoded
from analysis.likelihood.model import load, locate, tokenizer_of, window_of
from analysis.likelihood.scorer import Batch, Scorer
from analysis.outputs import Outputs
from analysis.study import BaseModelSpec
from tests.tiny import tiny_model


class Loaded(NamedTuple):
    """A base model in memory, as it comes from its files, with its tokenizer and its context window.

    Tests share it: whoever makes a `Scorer`, which changes a model, makes it of a copy.
    """

    model: Any
    tokenizer: Any
    window: int | None


Watch = Callable[[Callable[[Sequence[Encoded], Batch], None]], None]
BASE_MODEL = Path(__file__).parents[2] / "data" / "base-model"


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small gain nothing from threads, and lose much by them where other work wants the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def no_model_in_memory() -> None:
    local.scorer_of.cache_clear()


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    return Outputs(tmp_path / "outputs")


@pytest.fixture
def no_scoring(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and from then on neither loading nor running a base model is allowed."""

    def forbid() -> None:
        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise AssertionError("the base model was used")

        local.scorer_of.cache_clear()
        monkeypatch.setattr(local, "load", refuse)
        monkeypatch.setattr(Scorer, "score", refuse)

    return forbid


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Call it with what is to be called before every batch of the stage (those of a scorer's own trial excepted)."""
    cached = local.scorer_of

    def start(before: Callable[[Sequence[Encoded], Batch], None]) -> None:
        def made(located: Any, spec: Any) -> Scorer:
            scorer = cached.__wrapped__(located, spec)
            run = scorer.score

            def score(texts: Sequence[Encoded], batch: Batch, entropy: bool = True) -> Any:
                before(texts, batch)
                return run(texts, batch, entropy)

            scorer.score = score
            return scorer

        made.cache_clear, made.cache_info = cached.cache_clear, cached.cache_info
        monkeypatch.setattr(local, "scorer_of", made)

    return start


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
def loaded(tiny_folder: Callable[..., Path]) -> Callable[..., Loaded]:
    """Tiny base models in memory, as the scorer loads them."""
    made: dict[Path, Loaded] = {}

    def read(**options: Any) -> Loaded:
        folder = tiny_folder(**options)
        if folder not in made:
            made[folder] = in_memory(folder)
        return made[folder]

    return read


@pytest.fixture(scope="session")
def base_model() -> Loaded:
    """The real base model of the repository, in float32."""
    return in_memory(BASE_MODEL)


def in_memory(folder: Path) -> Loaded:
    """Load a base model from its folder."""
    spec = BaseModelSpec(name=str(folder), device="cpu")
    located = locate(spec)
    return Loaded(load(located, spec), tokenizer_of(located), window_of(located, None))
