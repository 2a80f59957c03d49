"""One base model at work on the blocks of a dataset: what is missing is scored, in shards, and counted."""

import gc
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from analysis.errors import CellError, one_line
from analysis.hub import Origin
from analysis.ids import content_id
from analysis.likelihood import SCORER_VERSION
from analysis.likelihood.encoding import Encoder, LongResponses
from analysis.likelihood.model import Located, load, locate, tokenizer_of, tokenizer_sha256, window_of
from analysis.likelihood.request import Block, Job, Reader
from analysis.likelihood.store import Key, Store, score_row, token_row
from analysis.outputs import Outputs
from analysis.study import BaseModelSpec, Study

if TYPE_CHECKING:
    from analysis.likelihood.forward import Likelihood
    from analysis.likelihood.scorer import Batch, Scorer

# What a shard costs, in floating-point operations of its matrix products: well under a minute on one or two cores.
SHARD_FLOP = 6e12
SHARD_TOKENS = 2_048, 262_144
GPU_SHARD_TOKENS = 262_144
# Where a shard takes longer all the same, it is committed in pieces of whole batches, which changes no arithmetic.
LONGEST_SHARD_S = 20.0
# Memorised, by (n, p)-discoverable extraction (Hayes et al. 2024, arXiv 2410.19482): a text of so many tokens that the
# base model writes word for word at least once in so many tries.
MEMORISED_TOKENS, MEMORISED_TRIES = 50, 1_000
NOT_FINITE = "the base model returned no finite likelihood"
_FACTS = ("device", "truncated", "n_response_tokens_cut", "straddles", "sum_logprob", "n_tokens")


@lru_cache(maxsize=1)
def _scorer(located: Located, spec: BaseModelSpec) -> "Scorer":
    from analysis.likelihood.scorer import Scorer

    # The one before goes first: two need not fit in memory. It and what stands in for its layers hold each other.
    if _scorer.cache_info().currsize:
        _scorer.cache_clear()
        gc.collect()
    model = load(located, spec)
    try:
        return Scorer(model, spec.batch_tokens)
    except (RuntimeError, MemoryError) as error:
        raise CellError(f"base model {spec.key!r} cannot be run on {model.device}: {one_line(error)}") from error


@dataclass
class Counts:
    """What is counted while the blocks go by, in responses (and tokens)."""

    n_responses: int = 0
    n_scored: int = 0
    n_scored_now: int = 0
    n_tokens_now: int = 0
    n_truncated: int = 0
    n_cut: int = 0
    n_straddling: int = 0
    n_memorised: int = 0
    devices: set[str] = field(default_factory=set)

    def add(self, row: dict[str, Any], n: int) -> None:
        """Count a conditional row of `scores` that stands for `n` responses."""
        self.devices.add(row["device"])
        self.n_scored += n
        self.n_truncated += n * row["truncated"]
        self.n_cut += n * (row["n_response_tokens_cut"] > 0)
        self.n_straddling += n * row["straddles"]
        certain = row["n_tokens"] >= MEMORISED_TOKENS and row["sum_logprob"] >= -np.log(MEMORISED_TRIES)
        self.n_memorised += n * bool(certain)


class Reading(Protocol):
    """What a study says of how texts are read."""

    @property
    def template(self) -> str:
        """How prompt and response are joined."""

    @property
    def long_responses(self) -> LongResponses:
        """What is done to responses beyond the window."""

    @property
    def token_logprobs(self) -> bool:
        """Whether it is to be known where tokens end."""

    @property
    def needs_unconditional(self) -> bool:
        """Whether log p(response) is to be scored, too."""


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
    constant = _provenance(spec, located, tokenizer_sha256(tokenizer), window, study)
    return Reader(encoder, tokenizer, study.template, needed), constant


def stores_of(study: Study, outputs: Outputs, scoring_id: str) -> dict[str, Store]:
    """The tables that a study's scoring goes to; scores come last: a text that has one is looked at no more."""
    names = ("token_logprobs", "scores") if study.token_logprobs else ("scores",)
    return {name: Store(name, outputs, scoring_id) for name in names}


