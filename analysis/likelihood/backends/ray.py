"""The base model in the processes of a Ray cluster: the local backend's arithmetic, shard by shard, on many machines.

What sends shards to workers is handed in (`Workers`), so that nothing here knows of who orchestrates. Scores are
recorded as the local backend's: texts, rules and scorer are the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from analysis.errors import CellError
from analysis.hub import Origin
from analysis.likelihood import model
from analysis.likelihood.backends import Result, Workers, transformers
from analysis.likelihood.encoding import Encoded
from analysis.likelihood.model import Located, locate, locate_tokenizer
from analysis.likelihood.request import Block, Job
from analysis.study import BaseModelSpec, Study

if TYPE_CHECKING:
    from analysis.likelihood.forward import Likelihood
    from analysis.likelihood.scorer import Batch

# A block of comparisons has some hundred thousand tokens: it makes work for a dozen workers at a time.
SHARD_TOKENS = 32_768


class Shard(NamedTuple):
    """What a worker is sent: a base model and where it comes from, and texts."""

    spec: BaseModelSpec
    origin: Origin
    texts: tuple[Encoded, ...]


class Done(NamedTuple):
    """What a worker sends back: where it computed and how, and the likelihoods in the order of the texts."""

    device: str
    note: str
    n_parameters: int
    found: "list[Likelihood]"


# A base model of the workers comes from where one of this process does.
origin_of = transformers.origin_of


def keys() -> frozenset[str]:
    """Those of a base model in this process, where the cluster is, and what a worker gets of it."""
    return transformers.keys() | {"address", "cpus", "gpus"}


def check(spec: BaseModelSpec, study: Study) -> None:
    """Check that the address is one.

    Raises
    ------
    ValueError
        If it is not.
    """
    if spec.address not in ("local", "auto") and "://" not in spec.address and ":" not in spec.address:
        raise ValueError(f'its address is {spec.address!r}; allowed are local, auto and "ray://host:10001"')


def ready(spec: BaseModelSpec, study: Study, origin: Origin, weights: bool, workers: Workers | None) -> "OnCluster":
    """The base model, to be loaded by workers; here only its tokenizer is needed.

    Raises
    ------
    CellError
        If it cannot be had, or its tokenizer or configuration cannot do what the study asks.
    """
    return OnCluster(spec, study, origin, locate_tokenizer(spec, origin), workers)


class OnCluster(transformers.InProcess):
    """A `Backend` whose batches are shards, each run by whichever worker is free, again if that dies."""

    def __init__(
        self, spec: BaseModelSpec, study: Study, origin: Origin, located: Located, workers: Workers | None
    ) -> None:
        local = spec.model_copy(update={"backend": "transformers"})
        super().__init__(local, study, located)
        self.asked, self.origin, self.workers = spec, origin, workers
        # Each shard is committed when it is done.
        self.shard_tokens = 1
        self._prompts: dict[str, str] = {}

    def jobs(self, block: Block) -> list[Job[Encoded]]:
        """Every likelihood a block asks for, in the order of ids."""
        self._prompts = {text_id: row["prompt_id"] for text_id, row in block.texts.items()}
        return super().jobs(block)

    def batches(self, jobs: Sequence[Job[Encoded]]) -> "list[Batch]":
        """Shards of whole prompts, so that each prompt is read once."""
        from analysis.likelihood.scorer import Batch

        order = sorted(range(len(jobs)), key=lambda i: (not jobs[i].conditional, self._prompts[jobs[i].text_id], i))
        shards: list[list[int]] = [[]]
        room, before = SHARD_TOKENS, ""
        for i in order:
            prompt = self._prompts[jobs[i].text_id]
            if room <= 0 and prompt != before:
                shards.append([])
                room = SHARD_TOKENS
            shards[-1].append(i)
            room, before = room - len(jobs[i].encoded.ids), prompt
        return [Batch(tuple(shard), sum(len(jobs[i].encoded.ids) for i in shard)) for shard in shards if shard]

    def score_all(self, jobs: Sequence[Job[Encoded]], chosen: "Sequence[Batch]") -> Iterator[list[Result]]:
        """The results of every shard."""
        if self.workers is None:
            raise CellError(f"base model {self.asked.key!r} is for a Ray cluster, which only a run starts")
        shards = [Shard(self.spec, self.origin, tuple(jobs[i].encoded for i in batch.texts)) for batch in chosen]
        results = self.workers.map(score_shard, shards, self.asked)
        for batch, shard, done in zip(chosen, shards, results, strict=True):
            self.device, self.note = done.device, done.note
            self.located = replace(self.located, n_parameters=done.n_parameters)
            yield [Result(i, text, found) for i, text, found in zip(batch.texts, shard.texts, done.found, strict=True)]


def score_shard(shard: Shard) -> Done:
    """Score a shard, in a worker; the base model stays in its memory for the next one.

    Raises
    ------
    CellError
        If the base model cannot be had there, or is another.
    """
    located = _here(shard.spec, shard.origin)
    scorer = transformers.scorer_of(located, shard.spec)
    found: dict[int, Likelihood] = {}
    for part in scorer.score_all(shard.texts, scorer.batches(shard.texts)):
        found.update(part)
    note = f"in padded batches ({scorer.why_padded})" if scorer.why_padded else ""
    return Done(scorer.device, note, located.n_parameters, [found[i] for i in range(len(shard.texts))])


@lru_cache(maxsize=4)
def _here(spec: BaseModelSpec, origin: Origin) -> Located:
    """The base model's files on this machine."""
    if spec.is_folder and model.origin_of(spec).revision != origin.revision:
        raise CellError(f"base model {spec.key!r} is another on a worker: {spec.name} holds other files there")
    return locate(spec, origin)
