"""The fastest way of running a model that gives its own numbers: packed rows where they do, else padded batches."""

import math
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

from analysis.errors import CellError, one_line
from analysis.likelihood import attention, flex, memory
from analysis.likelihood.encoding import Encoded
from analysis.likelihood.forward import Likelihood, batches, head_rows, score_batch
from analysis.likelihood.linear import prepack, unpack
from analysis.likelihood.packed import Head, score_pack
from analysis.likelihood.packing import Group, Pack, packs

CPU_TOKENS, GPU_TOKENS = (512, 2048), 16_384
# What a batch may cost on a CPU, in floating-point operations: half a minute where two cores run two at a time.
BATCH_FLOP = 2e12
CPU_ATTENTION, GPU_ATTENTION = (attention.NAME,), (flex.NAME, attention.NAME)
WORKERS = 2
_CANNOT_RUN = (RuntimeError, ValueError, TypeError, LookupError, AttributeError)
_GROWING_ROPE = ("dynamic", "longrope")


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts that are run together, as indices, and how many tokens are read for them."""

    texts: tuple[int, ...]
    n_tokens: int
    pack: Pack | None = None


class Scorer:
    """A loaded model, ready to score.

    Whether packed rows give the model's own numbers is tried on a few made-up tokens; `why_padded` says why they are
    not used, and is empty where they are.

    Parameters
    ----------
    model
        A causal language model of `transformers` in evaluation mode. It is changed: its attention, and on a CPU the
        layout of its weights.
    budget
        Tokens a batch may hold; by default what suits the device and the model's size.
    """

    def __init__(self, model: Any, budget: int | None = None) -> None:
        self.model, self.device = model, model.device.type
        if self.device == "cpu":
            memory.bound()
        self.budget = budget or batch_tokens(sum(p.numel() for p in model.parameters()), self.device)
        trial = _trial(model)
        expected = [score_batch(model, self.device, [text])[0] for text in trial]
        self.why_padded = self._try_packed(trial, expected)
        packed = prepack(model, self.budget, head_rows(model.get_input_embeddings().weight.shape[0], self.device))
        # Some architectures use a layer's weights without calling it.
        if packed and not self._runs(trial, expected):
            unpack(packed)

    def _try_packed(self, trial: Sequence[Encoded], expected: Sequence[Likelihood]) -> str:
        """Have packed rows used, by the first kind of attention that gives the model's numbers; else say why not."""
        if self._grows:
            return "its positions depend on the length of the whole row"
        before = self.model.config._attn_implementation
        try:
            self.head = Head(self.model)
        except _CANNOT_RUN as error:
            return f"its head cannot be run alone ({one_line(error, 80)})"
        for name in CPU_ATTENTION if self.device == "cpu" else GPU_ATTENTION:
            reason = self._try_attention(name, trial, expected)
            if not reason:
                return ""
        self.model.set_attn_implementation(before)
        self.head.remove()
        return reason

    def _try_attention(self, name: str, trial: Sequence[Encoded], expected: Sequence[Likelihood]) -> str:
        try:
            self.model.set_attn_implementation(name)
            same = self._agrees(trial, expected, packed=True) and self._turns(trial)
            return "" if same else "packed rows change its numbers"
        except attention.NotPackable as error:
            return str(error)
        except _CANNOT_RUN as error:
            return f"it cannot run packed rows ({one_line(error, 80)})"

    @property
    def _grows(self) -> bool:
        """Whether the longest text of a run decides how the positions of all turn."""
        return any(kind in repr(getattr(self.model.config, "rope_parameters", "")) for kind in _GROWING_ROPE)

    def _runs(self, trial: Sequence[Encoded], expected: Sequence[Likelihood]) -> bool:
        try:
            return self._agrees(trial, expected)
        except _CANNOT_RUN:
            return False

    def _agrees(self, trial: Sequence[Encoded], expected: Sequence[Likelihood], packed: bool | None = None) -> bool:
        """Whether the model still gives the numbers of single texts; only rounding may differ."""
        used = not self.why_padded if packed is None else packed
        found = [(i, made) for batch in self._batches(trial, used) for i, made in self.score(trial, batch)]
        slack = (1e-3, 1e-4) if self.model.dtype is torch.float32 else (0.5, 0.05)
        return all(
            _same(made.sum_logprob, expected[i].sum_logprob, slack[0] + slack[1] * abs(expected[i].sum_logprob))
            for i, made in found
        )

    def _turns(self, trial: Sequence[Encoded]) -> bool:
        """Whether a packed row in another order gives the same numbers.

        In bfloat16, rounding hides from a comparison with single texts that a response reads its neighbours a little.
        Here the arithmetic is the same, so that whatever differs is found.
        """
        row = packs(trial, 10**6)[0]
        turned = Pack(tuple(Group(g.context, g.texts[::-1]) for g in row.groups[::-1]), row.n_tokens)
        one, other = (dict(score_pack(self.head, trial, pack)) for pack in (row, turned))
        slack = 1e-3 if self.model.dtype is torch.float32 else 1e-2
        return all(_same(one[i].sum_logprob, other[i].sum_logprob, slack) for i in one)

    def batches(self, texts: Sequence[Encoded]) -> list[Batch]:
        """A plan for all texts, the largest batches first."""
        return self._batches(texts, not self.why_padded)

    def _batches(self, texts: Sequence[Encoded], packed: bool) -> list[Batch]:
        if packed:
            return [
                Batch(tuple(i for g in p.groups for i in g.texts), p.n_tokens, p)
                for p in packs(texts, self.budget, WORKERS)
            ]
        order = sorted(range(len(texts)), key=lambda i: (-len(texts[i].ids), i))
        budget = 1 if self._grows else self.budget
        found = ([order[k] for k in part] for part in batches([texts[i] for i in order], budget))
        return [Batch(tuple(part), sum(len(texts[i].ids) - 1 for i in part)) for part in found]

    def score_all(
        self, texts: Sequence[Encoded], chosen: Sequence[Batch], entropy: bool = True
    ) -> Iterator[list[tuple[int, Likelihood]]]:
        """What `score` gives for every batch, in their order.

        On a CPU two batches are run at a time, with half of the threads each: the many small steps between the matrix
        products then wait for nobody (a third faster on two cores for a small model, as fast for a larger one).
        """
        threads = torch.get_num_threads()
        if self.device != "cpu" or self.why_padded or threads < WORKERS:
            yield from (self.score(texts, batch, entropy) for batch in chosen)
            return
        pool = ThreadPoolExecutor(WORKERS, initializer=torch.set_num_threads, initargs=(threads // WORKERS,))
        try:
            yield from pool.map(lambda batch: self.score(texts, batch, entropy), chosen)
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)

    def _score_pack(self, texts: Sequence[Encoded], pack: Pack, entropy: bool) -> list[tuple[int, Likelihood]]:
        found = score_pack(self.head, texts, pack, entropy)
        if self.model.config._attn_implementation == flex.NAME and len(found) > 1:
            # One kernel for the row multiplies what a token does not see by zero, and zero times NaN is NaN.
            for k, (i, made) in enumerate(found):
                if not math.isfinite(made.sum_logprob):
                    alone = Group(texts[i].ids[: texts[i].start], (i,))
                    found[k] = score_pack(self.head, texts, Pack((alone,), len(texts[i].ids) - 1), entropy)[0]
        return found

    def score(self, texts: Sequence[Encoded], batch: Batch, entropy: bool = True) -> list[tuple[int, Likelihood]]:
        """Log-likelihoods of the texts of one batch, each with its index in `texts`.

        Packed rows may leave the entropy out (NaN), for comparisons with scorers that have none.

        Raises
        ------
        CellError
            If memory does not suffice for a single text.
        """
        try:
            if batch.pack is not None:
                return self._score_pack(texts, batch.pack, entropy)
            made = score_batch(self.model, self.device, [texts[i] for i in batch.texts])
            return list(zip(batch.texts, made, strict=True))
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
            if len(batch.texts) == 1:
                raise CellError(
                    f"a text of {batch.n_tokens:,} tokens does not fit in memory: {one_line(error)}"
                ) from error
        half = len(batch.texts) // 2
        parts = [[texts[i] for i in part] for part in (batch.texts[:half], batch.texts[half:])]
        return [
            (batch.texts[k * half + i], made)
            for k, part in enumerate(parts)
            for smaller in self._batches(part, batch.pack is not None)
            for i, made in self.score(part, smaller, entropy)
        ]


def _out_of_memory(error: Exception) -> bool:
    """Whether memory did not suffice; on a CPU torch says so in words alone."""
    told = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "not enough memory" in told or "bad_alloc" in told


def _same(found: float, expected: float, slack: float) -> bool:
    """Whether two numbers agree; so do two that are not finite in the same way."""
    if math.isfinite(expected):
        return abs(found - expected) <= slack
    return found == expected or (math.isnan(found) and math.isnan(expected))


def batch_tokens(n_parameters: int, device: str) -> int:
    """Tokens a batch holds; fewer of a large model on a CPU, because what is lost when a run is killed is a batch."""
    if device != "cpu":
        return GPU_TOKENS
    least, most = CPU_TOKENS
    return int(min(max(BATCH_FLOP / (2 * n_parameters), least), most))


def _trial(model: Any) -> list[Encoded]:
    """Made-up texts: two contexts, one of them with several responses of different lengths."""
    dice, size = random.Random(0), model.get_input_embeddings().weight.shape[0]
    made = []
    for n_context, lengths in ((9, (5, 1, 7)), (1, (3,))):
        context = tuple(dice.randrange(size) for _ in range(n_context))
        for n in lengths:
            ids = context + tuple(dice.randrange(size) for _ in range(n))
            made.append(Encoded(ids, n_context, n_bytes=n, straddles=False, start_token="none"))
    return made