class Scoring:
    """A base model with all that decides its scores, and what has been scored.

    Raises
    ------
    CellError
        If the base model cannot be had or cannot score this template.
    """

    def __init__(self, spec: BaseModelSpec, study: Study, outputs: Outputs, origin: Origin | None = None) -> None:
        self.spec, self.counts, self.why_padded = spec, Counts(), ""
        self.located = locate(spec, origin)
        self.reader, self.constant = reader_of(spec, study, self.located)
        self.stores = stores_of(study, outputs, self.scoring_id)

    @property
    def scoring_id(self) -> str:
        """Hash of all that decides a score but the text."""
        return str(self.constant["scoring_id"])

    def run(self, block: Block) -> Iterator[float]:
        """Score what is missing of a block; gives, now and then, the share of this work that is done."""
        self.counts.n_responses += len(block.responses)
        found = {name: store.adopt(block, _FACTS if name == "scores" else ()) for name, store in self.stores.items()}
        for (text_id, conditional), row in found["scores"].items():
            if conditional:
                self.counts.add(row, len(block.ids[text_id]))
        stored = {name: set(rows) for name, rows in found.items()}
        done = set.intersection(*stored.values())
        if any((text_id, c) not in done for text_id in block.ids for c in self.reader.needed):
            jobs = self.reader.jobs(block)
            requests = [part for part in _requests(jobs, block) if any(job.key not in done for job in part)]
            for number, part in enumerate(requests):
                for share in self._score(block, part, stored):
                    yield (number + share) / len(requests)

    def _score(self, block: Block, jobs: Sequence[Job], stored: dict[str, set[Key]]) -> Iterator[float]:
        scorer = _scorer(self.located, self.spec)
        self.why_padded = scorer.why_padded
        texts, done = [job.encoded for job in jobs], set.intersection(*stored.values())
        size = _shard_tokens(self.located.n_parameters, scorer.device)
        # A batch is always run as a whole: what is stored already must not change the arithmetic of the rest.
        shards = [
            [b for b in shard if any(jobs[i].key not in done for i in b.texts)]
            for shard in _shards(scorer.batches(texts), size)
        ]
        chosen = [batch for shard in shards for batch in shard]
        total, n_tokens = sum(batch.n_tokens for batch in chosen), 0
        results = scorer.score_all(texts, chosen)
        scored_now: set[str] = set()
        for shard in shards:
            rows: dict[str, list[dict[str, Any]]] = {name: [] for name in self.stores}
            began = time.monotonic()
            for batch, found in zip(shard, results, strict=False):
                for i, made in found:
                    if jobs[i].key not in done and self._keep(block, jobs[i], made, scorer.device, stored, rows):
                        scored_now.add(jobs[i].text_id)
                n_tokens += batch.n_tokens
                if time.monotonic() - began > LONGEST_SHARD_S:
                    self._write(rows)
                    began = time.monotonic()
                yield n_tokens / total
            self._write(rows)
        self.counts.n_tokens_now += n_tokens
        self.counts.n_scored_now += sum(len(block.ids[t]) for t in scored_now - block.unscorable.keys())

    def _write(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        """Commit rows to their tables, and start anew."""
        for name, store in self.stores.items():
            store.write(rows[name])
            rows[name] = []

    def _keep(
        self,
        block: Block,
        job: Job,
        made: "Likelihood",
        device: str,
        stored: dict[str, set[Key]],
        rows: dict[str, list[dict[str, Any]]],
    ) -> bool:
        """Put what was computed into the rows of the tables that do not have it; False where it is no number."""
        if not (np.isfinite(made.sum_logprob) and np.isfinite(made.mean_entropy)):
            block.fail(job.text_id, job.conditional, NOT_FINITE)
            return False
        ids, prompt_id = block.ids[job.text_id], block.texts[job.text_id]["prompt_id"]
        if "token_logprobs" in rows and job.key not in stored["token_logprobs"]:
            row = {**token_row(job, made), "prompt_id": prompt_id, "scoring_id": self.scoring_id}
            rows["token_logprobs"] += [{**row, "response_id": response_id} for response_id in ids]
        if job.key not in stored["scores"]:
            row = {**self.constant, **score_row(job, made), "prompt_id": prompt_id, "device": device}
            rows["scores"] += [{**row, "response_id": response_id} for response_id in ids]
            if job.conditional:
                self.counts.add(row, len(ids))
        return True


def _provenance(
    spec: BaseModelSpec, located: Located, tokenizer: str, window: int | None, study: Reading
) -> dict[str, Any]:
    decides = {
        "base_model": located.name,
        "revision": located.revision,
        "tokenizer": tokenizer,
        "template": study.template,
        "context_window": window,
        "long_responses": study.long_responses,
        "dtype": spec.dtype,
        "backend": spec.backend,
        "scorer_version": SCORER_VERSION,
    }
    return {"scoring_id": content_id(*(f"{k}={v}" for k, v in decides.items())), **decides}


def _requests(jobs: Sequence[Job], block: Block) -> list[list[Job]]:
    """The jobs, apart by the fetch that added their texts.

    Each part is planned by itself: the texts by which a dataset grew share no batch with those that have scores, which
    would all be computed again.
    """
    found: dict[str, list[Job]] = {}
    for job in jobs:
        found.setdefault(block.files[job.text_id], []).append(job)
    return [found[name] for name in sorted(found)]


def _shard_tokens(n_parameters: int, device: str) -> int:
    """How many tokens a shard holds: what is lost when a run is killed."""
    if device != "cpu":
        return GPU_SHARD_TOKENS
    least, most = SHARD_TOKENS
    return int(min(max(SHARD_FLOP / (2 * n_parameters), least), most))


def _shards(batches: Sequence["Batch"], n_tokens: int) -> list[list["Batch"]]:
    shards: list[list[Batch]] = []
    room = 0
    for batch in batches:
        if room <= 0:
            shards.append([])
            room = n_tokens
        shards[-1].append(batch)
        room -= batch.n_tokens
    return shards
