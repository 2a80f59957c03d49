"""Runs that are killed, or meet a full disk, at any moment they touch the output folder.

Each run is a process forked from this one, which has everything imported and nothing computed. The moments are the
calls that Python audits: making, renaming and removing files and folders, and opening them.
"""

import errno
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from analysis.errors import TypicalityError
from analysis.outputs import Outputs
from analysis.study import load
from flows.progress import Ticker
from flows.refresh import refresh
from tests.runs import GRADED, graded_rows, write_rows, write_study

Mishap = Literal["kill", "full"]
EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink", "shutil.rmtree")
MAKING = ("open", "os.rename", "os.mkdir", "os.symlink")
COMPLETED, PARTIAL, TOLD, BROKEN, KILLED = 0, 1, 2, 3, -signal.SIGKILL
TABLES = (
    *("responses", "features", "scores", "comparisons", "differences", "estimates", "forecasts"),
    *("prompt_forecasts", "diversity", "exclusions", "heterogeneity", "influences", "synthesis", "agreement"),
)
_KEYS = {"responses": ["response_id"], "features": ["response_id"], "scores": ["response_id", "conditional"]}


def perform(step: Any, work: Callable[[Ticker], Any]) -> Any:
    """Do a step's work without Prefect."""
    return work(Ticker(step.title))


@dataclass
class Watch:
    """Counts what touches a folder, and does harm at the n-th time."""

    root: str
    at: int
    mishap: Mishap
    seen: int = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Be told of an event, as audit hooks are."""
        if event not in EVENTS or not arguments or not str(arguments[0]).startswith(self.root):
            return
        if event == "open" and not (isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")):
            return
        if self.mishap == "full" and event not in MAKING:
            return
        self.seen += 1
        if self.seen == self.at and self.mishap == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.seen == self.at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def run(study: Path, outputs: Path, at: int = 0, mishap: Mishap = "kill", limit: float = 0.0) -> tuple[int, int]:
    """Run a study in a process of its own.

    Parameters
    ----------
    study, outputs
        The study's file and the output folder.
    at, mishap
        Which time the folder is touched brings the mishap; none for 0.
    limit
        Seconds after which it is killed; never for 0.

    Returns
    -------
    tuple of int
        How it ended, and how often it touched the folder.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(study, outputs, Watch(str(outputs), at, mishap), writing)
    os.close(writing)
    if limit:
        time.sleep(limit)
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(reading) as told:
        text = told.read()
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), int(text or 0)


def _child(study: Path, outputs: Path, watch: Watch, writing: int) -> None:
    ended = BROKEN
    try:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 2)
        sys.addaudithook(watch)
        outcome = refresh(load(study), Outputs(outputs), perform)
        ended = PARTIAL if outcome.failures else COMPLETED
    except TypicalityError:
        ended = TOLD
    except BaseException:  # noqa: BLE001 - whatever it is, the parent is told
        Path(f"{outputs}.traceback").write_text(traceback.format_exc())
    finally:
        os.write(writing, str(watch.seen).encode())
        os._exit(ended)


def read(outputs: Path) -> dict[str, pd.DataFrame]:
    """Every table that is there, as a reader sees it; the shared ones, whose files have no order, by their keys."""
    found = {}
    for name in TABLES:
        files = sorted((outputs / name).glob("[!.]*.parquet"))
        if files:
            table = pd.concat([pd.read_parquet(path) for path in files], ignore_index=True)
            if key := _KEYS.get(name):
                assert not table.duplicated(key).any(), f"{name} holds something twice"
                table = table.sort_values(key, ignore_index=True)
            found[name] = table.drop(columns="run_id", errors="ignore")
    return found


@dataclass(frozen=True)
class Trial:
    """What came of one mishap.

    Attributes
    ----------
    ended
        How the run ended that met it.
    whole
        Whether every table a reader found then was whole: as before the run, or as after it.
    recovered
        How the next run ended.
    equal
        Whether the tables then equal those of a run that met nothing, to the last bit.
    """

    ended: int
    whole: bool
    recovered: int
    equal: bool

    @property
    def good(self) -> bool:
        """Whether nothing was lost, torn, or told badly."""
        return self.ended != BROKEN and self.whole and self.recovered == COMPLETED and self.equal


class Scenario:
    """A study that is run into a copy of an output folder, again and again.

    Parameters
    ----------
    folder, model
        Where to work, and the base model.
    refreshed
        Whether the folder holds an earlier run, of less data.
    """

    def __init__(self, folder: Path, model: Path, refreshed: bool) -> None:
        folder.mkdir()
        self.study = write_study(folder, model, GRADED, 'specifications = ["rate", "bt"]')
        text = self.study.read_text().replace('"logprob_per_byte", "sum_logprob", "mean_pmi"', "")
        self.study.write_text(text)
        self.before, self.outputs = folder / "before", folder / "outputs"
        if refreshed:
            assert run(self.study, self.before)[0] == COMPLETED
            write_rows(folder / "graded.jsonl", graded_rows(45))
        self._fresh()
        self.old = read(self.outputs)
        ended, self.moments = run(self.study, self.outputs)
        assert ended == COMPLETED, self.complaint()
        self.new = read(self.outputs)

    def complaint(self) -> str:
        """The traceback of a run that ended with one."""
        path = Path(f"{self.outputs}.traceback")
        return path.read_text() if path.exists() else ""

    def trial(self, at: int = 0, mishap: Mishap = "kill", limit: float = 0.0) -> Trial:
        """Let one run meet a mishap, look at what a reader sees, and run again."""
        self._fresh()
        ended, _ = run(self.study, self.outputs, at, mishap, limit)
        seen = read(self.outputs)
        # A run that meets a full disk may end, with gaps that it tells of.
        whole = all(self._is_whole(name, table) for name, table in seen.items() if ended != PARTIAL or name in _KEYS)
        recovered, _ = run(self.study, self.outputs)
        made = read(self.outputs)
        equal = made.keys() == self.new.keys() and all(made[name].equals(self.new[name]) for name in made)
        return Trial(ended, whole, recovered, equal)

    def _is_whole(self, name: str, table: pd.DataFrame) -> bool:
        if key := _KEYS.get(name):
            known = self.new[name].set_index(key)
            return bool(known.loc[table.set_index(key).index].reset_index()[table.columns].equals(table))
        return table.equals(self.new[name]) or (name in self.old and table.equals(self.old[name]))

    def _fresh(self) -> None:
        shutil.rmtree(self.outputs, ignore_errors=True)
        if self.before.exists():
            shutil.copytree(self.before, self.outputs, symlinks=True)
