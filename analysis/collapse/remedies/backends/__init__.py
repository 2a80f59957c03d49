"""Backends: who is asked. Each makes requests, asks them, and reads what came back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from analysis.collapse.remedies.methods import Decoding
from analysis.collapse.remedies.store import Request
from analysis.preferences.records import Message

Messages = tuple[Message, ...]


class Refused(Exception):
    """A request that is not answered as it is, in the words of who was asked; others may be."""


@dataclass(frozen=True)
class Reply:
    """One of an answer's completions.

    Attributes
    ----------
    text
        What was written; empty where nothing was.
    finish
        Why the model stopped: `stop`, `length`, …; None where that is not known.
    n_prompt_tokens, n_completion_tokens
        Tokens read and written; None where that is not known.
    entropy
        Mean entropy of the distributions it was drawn from, in nats a token; None where that is not known.
    """

    text: str
    finish: str | None
    n_prompt_tokens: int | None
    n_completion_tokens: int | None
    entropy: float | None = None


class Backend(Protocol):
    """A model that can be asked.

    Attributes
    ----------
    told
        What the model is: a commit and a device, or an endpoint.
    parameters
        How many it has, where that is known.
    concurrency
        Requests that may be asked at a time.
    most
        Completions of one prompt that one request may ask for.
    """

    told: str
    parameters: float | None
    concurrency: int
    most: int

    def request(self, messages: Messages, decoding: Decoding, n: int, number: int, seed: int) -> Request:
        """A request for `n` completions; `number` tells apart requests that are alike."""
        ...

    def ask(self, request: Request) -> str:
        """The answer, as JSON.

        Raises
        ------
        Refused
            If this request is not answered.
        CellError
            If none is.
        """
        ...

    def read(self, request: Request, answer: str) -> Sequence[Reply]:
        """The completions in an answer.

        Raises
        ------
        Refused
            If there are none that can be read.
        """
        ...

    def close(self) -> None:
        """Let go of connections and memory."""
        ...
