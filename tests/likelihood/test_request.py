"""What is asked of a base model, block by block: everything once, whole prompts, cuts that the request alone makes."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import tables
from analysis.ids import content_id
from analysis.likelihood import request
from analysis.likelihood.encoding import NO_START, NO_TOKENS, TOO_LONG, Encoded, Encoder
from analysis.likelihood.request import Block, Reader, blocks
from analysis.outputs import Outputs
from analysis.schemas import TABLES
from tests.test_tables import filled

COLUMNS = ("response_id", "text_id", "prompt_id", "prompt", "response")
NO_LIMIT = 10**9
Rows = list[dict[str, Any]]


class Made(NamedTuple):
    """A dataset on disk: its comparisons in the order of their file, and its responses by id."""

    path: Path
    outputs: Outputs
    comparisons: Rows
    responses: dict[str, dict[str, Any]]


def response(prompt: str, text: str, told: str = "") -> dict[str, Any]:
    """A row of `responses`; what is told of it makes another response of the same text."""
    text_id = content_id(prompt, text)
    return filled(
        TABLES["responses"],
        response_id=content_id(text_id, told),
        text_id=text_id,
        prompt_id=content_id(prompt),
        prompt=[{"role": "user", "content": prompt}],
        response=text,
    )


def made(root: Path, counts: Sequence[int], *, rows_a_group: int = 1000, others: bool = False) -> Made:
    """A dataset of so many comparisons for each prompt, each between two neighbours of one response more than that.

    With `others`, other studies' responses to the same prompts, and to prompts between them, stand in the table.
    """
    comparisons: Rows = []
    responses: dict[str, dict[str, Any]] = {}
    for i, n in enumerate(counts):
        rows = [response(f"prompt {i}", f"response {k // 2}", "again" * (k % 2)) for k in range(n + 1)]
        responses |= {row["response_id"]: row for row in rows}
        for k in range(n):
            sides = {"response_a": rows[k]["response_id"], "response_b": rows[k + 1]["response_id"]}
            told = {"prompt_id": rows[k]["prompt_id"], "comparison_id": content_id(f"{i} {k}"), **sides}
            comparisons.append(filled(TABLES["comparisons"], **told))
    comparisons.sort(key=lambda row: (row["prompt_id"], row["comparison_id"]))
    path, stored = root / "comparisons.parquet", sorted(responses.values(), key=lambda row: row["prompt_id"])
    parts = [stored[len(stored) // 2 :], stored[: len(stored) // 2]]
    if others:
        more = [response(f"prompt {i}", "response 0", "elsewhere") for i in range(len(counts) + 9)]
        parts.insert(1, more + [response(row["prompt"][0]["content"], "another") for row in more])
    for i, part in enumerate(parts):
        tables.write(root / "responses" / f"{i}.parquet", "responses", part)
    pq.write_table(tables.to_arrow("comparisons", comparisons), path, row_group_size=rows_a_group)
    return Made(path, Outputs(root), comparisons, responses)


@contextmanager
def limits(comparisons: int = NO_LIMIT, chars: int = NO_LIMIT, part: int = 16_384) -> Iterator[None]:
    """Blocks of other sizes, and so many rows of the file read at a time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(request, "BLOCK_COMPARISONS", comparisons)
        patched.setattr(request, "BLOCK_CHARS", chars)
        patched.setattr(tables, "PART", part)
        yield


def column(block: Block, name: str) -> list[str]:
    return block.comparisons[name].to_pylist()


def comparison_ids(found: Sequence[Block]) -> list[list[str]]:
    return [column(block, "comparison_id") for block in found]


def n_chars(block: Block) -> int:
    return sum(len(row["response"]) + len(row["prompt"][0]["content"]) for row in block.responses)


