"""What changed between two runs: data and base models, settings, code, and the estimates."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from analysis import tables
from analysis.errors import StudyError
from analysis.outputs import Outputs
from analysis.regression.part import TYPICALITY
from analysis.runs import run_row
from analysis.study import Study

Row = dict[str, Any]
OK = "ok"
_KEY = ("dataset", "base_model", "measure", "slice", "specification", "term")
_PLACED = {"|difference| ": "bin of |difference|", "curve at ": "point of the curve"}
_VALUES = ("status", "estimate", "std_error", "n_comparisons")
# What a run records of a dataset and of a base model, beside its label.
_FACTS = {
    "dataset": ("location", "revision", "rater", "rows", "comparisons", "prompts"),
    "base model": ("location", "revision", "dtype", "parameters"),
}


@dataclass(frozen=True)
class Side:
    """One of the two runs."""

    run_id: str
    study: str
    started: str
    state: str


@dataclass(frozen=True)
class Change:
    """A setting or a fact before and after; None where there was none."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True)
class SourceChange:
    """A dataset or a base model that is not what it was.

    Attributes
    ----------
    change
        `new` or `removed` by the study's definition; `lost` where only the run before could use it and `back` where
        only the run after could; `re-pulled` where its revision or location is another; else `changed`.
    facts
        What is recorded of it and differs; of one that is new or removed, all of it.
    """

    kind: Literal["dataset", "base model"]
    name: str
    change: Literal["new", "removed", "lost", "back", "re-pulled", "changed"]
    facts: tuple[Change, ...]


@dataclass(frozen=True)
class Key:
    """What an estimate is of."""

    dataset: str
    base_model: str
    measure: str
    slice: str
    specification: str
    term: str

    @property
    def of_interest(self) -> bool:
        """Whether it is typicality's, and no placebo: what a run is made for."""
        return self.term == TYPICALITY and not self.specification.startswith("placebo")


@dataclass(frozen=True)
class Move:
    """An estimate in both runs.

    Attributes
    ----------
    std_error
        The larger of the two standard errors; None where neither run has one.
    in_errors
        The difference over that standard error. It is not over √(s₁² + s₂²), which takes the two as independent: runs
        of a study share most of their data, so their errors are nearly the same ones, and the difference is no test.
    status_before, status_after
        `ok`, or why there is no number.
    """

    key: Key
    before: float | None
    after: float | None
    difference: float | None
    std_error: float | None
    in_errors: float | None
    status_before: str
    status_after: str
    n_before: int
    n_after: int

    @property
    def moved(self) -> bool:
        """Whether the two differ by more than the last digits, which the order of a sum decides."""
        if self.before is None or self.after is None:
            return False
        return not math.isclose(self.before, self.after, rel_tol=1e-9, abs_tol=1e-12)

    @property
    def turned(self) -> bool:
        """Whether there is a number in one run only, or there is none for another reason."""
        return self.status_before != self.status_after


@dataclass(frozen=True)
class Changes:
    """All that changed from one run to another.

    Attributes
    ----------
    settings
        Keys of the study's definition, such as `template` or `datasets.hh-rlhf.limit`.
    software
        The code's version, the packages that decide numbers, and the device.
    estimates
        Every estimate in both runs, the largest move against its standard error first.
    new, gone
        Estimates in one run only, in the order of its table.
    """

    before: Side
    after: Side
    sources: tuple[SourceChange, ...]
    settings: tuple[Change, ...]
    software: tuple[Change, ...]
    estimates: tuple[Move, ...]
    new: tuple[Key, ...]
    gone: tuple[Key, ...]

    @property
    def moved(self) -> tuple[Move, ...]:
        """The estimates that moved, the largest move first."""
        return tuple(m for m in self.estimates if m.moved)

    @property
    def turned(self) -> tuple[Move, ...]:
        """The estimates whose status changed: those with a number after, then those without."""
        return tuple(sorted((m for m in self.estimates if m.turned), key=lambda m: m.status_after != OK))

    @property
    def new_cells(self) -> tuple[tuple[str, str], ...]:
        """Cells (dataset, base model) that only the run after has."""
        return self._cells(self.new)

    @property
    def gone_cells(self) -> tuple[tuple[str, str], ...]:
        """Cells (dataset, base model) that only the run before has."""
        return self._cells(self.gone)

    def _cells(self, keys: Sequence[Key]) -> tuple[tuple[str, str], ...]:
        shared = {(m.key.dataset, m.key.base_model) for m in self.estimates}
        return tuple(c for c in dict.fromkeys((k.dataset, k.base_model) for k in keys) if c not in shared)

    @property
    def nothing(self) -> bool:
        """Whether the two runs are the same in all of this."""
        found = (self.sources, self.settings, self.software, self.moved, self.turned, self.new, self.gone)
        return not any(found)


