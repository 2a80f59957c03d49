"""`typicality diversity` on files of generations."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import manifest, tables
from analysis.outputs import Outputs
from tests.runs import run_command, sentence, write_rows

NAMES = ("cold", "hot")


def rows(n: int = 60, k: int = 4) -> list[dict[str, Any]]:
    """Generations of two temperatures: cold ones are nearly the same; one failed, one is empty."""
    random = np.random.default_rng(0)
    made = []
    for prompt in range(n):
        same = sentence(random, 8)
        for j in range(k):
            made.append({"question": f"q{prompt}", "text": f"{same} {j}", "t": "cold"})
            made.append({"question": f"q{prompt}", "text": sentence(random, 8), "t": "hot"})
    made[0]["error"], made[2]["text"] = "timed out", " "
    return made


OPTIONS = ("--prompt", "question", "--response", "text", "--group", "t")


def test_groups_are_measured_compared_and_written(tmp_path: Path):
    path = write_rows(tmp_path / "made.jsonl", rows())
    done = run_command(tmp_path, "diversity", str(path), *OPTIONS, "--outputs", str(tmp_path / "outputs"))
    assert done.status == 0, done.err
    assert "cold     238 generations of 60 prompts; 1 empty; 1 failed" in done.out
    assert "Per input" in done.out and "Across input" in done.out and "cold − hot" in done.out
    found = done.table("diversity")
    assert set(found["group"]) == set(NAMES) and set(found["file"]) == {"made.jsonl"} and found["study"].isna().all()
    between = found[found["other_group"].notna()].set_index(["scope", "metric"])
    assert between.loc[("per_input", "self_bleu"), "conf_low"] > 0.3
    assert between.loc[("per_input", "vendi"), "conf_high"] < 0
    assert between.loc[("per_input", "vendi"), "paired"]
    # Across input both say something else for every prompt.
    assert between.loc[("across_input", "distinct_k_rouge_l"), "status"] != "ok"
    assert manifest.verify(Outputs(tmp_path / "outputs")) == []


def test_the_same_question_gives_the_same_table_and_replaces_it(tmp_path: Path):
    path = write_rows(tmp_path / "made.jsonl", rows(30, 3))
    (tmp_path / "outputs").mkdir()
    asked = ("diversity", str(path), *OPTIONS, "--outputs", str(tmp_path / "outputs"))
    run_command(tmp_path, *asked)
    (first,) = (tmp_path / "outputs/diversity").glob("*.parquet")
    before = first.read_bytes()
    run_command(tmp_path, *asked)
    assert [p.read_bytes() for p in (tmp_path / "outputs/diversity").glob("*.parquet")] == [before]
    run_command(tmp_path, *asked, "--encoder", "hashing")
    assert len(list((tmp_path / "outputs/diversity").glob("*.parquet"))) == 2


def test_json_holds_the_rows_of_the_table(tmp_path: Path):
    path = write_rows(tmp_path / "_made.jsonl", rows(30, 2))
    done = run_command(tmp_path, "diversity", str(path), *OPTIONS, "--outputs", str(tmp_path / "outputs"), "--json")
    (written,) = (tmp_path / "outputs/diversity").glob("*.parquet")
    table = pd.read_parquet(written)
    told = pd.DataFrame(json.loads(done.out))
    assert len(told) == len(table)
    assert len(tables.read("diversity", tmp_path / "outputs")) == len(table)
    np.testing.assert_array_equal(told["estimate"].astype(float), table["estimate"])


def test_many_groups_fit_the_terminal(tmp_path: Path):
    made = [{**row, "t": f"t{k}"} for k in range(5) for row in rows(6, 2)]
    path = write_rows(tmp_path / "made.jsonl", made)
    done = run_command(tmp_path, "diversity", str(path), *OPTIONS, "--outputs", str(tmp_path / "outputs"))
    assert done.status == 0, done.err
    assert max(map(len, done.out.splitlines()[:-2])) <= 80
    assert "The differences between 10 pairs of groups are in the table." in done.out


@pytest.mark.parametrize(
    ("made", "options", "said"),
    [
        (rows(2), (), "has no column 'prompt'"),
        ([{"prompt": "a", "response": ""}], (), "holds no usable generation (all: 1 empty, 0 failed)"),
        (None, (), "there is no file"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_and_nothing_is_written(
    tmp_path: Path, made: list[dict[str, Any]] | None, options: tuple[str, ...], said: str
):
    path = tmp_path / "made.jsonl"
    if made is not None:
        write_rows(path, made)
    done = run_command(tmp_path, "diversity", str(path), *options, "--outputs", str(tmp_path / "outputs"))
    assert done.status == 2
    assert said in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert not (tmp_path / "outputs").exists()
