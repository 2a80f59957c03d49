"""Requests and their answers, kept as they came: nothing that was asked once is asked again.

An answer is written down the moment it comes, as a line of a journal that is on the disk before the next one; at the
end of a run, or at the beginning of the next after one that was killed, the journal becomes a file of the table
`answers`, whose name is a hash of what it holds.
"""

import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.dataset as ds

from analysis import tables
from analysis.ids import content_id
from analysis.outputs import Outputs

JOURNAL = ".answers.jsonl"


@dataclass(frozen=True)
class Request:
    """A request.

    Attributes
    ----------
    backend, model
        Who is asked.
    content
        All that decides the answer, as canonical JSON.
    """

    backend: str
    model: str
    content: str

    @classmethod
    def of(cls, backend: str, model: str, content: dict[str, Any]) -> "Request":
        """A request whose content is given as a dictionary."""
        return cls(backend, model, json.dumps(content, sort_keys=True, ensure_ascii=False))

    @property
    def id(self) -> str:
        """Hash of who is asked what."""
        return content_id(self.backend, self.model, self.content)

    @property
    def values(self) -> dict[str, Any]:
        """The content as a dictionary."""
        made: dict[str, Any] = json.loads(self.content)
        return made


class Answers:
    """The answers of an output folder, for whoever holds it; threads may share one.

    Attributes
    ----------
    n_asked
        Answers that were added since it was opened.
    """

    def __init__(self, outputs: Outputs) -> None:
        self.outputs, self.n_asked = outputs, 0
        self._lock = threading.Lock()
        self._file: TextIO | None = None
        self._known: dict[str, str] = {}

    def find(self, requests: Iterable[Request]) -> None:
        """Look up the answers of many requests at once, so that `get` need not look for each."""
        self._look({request.id for request in requests} & self._stored)

    def get(self, request: Request) -> str | None:
        """The answer to a request, where it is known."""
        if request.id in self._stored and request.id not in self._known:
            self._look({request.id})
        return self._known.get(request.id)

    def _look(self, ids: set[str]) -> None:
        wanted = ds.field("request_id").isin(pa.array(sorted(ids), pa.string()))
        found = tables.scan("answers", self._files, ["request_id", "answer"], wanted) if ids else None
        if found is not None:
            with self._lock:
                self._known |= zip(found["request_id"].to_pylist(), found["answer"].to_pylist(), strict=True)

    @cached_property
    def _files(self) -> list[Path]:
        return tables.files("answers", self.outputs.root)

    @cached_property
    def _stored(self) -> set[str]:
        """Which requests the table has answers to; those that come are known anyway."""
        return set(tables.scan("answers", self._files, ["request_id"])["request_id"].to_pylist())

    def add(self, request: Request, answer: str) -> str:
        """Keep an answer, which is on the disk then, and return it; the first one, where two asked the same at once."""
        row = _row(request, answer)
        with self._lock:
            if request.id in self._known:
                return self._known[request.id]
            if self._file is None:
                self._file = self._journal.open("a", encoding="utf-8")
            with tables.writing(self._journal):
                self._file.write(json.dumps(row) + "\n")
                self._file.flush()
                os.fsync(self._file.fileno())
            self._known[request.id] = answer
            self.n_asked += 1
            return answer

    @property
    def _journal(self) -> Path:
        return self.outputs.root / JOURNAL

    def settle(self) -> None:
        """Make a file of the table of what the journal holds."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
            # Threads are answered in any order.
            rows = sorted(_whole(self._journal), key=lambda row: row["request_id"])
            if rows:
                name = content_id(*(row["request_id"] for row in rows))
                tables.write(self.outputs.root / "answers" / f"{name}.parquet", "answers", rows)
            self._journal.unlink(missing_ok=True)


@contextmanager
def opened(outputs: Outputs) -> Iterator[Answers]:
    """The answers of an output folder that the caller holds; what a killed run has left is settled first."""
    answers = Answers(outputs)
    answers.settle()
    try:
        yield answers
    finally:
        answers.settle()


def _row(request: Request, answer: str) -> dict[str, str]:
    return {
        "request_id": request.id,
        "backend": request.backend,
        "model": request.model,
        "request": request.content,
        "answer": answer,
    }


def _whole(journal: Path) -> Iterator[dict[str, str]]:
    """The answers in a journal, each once, without a line that was torn when a run was killed."""
    if not journal.exists():
        return
    seen: set[str] = set()
    for line in journal.read_bytes().split(b"\n"):
        try:
            told = json.loads(line)
            row = _row(Request(told["backend"], told["model"], told["request"]), told["answer"])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        if row == told and row["request_id"] not in seen:
            seen.add(row["request_id"])
            yield row
