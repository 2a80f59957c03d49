"""The data dictionary is up to date, and the lines that it tells people to type work."""

import re
from pathlib import Path

import duckdb
import pytest

from analysis.dictionary import data_card
from analysis.schemas import TABLES
from tests.runs import Finished

README = Path(__file__).parent.parent / "outputs" / "README.md"


def blocks(language: str) -> list[str]:
    """Code blocks of the dictionary in one language."""
    return re.findall(rf"```{language}\n(.*?)```", data_card(), flags=re.S)


def test_the_committed_dictionary_is_current():
    assert README.read_text(encoding="utf-8") == data_card(), "run: make dictionary"


def test_every_column_has_a_description():
    assert all(column.description for table in TABLES.values() for column in table.columns)


def test_the_output_folder_gets_the_dictionary(finished: Finished):
    assert (finished.outputs.root / "README.md").read_text(encoding="utf-8") == data_card()


@pytest.mark.parametrize("code", blocks("python"))
def test_python_lines_work(code: str, finished: Finished, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(finished.folder)
    exec(compile(code.replace('study="demo"', 'study="made"'), "outputs/README.md", "exec"), {})


def test_duckdb_lines_work(finished: Finished, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(finished.folder)
    queries = [q for block in blocks("sql") for q in block.split(";") if q.strip()]
    assert len(queries) == 2
    for query in queries:
        assert len(duckdb.sql(query).fetchall()) > 0


@pytest.mark.parametrize("name", TABLES)
def test_datasets_loads_every_table(name: str, finished: Finished):
    from datasets import load_dataset

    loaded = load_dataset(str(finished.outputs.root), name, split="train")
    assert loaded.column_names == TABLES[name].schema.names
    assert len(loaded) == len(finished.table(name))
