"""Models behind an OpenAI-compatible endpoint (`chat/completions`): vLLM, llama.cpp, Ollama and hosted ones.

The client is OpenAI's own. It asks again, after growing pauses or those that the endpoint names, where a request was
refused with 408, 409, 429 or 5xx or a connection broke. The key comes from the environment and is kept nowhere else.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from analysis.collapse.remedies.backends import Messages, Refused, Reply
from analysis.collapse.remedies.backends.pace import Pace
from analysis.collapse.remedies.methods import Decoding
from analysis.collapse.remedies.specs import ChatModel, Judge, endpoint_of
from analysis.collapse.remedies.store import Request
from analysis.errors import CellError, NetworkError, one_line

if TYPE_CHECKING:
    from openai import OpenAI

BACKEND = "chat"
RETRIES = 8
TIMEOUT_S = 600.0
# Keys of the interface itself; servers of one's own take the others beside them.
_STANDARD = ("temperature", "top_p")
_FURTHER = ("top_k", "min_p")
REFUSAL = "refusal"


class Chat:
    """An endpoint and the key to it.

    Raises
    ------
    StudyError
        If no endpoint is given.
    CellError
        If the client is not installed.
    """

    most = 1

    def __init__(self, spec: ChatModel | Judge) -> None:
        self.spec, self.endpoint = spec, endpoint_of(spec)
        self.concurrency = spec.concurrency
        self.parameters: float | None = getattr(spec, "parameters", None)
        self.told = f"{spec.name} at {self.endpoint}"
        self._pace = Pace(spec.requests_per_minute)
        self._openai = _client(self.endpoint, spec.api_key_env)

    def request(self, messages: Messages, decoding: Decoding, n: int, number: int, seed: int) -> Request:
        """A request for one completion."""
        steps = decoding.steps
        body = {
            "model": self.spec.name,
            "messages": [message._asdict() for message in messages],
            self.spec.token_limit: decoding.max_tokens,
            **{name: steps[name] for name in (*_STANDARD, *_FURTHER) if name in steps},
            **({"seed": seed} if getattr(self.spec, "seeded", False) else {}),
            **self.spec.extra,
        }
        return Request.of(BACKEND, self.spec.name, {"endpoint": self.endpoint, "body": body, "number": number})

    def ask(self, request: Request) -> str:
        """What the endpoint answers, to the letter."""
        body = dict(request.values["body"])
        further = {name: body.pop(name) for name in (*_FURTHER, *self.spec.extra) if name in body}
        self._pace.wait()
        with self._explained():
            answer = self._openai.chat.completions.with_raw_response.create(**body, extra_body=further).text
        self.read(request, answer)
        return str(answer)

    def read(self, request: Request, answer: str) -> list[Reply]:
        """The completion in an answer."""
        try:
            told = json.loads(answer)
            choice, usage = told["choices"][0], told.get("usage") or {}
            message, finish = choice["message"], choice.get("finish_reason")
            text = message.get("content") or ""
            if not isinstance(text, str):
                raise TypeError
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise Refused("what the endpoint answers is no chat completion") from error
        if not text and message.get("refusal"):
            finish = REFUSAL
        counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        n_read, n_written = (count if isinstance(count, int) else None for count in counts)
        return [Reply(text, finish if isinstance(finish, str) else None, n_read, n_written)]

    def close(self) -> None:
        """Close the connections."""
        self._openai.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        import openai

        where = f"endpoint {self.endpoint}"
        try:
            yield
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise CellError(
                f"{where} refuses the key: put yours into the environment variable {self.spec.api_key_env}"
            ) from error
        except openai.NotFoundError as error:
            raise CellError(f"{where} does not serve {self.spec.name}: {_words(error)}") from error
        except (openai.RateLimitError, openai.InternalServerError) as error:
            raise NetworkError(
                f"{where} is busy or out of order ({_words(error)}); run again: what was answered is kept"
            ) from error
        except openai.APIStatusError as error:
            raise Refused(f"the endpoint refuses the request: {_words(error)}") from error
        except openai.APIConnectionError as error:
            raise NetworkError(
                f"{where} cannot be reached ({one_line(_first(error))}); run again when it is up: what was answered is "
                "kept"
            ) from error
        except (openai.OpenAIError, ValueError) as error:
            raise Refused(f"what the endpoint answers cannot be read: {one_line(error, 80)}") from error


def _client(endpoint: str, variable: str) -> "OpenAI":
    try:
        from openai import OpenAI
    except ImportError as error:
        raise CellError(
            "asking an endpoint needs the client that is installed with: pip install 'typicality[endpoints]'"
        ) from error
    # The client insists on a key; a server of one's own needs none.
    key = os.environ.get(variable) or "none"
    return OpenAI(base_url=endpoint, api_key=key, organization="", max_retries=RETRIES, timeout=TIMEOUT_S)


def _words(error: Any) -> str:
    """What the endpoint says was wrong."""
    body: Any = error.body if isinstance(getattr(error, "body", None), dict) else {}
    told = body.get("message") or body.get("error") or body.get("detail") or error
    return one_line(ValueError(told), 200)


def _first(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
