"""One base model at work on the blocks of a dataset: what is missing is scored, in shards, and counted."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.errors import CellError
from analysis.hub import Origin
from analysis.likelihood import backends
from analysis.likelihood.backends import Result, Workers
from analysis.likelihood.request import Block, Job
from analysis.likelihood.store import Key, Store, score_row, token_row
from analysis.outputs import Outputs
from analysis.study import BaseModelSpec, Study

if TYPE_CHECKING:
    from analysis.likelihood.model import Located
    from analysis.likelihood.scorer import Batch

# Where a shard takes longer, it is committed in pieces of whole batches, which changes no arithmetic.
LONGEST_SHARD_S = 20.0
# Memorised, by (n, p)-discoverable extraction (Hayes et al. 2024, arXiv 2410.19482): a text of so many tokens that the
# base model writes word for word at least once in so many tries.
MEMORISED_TOKENS, MEMORISED_TRIES = 50, 1_000
NOT_FINITE = "the base model returned no finite likelihood"
_FACTS = ("device", "truncated", "n_response_tokens_cut", "straddles", "sum_logprob", "n_tokens")


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

    def __init__(
        self,
        spec: BaseModelSpec,
        study: Study,
        outputs: Outputs,
        origin: Origin | None = None,
        workers: Workers | None = None,
    ) -> None:
        self.spec, self.counts = spec, Counts()
        self.backend = backends.ready(spec, study, origin, workers=workers)
        self.stores = stores_of(study, outputs, self.scoring_id)

    @property
    def located(self) -> "Located":
        """Where the base model is."""
        return self.backend.located

    @property
    def scoring_id(self) -> str:
        """Hash of all that decides a score but the text."""
        return str(self.backend.columns["scoring_id"])

    def run(self, block: Block) -> Iterator[float]:
        """Score what is missing of a block; gives, now and then, the share of this work that is done."""
        self.counts.n_responses += len(block.responses)
        found = {name: store.adopt(block, _FACTS if name == "scores" else ()) for name, store in self.stores.items()}
        for (text_id, conditional), row in found["scores"].items():
            if conditional:
                self.counts.add(row, len(block.ids[text_id]))
        stored = {name: set(rows) for name, rows in found.items()}
        done = set.intersection(*stored.values())
        if any((text_id, c) not in done for text_id in block.ids for c in self.backend.needed):
            jobs = self.backend.jobs(block)
            requests = [part for part in _requests(jobs, block) if any(job.key not in done for job in part)]
            for number, part in enumerate(requests):
                for share in self._score(block, part, stored):
                    yield (number + share) / len(requests)

    def _score(self, block: Block, jobs: Sequence[Job[Any]], stored: dict[str, set[Key]]) -> Iterator[float]:
        done = set.intersection(*stored.values())
        # A batch is always run as a whole: what is stored already must not change the arithmetic of the rest.
        shards = [
            [b for b in shard if any(jobs[i].key not in done for i in b.texts)]
            for shard in _shards(self.backend.batches(jobs), self.backend.shard_tokens)
        ]
        chosen = [batch for shard in shards for batch in shard]
        total, n_planned, n_read = sum(batch.n_tokens for batch in chosen), 0, 0
        results = self.backend.score_all(jobs, chosen)
        scored_now: set[str] = set()
        for shard in shards:
            rows: dict[str, list[dict[str, Any]]] = {name: [] for name in self.stores}
            began = time.monotonic()
            try:
                for batch, found in zip(shard, results, strict=False):
                    for result in found:
                        job = jobs[result.job]
                        if job.key not in done and self._keep(block, job, result, stored, rows):
                            scored_now.add(job.text_id)
                    n_planned += batch.n_tokens
                    counted = [result.n_tokens for result in found if result.n_tokens is not None]
                    n_read += sum(counted) if counted else batch.n_tokens
                    if time.monotonic() - began > LONGEST_SHARD_S:
                        self._write(rows)
                        began = time.monotonic()
                    yield n_planned / total
            except CellError:
                # What came before an endpoint's failure has been paid.
                self._write(rows)
                raise
            self._write(rows)
        self.counts.n_tokens_now += n_read
        self.counts.n_scored_now += sum(len(block.ids[t]) for t in scored_now - block.unscorable.keys())

    def _write(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        """Commit rows to their tables, and start anew."""
        for name, store in self.stores.items():
            store.write(rows[name])
            rows[name] = []

    def _keep(
        self,
        block: Block,
        job: Job[Any],
        result: Result,
        stored: dict[str, set[Key]],
        rows: dict[str, list[dict[str, Any]]],
    ) -> bool:
        """Put what was computed into the rows of the tables that do not have it; False where it is no number."""
        text, made = result.text, result.found
        if text is None or isinstance(made, str):
            block.fail(job.text_id, job.conditional, str(made))
            return False
        if not (np.isfinite(made.sum_logprob) and (made.mean_entropy is None or np.isfinite(made.mean_entropy))):
            block.fail(job.text_id, job.conditional, NOT_FINITE)
            return False
        ids, prompt_id = block.ids[job.text_id], block.texts[job.text_id]["prompt_id"]
        if "token_logprobs" in rows and job.key not in stored["token_logprobs"]:
            row = {**token_row(job, text, made), "prompt_id": prompt_id, "scoring_id": self.scoring_id}
            rows["token_logprobs"] += [{**row, "response_id": response_id} for response_id in ids]
        if job.key not in stored["scores"]:
            row = {**self.backend.columns, **score_row(job, text, made), "prompt_id": prompt_id}
            row["device"] = self.backend.device
            rows["scores"] += [{**row, "response_id": response_id} for response_id in ids]
            if job.conditional:
                self.counts.add(row, len(ids))
        return True


def _requests(jobs: Sequence[Job[Any]], block: Block) -> list[list[Job[Any]]]:
    """The jobs, apart by the fetch that added their texts.

    Each part is planned by itself: the texts by which a dataset grew share no batch with those that have scores, which
    would all be computed again.
    """
    found: dict[str, list[Job[Any]]] = {}
    for job in jobs:
        found.setdefault(block.files[job.text_id], []).append(job)
    return [found[name] for name in sorted(found)]


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
