"""Models behind an OpenAI-compatible endpoint (`chat/completions`): vLLM, llama.cpp, Ollama and hosted ones."""

import json

from analysis.collapse.remedies.backends import Messages, Refused, Reply
from analysis.collapse.remedies.methods import Decoding
from analysis.collapse.remedies.specs import ChatModel, Judge, endpoint_of
from analysis.collapse.remedies.store import Request
from analysis.errors import CellError
from analysis.likelihood.endpoints import connection
from analysis.likelihood.endpoints.connection import Connection

BACKEND = "chat"
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
        self._connection = Connection(
            self.endpoint, spec.api_key_env, spec.requests_per_minute, "what was answered is kept"
        )

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
        self._connection.wait()
        chat = self._connection.openai.chat.completions
        try:
            with self._connection.explained(_broken):
                answer = chat.with_raw_response.create(**body, extra_body=further).text
        except connection.NotFound as error:
            raise CellError(f"endpoint {self.endpoint} does not serve {self.spec.name}: {error}") from error
        except connection.Refused as error:
            raise Refused(f"the endpoint refuses the request: {error}") from error
        # What is no answer is not kept as one.
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
        self._connection.openai.close()


def _broken(what: str) -> Refused:
    return Refused(f"the endpoint gave a broken answer: {what}")
