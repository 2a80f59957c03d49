"""Generations of a study → its rows of `remedies` and `diversity`, and how all is published."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow.dataset as ds

from analysis import tables
from analysis.collapse.diversity.estimates import rows as diversity_rows
from analysis.collapse.diversity.metrics import Measurer
from analysis.collapse.diversity.sets import Group
from analysis.collapse.remedies import claims
from analysis.collapse.remedies.estimates import Array, Measured, Values, mean, random_of, ratio
from analysis.collapse.remedies.measures import BAR_QUANTILE, HEADLINE, IS_BASELINE, Part, measured, parts
from analysis.collapse.remedies.parsing import OK
from analysis.collapse.remedies.study import SampleStudy
from analysis.errors import StudyError
from analysis.outputs import Outputs
from analysis.runs import code_version, new_id, package_versions

Row = dict[str, Any]
PUBLISHED = ("generations", "diversity", "remedies", "samplings")
_NOTHING: dict[str, Any] = dict.fromkeys(tables.table("generations").schema.names)


@dataclass
class Sampling:
    """A run of a study of remedies while it goes on.

    Attributes
    ----------
    generations
        Rows of `generations` of the models that could be asked.
    failures
        What failed, a sentence each.
    told, parameters
        By model what it was, and how many parameters it has where that is known.
    """

    study: SampleStudy
    run_id: str
    started: datetime
    generations: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, float] = field(default_factory=dict)
    n_requests: int = 0
    n_asked: int = 0

    @classmethod
    def start(cls, study: SampleStudy) -> "Sampling":
        """A new run."""
        now = datetime.now(UTC)
        return cls(study, new_id(now), now)

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows of `generations`, which may lack columns."""
        self.generations += [_NOTHING | row for row in rows]

    @property
    def models(self) -> list[str]:
        """Models that gave rows, in the study's order."""
        there = {row["model"] for row in self.generations}
        return [m.key for m in self.study.models if m.key in there]

    @property
    def state(self) -> str:
        """`completed`, `partial` (something failed) or `failed` (no model could be asked)."""
        if not self.failures:
            return "completed"
        return "partial" if self.models else "failed"


def check_name(study: SampleStudy, outputs: Outputs) -> None:
    """Raise StudyError where a study of labels has this name in the output folder: its tables would be replaced."""
    if len(tables.read("runs", outputs.root, study=study.name, columns=["run_id"])):
        raise StudyError(
            f"{outputs.root} holds runs of a study of labels called {study.name!r}; give this study another name"
        )


def earlier_rows(study: SampleStudy, outputs: Outputs) -> list[Row]:
    """The rows of `generations` of the study's run before."""
    path = outputs.study_table("generations", study.name)
    found: list[Row] = tables.scan("generations", [path] if path.is_file() else []).to_pylist()
    return found


def forecasts_of(study: SampleStudy, outputs: Outputs) -> list[Row]:
    """The forecasts of the study of labels that a study names; none where it names none.

    Raises
    ------
    StudyError
        If the output folder holds none of it.
    """
    if study.forecast is None:
        return []
    path = outputs.study_table("forecasts", study.forecast)
    if not path.is_file():
        raise StudyError(
            f"forecast: {outputs.root} holds no forecasts of a study {study.forecast!r}; run it first: typicality run"
        )
    found: list[Row] = tables.scan("forecasts", [path]).to_pylist()
    return found


def fill(rows: Sequence[Row], found: Mapping[tuple[str, str], Row]) -> None:
    """Put what is known of a prompt with a response into all rows that hold them."""
    for row in rows:
        if row["status"] == OK:
            row.update(found.get((row["prompt"], row["response"]), {}))


def measure(
    run: Sampling, forecasts: Sequence[Row], tick: Callable[[int, int], None]
) -> tuple[list[Row], list[Row], float | None]:
    """Rows of `remedies` and of `diversity`, and the bar that quality was held to.

    Parameters
    ----------
    run
        With all its generations.
    forecasts
        Rows of `forecasts` that measured diversity is set beside.
    tick
        Called with how many methods are measured, and of how many.
    """
    study, usable = run.study, [row for row in run.generations if row["status"] == OK]
    names = [m.name for m in study.methods]
    entropies = np.array([np.nan if row["entropy"] is None else row["entropy"] for row in usable], float)
    known = {"": entropies} if np.isfinite(entropies).any() else {}
    measurer = Measurer.of([row["response"] for row in usable], study.encoder, known)
    qualities = _qualities(usable, study)
    made: list[Row] = []
    diverse: list[Row] = []
    pairs: dict[tuple[str, str], tuple[Values, Values]] = {}
    baselines: dict[tuple[str, str], Values] = {}
    bar, done, first = study.bar, 0, 0
    for model in run.models:
        rows = [row for row in run.generations if row["model"] == model]
        found = {part.method: part for part in parts(rows, names, first)}
        first += sum(row["status"] == OK for row in rows)
        base = found[study.baseline]
        limit = bar if bar is not None else _bar(base, qualities)
        for part in found.values():
            for one in measured(part, base, study, measurer, qualities, limit):
                made.append(_row(one, study, model, part.method))
                if one.measure == HEADLINE and one.pair is not None:
                    pairs[model, part.method] = one.pair
                if part is base and one.measure in claims.LEFT:
                    baselines[model, one.measure] = one.values
            diverse += _diversity(part, base, model, measurer, study)
            done += 1
            tick(done, len(run.models) * len(names))
    made += claims.size_rows(study, pairs, run.parameters) if len(run.models) > 1 else ()
    made += claims.tuning_rows(study, baselines)
    made += claims.forecast_rows(study, forecasts)
    return made, diverse, bar


