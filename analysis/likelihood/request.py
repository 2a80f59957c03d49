"""What a dataset asks of a base model, block by block: comparisons in the order of prompts, and their responses.

Blocks bound what is in memory at a time. They are made of the request alone, whatever has been scored already, and hold
whole prompts, so that no text stands in two of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from analysis import tables
from analysis.ids import content_id
from analysis.likelihood import SCORER_VERSION
from analysis.likelihood.encoding import Encoded, Encoder, LongResponses
from analysis.likelihood.templates import render
from analysis.outputs import Outputs
from analysis.preferences.records import Message

BLOCK_COMPARISONS = 1024
BLOCK_CHARS = 4_000_000
_COLUMNS = ("prompt_id", "comparison_id", "response_a", "response_b")
# pyarrow's own column, which says which file a row is from.
_FILE = "__filename"


class Reading(Protocol):
    """What a study says of how texts are read."""

    @property
    def template(self) -> str:
        """How prompt and response are joined."""

    @property
    def long_responses(self) -> LongResponses:
        """What is done to responses beyond the window."""

    @property
    def token_logprobs(self) -> bool:
        """Whether it is to be known where tokens end."""

    @property
    def needs_unconditional(self) -> bool:
        """Whether log p(response) is to be scored, too."""


class Text(Protocol):
    """What is recorded of a text that was scored; see `Encoded`."""

    @property
    def start(self) -> int: ...
    @property
    def n_tokens(self) -> int: ...
    @property
    def n_bytes(self) -> int: ...
    @property
    def straddles(self) -> bool: ...
    @property
    def start_token(self) -> str: ...
    @property
    def n_prompt_tokens_cut(self) -> int: ...
    @property
    def n_response_tokens_cut(self) -> int: ...
    @property
    def ends(self) -> tuple[int, ...]: ...


T = TypeVar("T")


class Job(NamedTuple, Generic[T]):
    """One likelihood to compute: of a text (as its backend takes it), given its prompt or alone."""

    text_id: str
    conditional: bool
    encoded: T

    @property
    def key(self) -> tuple[str, bool]:
        """What tells it from the others."""
        return self.text_id, self.conditional


@dataclass(frozen=True)
class Block:
    """Comparisons of some prompts with the rows of `responses` they need, sorted by id, and what cannot be scored.

    `unscorable` holds the reason of each text without a score, `unpaired` of each without an unconditional one.
    """

    comparisons: pa.Table
    responses: Sequence[dict[str, Any]]
    unscorable: dict[str, str] = field(default_factory=dict)
    unpaired: dict[str, str] = field(default_factory=dict)

    @cached_property
    def texts(self) -> dict[str, dict[str, Any]]:
        """One row of `responses` for each text."""
        return {row["text_id"]: row for row in self.responses}

    @cached_property
    def ids(self) -> dict[str, list[str]]:
        """The responses of each text."""
        found: dict[str, list[str]] = {}
        for row in self.responses:
            found.setdefault(row["text_id"], []).append(row["response_id"])
        return found

    @cached_property
    def files(self) -> dict[str, str]:
        """The file of `responses` that each text is in; what one fetch added is one file, which never changes."""
        found: dict[str, str] = {}
        for row in self.responses:
            found[row["text_id"]] = min(row[_FILE], found.get(row["text_id"], row[_FILE]))
        return found

    @property
    def prompts(self) -> tuple[str, str]:
        """The first and the last prompt's id."""
        ids = self.comparisons["prompt_id"]
        return ids[0].as_py(), ids[-1].as_py()

    def fail(self, text_id: str, conditional: bool, reason: str) -> None:
        """Note that a text has no score, and why."""
        (self.unscorable if conditional else self.unpaired)[text_id] = reason


def blocks(path: Path, outputs: Outputs, n_prompts: int | None = None) -> Iterator[Block]:
    """A dataset's comparisons, block by block.

    Parameters
    ----------
    path
        The file of the dataset's comparisons, sorted by prompt.
    outputs
        Where the responses are.
    n_prompts
        Only the first so many prompts. Prompts stand in the order of their hashes, so these are as good as a sample.
    """
    stored = tables.dataset("responses", tables.files("responses", outputs.root))
    parts = _parts(path) if n_prompts is None else _first(_parts(path), n_prompts)
    for part in parts:
        first, last = part["prompt_id"][0].as_py(), part["prompt_id"][-1].as_py()
        asked = pc.unique(pa.chunked_array([*part["response_a"].chunks, *part["response_b"].chunks]))
        near = (ds.field("prompt_id") >= first) & (ds.field("prompt_id") <= last)
        columns = ["response_id", "text_id", "prompt_id", "prompt", "response", _FILE]
        found = stored.to_table(columns=columns, filter=near & ds.field("response_id").isin(asked))
        yield from _sized(Block(part, found.sort_by("response_id").to_pylist()))


