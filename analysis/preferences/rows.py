"""Judgements → rows of `responses`, `features` and `comparisons`."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from analysis import tables
from analysis.ids import content_id
from analysis.outputs import Outputs
from analysis.preferences.features import VERSION, features
from analysis.preferences.records import Judgement, Prompt, Response

Rows = dict[str, dict[str, Any]]


def prompt_id(prompt: Prompt) -> str:
    """Hash of a prompt's messages."""
    return content_id(*(part for message in prompt for part in message))


class Shared:
    """The shared tables `responses` and `features`: rows that they do not hold yet are added when the context ends."""

    def __init__(self, outputs: Outputs, work: Path) -> None:
        self._stack = ExitStack()
        self._added = {name: _Added(name, outputs, work) for name in ("features", "responses")}

    def __enter__(self) -> Self:
        for added in self._added.values():
            added.open(self._stack)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, at)
        if kind is None:
            for added in self._added.values():
                added.keep()

    def add(self, responses: Rows) -> None:
        """Add responses (by `response_id`; none may have been added before) and their features."""
        asked = sorted(responses, key=lambda key: (responses[key]["prompt_id"], key))
        self._added["responses"].add(asked, responses.__getitem__)
        self._added["features"].add(asked, lambda key: {"response_id": key, **features(responses[key]["response"])})


class _Added:
    """What one fetch adds to one shared table: one file, named by what it holds."""

    def __init__(self, name: str, outputs: Outputs, work: Path) -> None:
        self.name, self.folder = name, outputs.root / name
        self.staged = work / f"{name}-added.parquet"
        current = ds.field("features_version") == VERSION if name == "features" else None
        stored = tables.scan(name, tables.files(name, outputs.root), ["response_id"], current)
        self.known = stored.column("response_id").combine_chunks()
        self.digest, self.n = hashlib.blake2b(digest_size=16), 0

    def open(self, stack: ExitStack) -> None:
        self.write = stack.enter_context(tables.writer(self.staged, self.name))

    def add(self, asked: Sequence[str], row: Callable[[str], Mapping[str, Any]]) -> None:
        keys = pa.array(asked, pa.string())
        fresh = keys.filter(pc.invert(pc.is_in(keys, value_set=self.known))).to_pylist()
        self.n += len(fresh)
        self.digest.update("".join(fresh).encode())
        self.write(tables.to_arrow(self.name, [row(key) for key in fresh]))

    def keep(self) -> None:
        if self.n:
            self.folder.mkdir(parents=True, exist_ok=True)
            tables.move(self.staged, self.folder / f"{self.digest.hexdigest()}.parquet")
        else:
            self.staged.unlink()


def comparison_rows(
    judgements: Sequence[tuple[str, Judgement]], keys: Mapping[str, Any], shared: Shared
) -> list[dict[str, Any]]:
    """Rows of `comparisons`, sorted by prompt and id; their responses are added to the shared tables.

    Parameters
    ----------
    judgements
        Each with its prompt's id; all judgements of their prompts.
    keys
        The columns that are the same for all rows.
    shared
        The shared tables.
    """
    responses: Rows = {}
    comparisons = []
    known: dict[int, str] = {}
    for key, judgement in judgements:
        sides = [known.get(id(r)) or _response_id(key, r, judgement, responses) for r in (judgement.a, judgement.b)]
        if judgement.a.context is not None and judgement.b.context is not None:
            # Responses that stand in many pairs are the same objects, alive as long as the judgements are.
            known |= {id(judgement.a): sides[0], id(judgement.b): sides[1]}
        comparisons.append(
            {
                **keys,
                "prompt_id": key,
                "response_a": sides[0],
                "response_b": sides[1],
                "preference": judgement.preference,
                "strength": judgement.strength,
                "annotator": judgement.context.annotator,
                "split": judgement.context.split,
                "language": judgement.context.language,
                "domain": judgement.context.domain,
                "source_a": judgement.a.source,
                "source_b": judgement.b.source,
                "quality": [{"name": n, "a": a, "b": b} for n, a, b in judgement.quality],
                "flag": judgement.flag,
            }
        )
    _identify(comparisons)
    shared.add(responses)
    return comparisons


def _response_id(key: str, response: Response, judgement: Judgement, responses: Rows) -> str:
    """The response's id; its row is put among the responses."""
    context = response.context or judgement.context
    told = (response.source, context.split, context.language, context.domain)
    ratings = [f"{name}={value!r}" for name, value in response.ratings]
    text_id = content_id(key, response.text)
    response_id = content_id(text_id, *("" if t is None else f"={t}" for t in told), *ratings)
    if response_id not in responses:
        responses[response_id] = {
            "response_id": response_id,
            "text_id": text_id,
            "prompt_id": key,
            "prompt": [m._asdict() for m in judgement.prompt],
            "response": response.text,
            "source": response.source,
            "split": context.split,
            "ratings": [{"name": n, "value": v} for n, v in response.ratings],
            "language": context.language,
            "domain": context.domain,
        }
    return response_id


def _identify(comparisons: list[dict[str, Any]]) -> None:
    """Give every comparison its id, and sort by prompt and id.

    The id hashes the prompt, both responses in the order of their ids, the annotator, and a number that tells repeated
    judgements apart; repeats are numbered in the order of what they say, so the order of rows decides nothing.
    """
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in comparisons:
        pair = sorted((row["response_a"], row["response_b"]))
        groups[(row["prompt_id"], *pair, row["annotator"] or "")].append(row)
    for key, rows in groups.items():
        for number, row in enumerate(sorted(rows, key=lambda r: _said(r, key[1]))):
            row["comparison_id"] = content_id(*key, str(number))
    comparisons.sort(key=lambda row: (row["prompt_id"], row["comparison_id"]))


def _said(row: dict[str, Any], first: str) -> tuple[str, float, bool, str]:
    swapped = {"a": "b", "b": "a", "tie": "tie"}
    preference = row["preference"] if row["response_a"] == first else swapped[row["preference"]]
    strength = -1.0 if row["strength"] is None else row["strength"]
    return preference, strength, row["response_a"] == first, row["flag"] or ""
