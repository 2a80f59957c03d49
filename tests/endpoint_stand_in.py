"""A small loopback stand-in for an OpenAI-compatible endpoint, which answers from a tiny base model.

`with endpoint_stand_in(folder) as endpoint:` serves the model `tiny` at `endpoint.url`. It reads texts as vLLM does:
its tokenizer puts BOS before them, BOS is listed by its name, offsets count that name, special tokens written in a text
are special. Faults may be asked for: one for each of the next requests, or one for all.
"""

import json
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

from analysis.likelihood.model import load, locate, tokenizer_of
from analysis.study import BaseModelSpec

NAME = "tiny"


@dataclass
class Endpoint:
    """What a stand-in serves, how, and what it was asked.

    Attributes
    ----------
    faults
        Names of what goes wrong, one for each of the next requests; `always` is for all.
    partial
        How tokens that end within a character are shown: `nothing`, `replacement`, `bytes`.
    window, revision
        What it says of the model: `max_model_len`, and `revision` if any.
    key
        The key it wants.
    says_ids
        Whether it can say which tokens it read.
    asked
        The bodies of all requests for completions, and how many were at work at a time.
    """

    folder: Path
    url: str = ""
    faults: deque[str] = field(default_factory=deque)
    always: str = ""
    partial: str = "nothing"
    window: int = 128
    revision: str | None = None
    key: str | None = None
    says_ids: bool = True
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        spec = BaseModelSpec(name=str(self.folder), device="cpu")
        located = locate(spec)
        self.model, self.tokenizer = load(located, spec), tokenizer_of(located)
        self.lock = threading.Lock()

    def models(self) -> dict[str, Any]:
        """What `/models` says."""
        told = {"id": NAME, "object": "model", "created": 0, "owned_by": "tests", "max_model_len": self.window}
        return {"object": "list", "data": [told | ({"revision": self.revision} if self.revision else {})]}

    def complete(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Read a text, or the tokens of one, and say the likelihood of each token."""
        assert (body["echo"], body["logprobs"], body["max_tokens"]) == (True, 1, 1)
        prompt = body["prompt"]
        ids = self.tokenizer(prompt)["input_ids"] if isinstance(prompt, str) else prompt
        if len(ids) + 1 > self.window:
            told = f"This model's maximum context length is {self.window} tokens. However, you requested {len(ids) + 1}"
            return 400, {"error": {"message": told, "type": "BadRequestError", "code": 400}}
        with self.lock, torch.inference_mode():
            logits = self.model(input_ids=torch.tensor([ids])).logits[0].float()
        made = int(logits[-1].argmax())
        spread = logits.log_softmax(-1)
        values = [None, *(float(spread[i, token]) for i, token in enumerate([*ids[1:], made]))]
        listed = [*ids, made]
        if body.get("return_tokens_as_token_ids") and self.says_ids:
            tokens = [f"token_id:{i}" for i in listed]
        else:
            tokens = self._shown(listed)
        text = prompt if isinstance(prompt, str) else self.tokenizer.decode(ids)
        logprobs = {
            "tokens": tokens,
            "token_logprobs": values,
            "text_offset": [0, *accumulate(map(len, tokens))][:-1],
            "top_logprobs": None,
        }
        choice = {
            "index": 0,
            "text": text + self.tokenizer.decode([made]),
            "logprobs": logprobs,
            "finish_reason": "length",
        }
        usage = {"prompt_tokens": len(ids), "completion_tokens": 1, "total_tokens": len(listed)}
        made_up = {"id": "cmpl-0", "object": "text_completion", "created": 0, "model": NAME}
        return 200, {**made_up, "choices": [choice], "usage": usage}

    def _shown(self, ids: list[int]) -> list[str]:
        pieces = [self._bytes(i) for i in ids]
        shown: list[str] = []
        pending = b""
        for piece in pieces:
            try:
                whole = (pending + piece).decode()
            except UnicodeDecodeError:
                whole = None
            if self.partial == "nothing":
                # A character is shown with the token that completes it.
                shown.append("" if whole is None else whole)
                pending = pending + piece if whole is None else b""
            else:
                shown.append(_alone(piece, self.partial))
        return shown

    def _bytes(self, token: int) -> bytes:
        name = self.tokenizer.convert_ids_to_tokens(token)
        if token in self.tokenizer.all_special_ids:
            return str(name).encode()
        return bytes(_BYTES[sign] for sign in name)


def _alone(piece: bytes, partial: str) -> str:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        if partial == "bytes":
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)
        return piece.decode(errors="replace")


def _alphabet() -> dict[str, int]:
    """The byte that each sign of a byte-level tokenizer's alphabet stands for."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + k): byte for k, byte in enumerate(others)}


_BYTES = _alphabet()


def _spoil(fault: str, answer: dict[str, Any]) -> None:  # noqa: PLR0912
    """Make an answer wrong."""
    choice = answer["choices"][0]
    told = choice["logprobs"]
    match fault:
        case "wrong index":
            choice["index"] = 1
        case "no choices":
            answer["choices"] = []
        case "two choices":
            answer["choices"] *= 2
        case "other echo":
            choice["text"] = choice["text"][1:]
        case "no logprobs":
            choice["logprobs"] = None
        case "generated only":
            choice["logprobs"] = {k: v and v[-1:] for k, v in told.items()}
        case "short lists":
            choice["logprobs"] = {k: v and v[:-4] for k, v in told.items()}
        case "unequal lists":
            told["token_logprobs"].pop()
        case "out of order":
            told["text_offset"].reverse()
        case "a null":
            told["token_logprobs"][3] = None
        case "positive":
            told["token_logprobs"][3] = 0.7
        case "nan":
            told["token_logprobs"][-2] = float("nan")
        case "clamped":
            told["token_logprobs"][-2] = -9999.0
        case "other tokens":
            told["tokens"][2:4] = ["another", "word"]
        case "no usage":
            del answer["usage"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    endpoint: Endpoint

    def do_GET(self) -> None:
        if self._may():
            self._send(200, self.endpoint.models())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._may():
            return
        endpoint = self.endpoint
        endpoint.asked.append(body)
        fault = endpoint.faults.popleft() if endpoint.faults else endpoint.always
        if fault.isdigit():
            self._send(int(fault), {"error": {"message": f"no luck today ({fault})"}}, {"Retry-After-Ms": "20"})
            return
        status, answer = endpoint.complete(body)
        if status == 200:
            _spoil(fault, answer)
        self._send(status, answer, cut=fault in ("cut", "no json"), honest=fault == "no json")

    def _may(self) -> bool:
        key = self.headers.get("Authorization", "")
        self.endpoint.keys.add(key)
        if self.endpoint.key is not None and key != f"Bearer {self.endpoint.key}":
            self._send(401, {"error": {"message": "who are you?"}})
            return False
        return True

    def _send(
        self, status: int, told: Any, headers: dict[str, str] | None = None, cut: bool = False, honest: bool = False
    ) -> None:
        data = json.dumps(told).encode()
        kept = data[: len(data) // 2] if cut else data
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(kept) if honest else len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(kept)
        if cut and not honest:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def endpoint_stand_in(folder: Path) -> Iterator[Endpoint]:
    """Serve a tiny base model (with byte-level tokens) for as long as the block runs."""
    endpoint = Endpoint(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"endpoint": endpoint}))
    endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
