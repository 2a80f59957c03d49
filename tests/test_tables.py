"""Tables: declared once, the same on disk, and never seen half-written."""

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import tables
from analysis.errors import TypicalityError
from analysis.schemas import TABLES, Table

EVERY = pytest.mark.parametrize("declared", TABLES.values(), ids=TABLES)


def filled(declared: Table, **values: Any) -> dict[str, Any]:
    """A row with something in every column that needs it."""

    def value(kind: pa.DataType) -> Any:
        if pa.types.is_string(kind):
            return "x"
        if pa.types.is_list(kind):
            return []
        if pa.types.is_timestamp(kind):
            return pd.Timestamp("2026-01-01", tz="UTC")
        return {pa.bool_(): True, pa.int64(): 1, pa.float64(): 0.5}[kind]

    return {c.name: value(c.type) for c in declared.columns if not c.nullable} | values


@EVERY
def test_every_column_says_what_it_is(declared: Table) -> None:
    names = [c.name for c in declared.columns]
    assert len(set(names)) == len(names)
    assert declared.row
    assert all(c.description for c in declared.columns)


@EVERY
def test_descriptions_and_units_survive_the_disk(tmp_path: Path, declared: Table) -> None:
    path = tmp_path / "t.parquet"
    tables.write(path, declared.name, [filled(declared)])
    found = pq.read_schema(path)
    assert found.equals(declared.schema, check_metadata=False)
    for column in declared.columns:
        field = found.field(column.name)
        assert field.metadata[b"description"].decode() == column.description
        assert field.metadata[b"unit"].decode() == column.unit
        assert field.nullable == column.nullable
    assert found.metadata[b"table"].decode() == declared.name
    assert found.metadata[b"row"].decode() == declared.row


def test_units_survive_the_disk_by_every_way_of_writing(tmp_path: Path) -> None:
    rows = [filled(TABLES["features"])]
    tables.write(tmp_path / "1.parquet", "features", rows)
    tables.write(tmp_path / "2.parquet", "features", pd.DataFrame(rows))
    tables.write(tmp_path / "3.parquet", "features", tables.to_arrow("features", rows))
    with tables.writer(tmp_path / "4.parquet", "features") as add:
        add(tables.to_arrow("features", rows))
    schemas = [pq.read_schema(tmp_path / f"{i}.parquet") for i in (1, 2, 3, 4)]
    assert all(schema.equals(TABLES["features"].schema, check_metadata=True) for schema in schemas)


@EVERY
def test_a_null_where_none_may_be_is_refused(declared: Table) -> None:
    for column in declared.columns:
        row = filled(declared, **{column.name: None})
        if column.nullable:
            tables.to_arrow(declared.name, [row])
        else:
            with pytest.raises(ValueError, match=f"column '{column.name}' of table '{declared.name}' holds 1 nulls"):
                tables.to_arrow(declared.name, [row])


def test_a_column_left_out_is_null() -> None:
    with pytest.raises(ValueError, match="'response_id' of table 'features' holds 1 nulls"):
        tables.to_arrow("features", [{"n_words": 1}])


def test_nan_is_a_number_in_rows_and_missing_in_a_frame() -> None:
    row = filled(TABLES["differences"], difference=float("nan"), agrees=None)
    assert tables.to_arrow("differences", [row])["difference"].null_count == 0
    with pytest.raises(ValueError, match="difference"):
        tables.to_arrow("differences", pd.DataFrame([row]))


def test_a_value_of_another_type_is_refused(tmp_path: Path) -> None:
    row = filled(TABLES["features"], n_words="many")
    for rows in ([row], pd.DataFrame([row])):
        with pytest.raises((ValueError, TypeError)):
            tables.write(tmp_path / "t.parquet", "features", rows)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_table_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match="there is no table 'answers'; the tables are responses, features, scores"):
        tables.read("answers", "outputs")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "strength": st.none() | st.floats(allow_nan=False),
                "annotator": st.none() | st.text(st.characters(exclude_categories=["Cs"])),
                "order_known": st.booleans(),
                "quality": st.lists(
                    st.fixed_dictionaries({"name": st.text("ab"), "a": st.floats(0, 1), "b": st.floats(0, 1)})
                ),
            }
        )
    )
)
def test_rows_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, told: list[dict[str, Any]]
) -> None:
    rows = [filled(TABLES["comparisons"], **row) for row in told]
    path = tmp_path_factory.mktemp("rows") / "t.parquet"
    tables.write(path, "comparisons", rows)
    found = pq.read_table(path).select(list(filled(TABLES["comparisons"], strength=0, annotator=0)))
    assert found.to_pylist() == [{name: row[name] for name in found.column_names} for row in rows]