def _qualities(usable: Sequence[Row], study: SampleStudy) -> Array:
    column = {"judge": "judgement"}.get(study.quality or "", study.quality)
    return np.array([np.nan if column is None or row[column] is None else row[column] for row in usable], float)


def _bar(base: Part, qualities: Array) -> float | None:
    """What nine tenths of the baseline's responses reach; None where there is no quality."""
    found = qualities[[i for texts in base.group.texts.values() for i in texts]]
    known = found[np.isfinite(found)]
    return float(np.quantile(known, BAR_QUANTILE)) if len(known) else None


def _row(one: Measured, study: SampleStudy, model: str, method: str) -> Row:
    key = model, method, one.measure
    own = mean(one.values, random_of(study.seed, *key)) if not one.status else None
    to = ratio(one.pair, random_of(study.seed, "ratio", *key)) if one.pair and method != study.baseline else None
    status = one.status or (own.status if own else "")
    why = one.why_no_ratio if one.pair is None else IS_BASELINE
    return {
        "study": study.name,
        "model": model,
        "method": method,
        "kind": one.kind,
        "measure": one.measure,
        "unit": one.unit,
        "status": status,
        "estimate": own.value if own else None,
        "conf_low": _within(own.low, one.unit) if own else None,
        "conf_high": _within(own.high, one.unit) if own else None,
        "ratio": to.value if to else None,
        "ratio_low": to.low if to else None,
        "ratio_high": to.high if to else None,
        "ratio_status": to.status if to else why,
        "n_prompts": sum(bool(np.isfinite(v)) for v in one.values.values()),
        "n_responses": one.n_responses,
    }


def _within(end: float | None, unit: str) -> float | None:
    """The end of an interval, where it is possible: shares lie between 0 and 1, KL is not below 0."""
    if end is None or unit not in ("share", "nats"):
        return end
    return max(0.0, min(1.0, end)) if unit == "share" else max(0.0, end)


def _diversity(part: Part, base: Part, model: str, measurer: Measurer, study: SampleStudy) -> Iterator[Row]:
    """Rows of `diversity`: of a method alone, and less the baseline."""
    groups = [Group(f"{model} · {p.method}", p.group.texts, p.group.n_empty, p.group.n_failed) for p in (part, base)]
    for row in diversity_rows(groups[:1] if part is base else groups, measurer, study.seed):
        if row["group"] == groups[0].name:
            yield {**row, "study": study.name}


def publish(run: Sampling, remedies: Sequence[Row], diversity: Sequence[Row], bar: float | None, out: Outputs) -> None:
    """Publish the study's tables together; one that nothing could be asked for leaves the earlier ones in place."""
    study, work = run.study, out.work(run.run_id)
    row = {
        "study": study.name,
        "run_id": run.run_id,
        "started": run.started,
        "ended": datetime.now(UTC),
        "state": run.state,
        "code_version": code_version(),
        "packages": package_versions(),
        "definition": study.model_dump_json(exclude_none=True),
        "models": [{"name": name, "value": value} for name, value in run.told.items()],
        "parameters": [{"name": name, "value": f"{value:.0f}"} for name, value in run.parameters.items()],
        "failures": run.failures,
        "bar": bar,
        "n_requests": run.n_requests,
        "n_asked": run.n_asked,
    }
    rows = dict(zip(PUBLISHED, (run.generations, diversity, remedies, [row]), strict=True))
    moves = {}
    for name, found in rows.items():
        path = work / f"{name}.parquet"
        tables.write(path, name, found)
        moves[path] = out.study_table(name, study.name)
    out.publish(run.run_id, moves)


def latest(study: str, outputs: Outputs) -> Row:
    """The row of `samplings` of a study.

    Raises
    ------
    StudyError
        If the output folder holds none.
    """
    path = outputs.study_table("samplings", study)
    found = tables.scan("samplings", [path] if path.is_file() else [], None, ds.field("study") == study).to_pylist()
    if not found:
        raise StudyError(f"{outputs.root} holds no run of a study of remedies called {study!r}: typicality sample")
    row: Row = found[0]
    return row
