"""What is recorded of a run, and how its tables are published."""

import json
import secrets
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa

from analysis import __version__, tables
from analysis.errors import StudyError
from analysis.fingerprints import Parts
from analysis.likelihood.stage import Scored
from analysis.outputs import STUDY_TABLES, Outputs, describe
from analysis.preferences.stage import Fetched
from analysis.study import Study

PACKAGES = (
    *("torch", "transformers", "tokenizers", "datasets", "huggingface_hub"),
    *("numpy", "scipy", "pandas", "pyarrow", "statsmodels", "prefect"),
)
KEPT_PER_RUN = ("estimates", "exclusions")


@dataclass(frozen=True)
class Stage:
    """One stage of a run: what it worked on, `ok` or why it failed, its time, and what it did in a few words."""

    stage: str
    dataset: str
    base_model: str
    status: str
    seconds: float
    detail: str


@dataclass
class Run:
    """A run while it goes on."""

    study: Study
    run_id: str
    started: datetime
    stages: list[Stage] = field(default_factory=list)
    fetched: dict[str, Fetched] = field(default_factory=dict)
    scored: dict[tuple[str, str], Scored] = field(default_factory=dict)
    estimated: set[tuple[str, str]] = field(default_factory=set)
    decided: dict[tuple[str, str, str], Parts] = field(default_factory=dict)

    @property
    def failures(self) -> list[Stage]:
        """Stages that failed."""
        return [s for s in self.stages if s.status != "ok"]

    @property
    def state(self) -> str:
        """`completed`, `partial` (some cell failed) or `failed` (all did)."""
        if not self.failures:
            return "completed"
        return "partial" if self.estimated else "failed"


def new_id(now: datetime) -> str:
    """Id of a run that begins now: the time and four random bytes."""
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def start(study: Study) -> Run:
    """A new run of a study."""
    now = datetime.now(UTC)
    return Run(study, new_id(now), now)


def check_name(study: Study, outputs: Outputs) -> None:
    """Raise StudyError where a study of remedies has this name in the folder: its diversity would be replaced."""
    if outputs.study_table("samplings", study.name).is_file():
        raise StudyError(
            f"{outputs.root} holds a study of remedies called {study.name!r}; give this study another name"
        )


def code_version() -> str:
    """The package's version, with the commit of the source tree where it is one."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return __version__
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f"{__version__} ({commit})"


def package_versions() -> list[dict[str, str]]:
    """Versions of the packages that results rest on."""
    found = []
    for name in PACKAGES:
        try:
            found.append({"name": name, "value": version(name)})
        except PackageNotFoundError:
            continue
    return found


def publish(run: Run, outputs: Outputs) -> None:
    """Publish what a run made: its row of `runs`, its estimates and exclusions, and the study's tables.

    A run of which every cell failed leaves the study's earlier tables in place.
    """
    work = outputs.work(run.run_id)
    staged = {name: work / f"{name}.parquet" for name in STUDY_TABLES}
    for name, path in staged.items():
        parts = sorted((work / name).glob("*.parquet"))
        with tables.writer(path, name) as add:
            for part in tables.stream(name, parts):
                add(part)
    moves: dict[Path, Path] = {}
    for name in KEPT_PER_RUN:
        copy = work / f"_{name}.parquet"
        tables.write(copy, name, tables.scan(name, [staged[name]]))
        moves[copy] = outputs.root / "runs" / run.run_id / copy.name
    earlier = outputs.study_table("estimates", run.study.name)
    if run.state != "failed" or not earlier.exists():
        moves |= {path: outputs.study_table(name, run.study.name) for name, path in staged.items()}
    row = work / "run.parquet"
    tables.write(row, "runs", [_row(run, staged)])
    moves[row] = outputs.run_row(run.run_id)
    outputs.publish(run.run_id, moves)


def _row(run: Run, staged: dict[str, Path]) -> dict[str, Any]:
    models = {
        s.base_model: {
            "base_model": s.base_model,
            "location": s.location,
            "revision": s.revision,
            "dtype": s.dtype,
            "parameters": s.n_parameters,
        }
        for s in run.scored.values()
    }
    return {
        "run_id": run.run_id,
        "study": run.study.name,
        "started": run.started,
        "ended": datetime.now(UTC),
        "state": run.state,
        "code_version": code_version(),
        "packages": package_versions(),
        "definition": json.dumps(run.study.model_dump(mode="json", exclude_none=True), ensure_ascii=False),
        "datasets": [
            {
                "dataset": f.dataset,
                "location": f.location,
                "revision": f.revision,
                "rater": f.rater,
                "rows": f.n_rows,
                "comparisons": f.n_comparisons,
                "prompts": f.n_prompts,
            }
            for f in run.fetched.values()
        ],
        "base_models": list(models.values()),
        "from_cache": sorted(
            {f.dataset for f in run.fetched.values() if f.from_cache}
            | {s.base_model for s in run.scored.values() if s.from_cache}
        ),
        "cells": [
            {
                "dataset": s.dataset,
                "base_model": s.base_model,
                "scoring_id": s.scoring_id,
                "reference_id": s.reference_id,
                "responses": s.n_responses,
                "scored": s.n_scored,
                "scored_now": s.n_scored_now,
                "tokens_now": s.n_tokens_now,
                "truncated": s.n_truncated,
                "cut": s.n_cut,
                "straddling": s.n_straddling,
                "memorised": s.n_memorised,
                "precision": asdict(s.precision) if s.precision else None,
            }
            for s in run.scored.values()
        ],
        "device": ", ".join(sorted({s.device for s in run.scored.values()})),
        "dtype": ", ".join(sorted({s.dtype for s in run.scored.values()})),
        "stages": [asdict(s) for s in run.stages],
        "table_hashes": [asdict(describe(name, path)) for name, path in staged.items()],
        "scorings": sorted({i for s in run.scored.values() for i in (s.scoring_id, s.reference_id) if i}),
        "fingerprints": [
            {"stage": stage, "dataset": dataset, "base_model": base_model, "part": part, "value": value}
            for (stage, dataset, base_model), parts in run.decided.items()
            for part, value in parts.items()
        ],
    }


def run_row(outputs: Outputs, run_id: str) -> dict[str, Any]:
    """The row of `runs` of one run."""
    made: pa.Table = tables.scan("runs", [outputs.run_row(run_id)])
    row: dict[str, Any] = made.to_pylist()[0]
    return row
