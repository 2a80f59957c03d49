"""Backends: what computes likelihoods. Each is one module of this folder, found by its name.

A module has four functions: `keys()`, the keys of a base model in a study that it goes by, and `check`, `origin_of` and
`ready`, which those of this module call.
"""

import pkgutil
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from analysis.hub import Origin
from analysis.likelihood.request import Block, Job, Text

if TYPE_CHECKING:
    from analysis.likelihood.forward import Likelihood
    from analysis.likelihood.model import Located
    from analysis.likelihood.scorer import Batch
    from analysis.study import BaseModelSpec, Study


# Keys of a base model whatever its backend.
COMMON = ("name", "label", "backend")


class Result(NamedTuple):
    """What became of a job: its index, and its tokens and their likelihood or the reason why there is none.

    `n_tokens` says how many tokens were read for it, where its batch only guesses that.
    """

    job: int
    text: Text | None
    found: "Likelihood | str"
    n_tokens: int | None = None


class Tokens(NamedTuple):
    """Tokens that texts take: to read them here, and to send each with its prompt to an endpoint, which bills them."""

    read: int
    sent: int


class Workers(Protocol):
    """Processes that work for a backend, on this machine or on others."""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], spec: "BaseModelSpec") -> Iterator[Any]:
        """What a function gives for each item, in their order.

        Raises
        ------
        CellError
            If the processes cannot be had, or die.
        """


class Backend(Protocol):
    """A base model that is ready to score.

    Attributes
    ----------
    located
        Where it is, its revision, and its parameters (0 where they are not known).
    needed
        Which likelihoods a study needs of every response: conditional or not.
    columns
        The columns of `scores` that are the same for every text, `scoring_id` among them.
    device, note, shard_tokens
        Known once `batches` was called: where it computes, for the record; what a user should know of how, mostly
        empty; how many tokens a shard holds, which is what is lost when a run is killed.
    """

    located: "Located"
    needed: Sequence[bool]
    columns: dict[str, Any]
    device: str
    note: str
    shard_tokens: int

    def jobs(self, block: Block) -> list[Job[Any]]:
        """Every likelihood a block asks for, in a fixed order; what cannot be scored is noted in the block."""

    def n_tokens(self, jobs: Sequence[Job[Any]], block: Block) -> Tokens:
        """About how many tokens they take."""

    def batches(self, jobs: Sequence[Job[Any]]) -> "list[Batch]":
        """A plan for all jobs: which are run together."""

    def score_all(self, jobs: Sequence[Job[Any]], chosen: "Sequence[Batch]") -> Iterator[list[Result]]:
        """The results of every batch, in the order of the batches.

        Raises
        ------
        CellError
            If the base model cannot be run, or what it gives cannot be trusted.
        """


def names() -> list[str]:
    """The backends there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def check(spec: "BaseModelSpec", study: "Study") -> None:
    """Check a base model as a study declares it.

    Raises
    ------
    ValueError
        If it has a key that is not its backend's, or the backend cannot do what the study asks.
    """
    module = _module(spec.backend)
    allowed = {*COMMON, *module.keys()}
    given = {name for name, field in type(spec).model_fields.items() if getattr(spec, name) != field.default}
    if foreign := sorted(given - allowed):
        raise ValueError(f"{foreign[0]} is no key of backend {spec.backend}; its keys are {', '.join(sorted(allowed))}")
    module.check(spec, study)


def origin_of(spec: "BaseModelSpec") -> Origin:
    """What a base model's revision stands for now.

    Raises
    ------
    CellError
        If it cannot be had.
    """
    origin: Origin = _module(spec.backend).origin_of(spec)
    return origin


def ready(
    spec: "BaseModelSpec",
    study: "Study",
    origin: Origin | None = None,
    weights: bool = True,
    workers: Workers | None = None,
) -> Backend:
    """The backend that a study declares for a base model.

    Parameters
    ----------
    spec, study
        The base model, and the study that has it score.
    origin
        What its revision stands for, where that is known already.
    weights
        Whether it is to score; otherwise it only counts, for which weights need not be pulled.
    workers
        Processes that work for it, if it needs some.

    Raises
    ------
    CellError
        If the base model cannot be had, or cannot do what the study asks.
    """
    made: Backend = _module(spec.backend).ready(spec, study, origin or origin_of(spec), weights, workers)
    return made


def _module(name: str) -> Any:
    return import_module(f"{__name__}.{name}")