def changes(outputs: Outputs, before: str, after: str) -> Changes:
    """What changed from one run to another, of the same study or of two.

    Parameters
    ----------
    before, after
        Ids of the runs.

    Raises
    ------
    StudyError
        If there is no such run, or its estimates are gone.
    """
    runs = [_run(outputs, run_id) for run_id in (before, after)]
    first, second = (_estimates(outputs, run_id) for run_id in (before, after))
    definitions = _definitions(runs)
    return Changes(
        before=_side(runs[0]),
        after=_side(runs[1]),
        sources=tuple(_sources(runs, definitions)),
        settings=tuple(_settings(*definitions)),
        software=tuple(_differing(_software(runs[0]), _software(runs[1]))),
        estimates=tuple(sorted((_move(k, first[k], second[k]) for k in first if k in second), key=_largest_first)),
        new=tuple(k for k in second if k not in first),
        gone=tuple(k for k in first if k not in second),
    )


def previous_run(outputs: Outputs, study: str, run_id: str) -> str | None:
    """The newest run of a study that started before this one and did not fail in every cell; None where there is none.

    Raises
    ------
    StudyError
        If there is no run of this id.
    """
    this = _run(outputs, run_id)
    runs = tables.read("runs", outputs.root, study=study, columns=["run_id", "started", "state"])
    at = (this["started"], run_id)
    earlier = [
        (row.started, row.run_id)
        for row in runs.itertuples()
        if row.state != "failed" and (row.started, row.run_id) < at
    ]
    return str(max(earlier)[1]) if earlier else None


def _run(outputs: Outputs, run_id: str) -> Row:
    if not outputs.run_row(run_id).is_file():
        raise StudyError(f"{outputs.root} holds no run {run_id!r}; its runs are the files of {outputs.root / 'runs'}")
    return run_row(outputs, run_id)


def _estimates(outputs: Outputs, run_id: str) -> dict[Key, Row]:
    path = outputs.root / "runs" / run_id / "_estimates.parquet"
    if not path.is_file():
        raise StudyError(f"the estimates of run {run_id} are gone: there is no {path}; run the study again")
    rows: list[Row] = tables.scan("estimates", [path], [*_KEY, *_VALUES]).to_pylist()
    places: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        # Edges of bins and points of curves are quantiles of the data: by their names, none would be in both runs.
        kind = next((kind for begin, kind in _PLACED.items() if row["term"].startswith(begin)), None)
        if kind is not None:
            where = tuple(row[name] for name in _KEY[:-1])
            places[where] += 1
            row["term"] = f"{kind} {places[where]}"
    return {Key(*(row[name] for name in _KEY)): row for row in rows}


def _side(run: Row) -> Side:
    return Side(run["run_id"], run["study"], f"{run['started']:%Y-%m-%d %H:%M:%S} UTC", run["state"])


def _definitions(runs: Sequence[Row]) -> list[Row]:
    """Both definitions with the defaults filled in; as they are recorded where another version wrote one of them."""
    recorded: list[Row] = [json.loads(run["definition"]) for run in runs]
    try:
        return [Study.model_validate(one).model_dump(mode="json") for one in recorded]
    except ValidationError:
        return recorded


