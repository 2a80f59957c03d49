"""The output folder read by the programs that people use: typed, described, and no more of it than is asked for."""

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from analysis.manifest import write_manifest
from analysis.outputs import Outputs
from analysis.schemas import TABLES
from tests.runs import Finished

EVERY = pytest.mark.parametrize("name", TABLES)
FILTERS = pytest.mark.parametrize(("column", "value", "left"), [("dataset", "pairs", 1), ("base_model", "tiny", 2)])


@pytest.fixture(scope="module")
def root(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a run's output folder, with its manifest."""
    copy = tmp_path_factory.mktemp("readers") / "outputs"
    shutil.copytree(finished.outputs.root, copy, symlinks=True)
    write_manifest(Outputs(copy))
    return copy


def in_pandas(kind: pa.DataType) -> Any:
    return kind.to_pandas_dtype() if pa.types.is_primitive(kind) and not pa.types.is_timestamp(kind) else None


def in_duckdb(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"{in_duckdb(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        return "STRUCT"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP WITH TIME ZONE"
    return {
        pa.string(): "VARCHAR", pa.float64(): "DOUBLE", pa.float32(): "FLOAT", pa.int64(): "BIGINT",
        pa.int32(): "INTEGER", pa.bool_(): "BOOLEAN",
    }[kind]  # fmt: skip


def in_polars(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return pl.List(in_polars(kind.value_type))
    if pa.types.is_struct(kind):
        return pl.Struct({kind.field(i).name: in_polars(kind.field(i).type) for i in range(kind.num_fields)})
    if pa.types.is_timestamp(kind):
        return pl.Datetime("us", "UTC")
    return {
        pa.string(): pl.String, pa.float64(): pl.Float64, pa.float32(): pl.Float32, pa.int64(): pl.Int64,
        pa.int32(): pl.Int32, pa.bool_(): pl.Boolean,
    }[kind]  # fmt: skip


@EVERY
def test_pandas_reads_typed_columns(name: str, root: Path) -> None:
    frame = pd.read_parquet(root / name)
    assert list(frame.columns) == TABLES[name].schema.names
    assert len(frame)
    for column in TABLES[name].columns:
        if pa.types.is_timestamp(column.type):
            assert str(frame[column.name].dtype) == "datetime64[us, UTC]"
        elif column.type == pa.string():
            assert isinstance(frame[column.name].dtype, pd.StringDtype)
        elif (expected := in_pandas(column.type)) is not None and not column.nullable:
            assert frame[column.name].dtype == expected


@EVERY
def test_duckdb_reads_typed_columns(name: str, root: Path) -> None:
    found = duckdb.sql(f"DESCRIBE SELECT * FROM '{root}/{name}/*.parquet'").fetchall()
    told = {column: kind for column, kind, *_ in found}
    assert list(told) == TABLES[name].schema.names
    for column in TABLES[name].columns:
        kind = told[column.name]
        if kind.startswith("STRUCT("):
            kind = "STRUCT[]" if kind.endswith("[]") else "STRUCT"
        assert kind == in_duckdb(column.type)


@EVERY
def test_polars_reads_typed_columns(name: str, root: Path) -> None:
    # The pattern matters: of a folder alone Polars reads the folders in it, too, and `runs` has some.
    frame = pl.read_parquet(root / name / "*.parquet")
    assert dict(frame.schema) == {c.name: in_polars(c.type) for c in TABLES[name].columns}
    assert len(frame) == len(pd.read_parquet(root / name))


@EVERY
def test_datasets_reads_typed_columns(name: str, root: Path) -> None:
    from datasets import load_dataset

    loaded = load_dataset(str(root), name, split="train")
    schema = loaded.features.arrow_schema
    assert schema.names == TABLES[name].schema.names
    for column in TABLES[name].columns:
        assert schema.field(column.name).type.equals(column.type)
    assert len(loaded) == len(pd.read_parquet(root / name))


@EVERY
def test_every_file_says_what_its_columns_mean(name: str, root: Path) -> None:
    for path in (root / name).glob("*.parquet"):
        schema = pq.read_schema(path)
        for column in TABLES[name].columns:
            metadata = schema.field(column.name).metadata
            assert metadata[b"description"].decode() == column.description
            assert metadata[b"unit"].decode() == column.unit


@FILTERS
@pytest.mark.parametrize("name", ["estimates", "differences"])
def test_a_filter_gives_the_same_rows_everywhere(name: str, column: str, value: str, left: int, root: Path) -> None:
    from datasets import load_dataset

    frame = pd.read_parquet(root / name, filters=[(column, "==", value)])
    n = len(frame)
    assert n
    assert frame["dataset"].nunique() == left
    query = f"SELECT count(*) FROM '{root}/{name}/*.parquet' WHERE {column} = ?"
    assert duckdb.execute(query, [value]).fetchall() == [(n,)]
    lazy = pl.scan_parquet(root / name / "*.parquet").filter(pl.col(column) == value)
    assert lazy.select(pl.len()).collect().item() == n
    loaded = load_dataset(str(root), name, split="train", filters=[(column, "==", value)])
    assert len(loaded) == n
    assert set(loaded[column]) == {value}


@pytest.mark.parametrize("column", ["dataset", "base_model"])
def test_a_filter_of_differences_reads_only_the_cells_it_asks_for(column: str, root: Path) -> None:
    (file,) = ds.dataset(root / "differences", format="parquet").get_fragments()
    rows = pd.read_parquet(root / "differences", columns=[column])[column]
    for value in (*rows.unique(), "nothing of the kind"):
        groups = [g for part in file.split_by_row_group(ds.field(column) == value) for g in part.row_groups]
        assert sum(group.num_rows for group in groups) == (rows == value).sum()
