"""The first stage: every row accounted for, and tables that the order of rows does not change.

Datasets pulled from a Hub are in `tests.preferences.test_pulled`.
"""

import errno
import itertools
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import tables
from analysis.errors import CellError, TypicalityError
from analysis.ids import file_sha256
from analysis.outputs import Outputs
from analysis.preferences.buckets import Buckets, T
from analysis.preferences.features import features
from analysis.preferences.records import text_prompt
from analysis.preferences.rows import prompt_id
from analysis.preferences.stage import fetch
from tests.preferences.made import (
    GRADED,
    NESTED,
    PAIRS,
    RANKED,
    Got,
    Rows,
    fetched,
    fetched_rows,
    grades,
    own,
    write_rows,
)


def pair(i: int, label: Any = 1, **more: Any) -> dict[str, Any]:
    return {"question": f"Question {i}?", "first": f"Yes, {i}.", "second": f"No, {i}.", "label": label, **more}


def shared_bytes(outputs: Outputs) -> dict[str, bytes]:
    return {p.relative_to(outputs.root).as_posix(): p.read_bytes() for p in tables_of(outputs)}


def tables_of(outputs: Outputs) -> list[Path]:
    return [*tables.files("responses", outputs.root), *tables.files("features", outputs.root)]


# What is written.


def test_a_pair_becomes_rows_of_four_tables(tmp_path: Path) -> None:
    rows = [
        pair(0, 2, how=1.5, who="ann", part="train", lang="en", field="law", sa="m", sb="n", ga=1, gb=2),
        pair(1, 3, how=1.5, who="ann", part="train", lang="en", field="law", sa="m", sb="n", ga=1, gb=2),
    ]
    got = fetched_rows(
        rows, PAIRS, tmp_path, strength="how", annotator="who", split="part", language="lang", domain="field",
        source_a="sa", source_b="sb", quality_a=["ga"], quality_b=["gb"], order_known=True, label="mine",
    )  # fmt: skip
    (row,) = got.comparisons.to_dict("records")
    assert list(row["quality"]) == [{"name": "ga", "a": 1.0, "b": 2.0}]
    said_below = ("response_a", "response_b", "quality", "flag")
    told = {k: v for k, v in row.items() if not k.endswith("_id") and k not in said_below}
    assert told == {
        "study": "study", "dataset": "mine", "preference": "b", "strength": 1.5, "rater": "human", "annotator": "ann",
        "order_known": True, "split": "train", "language": "en", "domain": "law", "source_a": "m", "source_b": "n",
    }  # fmt: skip
    responses = got.responses.set_index("response_id")
    a, b = responses.loc[row["response_a"]], responses.loc[row["response_b"]]
    assert (a["response"], b["response"]) == ("Yes, 0.", "No, 0.")
    assert (a["source"], b["source"]) == ("m", "n")
    assert list(a["prompt"]) == [{"role": "user", "content": "Question 0?"}]
    assert list(b["ratings"]) == [{"name": "ga", "value": 2.0}]
    assert {a["prompt_id"], b["prompt_id"]} == {row["prompt_id"]} == {prompt_id(text_prompt("Question 0?"))}
    counted = tables.read("features", got.outputs.root).set_index("response_id")
    assert counted.loc[row["response_a"]].to_dict() == features("Yes, 0.")
    done = got.fetched
    assert (done.dataset, done.rater, done.n_rows, done.n_comparisons, done.n_prompts) == ("mine", "human", 2, 1, 1)
    path = tmp_path / "rows.jsonl"
    assert (done.location, done.revision) == ("rows.jsonl", file_sha256(path))
    assert got.exclusions == {("row", "the preference is '3', which the study does not declare"): 1}


def test_nothing_left_out_is_an_empty_table(tmp_path: Path) -> None:
    assert fetched_rows([pair(0)], PAIRS, tmp_path).exclusions == {}


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "question": st.sampled_from(["q", "r", "", None]),
                "first": st.sampled_from(["x", "y", "", None]),
                "second": st.sampled_from(["x", "z", "\ud800"]),
                "label": st.sampled_from([1, 2, 0, 7, None]),
            }
        ),
        max_size=20,
    )
)
def test_every_row_is_a_comparison_or_an_exclusion(tmp_path_factory: pytest.TempPathFactory, rows: Rows) -> None:
    rows = [pair(0), *rows]
    got = fetched_rows(rows, PAIRS, tmp_path_factory.mktemp("rows"))
    assert got.fetched.n_rows == len(rows) == len(got.comparisons) + got.excluded("row")
    assert got.comparisons["comparison_id"].is_unique


