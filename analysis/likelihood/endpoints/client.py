"""Asking an endpoint how it reads texts: log-likelihoods of their tokens, checked before they are believed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from analysis.errors import CellError
from analysis.likelihood.endpoints.connection import Connection, Refused
from analysis.study import UNKNOWN, BaseModelSpec

# Some servers refuse to generate no token.
GENERATED = 1
LARGEST_LOGPROB = 1e-3
# vLLM writes −9999 for minus infinity, which JSON has no sign for.
CLAMPED = -9999.0
TOO_LONG = "the text is longer than the endpoint's context window"
_LENGTHS = ("context length", "context_length", "context window", "max_model_len", "maximum model length", "too long")


@dataclass(frozen=True, slots=True)
class Answer:
    """One text as an endpoint read it: its tokens, as the endpoint renders them, and their log-likelihoods (nats).

    That of a text's first token is NaN: nothing stands before it.
    """

    tokens: tuple[str, ...]
    logprobs: tuple[float, ...]


@dataclass(frozen=True)
class Served:
    """What an endpoint says of a base model: its revision, and its context window in tokens; what it does not say is
    `unknown`, and None.
    """

    revision: str
    window: int | None


class Client:
    """An endpoint, and the key to it, which is read from the environment and kept nowhere else.

    Parameters
    ----------
    spec
        The base model.

    Raises
    ------
    CellError
        If the client is not installed.
    """

    def __init__(self, spec: BaseModelSpec) -> None:
        self.spec = spec
        self._connection = Connection(
            str(spec.endpoint), spec.api_key_env, spec.requests_per_minute, "what was scored is kept"
        )

    def served(self) -> Served:
        """What the endpoint says of the base model.

        Raises
        ------
        CellError
            If it cannot be asked, or does not serve the base model.
        """
        with self._connection.explained(self.broken):
            try:
                models = list(self._connection.openai.models.list())
            except Refused:
                return Served(UNKNOWN, None)
        found = next((m for m in models if m.id == self.spec.name), None)
        if found is None:
            known = ", ".join(sorted(m.id for m in models)[:8]) or "none"
            raise CellError(f"endpoint {self.spec.endpoint} serves no model {self.spec.name}; it serves {known}")
        told = found.model_extra or {}
        window = told.get("max_model_len")
        return Served(str(told.get("revision") or UNKNOWN), window if isinstance(window, int) and window > 0 else None)

    def ask(self, text: str | Sequence[int]) -> Answer:
        """How an endpoint reads a text, or the tokens of one.

        Raises
        ------
        Refused
            If it will not read it, for its length for one.
        CellError
            If it cannot be asked, or what it answers is not whole.
        """
        self._connection.wait()
        # vLLM says then which tokens it read; others take no notice.
        further = {} if isinstance(text, str) else {"return_tokens_as_token_ids": True}
        with self._connection.explained(self.broken):
            made = self._connection.openai.completions.create(
                model=self.spec.name,
                prompt=text if isinstance(text, str) else list(text),
                echo=True,
                logprobs=1,
                max_tokens=GENERATED,
                temperature=0.0,
                extra_body=further,
            )
            return self._answer(made, text)

    def broken(self, what: str) -> CellError:
        """That what it answered is not whole."""
        return CellError(f"endpoint {self.spec.endpoint} gave a broken answer: {what}; nothing of it was kept")

    def _answer(self, made: Any, text: str | Sequence[int]) -> Answer:
        choices = getattr(made, "choices", None)
        if not isinstance(choices, list) or [getattr(choice, "index", None) for choice in choices] != [0]:
            raise self.broken("it is not the one completion that was asked for")
        told, usage = choices[0].logprobs, made.usage
        if told is None or told.tokens is None or told.token_logprobs is None:
            raise self._unable("no log-probabilities")
        if isinstance(text, str) and not str(choices[0].text).startswith(text):
            raise self.broken("the text it echoes is not the text that was sent")
        n_read, n_listed = getattr(usage, "prompt_tokens", None), len(told.tokens)
        if not isinstance(n_read, int):
            raise self.broken("it does not say how many tokens were read")
        if n_listed <= GENERATED < n_read:
            raise self._unable("log-probabilities of generated tokens only")
        offsets = told.text_offset or []
        if len(told.token_logprobs) != n_listed or (offsets and len(offsets) != n_listed):
            raise self.broken("its lists are of different lengths")
        if not n_read <= n_listed <= n_read + GENERATED:
            raise self.broken(f"it lists {n_listed:,} tokens where {n_read:,} were read")
        if any(b < a for a, b in pairwise(offsets)):
            raise self.broken("its tokens are out of order")
        return Answer(tuple(map(str, told.tokens[:n_read])), self._checked(told.token_logprobs[:n_read]))

    def _checked(self, found: Sequence[Any]) -> tuple[float, ...]:
        """Log-probabilities as numbers: NaN for the first token, which has none, and what is no number."""
        if any(not isinstance(value, int | float) for value in found[1:]):
            raise self.broken("a token has no log-probability")
        values = [math.nan, *map(float, found[1:])]
        if any(value > LARGEST_LOGPROB for value in values):
            raise self.broken("a log-probability is positive")
        return tuple(math.nan if value <= CLAMPED else value for value in values)

    def _unable(self, what: str) -> CellError:
        return CellError(
            f"endpoint {self.spec.endpoint} gives {what}, not those of the text it is sent (echo with logprobs), so it "
            "cannot score; vLLM does: vllm serve"
        )


def is_too_long(refused: Refused) -> bool:
    """Whether a text was refused for its length."""
    return any(word in str(refused).lower() for word in _LENGTHS)
