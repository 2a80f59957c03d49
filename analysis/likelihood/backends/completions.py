"""A base model behind an endpoint: OpenAI-compatible `/v1/completions` with `echo` and `logprobs`, as vLLM serves it.

Without a tokenizer in the study texts are sent and the endpoint tokenises them. With one, tokens are sent, and all that
the local backend does is done: what looks like a special token in a text stays text, prompts are cut to the window, and
log p(response) is of the same tokens.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from analysis.errors import CellError
from analysis.hub import Origin
from analysis.likelihood import model
from analysis.likelihood.backends import Result, Tokens, Workers
from analysis.likelihood.encoding import Encoded, Encoder
from analysis.likelihood.endpoints.client import GENERATED, TOO_LONG, Answer, Client, is_too_long
from analysis.likelihood.endpoints.connection import Refused
from analysis.likelihood.endpoints.echo import Sent, locate
from analysis.likelihood.model import Located, locate_tokenizer, tokenizer_of, tokenizer_sha256
from analysis.likelihood.request import Block, Job, Reader, Text, prefixes_of, provenance
from analysis.study import UNKNOWN, BaseModelSpec, Study

if TYPE_CHECKING:
    from analysis.likelihood.scorer import Batch

SHARD_TOKENS = 262_144
# Of the tokenizer an endpoint has nothing is known; those of today take about four bytes of English a token.
BYTES_A_TOKEN = 4
TOKENISED_THERE = "endpoint"
# Requests that are on their way or answered and not taken yet, for each that the endpoint works on.
AHEAD = 4


def keys() -> frozenset[str]:
    """What a base model behind an endpoint goes by."""
    further = {"tokenizer", "context_window", "concurrency", "requests_per_minute", "dollars_per_million_tokens"}
    return frozenset({"endpoint", "api_key_env", *further})


def check(spec: BaseModelSpec, study: Study) -> None:
    """Check the address, and that only an endpoint that is sent tokens is asked for what needs them.

    Raises
    ------
    ValueError
        If something is missing.
    """
    parts = urlsplit(spec.endpoint or "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError('needs endpoint = "http://…/v1", the address before /completions')
    if parts.username or parts.password or parts.query:
        raise ValueError(f"its endpoint holds a key; put it into the environment variable {spec.api_key_env} instead")
    if spec.tokenizer is None:
        needs = {
            "its context_window is in tokens": spec.context_window is not None,
            'template = "chat" is the tokenizer\'s': study.template == "chat",
            'long_responses = "cut" cuts at tokens': study.long_responses == "cut",
            "the likelihood of responses without their prompts (mean_pmi, bt_fluency) is of the same tokens": (
                study.needs_unconditional
            ),
        }
        if reason := next((reason for reason, needed in needs.items() if needed), None):
            raise ValueError(f"{reason}, so it needs tokenizer = a Hub id or a folder")


def origin_of(spec: BaseModelSpec) -> Origin:
    """The name that the endpoint has for the base model, and what it says of the revision, else `unknown`.

    Raises
    ------
    CellError
        If the endpoint cannot be asked, or does not serve the base model.
    """
    return Origin(spec.name, Client(spec).served().revision)


def ready(spec: BaseModelSpec, study: Study, origin: Origin, weights: bool, workers: Workers | None) -> "Endpoint":
    """The endpoint.

    Raises
    ------
    CellError
        If it cannot be asked, or the tokenizer cannot be had.
    """
    client = Client(spec)
    reading: _Reading = _Texts(study) if spec.tokenizer is None else _Tokens(spec, study, client.served().window)
    return Endpoint(spec, study, origin, client, reading)


class _Texts:
    """Texts are sent as they are; what the endpoint makes of them is found in its echo."""

    needed = (True,)
    tokenizer, window = TOKENISED_THERE, None

    def __init__(self, study: Study) -> None:
        self.template, self.ends = study.template, study.token_logprobs

    def jobs(self, block: Block) -> list[Job[Sent]]:
        prefixes = prefixes_of(block, self.template)
        return [Job(t, True, Sent(prefixes[t], block.texts[t]["response"])) for t in sorted(prefixes)]

    def n_tokens(self, job: Job[Sent]) -> int:
        return len(job.encoded.text.encode()) // BYTES_A_TOKEN + 1

    def ask(self, client: Client, job: Job[Sent]) -> tuple[Text | str, Answer]:
        answer = client.ask(job.encoded.text)
        return locate(job.encoded, answer.tokens, self.ends), answer


class _Tokens:
    """Tokens are sent, made as the local backend makes them; the endpoint says which ones it read."""

    def __init__(self, spec: BaseModelSpec, study: Study, served: int | None) -> None:
        asked = spec.model_copy(update={"name": spec.tokenizer, "endpoint": None})
        tokenizer = tokenizer_of(locate_tokenizer(asked, model.origin_of(asked)))
        self.tokenizer, self.window = tokenizer_sha256(tokenizer), _window(spec, served)
        chat = study.template == "chat"
        encoder = Encoder(tokenizer, self.window, study.long_responses, chat, ends=study.token_logprobs)
        self.needed = (True,) + (False,) * study.needs_unconditional
        self.jobs = Reader(encoder, tokenizer, study.template, self.needed).jobs

    def n_tokens(self, job: Job[Encoded]) -> int:
        return len(job.encoded.ids)

    def ask(self, client: Client, job: Job[Encoded]) -> tuple[Text | str, Answer]:
        answer = client.ask(job.encoded.ids)
        if not all(token.startswith("token_id:") for token in answer.tokens):
            raise CellError(
                f"endpoint {client.spec.endpoint} does not say which tokens it read (vLLM does), so they cannot be "
                "checked; leave tokenizer out, and it is sent texts"
            )
        if answer.tokens != tuple(f"token_id:{i}" for i in job.encoded.ids):
            raise client.broken("the tokens it read are not those that were sent")
        return job.encoded, answer


_Reading = _Texts | _Tokens


def _window(spec: BaseModelSpec, served: int | None) -> int | None:
    """The longest text in tokens but the last, which the local backend does not read; an endpoint makes one more."""
    largest = None if served is None else served - 1 - GENERATED
    if spec.context_window is not None and largest is not None and spec.context_window > largest:
        raise CellError(
            f"endpoint {spec.endpoint} reads {served:,} tokens, one that it generates among them, and the study asks "
            f"for context_window = {spec.context_window:,}; the largest is {largest:,}"
        )
    return spec.context_window if spec.context_window is not None else largest


class Endpoint:
    """A `Backend` that asks a server, several texts at a time."""

    def __init__(self, spec: BaseModelSpec, study: Study, origin: Origin, client: Client, reading: _Reading) -> None:
        self.spec, self.client, self.reading = spec, client, reading
        self.located = Located(origin.location, Path(), origin.revision, 0)
        self.needed: Sequence[bool] = reading.needed
        self.device, self.note, self.shard_tokens = str(spec.endpoint), "", SHARD_TOKENS
        self.columns = provenance(
            base_model=origin.location,
            revision=origin.revision,
            tokenizer=reading.tokenizer,
            window=reading.window,
            dtype=UNKNOWN,
            backend=spec.backend,
            study=study,
            endpoint=str(spec.endpoint),
        )

    def jobs(self, block: Block) -> list[Job[Any]]:
        """Every likelihood a block asks for, in the order of ids."""
        return self.reading.jobs(block)

    def n_tokens(self, jobs: Sequence[Job[Any]], block: Block) -> Tokens:
        """A prompt is read once for each of its responses."""
        read = sum(self.reading.n_tokens(job) for job in jobs)
        return Tokens(read, read)

    def batches(self, jobs: Sequence[Job[Any]]) -> "list[Batch]":
        """Each text by itself: what becomes of one concerns no other."""
        from analysis.likelihood.scorer import Batch

        return [Batch((i,), self.reading.n_tokens(job)) for i, job in enumerate(jobs)]

    def score_all(self, jobs: Sequence[Job[Any]], chosen: "Sequence[Batch]") -> Iterator[list[Result]]:
        """The results of every text, in their order."""
        waiting: deque[Future[Result]] = deque()
        pool = ThreadPoolExecutor(self.spec.concurrency)
        try:
            for (i,) in (batch.texts for batch in chosen):
                waiting.append(pool.submit(self._score, i, jobs[i]))
                if len(waiting) >= AHEAD * self.spec.concurrency:
                    yield [waiting.popleft().result()]
            while waiting:
                yield [waiting.popleft().result()]
        finally:
            pool.shutdown(cancel_futures=True)

    def _score(self, index: int, job: Job[Any]) -> Result:
        from analysis.likelihood.forward import Likelihood

        try:
            text, answer = self.reading.ask(self.client, job)
        except Refused as refused:
            if is_too_long(refused):
                return Result(index, None, TOO_LONG, 0)
            raise CellError(
                f"endpoint {self.spec.endpoint} refuses what base model {self.spec.key!r} is asked for: {refused}"
            ) from refused
        if isinstance(text, str):
            return Result(index, None, text, len(answer.tokens))
        values = np.array(answer.logprobs[text.start :], np.float64)
        made = Likelihood(math.fsum(values), None, values.astype(np.float32))
        return Result(index, text, made, len(answer.tokens))