def check(found: Sequence[Block], asked: Made, wanted: Rows) -> None:
    """Every comparison once and in order, each prompt in one block, and the responses that a block needs, no others."""
    rows = [row for block in found for row in block.comparisons.to_pylist()]
    assert rows == [{name: row[name] for name in rows[0]} for row in wanted]
    prompts = [set(column(block, "prompt_id")) for block in found]
    assert sum(map(len, prompts)) == len(set().union(*prompts))
    for block in found:
        needed = sorted({*column(block, "response_a"), *column(block, "response_b")})
        given = [{name: row[name] for name in COLUMNS} for row in block.responses]
        assert given == [{name: asked.responses[key][name] for name in COLUMNS} for key in needed]


COUNTS = st.lists(st.integers(1, 7), min_size=1, max_size=12)
SMALL = st.integers(1, 9)
CHARS = st.sampled_from([1, 60, 200, NO_LIMIT])


@given(counts=COUNTS, limit=SMALL, chars=CHARS, part=SMALL, rows_a_group=SMALL)
@settings(max_examples=25, deadline=None)
def test_the_request_alone_makes_the_blocks(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], limit: int, chars: int, part: int, rows_a_group: int
) -> None:
    """Neither how the file is laid out and read nor what else is in the table decides anything."""
    folder = tmp_path_factory.mktemp("request")
    asked = made(folder / "1", counts)
    other = made(folder / "2", counts, rows_a_group=rows_a_group, others=True)
    with limits(limit, chars):
        found = list(blocks(asked.path, asked.outputs))
    with limits(limit, chars, part):
        again = list(blocks(other.path, other.outputs))
    check(found, asked, asked.comparisons)
    check(again, other, asked.comparisons)
    assert comparison_ids(again) == comparison_ids(found)
    n_of = Counter(row["prompt_id"] for row in asked.comparisons)
    for i, block in enumerate(found):
        n, (first, last) = len(block.comparisons), block.prompts
        assert n - n_of[last] < limit  # only its last prompt made it full
        assert n >= limit or chars < NO_LIMIT or i == len(found) - 1
        assert n_chars(block) <= chars or first == last


@given(counts=COUNTS, limit=SMALL, chars=CHARS, part=SMALL, data=st.data())
@settings(max_examples=25, deadline=None)
def test_the_first_prompts(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], limit: int, chars: int, part: int, data: st.DataObject
) -> None:
    """Also as many as end with a block, and more than there are."""
    asked = made(tmp_path_factory.mktemp("first"), counts)
    with limits(limit):
        ends = accumulate(len(set(column(b, "prompt_id"))) for b in blocks(asked.path, asked.outputs))
    n = data.draw(st.sampled_from(list(ends)) | st.integers(1, len(counts) + 3))
    with limits(limit, chars, part):
        found = list(blocks(asked.path, asked.outputs, n))
    first = sorted({row["prompt_id"] for row in asked.comparisons})[:n]
    check(found, asked, [row for row in asked.comparisons if row["prompt_id"] in first])


def test_a_prompt_with_more_comparisons_than_a_block_stays_whole(tmp_path: Path) -> None:
    asked = made(tmp_path, [2, 3, 50, 3, 2])
    with limits(10, chars=300, part=7):
        found = list(blocks(asked.path, asked.outputs))
    check(found, asked, asked.comparisons)
    assert max(len(block.comparisons) for block in found) == 50


class TestBlock:
    def block(self) -> Block:
        rows = [response("p", "x"), response("p", "x", "again"), response("q", "y")]
        comparisons = tables.to_arrow(
            "comparisons", [filled(TABLES["comparisons"], prompt_id=row["prompt_id"]) for row in rows]
        )
        return Block(comparisons, sorted(rows, key=lambda row: row["response_id"]))

    def test_texts_and_their_responses(self) -> None:
        block = self.block()
        first, second = content_id("p", "x"), content_id("q", "y")
        assert block.ids == {
            first: sorted([content_id(first, ""), content_id(first, "again")]),
            second: [content_id(second, "")],
        }
        assert {key: row["response"] for key, row in block.texts.items()} == {first: "x", second: "y"}
        assert block.prompts == (content_id("p"), content_id("q"))

    def test_reasons_of_both_kinds(self) -> None:
        block = self.block()
        block.fail("1", True, "too long")
        block.fail("2", False, "no start")
        assert (block.unscorable, block.unpaired) == ({"1": "too long"}, {"2": "no start"})