def test_ticks_count_the_rows(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.csv", [pair(i) for i in range(2500)])
    seen: list[int] = []
    outputs = Outputs(tmp_path / "o")
    fetch(own(PAIRS, path=str(path)), "s", 0, outputs, outputs.work("run"), seen.append)
    assert seen == [1000, 2000, 2500]


# What cannot be read.


def refusal(spec: Any, root: Path) -> str:
    with pytest.raises(CellError) as caught:
        fetched(spec, root)
    assert "\n" not in str(caught.value)
    assert not (root / "responses").exists()
    return str(caught.value)


def test_a_dataset_without_a_comparison_says_why(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.csv", [pair(0, 9), pair(1, 9), pair(2, "")])
    text = refusal(own(PAIRS, path=str(path)), tmp_path / "o")
    assert text == (
        "dataset 'made' holds no comparison: 2 × row: the preference is '9', which the study does not declare; "
        "1 × row: the preference is missing"
    )


def test_a_missing_column_names_the_dataset_and_lists_those_found(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.csv", [pair(0)])
    text = refusal(own(PAIRS, path=str(path), strength="how"), tmp_path / "o")
    assert text == "dataset 'made' (r.csv) has no column 'how'; it has question, first, second, label"


def test_an_empty_file_holds_no_rows(tmp_path: Path) -> None:
    (tmp_path / "r.csv").touch()
    assert "holds no rows" in refusal(own(PAIRS, path=str(tmp_path / "r.csv")), tmp_path / "o")


def test_a_file_that_vanished_since_the_study_was_checked(tmp_path: Path) -> None:
    assert "gone.csv" in refusal(own(PAIRS, path=str(tmp_path / "gone.csv")), tmp_path / "o")


@pytest.mark.parametrize("column", ["question", "first", "second"])
def test_text_that_no_file_can_store_is_left_out_and_counted(tmp_path: Path, column: str) -> None:
    got = fetched_rows([pair(0), pair(1, **{column: "lone \ud800 surrogate"})], PAIRS, tmp_path)
    assert len(got.comparisons) == 1
    assert got.exclusions == {("row", "the text is not valid Unicode"): 1}


@pytest.mark.parametrize("key", ["source_a", "annotator", "split", "language", "domain"])
def test_a_label_that_no_file_can_store_stops_nothing(tmp_path: Path, key: str) -> None:
    got = fetched_rows([pair(0, told="x"), pair(1, told="\udfff")], PAIRS, tmp_path, **{key: "told"})
    assert got.fetched.n_rows == len(got.comparisons) + got.excluded("row") == 2


def test_a_role_that_no_file_can_store_stops_nothing(tmp_path: Path) -> None:
    odd = [{"role": "\ud800", "content": "q"}]
    got = fetched_rows([pair(0), pair(1, question=odd)], PAIRS, tmp_path)
    assert got.exclusions == {("row", "the text is not valid Unicode"): 1}


def test_unstorable_text_of_graded_data_is_counted_in_responses(tmp_path: Path) -> None:
    """A row of graded data is a response, and the pairs it would have made are not rows."""
    rows = [*grades(1, 3), {"question": "Question 0?", "answer": "\ud800", "rating": 9}]
    got = fetched_rows(rows, GRADED, tmp_path)
    assert len(got.comparisons) == 3
    assert got.exclusions == {("response", "the text is not valid Unicode"): 1}


# Ids, and the order of rows.


def test_comparisons_are_sorted_by_prompt_and_id(tmp_path: Path) -> None:
    for name, shape, rows in (
        ("pairs", PAIRS, [pair(i // 3, i % 3) for i in range(30)]),
        ("graded", GRADED, grades(9)),
    ):
        keys = fetched_rows(rows, shape, tmp_path / name).comparisons[["prompt_id", "comparison_id"]]
        assert keys.equals(keys.sort_values(["prompt_id", "comparison_id"]).reset_index(drop=True))


@pytest.mark.parametrize("spilled", [False, True])
def test_responses_are_sorted_by_prompt_and_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spilled: bool) -> None:
    """In the file of each fetch, so that those of a prompt stand together."""
    if spilled:
        monkeypatch.setattr("analysis.preferences.stage.Buckets", Spilling)
    got = fetched_rows(grades(30), GRADED, tmp_path)
    fetched_rows(grades(65)[::-1], GRADED, tmp_path)
    files = tables.files("responses", got.outputs.root)
    assert sorted(pq.read_metadata(path).num_rows for path in files) == [120, 140]
    for path in files:
        found = pd.read_parquet(path)[["prompt_id", "response_id"]]
        assert found.equals(found.sort_values(["prompt_id", "response_id"], ignore_index=True))


def test_exchanging_the_two_sides_changes_no_id(tmp_path: Path) -> None:
    rows = [pair(i, label, sa="m", sb=None, ga=i, gb=2) for i, label in enumerate((1, 2, 0, 1))]
    exchanged = [
        {
            **{"question": r["question"], "first": r["second"], "second": r["first"], "label": (0, 2, 1)[r["label"]]},
            **{"sa": r["sb"], "sb": r["sa"], "ga": r["gb"], "gb": r["ga"]},
        }
        for r in rows
    ]
    more = {"source_a": "sa", "source_b": "sb", "quality_a": ["ga"], "quality_b": ["gb"]}
    before, after = (fetched_rows(r, PAIRS, tmp_path / n, **more) for r, n in ((rows, "1"), (exchanged, "2")))
    assert set(before.comparisons["comparison_id"]) == set(after.comparisons["comparison_id"])
    assert set(before.responses["response_id"]) == set(after.responses["response_id"])
    assert before.preferred() == after.preferred()


def test_repeated_judgements_have_ids_of_their_own(tmp_path: Path) -> None:
    rows = [pair(0, 1), pair(0, 1), pair(0, 2), pair(0, 0), pair(0, 1, first="No, 0.", second="Yes, 0.")]
    got = fetched_rows(rows, PAIRS, tmp_path)
    assert len(got.comparisons) == 5
    assert got.comparisons["comparison_id"].is_unique
    assert len(got.responses) == 2


def test_ids_are_the_same_on_every_machine(tmp_path: Path) -> None:
    """Written down, so that a change of how ids are made cannot go unseen: it makes every stored score useless."""
    got = fetched_rows([pair(0)], PAIRS, tmp_path)
    (row,) = got.comparisons.to_dict("records")
    known = tuple(row[key][:8] for key in ("prompt_id", "comparison_id", "response_a", "response_b"))
    assert known == ("edca5fe2", "8fbeb69f", "23d5a094", "352220a6")


_LABELS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2]), st.booleans()), min_size=2, max_size=12)


def _same(one: Got, other: Got) -> None:
    assert shared_bytes(one.outputs) == shared_bytes(other.outputs)
    pd.testing.assert_frame_equal(one.comparisons, other.comparisons, check_exact=True)
    paths = [g.work / "comparisons" / "made.parquet" for g in (one, other)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert one.exclusions == other.exclusions


@settings(max_examples=30, deadline=None)
@given(told=_LABELS, shuffle=st.randoms(use_true_random=False))
def test_the_order_of_pairs_decides_nothing(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[int, int, bool]], shuffle: random.Random
) -> None:
    """Even where a pair was judged several times, once in either order."""
    rows = []
    for i, label, swapped in told:
        row = pair(i, label, how=label)
        rows.append({**row, "first": row["second"], "second": row["first"]} if swapped else row)
    folder = tmp_path_factory.mktemp("order")
    one = fetched_rows(rows, PAIRS, folder / "1", strength="how")
    shuffle.shuffle(rows)
    _same(one, fetched_rows(rows, PAIRS, folder / "2", strength="how"))


@pytest.mark.parametrize(
    ("shape", "more"),
    [(GRADED, {"ties": "keep"}), ({**RANKED, "rank": "rating"}, {}), (GRADED, {"split": "part", "source": "who"})],
    ids=["graded", "ranked", "graded, splits that differ"],
)
def test_the_order_of_responses_decides_nothing(tmp_path: Path, shape: Mapping[str, Any], more: Any) -> None:
    rows = [{**r, "part": ("train", "test")[i % 2], "who": f"m{i % 3}"} for i, r in enumerate(grades(5))]
    one = fetched_rows(rows, shape, tmp_path / "1", **more)
    random.Random(1).shuffle(rows)
    _same(one, fetched_rows(rows, shape, tmp_path / "2", **more))


def test_a_response_is_one_row_whichever_pairs_it_is_in(tmp_path: Path) -> None:
    rows = [{**r, "part": ("train", "test")[i % 2]} for i, r in enumerate(grades(2))]
    got = fetched_rows(rows, GRADED, tmp_path, split="part")
    assert len(got.responses) == len(rows)
    parts = {
        (m[0]["content"], r): s for m, r, s in got.responses[["prompt", "response", "split"]].itertuples(index=False)
    }
    assert parts == {(r["question"], r["answer"]): r["part"] for r in rows}


def test_a_second_fetch_and_another_study_add_nothing(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.jsonl", [pair(i) for i in range(5)])
    spec, root = own(PAIRS, path=str(path)), tmp_path / "o"
    first = fetched(spec, root)
    before = shared_bytes(first.outputs)
    again = fetched(spec, root, run="again")
    other = fetched(spec.model_copy(update={"name": "other"}), root, study="other", run="third")
    assert shared_bytes(first.outputs) == before
    pd.testing.assert_frame_equal(again.comparisons, first.comparisons)
    assert list(other.comparisons["comparison_id"]) == list(first.comparisons["comparison_id"])
    assert set(other.comparisons["study"]) == set(other.comparisons["dataset"]) == {"other"}


def test_only_what_is_new_is_added(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.jsonl", [pair(i) for i in range(5)])
    spec, root = own(PAIRS, path=str(path)), tmp_path / "o"
    fetched(spec.model_copy(update={"limit": 2}), root)
    got = fetched(spec, root, run="more")
    assert len(got.responses) == 10
    assert got.responses["response_id"].is_unique
    assert set(tables.read("features", root)["response_id"]) == set(got.responses["response_id"])
    assert len(tables.read("features", root)) == 10


def test_a_failed_dataset_leaves_no_comparisons(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.jsonl", [pair(0), pair(1, question=5)])
    refusal(own(PAIRS, path=str(path)), tmp_path / "o")
    assert not (tmp_path / "o" / ".work").exists()


# The limit.

OUTSIDE = "outside the sample of 4 prompts"


def prompts(got: Got) -> set[str]:
    return set(got.comparisons["prompt_id"])


@pytest.mark.parametrize(("shape", "unit"), [(PAIRS, "row"), (GRADED, "response")])
def test_a_limit_keeps_that_many_prompts_and_counts_the_rest(
    tmp_path: Path, shape: Mapping[str, Any], unit: str
) -> None:
    rows = [pair(i // 2, 1 + i % 2) for i in range(20)] if shape is PAIRS else grades(10)
    everything = fetched_rows(rows, shape, tmp_path / "all")
    got = fetched_rows(rows, shape, tmp_path / "some", limit=4)
    assert got.fetched.n_prompts == len(prompts(got)) == 4
    assert prompts(got) < prompts(everything)
    assert got.exclusions == {(unit, OUTSIDE): len(rows) * 6 // 10}
    assert got.fetched.n_rows == len(rows)
    kept = everything.comparisons[everything.comparisons["prompt_id"].isin(prompts(got))].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, got.comparisons)
    assert set(got.responses["prompt_id"]) == prompts(got)


@settings(max_examples=15, deadline=None)
@given(shuffle=st.randoms(use_true_random=False), limit=st.integers(1, 12))
def test_the_sample_is_the_same_in_every_order(
    tmp_path_factory: pytest.TempPathFactory, shuffle: random.Random, limit: int
) -> None:
    rows = [pair(i) for i in range(10)]
    folder = tmp_path_factory.mktemp("limit")
    one = fetched_rows(rows, PAIRS, folder / "1", limit=limit)
    shuffle.shuffle(rows)
    other = fetched_rows(rows, PAIRS, folder / "2", limit=limit)
    assert len(prompts(one)) == min(limit, 10)
    _same(one, other)


@settings(max_examples=15, deadline=None)
@given(shuffle=st.randoms(use_true_random=False), limit=st.integers(1, 6))
def test_what_is_left_out_is_counted_once_in_every_order(
    tmp_path_factory: pytest.TempPathFactory, shuffle: random.Random, limit: int
) -> None:
    """Even a response that is empty and turns out to be outside the sample, too."""
    rows = [*grades(5, 3), *({"question": f"Question {i}?", "answer": " ", "rating": 9} for i in range(5))]
    folder = tmp_path_factory.mktemp("limit")
    one = fetched_rows(rows, GRADED, folder / "1", limit=limit)
    shuffle.shuffle(rows)
    _same(one, fetched_rows(rows, GRADED, folder / "2", limit=limit))
    kept = min(limit, 5)
    assert one.excluded("response") == kept + 4 * (5 - kept)


def test_raising_the_limit_keeps_the_earlier_prompts(tmp_path: Path) -> None:
    rows = [pair(i) for i in range(30)]
    samples = [prompts(fetched_rows(rows, PAIRS, tmp_path / str(n), limit=n)) for n in (1, 5, 6, 29, 100)]
    assert all(smaller < larger for smaller, larger in itertools.pairwise(samples))


def test_the_seed_decides_the_sample(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.jsonl", [pair(i) for i in range(30)])
    spec = own(PAIRS, path=str(path), limit=10)
    samples = {frozenset(prompts(fetched(spec, tmp_path / f"o{seed}", seed=seed))) for seed in range(3)}
    assert len(samples) == 3


# What does not fit in memory.


class Spilling(Buckets[T]):
    """Buckets that write to the disk all the time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, budget=5000)

    def __iter__(self) -> Iterator[list[tuple[str, T]]]:
        assert len(list(self.folder.iterdir())) > 4
        return super().__iter__()


def sorted_tables(got: Got) -> list[pd.DataFrame]:
    shared = [tables.read(name, got.outputs.root) for name in ("responses", "features")]
    left_out = pd.read_parquet(got.work / "exclusions" / "preferences-made.parquet")
    return [got.comparisons, left_out, *(t.sort_values("response_id", ignore_index=True) for t in shared)]


NESTED_ROWS = [
    {"question": f"Question {i % 20}?", "answers": [f"{i}", "b", "c", ""], "places": [1, 2, i % 3, 4]}
    for i in range(40)
]


@pytest.mark.parametrize("limit", [None, 4])
@pytest.mark.parametrize(
    ("shape", "rows", "more"),
    [
        (PAIRS, [pair(i % 23, i % 4, who=f"p{i % 3}", how=i % 5) for i in range(120)], {"strength": "how"}),
        (GRADED, [*grades(25), *grades(30, 3)], {"ties": "keep"}),
        ({**RANKED, "rank": "rating"}, grades(25), {}),
        (NESTED, NESTED_ROWS, {"ties": "keep"}),
    ],
    ids=["pairs", "graded", "ranked", "lists"],
)
def test_what_is_spilled_to_the_disk_changes_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: Mapping[str, Any], rows: Rows, more: Any, limit: int | None
) -> None:
    in_memory = fetched_rows(rows, shape, tmp_path / "1", limit=limit, **more)
    monkeypatch.setattr("analysis.preferences.stage.Buckets", Spilling)
    spilled = fetched_rows(rows, shape, tmp_path / "2", limit=limit, **more)
    for one, other in zip(sorted_tables(in_memory), sorted_tables(spilled), strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert spilled.fetched.n_comparisons == len(spilled.comparisons) == in_memory.fetched.n_comparisons
    assert spilled.fetched.n_prompts == in_memory.fetched.n_prompts == len(prompts(spilled))
    assert not (spilled.work / "grouped" / "made").exists()


def test_a_disk_that_fills_up_while_rows_are_grouped_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.preferences.stage.Buckets", Spilling)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("analysis.preferences.buckets.pickle.dump", full)
    with pytest.raises(TypicalityError, match="No space left on device") as caught:
        fetched_rows(grades(20), GRADED, tmp_path)
    assert "\n" not in str(caught.value)
    assert [p for p in (tmp_path / "outputs").rglob("*") if p.is_file()] == []
