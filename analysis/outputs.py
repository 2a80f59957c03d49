"""The output folder: one lock, what a run works on, and how it is published.

    responses/ features/ scores/     shared by all studies: files are added, never changed
    comparisons/<study>.parquet …    one file a study, replaced when a run of it ends
    runs/<run_id>.parquet            one row a run; runs/<run_id>/_estimates.parquet keeps what it estimated
    reports/<study>/<run_id>/        the report; reports/<study>/latest points to the newest
    .work/<run_id>/                  what a run has not published yet
    .damaged/<time>/                 files that were found damaged, as they stood in the folder

A run's tables replace the study's earlier ones together: their moves are written down first (`.publish/`), and a run
that dies between two of them is completed by the next one that takes the lock.
"""

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from analysis import damage, tables
from analysis.errors import StudyError
from analysis.ids import file_sha256
from analysis.schemas import TABLES
from analysis.tables import write_text

STUDY_TABLES = (
    *("comparisons", "differences", "estimates", "exclusions", "forecasts"),
    *("prompt_forecasts", "diversity"),
    *("heterogeneity", "influences", "synthesis", "agreement"),
)


@dataclass(frozen=True)
class TableFile:
    """One published file of a table: its SHA-256 and number of rows."""

    table: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class Outputs:
    """An output folder."""

    root: Path

    def study_table(self, name: str, study: str) -> Path:
        """The file that holds one study's rows of a table."""
        return self.root / name / f"{study}.parquet"

    def work(self, run_id: str) -> Path:
        """The folder of what a run has not published yet."""
        return self.root / ".work" / run_id

    def run_row(self, run_id: str) -> Path:
        """The file that holds a run's row of `runs`."""
        return self.root / "runs" / f"{run_id}.parquet"

    def report(self, study: str, run_id: str) -> Path:
        """The folder of a run's report."""
        return self.root / "reports" / study / run_id

    @contextmanager
    def lock(self, holder: str, tell: Callable[[str], None] = lambda text: None) -> Iterator[None]:
        """Hold the folder: an operating-system lock, freed when its holder dies.

        Damaged files that a quick look tells are set aside before anything is read, those found by reading at the end.

        Parameters
        ----------
        holder
            Who holds it, for the message a second run shows.
        tell
            Called with a sentence where another run holds the folder, before waiting for it, and for every damaged file
            that is set aside.

        Raises
        ------
        StudyError
            If the folder cannot be made or written to.
        """
        note = self.root / ".lock.json"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / ".lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                tell(f"{self.root} is held by {_holder(note)}; waiting for it to finish")
                lock.acquire()
        except OSError as error:
            raise StudyError(
                f"cannot write to the output folder {self.root}: {error.strerror or error}; "
                "choose another with --outputs"
            ) from error
        try:
            write_text(note, json.dumps({"holder": holder, "pid": os.getpid(), "host": socket.gethostname()}))
            self._complete_publications(tell)
            damage.set_aside(self.root, self._published(), tell)
            with damage.holding(self.root, tell):
                yield
        finally:
            note.unlink(missing_ok=True)
            lock.release()

    def _published(self) -> list[Path]:
        """Every table's file that readers see, and what runs keep."""
        found = [path for name in TABLES for path in tables.files(name, self.root)]
        return [*found, *sorted((self.root / "runs").glob("*/_*.parquet"))]

    def _complete_publications(self, tell: Callable[[str], None]) -> None:
        for journal in sorted((self.root / ".publish").glob("*.json")):
            try:
                self._apply(journal)
            except (ValueError, TypeError):
                damage.move_aside(self.root, journal, "it is not what a run writes", tell)
        for stale in (self.root / ".work").glob("*"):
            shutil.rmtree(stale, ignore_errors=True)
        for torn in self.root.glob("*/.*.tmp"):
            torn.unlink(missing_ok=True)

    def _apply(self, journal: Path) -> None:
        for source, target in json.loads(journal.read_text(encoding="utf-8")):
            staged, final = self.root / source, self.root / target
            if staged.exists():
                final.parent.mkdir(parents=True, exist_ok=True)
                tables.move(staged, final)
        journal.unlink()

    def publish(self, run_id: str, moves: dict[Path, Path]) -> None:
        """Move finished files to where readers find them, together.

        Parameters
        ----------
        run_id
            The run they belong to.
        moves
            From each staged file (inside the folder) to its final path (inside the folder).
        """
        pairs = [(str(a.relative_to(self.root)), str(b.relative_to(self.root))) for a, b in moves.items()]
        journal = self.root / ".publish" / f"{run_id}.json"
        write_text(journal, json.dumps(pairs))
        self._apply(journal)
        shutil.rmtree(self.work(run_id), ignore_errors=True)

    def point_latest(self, study: str, run_id: str) -> Path:
        """Make `reports/<study>/latest` point to a run's report, and return it."""
        latest = self.root / "reports" / study / "latest"
        fresh = latest.with_name(f".latest.{run_id}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(run_id, target_is_directory=True)
        os.replace(fresh, latest)
        return latest


def describe(name: str, path: Path) -> TableFile:
    """SHA-256 and rows of a Parquet file."""
    return TableFile(name, file_sha256(path), tables.n_rows(path))


def _holder(note: Path) -> str:
    try:
        told: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
        return f"{told['holder']} (process {told['pid']} on {told['host']})"
    except (OSError, ValueError, KeyError):
        return "another run"
