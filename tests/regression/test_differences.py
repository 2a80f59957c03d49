"""Differences, against a loop over comparisons."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import tables
from analysis.outputs import Outputs
from analysis.regression.cell import Cell, load
from analysis.regression.differences import differences, write_differences
from analysis.schemas import TABLES

MEASURES = ("mean_logprob", "logprob_per_byte", "sum_logprob", "mean_pmi")


def comparisons(pairs: list[tuple[str, str, str]]) -> pa.Table:
    constant = {"study": "s", "dataset": "d", "rater": "human", "order_known": False, "quality": []}
    rows = [
        {**constant, "prompt_id": f"p{i % 3}", "comparison_id": f"c{i}", "preference": preference}
        | {"response_a": a, "response_b": b}
        for i, (a, b, preference) in enumerate(pairs)
    ]
    return tables.to_arrow("comparisons", rows)


def cell(pairs: list[tuple[str, str, str]], values: Mapping[str, list[float]]) -> Cell:
    """A cell whose turns are those of the ids; responses beyond the values have none."""
    table = comparisons(pairs)
    ids = pa.array([f"r{i}" for i in range(8)])
    ahead = np.array([a < b for a, b, _ in pairs])
    a, b = (pc.index_in(table[c], value_set=ids).to_numpy().astype(np.intp) for c in ("response_a", "response_b"))
    return Cell(
        comparisons=table,
        response_ids=ids,
        a=np.where(ahead, a, b),
        b=np.where(ahead, b, a),
        turn=np.where(ahead, 1.0, -1.0),
        values={name: np.array([*given, math.nan, math.nan]) for name, given in values.items()},
        quality={},
    )


def made(cell: Cell, measure: str, base_model: str = "base") -> pd.DataFrame:
    return differences(cell, measure, base_model).to_pandas()


NAMES = st.sampled_from([f"r{i}" for i in range(8)])
PAIRS = st.lists(
    st.tuples(NAMES, NAMES, st.sampled_from(["a", "b", "tie"])).filter(lambda p: p[0] != p[1]), min_size=1, max_size=12
)
# Few values, so that ties in likelihood occur; the last two are responses without a score.
VALUES = st.lists(st.sampled_from([-3.0, -1.5, 0.0, 0.1, 0.1 + 2**-55, math.nan]), min_size=6, max_size=6)


@given(pairs=PAIRS, first=VALUES, second=VALUES)
@settings(deadline=None)
def test_brute_force(pairs: list[tuple[str, str, str]], first: list[float], second: list[float]) -> None:
    measures = {"mean_logprob": first, "sum_logprob": second}
    whole = cell(pairs, measures)
    for measure, column in measures.items():
        values = {f"r{i}": value for i, value in enumerate(column)}
        expected: list[dict[str, Any]] = []
        for i, (a, b, preference) in enumerate(pairs):
            delta = values.get(a, math.nan) - values.get(b, math.nan)
            if not math.isnan(delta):
                typical = "a" if delta > 0 else "b" if delta < 0 else "tie"
                decided = "tie" not in (typical, preference)
                expected.append(
                    {
                        "comparison_id": f"c{i}",
                        "prompt_id": f"p{i % 3}",
                        "measure": measure,
                        "difference": delta,
                        "typical": typical,
                        "agrees": typical == preference if decided else None,
                    }
                )
        found = made(whole, measure)
        assert len(found) == len(expected)
        for row, wanted in zip(found.to_dict("records"), expected, strict=True):
            agrees = None if pd.isna(row["agrees"]) else bool(row["agrees"])
            assert {**{k: row[k] for k in wanted}, "agrees": agrees} == wanted
            assert (row["study"], row["dataset"], row["base_model"]) == ("s", "d", "base")


@given(pairs=PAIRS, values=VALUES)
@settings(deadline=None)
def test_orientation(pairs: list[tuple[str, str, str]], values: list[float]) -> None:
    turned = [(b, a, {"a": "b", "b": "a", "tie": "tie"}[p]) for a, b, p in pairs]
    one, other = (made(cell(p, {"mean_logprob": values}), "mean_logprob") for p in (pairs, turned))
    np.testing.assert_array_equal(one["difference"], -other["difference"])
    pd.testing.assert_series_equal(one["agrees"], other["agrees"])
    assert one["typical"].to_list() == [{"a": "b", "b": "a", "tie": "tie"}[t] for t in other["typical"]]


def score_rows(
    folder: Path, scoring_id: str, shard: str, values: dict[tuple[str, bool], tuple[float, int, int]]
) -> None:
    constant = {
        "prompt_id": "p",
        "scoring_id": scoring_id,
        **dict.fromkeys(("base_model", "revision", "tokenizer", "template", "dtype", "backend", "device"), "x"),
        **{"long_responses": "exclude", "start_token": "bos", "scorer_version": 1, "straddles": False},
        **{"truncated": False, "n_prompt_tokens": 1, "n_prompt_tokens_cut": 0, "n_response_tokens_cut": 0},
        "mean_entropy": 1.0,
    }
    rows = [
        {
            **constant,
            "prompt_id": "p",
            "response_id": r,
            "text_id": r,
            "conditional": c,
            "sum_logprob": s,
            "n_tokens": t,
            "n_bytes": b,
        }
        for (r, c), (s, t, b) in values.items()
    ]
    tables.write(folder / "scores" / f"{scoring_id}-{shard}.parquet", "scores", rows)


class TestWritten:
    TABLE = comparisons([("r0", "r1", "a"), ("r2", "r1", "b"), ("r0", "r9", "a")])

    @pytest.fixture
    def outputs(self, tmp_path: Path) -> Outputs:
        one = {("r0", True): (-8.0, 4, 16), ("r0", False): (-10.0, 4, 16), ("r1", True): (-9.0, 3, 12)}
        two = {("r1", False): (-6.0, 3, 12), ("r2", True): (-2.0, 1, 5), ("r2", False): (-1.0, 1, 5)}
        score_rows(tmp_path, "mine", "1", one)
        score_rows(tmp_path, "mine", "2", two | {("other", True): (-1.0, 1, 1)})
        score_rows(tmp_path, "theirs", "1", {(r, True): (-99.0, 1, 1) for r in ("r0", "r1", "r2", "r9")})
        return Outputs(tmp_path)

    def written(self, scoring_id: str, outputs: Outputs, path: Path) -> pd.DataFrame:
        write_differences(load(self.TABLE, scoring_id, MEASURES, outputs), MEASURES, "base", path)
        return tables.scan("differences", [path]).to_pandas()

    def test_every_measure(self, outputs: Outputs, tmp_path: Path) -> None:
        path = tmp_path / "made.parquet"
        found = self.written("mine", outputs, path)
        assert pq.read_schema(path).equals(TABLES["differences"].schema, check_metadata=True)
        wide = found.pivot(index="comparison_id", columns="measure", values="difference")
        # r9 has no score under this base model, although it has one under another.
        assert list(wide.index) == ["c0", "c1"]
        assert wide.loc["c0", list(MEASURES)].to_list() == pytest.approx([1.0, 0.25, 1.0, 1.5], rel=1e-15)
        assert wide.loc["c1", list(MEASURES)].to_list() == pytest.approx([1.0, 0.35, 7.0, 0.0], rel=1e-15)
        agrees = found.set_index(["measure", "comparison_id"])["agrees"]
        assert agrees["mean_logprob"].to_list() == [True, False]
        assert agrees["mean_pmi", "c1"] is None

    def test_rows_stored_twice_count_once(self, outputs: Outputs, tmp_path: Path) -> None:
        before = self.written("mine", outputs, tmp_path / "1.parquet")
        score_rows(tmp_path, "mine", "3", {("r1", True): (-9.0, 3, 12), ("r0", False): (-10.0, 4, 16)})
        after = self.written("mine", outputs, tmp_path / "2.parquet")
        pd.testing.assert_frame_equal(after, before)

    def test_a_measure_without_its_scores_takes_no_other_with_it(self, outputs: Outputs, tmp_path: Path) -> None:
        score_rows(tmp_path, "bare", "1", {("r0", True): (-8.0, 4, 16), ("r1", True): (-9.0, 3, 12)})
        found = self.written("bare", outputs, tmp_path / "1.parquet")
        assert found["measure"].to_list() == ["mean_logprob", "logprob_per_byte", "sum_logprob"]

    def test_nothing_scored(self, outputs: Outputs, tmp_path: Path) -> None:
        assert self.written("unknown", outputs, tmp_path / "1.parquet").empty
