"""What has been scored: found by the text, recorded for every response of it, and written once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import tables
from analysis.likelihood.request import Block
from analysis.likelihood.store import Store, score_files
from analysis.outputs import Outputs
from analysis.schemas import TABLES
from tests.test_tables import filled

# A prompt, a text of it, and a response of that text: an id tells what it belongs to.
Response = tuple[str, str, str]
OURS, OTHERS = "0a", "0b"


def response(told: str) -> Response:
    """A response named `<prompt> <text> <response>`."""
    prompt, text, _ = told.split()
    return prompt, f"{prompt} {text}", told


def block_of(*told: str) -> Block:
    """A block of some responses, with one comparison a prompt."""
    rows = [dict(zip(("prompt_id", "text_id", "response_id"), response(t), strict=True)) for t in sorted(told)]
    comparisons = [filled(TABLES["comparisons"], prompt_id=p) for p in sorted({row["prompt_id"] for row in rows})]
    return Block(tables.to_arrow("comparisons", comparisons), rows)


def score_of(told: str, conditional: bool = True, scoring_id: str = OURS, name: str = "scores") -> dict[str, Any]:
    """A row whose numbers depend on the text alone."""
    prompt, text, response_id = response(told)
    ids = {"prompt_id": prompt, "text_id": text, "response_id": response_id, "scoring_id": scoring_id}
    value = -1.0 - sum(text.encode()) - conditional / 2
    numbers = {
        "scores": {"sum_logprob": value},
        "token_logprobs": {"token_logprobs": [value, -0.5], "token_ends": [1, 3]},
    }
    return filled(TABLES[name], conditional=conditional, **ids, **numbers[name])


def stored(root: Path, name: str = "scores") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tables.scan(name, tables.files(name, root)).to_pylist()
    return sorted(rows, key=lambda row: (row["scoring_id"], row["response_id"], row["conditional"]))


def file_of(root: Path, rows: Sequence[dict[str, Any]], name: str = "scores") -> None:
    """Rows as an earlier run left them."""
    for scoring_id in {row["scoring_id"] for row in rows}:
        part = [row for row in rows if row["scoring_id"] == scoring_id]
        tables.write(root / name / f"{scoring_id}-{len(part)}.parquet", name, part)


class TestAdopt:
    @pytest.mark.parametrize("name", ["scores", "token_logprobs"])
    def test_a_text_scored_for_another_response(self, tmp_path: Path, name: str) -> None:
        file_of(tmp_path, [score_of("p x 1", name=name), score_of("p x 1", False, name=name)], name)
        block = block_of("p x 1", "p x 2", "p x 3", "p y 4")
        found = Store(name, Outputs(tmp_path), OURS).adopt(block)
        assert set(found) == {("p x", True), ("p x", False)}
        made = stored(tmp_path, name)
        wanted = [score_of(f"p x {i}", conditional, name=name) for i in "123" for conditional in (False, True)]
        assert made == [{column.name: row.get(column.name) for column in TABLES[name].columns} for row in wanted]

    def test_what_is_there_is_not_written_again(self, tmp_path: Path) -> None:
        file_of(tmp_path, [score_of("p x 1")])
        block = block_of("p x 1", "p x 2")
        Store("scores", Outputs(tmp_path), OURS).adopt(block)
        before = {path: path.read_bytes() for path in tables.files("scores", tmp_path)}
        assert len(before) == 2
        assert set(Store("scores", Outputs(tmp_path), OURS).adopt(block)) == {("p x", True)}
        assert {path: path.read_bytes() for path in tables.files("scores", tmp_path)} == before

    def test_the_columns_asked_for(self, tmp_path: Path) -> None:
        file_of(tmp_path, [score_of("p x 1"), score_of("q y 1")])
        found = Store("scores", Outputs(tmp_path), OURS).adopt(block_of("p x 1"), ["device", "sum_logprob"])
        wanted = {"text_id": "p x", "conditional": True, "response_id": "p x 1", "device": "x"}
        assert found == {("p x", True): wanted | {"sum_logprob": score_of("p x 1")["sum_logprob"]}}

    @given(
        earlier=st.sets(st.sampled_from([f"{p} {t} {r}" for p in "pqrs" for t in "xy" for r in "12"])),
        ours=st.sets(st.sampled_from([f"{p} {t} {r}" for p in "qr" for t in "xy" for r in "123"]), min_size=1),
        alone=st.sets(st.sampled_from(["q x", "q y", "r x", "p x"])),
        foreign=st.booleans(),
    )
    @settings(max_examples=30, deadline=None)
    def test_once_for_each_response_of_a_stored_text(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        earlier: set[str],
        ours: set[str],
        alone: set[str],
        foreign: bool,
    ) -> None:
        """Whatever was stored for whichever response, of each likelihood by itself; nothing else appears or changes."""
        root = tmp_path_factory.mktemp("store")
        rows = [score_of(r, c) for r in earlier for c in (True, False) if c or r[:3] in alone]
        rows += [score_of(r, scoring_id=OTHERS) for r in ours] * foreign
        file_of(root, rows)
        found = Store("scores", Outputs(root), OURS).adopt(block_of(*ours))
        texts = {r[:3] for r in ours}
        assert set(found) == {
            (t, c) for t in {r[:3] for r in earlier} & texts for c in (True, False) if c or t in alone
        }
        wanted = {(r, c) for r in ours for c in (True, False) if (r[:3], c) in found}
        wanted |= {(row["response_id"], row["conditional"]) for row in rows if row["scoring_id"] == OURS}
        made = [row for row in stored(root) if row["scoring_id"] == OURS]
        assert [(row["response_id"], row["conditional"]) for row in made] == sorted(wanted)
        assert [row["sum_logprob"] for row in made] == [score_of(*key)["sum_logprob"] for key in sorted(wanted)]


class TestRows:
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        file_of(tmp_path, [score_of(r) for r in ("p x 1", "q x 1", "q y 2", "r x 1", "r x 2", "s x 1")])
        file_of(tmp_path, [score_of(r, scoring_id=OTHERS) for r in ("q x 1", "q z 1")])
        file_of(tmp_path, [score_of("q x 1", scoring_id=f"{OURS}1")])  # one id that begins as the other
        return Store("scores", Outputs(tmp_path), OURS)

    @pytest.mark.parametrize(
        ("asked", "wanted"),
        [
            (("q x 1",), {"q x 1"}),
            (("q x 9", "r x 1"), {"q x 1", "r x 1", "r x 2"}),  # for whichever response
            (("p x 1", "s x 1"), {"p x 1", "s x 1"}),  # not what lies between them
            (("q z 1",), set()),
            (("t x 1",), set()),
        ],
    )
    def test_of_the_texts_of_a_block(self, store: Store, asked: tuple[str, ...], wanted: set[str]) -> None:
        found = store.rows(block_of(*asked))
        assert found.schema.equals(TABLES["scores"].schema)
        assert set(found["response_id"].to_pylist()) == wanted and found.num_rows == len(wanted)
        assert set(found["scoring_id"].to_pylist()) <= {OURS}

    def test_only_the_columns_asked_for(self, store: Store) -> None:
        assert store.rows(block_of("q x 1"), ["text_id", "device"]).to_pylist() == [{"text_id": "q x", "device": "x"}]

    def test_of_a_table_that_is_not_there(self, tmp_path: Path) -> None:
        store = Store("token_logprobs", Outputs(tmp_path), OURS)
        assert store.rows(block_of("q x 1")).num_rows == 0
        assert store.adopt(block_of("q x 1")) == {}
        assert list(tmp_path.iterdir()) == []


class TestWrite:
    def test_no_rows_no_file(self, tmp_path: Path) -> None:
        Store("scores", Outputs(tmp_path), OURS).write([])
        assert list(tmp_path.iterdir()) == []

    def test_a_file_is_named_by_what_it_holds(self, tmp_path: Path) -> None:
        rows = [score_of("p x 1"), score_of("p x 1", False), score_of("p y 1")]
        names = []
        for i, part in enumerate(
            [rows, rows[::-1], rows[:2], rows[::2], [{**row, "scoring_id": OTHERS} for row in rows]]
        ):
            outputs, scoring_id = Outputs(tmp_path / str(i)), part[0]["scoring_id"]
            Store("scores", outputs, scoring_id).write(part)
            (path,) = score_files(outputs, scoring_id)
            assert path.name.startswith(f"{scoring_id}-")
            names.append(path.name.removeprefix(f"{scoring_id}-"))
        # Neither the order of rows nor which scoring they are of; whatever else differs.
        assert names[0] == names[1] == names[4]
        assert len(set(names)) == 3
