"""The base model in this process, by `transformers`: exact, and the reference of all others."""

import gc
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from analysis.errors import CellError, one_line
from analysis.hub import Origin
from analysis.likelihood import model
from analysis.likelihood.backends import Result, Tokens, Workers
from analysis.likelihood.encoding import Encoded, Encoder
from analysis.likelihood.model import (
    Located,
    load,
    locate,
    locate_tokenizer,
    tokenizer_of,
    tokenizer_sha256,
    window_of,
)
from analysis.likelihood.request import Block, Job, Reader, Reading, provenance
from analysis.study import BaseModelSpec, Study

if TYPE_CHECKING:
    from analysis.likelihood.scorer import Batch, Scorer

# What a shard costs, in floating-point operations of its matrix products: well under a minute on one or two cores.
SHARD_FLOP = 6e12
SHARD_TOKENS = 2_048, 262_144
GPU_SHARD_TOKENS = 262_144


def keys() -> frozenset[str]:
    """What a base model in this process goes by."""
    return frozenset({"revision", "dtype", "device", "context_window", "batch_tokens"})


def check(spec: BaseModelSpec, study: Study) -> None:
    """Every combination of these keys will do."""


def origin_of(spec: BaseModelSpec) -> Origin:
    """A commit of the Hub, or the SHA-256 of a folder's files.

    Raises
    ------
    CellError
        If it cannot be had.
    """
    return model.origin_of(spec)


def ready(spec: BaseModelSpec, study: Study, origin: Origin, weights: bool, workers: Workers | None) -> "InProcess":
    """The base model, to be loaded when there is something to score.

    Raises
    ------
    CellError
        If it cannot be had, or its tokenizer or configuration cannot do what the study asks.
    """
    return InProcess(spec, study, locate(spec, origin) if weights else locate_tokenizer(spec, origin))


def reader_of(spec: BaseModelSpec, study: Reading, located: Located) -> tuple[Reader, dict[str, Any]]:
    """What turns texts into what is to be scored, and the columns of `scores` that say under which model and how.

    Neither needs the base model's weights.

    Raises
    ------
    CellError
        If the tokenizer or the configuration cannot be read, or cannot do what the study asks.
    """
    tokenizer, window = tokenizer_of(located), window_of(located, spec.context_window)
    encoder = Encoder(tokenizer, window, study.long_responses, chat=study.template == "chat", ends=study.token_logprobs)
    needed = [True] + [False] * study.needs_unconditional
    columns = provenance(
        base_model=located.name,
        revision=located.revision,
        tokenizer=tokenizer_sha256(tokenizer),
        window=window,
        dtype=spec.dtype,
        backend=spec.backend,
        study=study,
    )
    return Reader(encoder, tokenizer, study.template, needed), columns


class InProcess:
    """A `Backend`: a model of `transformers` that is loaded when it is first needed, and stays for the next dataset."""

    def __init__(self, spec: BaseModelSpec, study: Study, located: Located) -> None:
        self.spec, self.located = spec, located
        self.reader, self.columns = reader_of(spec, study, located)
        self.needed = self.reader.needed
        self.device, self.note, self.shard_tokens = "", "", 0

    def jobs(self, block: Block) -> list[Job[Encoded]]:
        """Every likelihood a block asks for, in the order of ids."""
        return self.reader.jobs(block)

    def n_tokens(self, jobs: Sequence[Job[Encoded]], block: Block) -> Tokens:
        """A prompt's tokens are read once, for all of its responses."""
        prompts: dict[str, int] = {}
        for job in jobs:
            if job.conditional:
                key = block.texts[job.text_id]["prompt_id"]
                prompts[key] = max(prompts.get(key, 0), job.encoded.start)
        read = sum(job.encoded.n_tokens for job in jobs) + sum(prompts.values())
        return Tokens(read, sum(len(job.encoded.ids) for job in jobs))

    def batches(self, jobs: Sequence[Job[Encoded]]) -> "list[Batch]":
        """A plan for all texts, the largest batches first."""
        # It is not kept here: another base model may need its memory.
        scorer = scorer_of(self.located, self.spec)
        self.device = scorer.device
        self.note = f"in padded batches ({scorer.why_padded})" if scorer.why_padded else ""
        self.shard_tokens = shard_tokens(self.located.n_parameters, self.device)
        return scorer.batches([job.encoded for job in jobs])

    def score_all(self, jobs: Sequence[Job[Encoded]], chosen: "Sequence[Batch]") -> Iterator[list[Result]]:
        """The results of every batch."""
        texts = [job.encoded for job in jobs]
        for found in scorer_of(self.located, self.spec).score_all(texts, chosen):
            yield [Result(i, texts[i], made) for i, made in found]


@lru_cache(maxsize=1)
def scorer_of(located: Located, spec: BaseModelSpec) -> "Scorer":
    """A base model in memory; one at a time.

    Raises
    ------
    CellError
        If it cannot be loaded or run.
    """
    from analysis.likelihood.scorer import Scorer

    # The one before goes first: two need not fit in memory. It and what stands in for its layers hold each other.
    if scorer_of.cache_info().currsize:
        scorer_of.cache_clear()
        gc.collect()
    loaded = load(located, spec)
    try:
        return Scorer(loaded, spec.batch_tokens)
    except (RuntimeError, MemoryError) as error:
        raise CellError(f"base model {spec.key!r} cannot be run on {loaded.device}: {one_line(error)}") from error


def shard_tokens(n_parameters: int, device: str) -> int:
    """How many tokens a shard holds."""
    if device != "cpu":
        return GPU_SHARD_TOKENS
    least, most = SHARD_TOKENS
    return int(min(max(SHARD_FLOP / (2 * n_parameters), least), most))
