"""The sides of a dataset, from its comparisons; and those of a whole run."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pytest

from analysis import tables
from analysis.collapse.diversity.sides import failed, net_wins
from tests.runs import Finished


def test_sides_go_by_wins_less_losses():
    comparisons = pa.table(
        {
            "prompt_id": ["p"] * 5,
            "response_a": ["x", "y", "x", "z", "w"],
            "response_b": ["y", "z", "z", "w", "x"],
            "preference": ["a", "a", "tie", "b", "b"],
        }
    )
    found = net_wins(comparisons).to_pydict()
    assert dict(zip(found["response_id"], found["wins"], strict=True)) == {"x": 2, "y": 0, "z": -2, "w": 0}


def test_swapping_a_and_b_changes_nothing():
    a = pa.table(
        {"prompt_id": ["p", "p"], "response_a": ["x", "y"], "response_b": ["y", "z"], "preference": ["a", "b"]}
    )
    b = pa.table(
        {"prompt_id": ["p", "p"], "response_a": ["y", "z"], "response_b": ["x", "y"], "preference": ["b", "a"]}
    )
    assert net_wins(a) == net_wins(b)


def test_a_dataset_without_numbers_has_rows_that_say_why(tmp_path: Path):
    study = SimpleNamespace(name="made", seed=0)
    failed(study, "gone", "it is gone", tmp_path)
    found = tables.scan("diversity", [tmp_path / "diversity/gone.parquet"]).to_pandas()
    assert set(found["status"]) == {"it is gone"}
    assert found["estimate"].isna().all()
    assert set(found["group"]) == {"chosen", "rejected"}


def test_a_run_measures_both_sides_of_every_dataset(finished: Finished):
    # What was measured of a file or of a study of remedies is of no dataset.
    found = finished.table("diversity").query("dataset.notna()")
    assert set(found["dataset"]) == {"pairs", "graded"}
    assert set(found["group"]) == {"chosen", "rejected"}
    assert set(found["study"]) == {"made"}
    assert set(found.loc[found["metric"] == "entropy", "base_model"]) == {"tiny"}
    assert (found["estimate"].notna() | (found["status"] != "ok")).all()
    pairs = found[(found["dataset"] == "pairs") & found["other_group"].isna() & (found["metric"] == "words")]
    across = pairs[pairs["scope"] == "across_input"].set_index("group")
    # Eighty rows of two prompts each; sets are of 25 prompts.
    assert (across["n_prompts"] == 50).all() and (across["n_sets"] == 2).all()
    per_input = pairs[pairs["scope"] == "per_input"]
    assert set(per_input["status"]) == {"no prompt has two or more generations"}


def test_the_entropy_of_a_side_is_that_of_its_scores(finished: Finished):
    found = finished.table("diversity").query("dataset == 'graded' and metric == 'entropy' and scope == 'per_input'")
    comparisons = finished.table("comparisons").query("dataset == 'graded' and preference != 'tie'")
    scores = finished.table("scores").query("conditional").set_index("response_id")["mean_entropy"]
    sides = pd.concat(
        [
            pd.DataFrame({"prompt": comparisons["prompt_id"], "id": comparisons[side], "won": won})
            for side, won in (
                ("response_a", comparisons["preference"].map({"a": 1, "b": -1})),
                ("response_b", comparisons["preference"].map({"a": -1, "b": 1})),
            )
        ]
    )
    wins = sides.groupby(["prompt", "id"])["won"].sum().reset_index()
    chosen = wins[wins["won"] > 0].assign(h=lambda x: x["id"].map(scores)).groupby("prompt")["h"]
    expected = chosen.mean()[chosen.size() > 1]
    (row,) = found.query("group == 'chosen' and other_group.isna()", engine="python").to_dict("records")
    if len(expected):
        assert row["estimate"] == pytest.approx(expected.mean(), rel=1e-9)
    assert row["n_prompts"] == len(expected)
