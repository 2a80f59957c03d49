"""What may go from an output folder: runs that later ones have superseded, and scores that no run left uses.

`responses` and `features` always stay: they are small beside scores, and addressed by content, so that any study may
need them again, whichever brought them in. Published tables stay, too; a run replaces its study's by itself.
"""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from analysis import damage, tables
from analysis.errors import StudyError, TypicalityError
from analysis.manifest import write_manifest
from analysis.outputs import Outputs
from analysis.report.content import latest_run

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_AGE = re.compile(r"([0-9]{1,5})([hdw])")
# Scores come last: what they are of is read from them, of token_logprobs, too.
_SCORED = ("token_logprobs", "scores")
_SHARD = re.compile(r"([0-9a-f]{32})-")
_FACTS = ("base_model", "revision", "dtype")


@dataclass(frozen=True)
class Removal:
    """One thing that may go.

    Attributes
    ----------
    kind
        `run`, `scores`, `token_logprobs` or `damaged`.
    name
        The run's id, the scoring_id, or the path of what was set aside at one time.
    why
        Why it may go, in words.
    paths
        Files and folders, in the order in which they go.
    n_files, n_bytes
        Files in all of these, and their size.
    """

    kind: str
    name: str
    why: str
    paths: tuple[Path, ...]
    n_files: int
    n_bytes: int


@dataclass(frozen=True)
class _Run:
    """What is asked of a run; `references` are revisions whose scores in float32 it may have used, unrecorded."""

    run_id: str
    study: str
    started: datetime
    ended: datetime
    scorings: frozenset[str]
    references: frozenset[str]


def age(text: str) -> timedelta:
    """An age such as `12h`, `30d` or `8w`.

    Raises
    ------
    StudyError
        If it is written otherwise.
    """
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise StudyError(f"an age is a whole number of hours, days or weeks, such as 12h, 30d or 8w, not {text!r}")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def plan(outputs: Outputs, older_than: timedelta, now: datetime, studies: Sequence[str] = ()) -> list[Removal]:
    """What may go, in the order in which it should; nothing is changed.

    A run may go if it ended more than `older_than` ago, unless its tables are the published ones of its study, its
    report is the one that `latest` points to, or it is the study's newest run or the newest that did not fail. Scores
    may go if the newest of them are as old and no run that stays uses them; so may what was set aside as damaged as
    long ago. Nothing that a link leads to goes: it may lie outside the folder.

    Parameters
    ----------
    older_than, now
        The age, and the time it is counted back from.
    studies
        Only runs of these studies, and only scores that the runs that go have used; all by default.

    Raises
    ------
    StudyError
        If there is no such folder or study, a run in it cannot be read, or that of a study's tables is not recorded.
    """
    runs = [_run(path) for path in tables.files("runs", outputs.root)]
    known = {run.study for run in runs}
    _check(outputs, known, studies)

    def old(moment: datetime) -> bool:
        return now - moment > older_than

    kept = _published(outputs, runs) | {run_id for study in known for run_id in _kept(outputs, study, runs)}
    going = [r for r in runs if r.run_id not in kept and old(r.ended) and (not studies or r.study in studies)]
    staying = [run for run in runs if run not in going]
    asked = frozenset[str]().union(*(run.scorings for run in going)) if studies else None
    # A clean that is killed must find the rest of its work again: it is the rows of runs that tell what may go, so
    # scores go before the runs that used them, and of a run its row goes last. What is left meanwhile can be read: a
    # run without its scores or its report is one that nothing published comes from.
    found = [*_scores(outputs, staying, asked, old), *(_whole_run(outputs, run) for run in going)]
    found += [] if studies else _damaged(outputs, old)
    return [one for one in found if one.paths]


def remove(outputs: Outputs, removals: Sequence[Removal]) -> None:
    """Remove what `plan` found, and write the manifest anew; whoever calls holds the folder and planned under its lock.

    What is gone already is passed over.

    Raises
    ------
    TypicalityError
        If something cannot be removed; what comes after it is still there.
    """
    try:
        for removal in removals:
            for path in removal.paths:
                _delete(path)
    finally:
        write_manifest(outputs)


def total(removals: Sequence[Removal]) -> tuple[int, int]:
    """Files and bytes of all of them."""
    return sum(one.n_files for one in removals), sum(one.n_bytes for one in removals)


def _check(outputs: Outputs, known: set[str], studies: Sequence[str]) -> None:
    if not outputs.root.is_dir():
        raise StudyError(f"there is no output folder {outputs.root}; name yours with --outputs")
    for name in studies:
        if name not in known:
            remedy = f"it holds runs of {', '.join(sorted(known))}" if known else "it holds no run at all"
            raise StudyError(f"{outputs.root} holds no run of study {name!r}; {remedy}")


