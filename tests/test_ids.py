"""Ids are hashes of content: stable, and different where the content is."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from analysis.ids import content_id, file_sha256, folder_sha256


def test_an_id_is_the_same_for_ever():
    assert content_id("user", "Hello?") == "7ec032194e5ee4a561cc0e8e385e85ac"


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_different_parts_have_different_ids(a: list[str], b: list[str]):
    assert (content_id(*a) == content_id(*b)) == (a == b)


def test_a_folder_is_its_names_and_contents(tmp_path: Path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    files = [tmp_path / "a", tmp_path / "b"]
    before = folder_sha256(files, tmp_path)
    assert folder_sha256(reversed(files), tmp_path) == before
    (tmp_path / "a").write_text("3")
    assert folder_sha256(files, tmp_path) != before
    assert file_sha256(tmp_path / "b") == "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"
