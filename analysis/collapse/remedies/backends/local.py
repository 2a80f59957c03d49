"""Models of `transformers` on this machine."""

import json
from typing import Any

from analysis.collapse.remedies.backends import Messages, Refused, Reply
from analysis.collapse.remedies.methods import Decoding
from analysis.collapse.remedies.specs import LocalModel
from analysis.collapse.remedies.store import Request
from analysis.errors import CellError, one_line
from analysis.likelihood.encoding import Encoder
from analysis.likelihood.model import load, locate, tokenizer_of, tokenizer_sha256, window_of
from analysis.likelihood.templates import render

# Of what is drawn; raise it where the same request would be answered otherwise.
DRAWING_VERSION = 1
BACKEND = "transformers"


class Local:
    """A local model; it is loaded when the first request is asked that has no answer yet.

    Raises
    ------
    CellError
        If it cannot be had, or its tokenizer cannot be loaded.
    """

    concurrency = 1

    def __init__(self, spec: LocalModel) -> None:
        self.spec, self.most = spec, spec.batch
        self.located = locate(spec.spec)
        self.tokenizer = tokenizer_of(self.located)
        self.window = window_of(self.located, None)
        self.parameters: float | None = spec.parameters or self.located.n_parameters
        self.told = f"{self.located.name} at {self.located.revision}, {spec.dtype}"
        self._tokenizer_sha256 = tokenizer_sha256(self.tokenizer)
        self._encoder = Encoder(self.tokenizer, self.window, "exclude", chat=spec.template == "chat")
        self._model: Any = None

    def request(self, messages: Messages, decoding: Decoding, n: int, number: int, seed: int) -> Request:
        """A request; what decides the answer on one machine is in it."""
        try:
            prefix = render(self.spec.template, messages, self.tokenizer)
        except ValueError as error:
            raise CellError(f"the chat template of model {self.spec.key!r} refuses the messages: {error}") from error
        content = {
            "revision": self.located.revision,
            "tokenizer": self._tokenizer_sha256,
            "dtype": self.spec.dtype,
            "device": self.spec.device,
            "prefix": prefix,
            "decoding": decoding.steps,
            "n": n,
            "number": number,
            "seed": seed,
            "version": DRAWING_VERSION,
        }
        return Request.of(BACKEND, self.located.name, content)

    def ask(self, request: Request) -> str:
        """Draw the completions."""
        import torch

        from analysis.collapse.remedies.decoding import warper
        from analysis.collapse.sampling import draw

        values = request.values
        decoding = Decoding(**values["decoding"])
        context = self._context(values["prefix"])
        n_prefix = len(context)
        if self.window is not None and n_prefix + decoding.max_tokens > self.window:
            raise Refused(
                f"prompt and response ({n_prefix:,} + {decoding.max_tokens:,} tokens) exceed the window of "
                f"{self.window:,}"
            )
        model = self._loaded()
        random = torch.Generator(model.device)
        random.manual_seed(values["seed"])
        try:
            drawn = draw(
                model, self.tokenizer, context, values["n"], decoding.temperature or 1.0, decoding.max_tokens,
                random, warper(decoding),
            )  # fmt: skip
        except (RuntimeError, MemoryError) as error:
            raise CellError(f"model {self.spec.key!r} cannot be run on {model.device}: {one_line(error)}") from error
        choices = [
            {
                "text": one.text,
                "finish_reason": "stop" if one.ended else "length",
                "n_tokens": one.n_tokens,
                "entropy": one.entropy,
            }
            for one in drawn
        ]
        return json.dumps({"choices": choices, "n_prompt_tokens": n_prefix}, ensure_ascii=False)

    def read(self, request: Request, answer: str) -> list[Reply]:
        """The completions that were drawn."""
        told = json.loads(answer)
        return [
            Reply(c["text"], c["finish_reason"], told["n_prompt_tokens"], c["n_tokens"], c["entropy"])
            for c in told["choices"]
        ]

    def close(self) -> None:
        """Free the model's memory."""
        self._model = None

    def _context(self, prefix: str) -> tuple[int, ...]:
        """The tokens before a completion."""
        found = self._encoder.context(prefix)
        if isinstance(found, str):
            raise Refused(found)
        return found

    def _loaded(self) -> Any:
        if self._model is None:
            self._model = load(self.located, self.spec.spec)
        return self._model
