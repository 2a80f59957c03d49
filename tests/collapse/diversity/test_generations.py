"""Files of generations: what is read, and what is counted apart."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.collapse.diversity.generations import read
from analysis.errors import StudyError

ROWS: list[dict[str, Any]] = [
    {"prompt": "a", "response": "one answer", "group": "x", "error": "", "status": "ok", "entropy": 1.5},
    {"prompt": "a", "response": "another", "group": "x", "error": "", "status": "ok", "entropy": ""},
    {"prompt": "a", "response": " \n", "group": "x", "error": "", "status": "ok", "entropy": ""},
    {"prompt": "b", "response": "part of an ans", "group": "x", "error": "timeout", "status": "ok", "entropy": ""},
    {"prompt": "b", "response": "cut", "group": "y", "error": "", "status": "length", "entropy": ""},
    {"prompt": "b", "response": "whole", "group": "y", "error": "", "status": "", "entropy": "0.5"},
]


def written(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        pd.DataFrame(rows).astype(str).to_parquet(path)
    else:
        pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_failed_and_empty_generations_are_counted_apart(tmp_path: Path, suffix: str):
    found = read(written(tmp_path / f"made.{suffix}"), {})
    x, y = found.groups
    assert (x.name, x.n_generations, x.n_empty, x.n_failed, x.n_single) == ("x", 2, 1, 1, 0)
    assert (y.name, y.n_generations, y.n_empty, y.n_failed, y.n_single) == ("y", 1, 0, 1, 1)
    assert found.texts == ("one answer", "another", "whole")
    np.testing.assert_array_equal(found.entropies, [1.5, np.nan, 0.5])
    assert x.texts == {"a": (0, 1)}


def test_columns_are_those_declared(tmp_path: Path):
    rows = [{"q": {"role": "user", "content": "hi"}, "out": "text", "group": "z", "model": 7}]
    found = read(written(tmp_path / "made.jsonl", rows), {"prompt": "q", "response": "out", "group": "model"})
    assert found.groups[0].name == "7"
    assert found.columns == {"prompt": "q", "response": "out", "group": "model"}
    alone = read(written(tmp_path / "made.csv", [{"prompt": "a", "response": "b"}]), {})
    assert [g.name for g in alone.groups] == ["all"]


@pytest.mark.parametrize(
    ("rows", "columns", "said"),
    [
        ([{"prompt": "a", "answer": "b"}], {}, "has no column 'response'; it has prompt, answer"),
        (ROWS, {"group": "model"}, "has no column 'model'"),
        ([{"prompt": None, "response": "b"}], {}, "row 1: it has no prompt"),
        ([{"prompt": "a", "response": 3}], {}, "row 1: the response is not text: 3"),
        ([{"prompt": "a", "response": "b", "group": "\ud83d"}], {}, "row 1: it holds text that is not valid Unicode"),
        ([{"prompt": "a", "response": "b", "group": None}], {}, "row 1: it has no group"),
        ([{"prompt": "a", "response": "b", "entropy": "high"}], {}, "row 1: the entropy is not a number: 'high'"),
        ([{"prompt": "a", "response": "b", "entropy": -1}], {}, "row 1: the entropy is not a number of nats"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_sentence(
    tmp_path: Path, rows: list[dict[str, Any]], columns: dict[str, str], said: str
):
    with pytest.raises(StudyError) as error:
        read(written(tmp_path / "made.jsonl", rows), columns)
    assert said in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(StudyError, match=r"there is no file .*none\.csv"):
        read(tmp_path / "none.csv", {})
    (tmp_path / "made.xlsx").write_text("x")
    with pytest.raises(StudyError, match="cannot tell what kind of file"):
        read(tmp_path / "made.xlsx", {})