def _read(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """A small file's rows, with those of the columns that it has: an earlier version may have written it."""
    try:
        with tables.opened(path) as file:
            rows: list[dict[str, Any]] = file.read([c for c in columns if c in file.schema_arrow.names]).to_pylist()
    except damage.Unreadable as error:
        raise StudyError(f"nothing was removed, because which files are needed cannot be told: {error}") from error
    return rows


def _run(path: Path) -> _Run:
    row = _read(path, ["study", "started", "ended", "cells", "base_models", "scorings"])[0]
    cells = row["cells"]
    references: frozenset[str] = frozenset()
    if row.get("scorings") is None:
        coarse = {cell["base_model"] for cell in cells if cell.get("precision")}
        references = frozenset(m["revision"] for m in row["base_models"] if m["base_model"] in coarse)
    scorings = frozenset([*(cell["scoring_id"] for cell in cells), *(row.get("scorings") or ())])
    return _Run(path.stem, row["study"], row["started"], row["ended"], scorings, references)


def _published(outputs: Outputs, runs: Sequence[_Run]) -> set[str]:
    """The runs whose tables are those of their studies."""
    known, found = {run.run_id for run in runs}, set()
    for path in tables.files("estimates", outputs.root):
        for run_id in {row["run_id"] for row in _read(path, ["run_id"])}:
            if run_id not in known:
                raise StudyError(
                    f"nothing was removed, because which scores {path} rests on cannot be told: its run {run_id} is "
                    f"not recorded; run study {path.stem} again, or move that file out of the folder"
                )
            found.add(run_id)
    return found


def _kept(outputs: Outputs, study: str, runs: Sequence[_Run]) -> Iterator[str]:
    """The runs of a study that stay at any age, beside the published one."""
    yield max((run for run in runs if run.study == study), key=lambda run: (run.started, run.run_id)).run_id
    yield latest_run(outputs, study)
    pointer = outputs.report(study, "latest")
    if pointer.is_symlink():
        yield pointer.readlink().name


def _scores(
    outputs: Outputs, staying: Sequence[_Run], asked: frozenset[str] | None, old: Callable[[datetime], bool]
) -> Iterator[Removal]:
    """Old scores that no run left uses; `asked` names the scorings to look at, None is all."""
    used = frozenset[str]().union(*(run.scorings for run in staying))
    references = frozenset[str]().union(*(run.references for run in staying))
    for scoring_id, shards in _shards(outputs).items():
        # As a whole: a run that was killed may have added to what an earlier one left.
        last = max(_changed(path) for paths in shards.values() for path in paths)
        if scoring_id in used or not old(last) or (asked is not None and scoring_id not in asked):
            continue
        facts = _facts(shards.get("scores", ()))
        if references and (not facts or (facts["dtype"] == "float32" and facts["revision"] in references)):
            continue
        under = f"under {facts['base_model']} in {facts['dtype']}; " if facts else ""
        for name, paths in shards.items():
            why = f"{under}no run left uses them, last written {last:%Y-%m-%d}"
            yield _removal(outputs, name, scoring_id, why, paths)


def _shards(outputs: Outputs) -> Mapping[str, Mapping[str, Sequence[Path]]]:
    """The files of every scoring, by table."""
    found: dict[str, dict[str, list[Path]]] = {}
    for name in _SCORED:
        for path in tables.files(name, outputs.root):
            # What is not named as scores are was put there by someone else.
            if shard := _SHARD.match(path.name):
                found.setdefault(shard[1], {}).setdefault(name, []).append(path)
    return found


def _facts(paths: Sequence[Path]) -> dict[str, Any]:
    """What a scoring is of, from the first row that can be read; empty where none can."""
    for path in paths:
        with suppress(damage.Unreadable), tables.opened(path) as file:
            for batch in file.iter_batches(batch_size=1, columns=list(_FACTS)):
                row: dict[str, Any] = batch.to_pylist()[0]
                return row
    return {}


def _whole_run(outputs: Outputs, run: _Run) -> Removal:
    row = outputs.run_row(run.run_id)
    # The reports are looked for, so that no name in a table leads out of their folder.
    reports = [folder / run.run_id for folder in sorted((outputs.root / "reports").glob("*"))]
    why = f"of {run.study}, ended {run.ended:%Y-%m-%d}; later runs supersede it"
    return _removal(outputs, "run", run.run_id, why, [*reports, row.with_suffix(""), row])


def _damaged(outputs: Outputs, old: Callable[[datetime], bool]) -> Iterator[Removal]:
    for folder in sorted((outputs.root / damage.FOLDER).glob("*")):
        # A file that is set aside keeps its time of change: only the folder's name tells since when it has been here.
        with suppress(ValueError):
            moment = datetime.strptime(folder.name, damage.TIME).replace(tzinfo=UTC)
            if old(moment):
                name = folder.relative_to(outputs.root).as_posix()
                yield _removal(outputs, "damaged", name, f"set aside as damaged {moment:%Y-%m-%d}", [folder])


def _removal(outputs: Outputs, kind: str, name: str, why: str, paths: Sequence[Path]) -> Removal:
    there = [path for path in paths if path.exists() and _is_own(outputs, path)]
    files = [file for path in there for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    return Removal(kind, name, why, tuple(there), len(files), sum(file.lstat().st_size for file in files))


def _is_own(outputs: Outputs, path: Path) -> bool:
    """Whether no link leads to a path from its output folder."""
    return path.resolve() == outputs.root.resolve() / path.relative_to(outputs.root)


def _changed(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _delete(path: Path) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise TypicalityError(
            f"cannot remove {path}: {error.strerror or error}; see who may write there, then clean again"
        ) from error
