"""The most telling examples: which comparisons are chosen, and what is shown of them."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from analysis import tables
from analysis.outputs import Outputs
from analysis.report.examples import Example, examples

STUDY, CELL, SCORING = "made", ("data", "base", "s" * 32), "s" * 32
LONG = "one two three four five six seven eight nine ten"


def filled(name: str, **known: Any) -> dict[str, Any]:
    """A row with something in every column that may not be null."""
    empty = {pa.types.is_string: "", pa.types.is_boolean: True, pa.types.is_integer: 0, pa.types.is_floating: 0.0}
    row: dict[str, Any] = {}
    for field in tables.table(name).schema:
        default = next((value for test, value in empty.items() if test(field.type)), [])
        row[field.name] = None if field.nullable else default
    return row | known


class Made:
    """Tables of one study, a comparison at a time."""

    def __init__(self, root: Path) -> None:
        self.outputs = Outputs(root)
        self.rows: dict[str, list[dict[str, Any]]] = {}

    def add(self, name: str, **known: Any) -> None:
        self.rows.setdefault(name, []).append(filled(name, **known))

    def comparison(
        self, k: int, difference: float, texts: tuple[str, str] = (LONG, LONG), prompt: str = "", swap: bool = False
    ) -> None:
        """Preferred first; `difference` is its measure less that of the other."""
        ids = [f"r{k}-0", f"r{k}-1"]
        prompt_id = prompt or f"p{k}"
        for response_id, text, value in zip(ids, texts, (difference - 2, -2.0), strict=True):
            known = {"response_id": response_id, "text_id": response_id, "prompt_id": prompt_id}
            turns = [{"role": "user", "content": f"Question {prompt_id}?"}]
            self.add("responses", **known, prompt=turns, response=text)
            n = max(len(text.split()), 1)
            self.add("scores", **known, scoring_id=SCORING, sum_logprob=value * n, n_tokens=n, n_bytes=len(text))
        keys = {"study": STUDY, "dataset": "data", "comparison_id": f"c{k}", "prompt_id": prompt_id}
        a, b = reversed(ids) if swap else ids
        self.add("comparisons", **keys, response_a=a, response_b=b, preference="b" if swap else "a")
        signed = -difference if swap else difference
        self.add(
            "differences", **keys, base_model="base", measure="mean_logprob", difference=signed, agrees=difference > 0
        )

    def tokens(self, response_id: str, ends: list[int], logprobs: list[float]) -> None:
        known = {"scoring_id": SCORING, "token_logprobs": logprobs, "token_ends": ends}
        prompt_id = f"p{response_id[1:].split('-', maxsplit=1)[0]}"
        self.add("token_logprobs", response_id=response_id, text_id=response_id, prompt_id=prompt_id, **known)

    def found(self, each: int = 2) -> list[Example]:
        for name, rows in self.rows.items():
            file = f"{SCORING}-0" if name in ("scores", "token_logprobs") else STUDY
            tables.write(self.outputs.root / name / f"{file}.parquet", name, rows)
        return examples(self.outputs, STUDY, [CELL], "mean_logprob", each)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_the_largest_of_each_kind(made: Made):
    for k, difference in enumerate((0.5, 2.0, 1.0, -0.2, -3.0, -1.0)):
        made.comparison(k, difference)
    found = made.found()
    assert [(e.kind, e.comparison_id) for e in found] == [
        *(("agrees", "c1"), ("agrees", "c2")),
        *(("clashes", "c4"), ("clashes", "c5")),
    ]
    assert [e.difference for e in found] == pytest.approx([2.0, 1.0, -3.0, -1.0])
    assert found[0].prompt[0].text == "Question p1?" and found[0].preferred.text == LONG


def test_equal_ones_in_the_order_of_their_ids(made: Made):
    for k in (3, 1, 2):
        made.comparison(k, 1.0)
    assert [e.comparison_id for e in made.found()] == ["c1", "c2"]


def test_a_and_b_exchanged(tmp_path: Path):
    found = []
    for swap in (False, True):
        made = Made(tmp_path / str(swap))
        made.comparison(0, 1.5, (LONG, LONG.upper()), swap=swap)
        made.comparison(1, -0.5, (LONG, LONG.upper()), swap=swap)
        found.append(made.found())
    assert found[0] == found[1] and len(found[0]) == 2


def test_one_a_prompt(made: Made):
    made.comparison(0, 2.0, prompt="p")
    made.comparison(1, 1.9, prompt="p")
    made.comparison(2, 1.0)
    assert [e.comparison_id for e in made.found()] == ["c0", "c2"]


def test_responses_of_some_length_where_there_are_enough(made: Made):
    made.comparison(0, 9.0, ("Yes.", LONG))
    made.comparison(1, 1.0)
    assert [e.comparison_id for e in made.found(each=1)] == ["c1"]
    assert [e.comparison_id for e in made.found(each=2)] == ["c0", "c1"]


def test_tokens_with_their_surprisal(made: Made):
    made.comparison(0, 1.0, ("a bc d", LONG))
    made.tokens("r0-0", [1, 4, 4], [-0.5, -3.0, -6.0])
    (found,) = made.found()
    # Two tokens that end at one character are one piece; what was not scored has no surprisal.
    assert [(p.text, p.surprisal, p.step) for p in found.preferred.pieces] == [
        ("a", 0.5, 0), (" bc", 9.0, 5), (" d", None, None),
    ]  # fmt: skip
    assert found.coloured and [p.surprisal for p in found.other.pieces] == [None]


def test_long_texts_are_cut_and_say_so(made: Made):
    text = "word " * 400
    made.comparison(0, 1.0, (text, LONG))
    made.tokens("r0-0", [5 * (k + 1) for k in range(400)], [-1.0] * 400)
    (found,) = made.found()
    assert len(found.preferred.text) <= 500 and found.preferred.more + len(found.preferred.text) == len(text)
    assert found.preferred.text == "word " * (len(found.preferred.text) // 5)


def test_nothing_in_a_text_hides_or_turns_it_around(made: Made):
    made.comparison(0, 1.0, (f"{LONG} \u202egnitirw\x07", LONG))
    (found,) = made.found()
    assert not {"\u202e", "\x07"} & set(found.preferred.text)


def test_what_other_tables_do_not_bear_out_is_left_out(made: Made):
    made.comparison(0, 1.0)
    made.comparison(1, 0.9)
    made.rows["differences"][0]["difference"] = 1.1  # of another run
    del made.rows["responses"][2:]
    assert made.found() == []


def test_no_tables(made: Made):
    assert made.found() == []