class TestJobs:
    CHAT = "{% for m in messages %}{% if m['content'] == 'no' %}{{ raise_exception('not that') }}{% endif %}"
    CHAT += "[{{ m['role'] }}] {{ m['content'] }} {% endfor %}"

    def read(
        self,
        used: Any,
        texts: Sequence[tuple[str, str]],
        needed: Sequence[bool],
        template: str,
        window: int | None = None,
    ) -> tuple[Block, list[request.Job]]:
        """A block of so many prompts with a response each, and what it asks for."""
        rows = [response(*text) for text in texts]
        block = Block(TABLES["comparisons"].schema.empty_table(), sorted(rows, key=lambda row: row["response_id"]))
        encoder = Encoder(used, window, "exclude", chat=template == "chat")
        return block, Reader(encoder, used, template, needed).jobs(block)

    @pytest.mark.parametrize("needed", [(True,), (True, False)], ids=["conditional", "both"])
    def test_every_text_once_in_the_order_of_ids(self, tokenizer: Callable[..., Any], needed: tuple[bool, ...]) -> None:
        used = tokenizer()
        texts = [*((f"What is {i}?", f"the answer {i}") for i in range(8)), ("What is 0?", "the answer 0", "again")]
        block, jobs = self.read(used, texts, needed, "plain")
        ids = sorted(block.texts)
        assert len(ids) == 8 < len(block.responses)
        assert [job.key for job in jobs] == [(text_id, conditional) for conditional in needed for text_id in ids]
        encoder = Encoder(used, None, "exclude", chat=False)
        for job in jobs:
            row = block.texts[job.text_id]
            (whole,) = encoder.encode([f"{row['prompt'][0]['content']}\n\n"], [row["response"]])
            assert isinstance(whole, Encoded)
            assert job.encoded == (whole if job.conditional else encoder.unconditional(whole))
        assert (block.unscorable, block.unpaired) == ({}, {})

    def test_what_the_chat_template_refuses(self, tokenizer: Callable[..., Any]) -> None:
        block, jobs = self.read(
            tokenizer(chat_template=self.CHAT), [("yes", "the dog"), ("no", "the sea")], (True, False), "chat"
        )
        assert block.unscorable == {content_id("no", "the sea"): "the chat template refuses the prompt: not that"}
        assert [job.key for job in jobs] == [
            (content_id("yes", "the dog"), conditional) for conditional in (True, False)
        ]

    def test_what_is_too_long_and_what_is_empty(self, tokenizer: Callable[..., Any]) -> None:
        texts = [("What?", "the dog"), ("What?", "the answer " * 20), ("What?", "")]
        block, jobs = self.read(tokenizer(), texts, (True,), "plain", window=12)
        assert block.unscorable == {content_id(*texts[1]): TOO_LONG, content_id(*texts[2]): NO_TOKENS}
        assert [job.text_id for job in jobs] == [content_id(*texts[0])]

    def test_what_has_nothing_to_start_from(self, tokenizer: Callable[..., Any]) -> None:
        """Without BOS and EOS nothing stands before an empty prompt's response, nor before one without its prompt."""
        texts = [("What?", " the dog"), ("", "the sea")]
        block, jobs = self.read(tokenizer(bos=False, eos=False), texts, (True, False), "{prompt}{response}")
        assert [job.key for job in jobs] == [(content_id(*texts[0]), True)]
        assert block.unscorable == {content_id(*texts[1]): NO_START}
        assert block.unpaired == {content_id(*text): NO_START for text in texts}

    def test_a_block_of_which_nothing_can_be_scored(self, tokenizer: Callable[..., Any]) -> None:
        block, jobs = self.read(tokenizer(chat_template=self.CHAT), [("no", "x"), ("no", "y")], (True,), "chat")
        assert jobs == [] and len(block.unscorable) == 2
