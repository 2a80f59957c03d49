"""A cell: its slices, ratings and turns; then the frequency of words against a counter."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from analysis import tables
from analysis.outputs import Outputs
from analysis.regression.cell import load, quality
from analysis.regression.unigram import unigram
from tests.likelihood.cell import RUN, fetched, in_work, study_of
from tests.regression.made import MEASURE, RATINGS, cell_of, comparisons_of, joined, swapped


class TestQuality:
    def test_missing_ratings(self) -> None:
        """Names in alphabetical order; NaN where a comparison lacks one, or all of them."""
        kind = pa.list_(pa.struct([("name", pa.string()), ("a", pa.float64()), ("b", pa.float64())]))
        column = pa.chunked_array(
            [
                pa.array([[{"name": "true", "a": 1.0, "b": 0.0}, {"name": "good", "a": 3.0, "b": 2.0}], []], kind),
                pa.array([[{"name": "good", "a": 5.0, "b": 4.0}]], kind),
            ]
        )
        found = quality(column)
        assert list(found) == ["good", "true"]
        for name, (a, b) in {"good": ([3, None, 5], [2, None, 4]), "true": ([1, None, None], [0, None, None])}.items():
            np.testing.assert_array_equal(found[name][0], np.array(a, float))
            np.testing.assert_array_equal(found[name][1], np.array(b, float))

    def test_no_ratings(self) -> None:
        assert quality(comparisons_of(joined().drop(columns=[f"{q}_a" for q in RATINGS]))["quality"]) == {}


class TestSlices:
    FRAME = joined(200, 60)

    def chosen(self, frame: pd.DataFrame, name: str) -> set[str]:
        cell = cell_of(frame)
        rows, reason = cell.slice(name)
        assert reason is None
        return set(pa.array(cell.comparisons["comparison_id"].to_pylist()).filter(pa.array(rows)).to_pylist())

    def by_hand(self, holds: Callable[[Any], bool], frame: pd.DataFrame | None = None) -> set[str]:
        rows = (self.FRAME if frame is None else frame).to_dict("records")
        return {row["comparison_id"] for row in rows if holds(row)}

    def test_by_hand(self) -> None:
        cases: dict[str, Callable[[Any], bool]] = {
            "all": lambda r: True,
            "language=en": lambda r: r["language"] == "en",
            "language!=en": lambda r: r["language"] != "en",
            "source=x": lambda r: r["source_a"] == r["source_b"] == "x",
            "source!=x": lambda r: "x" not in (r["source_a"], r["source_b"]),
            "rater=human": lambda r: True,
            "rater=ai": lambda r: False,
            "equal_quality": lambda r: all(r[f"{q}_a"] == r[f"{q}_b"] for q in RATINGS),
        }
        for name, holds in cases.items():
            found = self.chosen(self.FRAME, name)
            assert found == self.by_hand(holds)
            assert self.chosen(swapped(self.FRAME, self.FRAME.index[::3]), name) == found

    def test_a_source_that_is_not_known_is_not_the_one_left_out(self) -> None:
        frame = self.FRAME.astype({"source_a": object})
        frame.loc[::4, "source_a"] = None
        assert self.chosen(frame, "source!=x") == self.by_hand(
            lambda r: "x" not in (r["source_a"], r["source_b"]), frame
        )
        assert self.chosen(frame, "source=x") == self.by_hand(lambda r: r["source_a"] == r["source_b"] == "x", frame)

    def test_equal_as_far_as_both_are_rated(self) -> None:
        frame = self.FRAME.copy()
        frame.loc[::3, ["polite_a", "polite_b"]] = np.nan
        frame.loc[::6, ["correct_a", "correct_b"]] = np.nan

        def equal(r: Any) -> bool:
            rated = [q for q in RATINGS if not math.isnan(r[f"{q}_a"])]
            return bool(rated) and all(r[f"{q}_a"] == r[f"{q}_b"] for q in rated)

        assert self.chosen(frame, "equal_quality") == self.by_hand(equal, frame)

    @pytest.mark.parametrize("column", ["domain", "split"])
    def test_what_the_dataset_lacks(self, column: str) -> None:
        rows, reason = cell_of(self.FRAME).slice(f"{column}=x")
        assert reason == f"the dataset has no {column}" and not rows.any()


def test_turning_changes_no_bit() -> None:
    """Differences and labels are those of the smaller id against the other, however the rows stand."""
    frame = joined()
    one, other = cell_of(frame), cell_of(swapped(frame, frame.index[::2]))
    np.testing.assert_array_equal(one.difference(MEASURE), other.difference(MEASURE))
    np.testing.assert_array_equal(one.preferred_a[one.decided], other.preferred_a[other.decided])
    assert (one.turn != other.turn).sum() == len(frame) // 2
    table = frame.sort_values(["prompt_id", "comparison_id"])
    stands = (table[f"{MEASURE}_a"] - table[f"{MEASURE}_b"]).to_numpy()
    np.testing.assert_array_equal(one.turn * one.difference(MEASURE), stands)


WORDS = ("The", "the", "dog", "Dog.", "cat", "a", "répond", "ÉTÉ", "été")


@pytest.fixture
def read(tmp_path: Path) -> tuple[Path, Outputs, pd.DataFrame, pd.DataFrame]:
    """A dataset of three comparisons a prompt, some words of which stand in one prompt alone."""
    random = np.random.default_rng(0)

    def text(i: int) -> str:
        return "  ".join([*random.choice(WORDS, int(random.integers(1, 9))), *(["own\n\tword"] * (i % 5 == 0)), str(i)])

    rows = [
        {"prompt": f"what is {i // 3}?", "a": text(2 * i), "b": text(2 * i + 1), "best": "a" if i % 2 else "b"}
        for i in range(60)
    ]
    study, outputs = study_of(tmp_path / "s", rows, tmp_path), Outputs(tmp_path / "outputs")
    path = fetched(study, outputs) / "comparisons" / "pairs.parquet"
    return path, outputs, tables.read("responses", outputs.root), in_work("comparisons", outputs)


def test_unigram_by_counters(read: tuple[Path, Outputs, pd.DataFrame, pd.DataFrame]) -> None:
    """Counts of the other prompts alone, over the words of the whole dataset, one for each more."""
    path, outputs, responses, _ = read
    words = {r.response_id: r.response.lower().split() for r in responses.itertuples()}
    total, within = Counter[str](), dict[str, Counter[str]]()
    for r in responses.itertuples():
        total.update(words[r.response_id])
        within.setdefault(r.prompt_id, Counter()).update(words[r.response_id])
    ids = pa.array(responses["response_id"])
    found = unigram(path, outputs, ids)
    assert len(found) == len(responses) > 100
    for r, value in zip(responses.itertuples(), found, strict=True):
        rest = total - within[r.prompt_id]
        n = sum(rest.values()) + len(total)
        expected = np.mean([math.log((rest[w] + 1) / n) for w in words[r.response_id]])
        assert value == pytest.approx(expected, rel=1e-12)


def test_unigram_of_some_and_unknown_responses(read: tuple[Path, Outputs, pd.DataFrame, pd.DataFrame]) -> None:
    """In the order that was asked for; a response that the dataset lacks has none."""
    path, outputs, responses, _ = read
    ids = responses["response_id"].tolist()
    whole = dict(zip(ids, unigram(path, outputs, pa.array(ids)), strict=True))
    asked = ids[10:3:-2]
    np.testing.assert_array_equal(unigram(path, outputs, pa.array(asked)), [whole[i] for i in asked])
    found = unigram(path, outputs, pa.array([ids[3], "unknown", ids[0]]))
    np.testing.assert_array_equal(found, [whole[ids[3]], np.nan, whole[ids[0]]])


def test_nothing_is_scored(read: tuple[Path, Outputs, pd.DataFrame, pd.DataFrame]) -> None:
    path, outputs, *_ = read
    made = load(tables.scan("comparisons", [path]), "unknown", ["mean_logprob"], outputs)
    rows, reason = made.slice("all")
    assert len(made) == len(rows) == 0 and reason is None


def test_no_comparisons(tmp_path: Path) -> None:
    """A dataset of which nothing could be used."""
    path = tmp_path / "comparisons" / "pairs.parquet"
    tables.write(path, "comparisons", [])
    made = load(tables.scan("comparisons", [path]), RUN, ["mean_logprob"], Outputs(tmp_path))
    assert len(made) == 0