def _first(parts: Iterable[pa.Table], n_prompts: int) -> Iterator[pa.Table]:
    left = n_prompts
    for part in parts:
        starts = _starts(part)
        if left <= len(starts):
            yield part.slice(0, [*starts, len(part)][left])
            return
        left -= len(starts)
        yield part


def _starts(comparisons: pa.Table) -> list[int]:
    """The rows at which a prompt begins."""
    ids = comparisons["prompt_id"].to_numpy()
    return [0, *(np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist()] if len(ids) else []


def _parts(path: Path) -> Iterator[pa.Table]:
    """Comparisons of whole prompts, about `BLOCK_COMPARISONS` at a time, whatever the layout of the file."""
    rest = tables.table("comparisons").schema.empty_table().select(list(_COLUMNS))
    for read in tables.stream("comparisons", [path], _COLUMNS):
        rest = pa.concat_tables([rest, read])
        starts = _starts(rest)
        begin = 0
        # The last prompt may go on in what has not been read yet.
        for start in starts:
            if start - begin >= BLOCK_COMPARISONS:
                yield rest.slice(begin, start - begin)
                begin = start
        rest = rest.slice(begin)
    yield rest


def _sized(block: Block) -> Iterator[Block]:
    """The block, halved until its texts are not too much to hold at a time (one prompt stays whole)."""
    size = sum(len(r["response"]) + sum(len(m["content"]) for m in r["prompt"]) for r in block.responses)
    starts = _starts(block.comparisons)
    if size <= BLOCK_CHARS or len(starts) < 2:
        yield block
        return
    at = starts[len(starts) // 2]
    middle = block.comparisons["prompt_id"][at].as_py()
    for part, before in ((block.comparisons.slice(0, at), True), (block.comparisons.slice(at), False)):
        yield from _sized(Block(part, [r for r in block.responses if (r["prompt_id"] < middle) == before]))


def prefixes_of(block: Block, template: str, tokenizer: Any = None) -> dict[str, str]:
    """The text before the response of each text of a block; where there is none, that is noted in the block."""
    prefixes: dict[str, str] = {}
    for text_id, row in block.texts.items():
        try:
            prefixes[text_id] = render(template, tuple(Message(**m) for m in row["prompt"]), tokenizer)
        except ValueError as error:
            block.unscorable[text_id] = f"the chat template refuses the prompt: {error}"
    return prefixes


def provenance(
    *,
    base_model: str,
    revision: str,
    tokenizer: str,
    window: int | None,
    dtype: str,
    backend: str,
    study: Reading,
    **further: str,
) -> dict[str, Any]:
    """Columns of `scores` that are the same for all texts of a scoring, with its id, the hash of all that decides.

    `further` decides, too, and has no column.
    """
    columns = {
        "base_model": base_model,
        "revision": revision,
        "tokenizer": tokenizer,
        "template": study.template,
        "context_window": window,
        "long_responses": study.long_responses,
        "dtype": dtype,
        "backend": backend,
        "scorer_version": SCORER_VERSION,
    }
    return {"scoring_id": content_id(*(f"{k}={v}" for k, v in {**columns, **further}.items())), **columns}


@dataclass(frozen=True)
class Reader:
    """Turns the texts of a block into jobs: the template and the tokenizer, and which likelihoods are needed."""

    encoder: Encoder
    tokenizer: Any
    template: str
    needed: Sequence[bool]

    def jobs(self, block: Block) -> list[Job[Encoded]]:
        """Every likelihood the block asks for, in the order of ids; what cannot be scored is noted in it."""
        prefixes = prefixes_of(block, self.template, self.tokenizer)
        encoded = self.encoder.encode(list(prefixes.values()), [block.texts[t]["response"] for t in prefixes])
        return sorted(self._jobs(prefixes, encoded, block), key=lambda j: (not j.conditional, j.text_id))

    def _jobs(self, texts: Iterable[str], encoded: Sequence[Encoded | str], block: Block) -> Iterator[Job[Encoded]]:
        for text_id, found in zip(texts, encoded, strict=True):
            for conditional in self.needed:
                made = found if conditional or isinstance(found, str) else self.encoder.unconditional(found)
                if isinstance(made, str):
                    block.fail(text_id, conditional, made)
                else:
                    yield Job(text_id, conditional, made)