# Writing.


def test_a_folder_is_made_where_needed(tmp_path: Path) -> None:
    tables.write_text(tmp_path / "a" / "b" / "c.txt", "né")
    assert (tmp_path / "a" / "b" / "c.txt").read_text(encoding="utf-8") == "né"


def test_no_reader_sees_a_file_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "features" / "x.parquet"
    tables.write(path, "features", [filled(TABLES["features"], n_words=1)])
    before = path.read_bytes()
    with tables.atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        assert path.read_bytes() == before
        assert tables.files("features", tmp_path) == [path]
        assert len(pd.read_parquet(tmp_path / "features")) == 1
        tables.write(temporary, "features", [filled(TABLES["features"], n_words=2)] * 2)
    assert len(tables.read("features", tmp_path)) == 2
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt()])
def test_an_error_leaves_nothing_behind(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "x.txt"
    path.write_text("before", encoding="utf-8")
    with pytest.raises(type(error)), tables.atomic_path(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise error
    assert path.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [path]


def _full(*_: Any, **__: Any) -> None:
    # As pyarrow tells it.
    raise OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space left on device")


def one_sentence(error: TypicalityError, path: Path) -> None:
    text = str(error)
    assert str(path) in text
    assert ": No space left on device; free some space" in text
    assert "\n" not in text


def test_a_full_disk_is_one_sentence_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    with pytest.raises(TypicalityError) as caught, tables.atomic_path(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        _full()
    one_sentence(caught.value, path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fails", ["os.fsync", "os.replace"])
def test_a_disk_that_fills_up_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    monkeypatch.setattr(fails, _full)
    path = tmp_path / "x.txt"
    with pytest.raises(TypicalityError) as caught:
        tables.write_text(path, "x")
    one_sentence(caught.value, path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_while_a_table_is_written_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    with pytest.raises(TypicalityError) as caught, tables.writer(path, "features") as add:
        add(tables.to_arrow("features", [filled(TABLES["features"])]))
        _full()
    one_sentence(caught.value, path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_added_is_not_seen_before_the_last_part(tmp_path: Path) -> None:
    path = tmp_path / "features" / "x.parquet"
    with tables.writer(path, "features") as add:
        add(tables.to_arrow("features", [filled(TABLES["features"])]))
        assert tables.files("features", tmp_path) == []
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(RuntimeError), tables.writer(path, "features") as add:
        raise RuntimeError("a bug")
    assert pq.read_metadata(path).num_rows == 1
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_below_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TypicalityError, match=r"cannot write .*--outputs"):
        tables.write_text(tmp_path / "file" / "x.txt", "x")


def test_a_table_may_be_written_in_parts(tmp_path: Path) -> None:
    parts = [tables.to_arrow("features", [filled(TABLES["features"], n_words=i)] * i) for i in (3, 0, 2)]
    for name, given_parts in (("x", parts), ("y", [])):
        with tables.writer(tmp_path / f"{name}.parquet", "features") as add:
            for part in given_parts:
                add(part)
    assert pq.read_table(tmp_path / "x.parquet")["n_words"].to_pylist() == [3, 3, 3, 2, 2]
    assert pq.read_table(tmp_path / "y.parquet").num_rows == 0
    assert pq.read_schema(tmp_path / "y.parquet").equals(TABLES["features"].schema, check_metadata=True)


def test_no_row_group_is_empty(tmp_path: Path) -> None:
    """`datasets` takes the size of the first row group for its batches, and cannot read any of size 0."""
    path = tmp_path / "x.parquet"
    with tables.writer(path, "features") as add:
        for n in (0, 2, 0, 1):
            add(tables.to_arrow("features", [filled(TABLES["features"])] * n))
    groups = pq.read_metadata(path)
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [2, 1]


def test_responses_stand_in_small_groups_by_every_way_of_writing(tmp_path: Path) -> None:
    """They are looked up by prompt, a group at a time."""
    whole = tables.to_arrow("responses", [filled(TABLES["responses"], response_id=str(i)) for i in range(5000)])
    tables.write(tmp_path / "1.parquet", "responses", whole)
    tables.write(tmp_path / "2.parquet", "responses", whole.to_pylist())
    with tables.writer(tmp_path / "3.parquet", "responses") as add:
        add(whole.slice(0, 4999))
        add(whole.slice(4999))
    for name, wanted in (("1", [2048, 2048, 904]), ("2", [2048, 2048, 904]), ("3", [2048, 2048, 903, 1])):
        groups = pq.read_metadata(tmp_path / f"{name}.parquet")
        assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == wanted
        assert pq.read_table(tmp_path / f"{name}.parquet")["response_id"].equals(whole["response_id"])


# Reading.


@EVERY
def test_nothing_written_yet_is_an_empty_frame_with_its_columns(tmp_path: Path, declared: Table) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        found = tables.read(declared.name, folder)
        assert len(found) == 0
        assert list(found.columns) == [c.name for c in declared.columns]
    assert list(tables.read(declared.name, tmp_path, columns=[declared.columns[0].name])) == [declared.columns[0].name]


@EVERY
def test_a_dataset_of_no_files_is_empty(declared: Table) -> None:
    found = tables.dataset(declared.name, [])
    assert found.rows.schema.equals(declared.schema, check_metadata=True)
    for column in declared.columns:
        where = ds.field(column.name).is_valid()
        assert found.to_table(columns=[column.name], filter=where).schema.equals(
            pa.schema([declared.schema.field(column.name)])
        )
    assert found.to_table().equals(declared.schema.empty_table()) and found.rows.count_rows() == 0


@pytest.fixture
def two_studies(tmp_path: Path) -> Path:
    for study, n in (("one", 2), ("two", 3)):
        rows = [filled(TABLES["comparisons"], study=study, strength=float(i)) for i in range(n)]
        tables.write(tmp_path / "comparisons" / f"{study}.parquet", "comparisons", rows)
    (tmp_path / "comparisons" / ".three.parquet.0.tmp").write_bytes(b"half")
    (tmp_path / "comparisons" / "_notes.parquet").write_bytes(b"no table")
    return tmp_path


def test_a_table_is_read_by_study_and_column(two_studies: Path) -> None:
    assert len(tables.read("comparisons", two_studies)) == 5
    assert len(tables.read("comparisons", str(two_studies), study="two")) == 3
    assert len(tables.read("comparisons", two_studies, study="three")) == 0
    found = tables.read("comparisons", two_studies, study="one", columns=["strength", "study"])
    assert found.to_dict("list") == {"strength": [0.0, 1.0], "study": ["one", "one"]}


def test_a_dataset_is_looked_at_again_and_again(two_studies: Path) -> None:
    """It is what there was when it was made; a file added since then is not seen."""
    found = tables.dataset("comparisons", tables.files("comparisons", two_studies))
    tables.write(two_studies / "comparisons" / "four.parquet", "comparisons", [filled(TABLES["comparisons"])])
    for study, n in (("one", 2), ("two", 3), ("x", 0)):
        assert found.to_table(columns=["strength"], filter=ds.field("study") == study).num_rows == n
    assert found.to_table().schema.equals(TABLES["comparisons"].schema)


def test_any_reader_of_parquet_reads_the_folder(two_studies: Path) -> None:
    import duckdb

    assert len(pd.read_parquet(two_studies / "comparisons")) == 5
    query = f"select study, count(*) as n from '{two_studies}/comparisons/[a-z]*.parquet' group by study order by study"
    assert duckdb.sql(query).fetchall() == [("one", 2), ("two", 3)]


def test_a_stream_gives_the_rows_of_all_files_part_by_part(monkeypatch: pytest.MonkeyPatch, two_studies: Path) -> None:
    monkeypatch.setattr(tables, "PART", 2)
    paths = tables.files("comparisons", two_studies)
    parts = list(tables.stream("comparisons", paths))
    assert max(part.num_rows for part in parts) <= 2
    assert all(part.schema.equals(TABLES["comparisons"].schema, check_metadata=True) for part in parts)
    assert pa.concat_tables(parts).equals(tables.scan("comparisons", paths))
    assert list(tables.stream("comparisons", [])) == []


def test_the_newest_schema_reads_an_older_file(tmp_path: Path) -> None:
    """A column added since then is empty in the rows written before."""
    path = tmp_path / "comparisons" / "old.parquet"
    path.parent.mkdir()
    older = tables.to_arrow("comparisons", [filled(TABLES["comparisons"])]).drop_columns(["domain"])
    pq.write_table(older, path)
    found = tables.read("comparisons", tmp_path)
    assert found["domain"].isna().all()
    assert np.array_equal(found["study"], ["x"])
