"""A small loopback stand-in for an OpenAI-compatible endpoint that answers from a known distribution.

Asked directly, it collapses by construction: it draws from the distribution raised to a power. Asked for a list, it
gives the likeliest answers. Asked for responses with their probabilities, it draws from the distribution itself and
states the true probabilities. What it is asked is told from the wording, as a model would: nothing but the messages is
read. Answers come in all forms, and broken in all ways, as `forms` says; faults may be asked for.
"""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

Pair = tuple[str, float]


def as_json(pairs: Sequence[Pair]) -> str:
    return json.dumps({"responses": [{"text": text, "probability": p} for text, p in pairs]})


def as_fenced(pairs: Sequence[Pair]) -> str:
    return f"Here you are:\n```json\n{as_json(pairs)}\n```\nI hope that helps."


def as_tagged(pairs: Sequence[Pair]) -> str:
    return "\n".join(
        f"<response>\n<text>{text}</text>\n<probability>{p}</probability>\n</response>" for text, p in pairs
    )


def as_numbered(pairs: Sequence[Pair]) -> str:
    return "\n".join(f"{k}. {text} (probability: {p})" for k, (text, p) in enumerate(pairs, 1))


def as_percentages(pairs: Sequence[Pair]) -> str:
    return json.dumps({"responses": [{"text": text, "confidence": f"{100 * p:.4f} %"} for text, p in pairs]})


WHOLE: tuple[Callable[[Sequence[Pair]], str], ...] = (as_json, as_fenced, as_tagged, as_numbered, as_percentages)
BROKEN: dict[str, Callable[[Sequence[Pair]], str]] = {
    "cut": lambda pairs: as_json(pairs)[:-20],
    "empty": lambda pairs: "",
    "prose": lambda pairs: "I would rather not.",
    "short": lambda pairs: as_json(pairs[:-1]),
    "out of range": lambda pairs: as_json([(pairs[0][0], 1.5), *pairs[1:]]),
    "no number": lambda pairs: json.dumps({"responses": [{"text": t, "probability": "high"} for t, _ in pairs]}),
    "blank": lambda pairs: as_json([("  ", pairs[0][1]), *pairs[1:]]),
}


@dataclass
class Endpoint:
    """A stand-in while it serves.

    Attributes
    ----------
    distributions
        By prompt the answers with their probabilities.
    sharpness
        The power to which the distribution is raised where the endpoint is asked directly.
    forms
        How lists are written, one request after the other by its hash.
    faults
        Statuses to answer with before the first answer, one request each.
    key
        The key that it wants; any will do where it is None.
    bodies, keys
        What it was asked, and with which keys.
    """

    distributions: dict[str, dict[str, float]]
    sharpness: float = 4.0
    forms: Sequence[Callable[[Sequence[Pair]], str]] = WHOLE
    faults: list[int] = field(default_factory=list)
    key: str | None = None
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    url: str = ""
    dies_after: int | None = None

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """A chat completion."""
        asked = " ".join(m["content"] for m in body["messages"] if m["role"] == "user")
        told = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()
        random = np.random.default_rng(int.from_bytes(told[:8], "big"))
        if asked.startswith("Rate"):
            return self._completion(body, f"Score: {1 + told[0] % 10}")
        prompt = next(p for p in sorted(self.distributions, key=len, reverse=True) if p in asked)
        names, shares = zip(*self.distributions[prompt].items(), strict=True)
        p = np.array(shares) / sum(shares)
        wanted = re.search(r"(\d+) (?:different )?(?:more )?responses|the first (\d+)", asked)
        if asked.strip() == prompt or wanted is None:
            sharp = p**self.sharpness
            return self._completion(body, str(random.choice(names, p=sharp / sharp.sum())))
        k = int(wanted[1] or wanted[2])
        if "probability" not in asked and "confidence" not in asked:
            best = sorted(zip(names, p, strict=True), key=lambda pair: -pair[1])[:k]
            return self._completion(body, json.dumps({"responses": [name for name, _ in best]}))
        drawn = random.choice(len(p), k, p=p)
        form = self.forms[told[8] % len(self.forms)]
        unit = 100 if "per cent" in asked and form is not as_percentages else 1
        return self._completion(body, form([(names[i], unit * float(p[i])) for i in drawn]))

    @staticmethod
    def _completion(body: dict[str, Any], text: str) -> dict[str, Any]:
        n_read = sum(len(m["content"].split()) for m in body["messages"])
        return {
            "id": "made",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"},
            ],
            "usage": {"prompt_tokens": n_read, "completion_tokens": len(text.split()), "total_tokens": 0},
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    endpoint: Endpoint
    lock: threading.Lock

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        with self.lock:
            self.endpoint.keys.add(key)
            fault = self.endpoint.faults.pop(0) if self.endpoint.faults else None
            n = len(self.endpoint.bodies)
            if fault is None:
                self.endpoint.bodies.append(body)
        if self.endpoint.dies_after is not None and n >= self.endpoint.dies_after:
            self.close_connection = True
            return
        if self.endpoint.key not in (None, key):
            fault = 401
        if fault is not None:
            self._send(fault, {"error": {"message": f"made to fail with {fault}"}})
        else:
            self._send(200, self.endpoint.answer(body))

    def _send(self, status: int, told: dict[str, Any]) -> None:
        data = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status == 429:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *told: Any) -> None:
        """Say nothing."""


@contextmanager
def chat_stand_in(distributions: dict[str, dict[str, float]], **more: Any) -> Iterator[Endpoint]:
    """Serve from known distributions."""
    endpoint = Endpoint(distributions, **more)
    handler = type("Handler", (_Handler,), {"endpoint": endpoint, "lock": threading.Lock()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    endpoint.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