def _labelled(specs: Sequence[Row]) -> dict[str, Row]:
    """Datasets or base models of a definition by their labels."""
    return {_label(spec): spec for spec in specs}


def _label(spec: Row) -> str:
    name = str(spec["name"])
    if spec.get("label"):
        return str(spec["label"])
    # As `BaseModelSpec.key`: a folder goes by its own name.
    return name.rstrip("/").rsplit("/", 1)[-1] if name.startswith(("/", "./", "../", "~")) else name


def _settings(before: Row, after: Row) -> Iterator[Change]:
    """What differs between two definitions, key by key; of datasets and base models, those in both."""
    entries = ("datasets", "base_models")
    # The study's name is known of each run: it is no setting.
    plain = [{k: v for k, v in one.items() if k not in (*entries, "name")} for one in (before, after)]
    yield from _differing(*plain)
    for entry in entries:
        first, second = _labelled(before[entry]), _labelled(after[entry])
        for label in first:
            for change in _differing(first[label], second.get(label, first[label])):
                yield Change(f"{entry}.{label}.{change.name}", change.before, change.after)


def _sources(runs: Sequence[Row], definitions: Sequence[Row]) -> Iterator[SourceChange]:
    kinds: tuple[tuple[Literal["dataset", "base model"], str, str], ...] = (
        ("dataset", "datasets", "dataset"),
        ("base model", "base_models", "base_model"),
    )
    for kind, table, label in kinds:
        declared = [_labelled(one[table]) for one in definitions]
        found = [{row[label]: row for row in run[table]} for run in runs]
        for name in dict.fromkeys((*declared[0], *declared[1])):
            first, second = ({f: one.get(name, {}).get(f) for f in _FACTS[kind]} for one in found)
            facts = tuple(_differing(first, second))
            change = _kind_of_change(name, declared, found, {f.name for f in facts})
            if change is not None:
                yield SourceChange(kind, name, change, facts)


def _kind_of_change(
    name: str, declared: Sequence[dict[str, Row]], found: Sequence[dict[str, Row]], differing: set[str]
) -> Literal["new", "removed", "lost", "back", "re-pulled", "changed"] | None:
    if name not in declared[0]:
        return "new"
    if name not in declared[1]:
        return "removed"
    if (name in found[0]) != (name in found[1]):
        return "lost" if name in found[0] else "back"
    if differing & {"location", "revision"}:
        return "re-pulled"
    return "changed" if differing else None


def _software(run: Row) -> Row:
    packages = {p["name"]: p["value"] for p in run["packages"]}
    return {"typicality": run["code_version"], **packages, "device": run["device"]}


def _differing(before: Row, after: Row) -> Iterator[Change]:
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            yield Change(name, before.get(name), after.get(name))


def _move(key: Key, before: Row, after: Row) -> Move:
    first, second = _finite(before["estimate"]), _finite(after["estimate"])
    errors = [e for e in (_finite(before["std_error"]), _finite(after["std_error"])) if e is not None]
    std_error = max(errors, default=None)
    difference = second - first if first is not None and second is not None else None
    return Move(
        key=key,
        before=first,
        after=second,
        difference=difference,
        std_error=std_error,
        in_errors=difference / std_error if difference is not None and std_error else None,
        status_before=before["status"],
        status_after=after["status"],
        n_before=before["n_comparisons"],
        n_after=after["n_comparisons"],
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _largest_first(move: Move) -> tuple[Any, ...]:
    """By the move against its error, then (where there is no error) by the move itself, then by name."""
    key = move.key
    names = (key.dataset, key.base_model, key.measure, key.slice, key.specification, key.term)
    in_errors = -1.0 if move.in_errors is None else abs(move.in_errors)
    return (-in_errors, -abs(move.difference or 0.0), names)
