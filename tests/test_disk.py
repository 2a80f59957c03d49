"""What the tables of an output folder take up."""

from pathlib import Path

import pytest

from analysis.disk import KEPT, Use, disk_use
from analysis.outputs import Outputs
from tests.folders import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "outputs")
    made.run("one", 1)
    made.scores("x", 1)
    made.scores("x", 1, shard=1)
    made.damaged(1)
    return made


def size(paths: list[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def test_every_table_with_its_files_rows_and_bytes(folder: Folder) -> None:
    def of(name: str) -> int:
        return size(list((folder.root / name).glob("*.parquet")))

    kept = size(list(folder.root.glob("runs/*/_*.parquet")))
    assert disk_use(folder.outputs) == [
        Use("scores", 2, 2, of("scores")),
        Use("estimates", 1, 1, of("estimates")),
        Use("runs", 1, 1, of("runs")),
        Use(KEPT, 2, 1, kept),
    ]


def test_an_empty_folder_uses_nothing(tmp_path: Path) -> None:
    assert disk_use(Outputs(tmp_path)) == []


def test_of_a_file_that_is_torn_the_bytes_are_told(folder: Folder) -> None:
    torn = next((folder.root / "scores").glob("*.parquet"))
    torn.write_bytes(torn.read_bytes()[:-1])
    uses = {use.table: use for use in disk_use(folder.outputs)}
    assert uses["scores"] == Use("scores", 2, None, size(list((folder.root / "scores").glob("*.parquet"))))
    assert uses["estimates"].n_rows == 1
