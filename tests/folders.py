"""Output folders made by hand: runs, scores and reports of which everything, their ages too, is known."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from analysis import tables
from analysis.ids import content_id
from analysis.manifest import write_manifest
from analysis.outputs import Outputs
from analysis.schemas import TABLES
from tests.test_tables import filled

REVISION = "2" * 40


def scoring(name: str) -> str:
    """The scoring_id that stands for a name."""
    return content_id("scoring", name)


@dataclass
class Folder:
    """An output folder; ages are in days before `now`."""

    root: Path
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def outputs(self) -> Outputs:
        return Outputs(self.root)

    def run(
        self,
        study: str,
        days: float,
        uses: Sequence[str] = (),
        state: str = "completed",
        published: bool = True,
        **row: Any,
    ) -> str:
        """A run that used some scorings, and is the published one, with its report, unless that is not to be."""
        ended = self.now - timedelta(days=days)
        started = ended - timedelta(minutes=1)
        run_id = f"{started:%Y%m%dT%H%M%SZ}-{content_id(study, state, str(days))[:8]}"
        scorings = [scoring(name) for name in uses]
        values: dict[str, Any] = {
            "run_id": run_id, "study": study, "started": started, "ended": ended, "state": state,
            "cells": [{"dataset": "d", "base_model": "m", "scoring_id": one} for one in scorings], "scorings": scorings,
        }  # fmt: skip
        tables.write(self.outputs.run_row(run_id), "runs", [filled(TABLES["runs"], **(values | row))])
        estimates = [filled(TABLES["estimates"], study=study, run_id=run_id)]
        tables.write(self.root / "runs" / run_id / "_estimates.parquet", "estimates", estimates)
        tables.write(self.root / "runs" / run_id / "_exclusions.parquet", "exclusions", [])
        tables.write_text(self.outputs.report(study, run_id) / "index.html", "page")
        if published:
            tables.write(self.outputs.study_table("estimates", study), "estimates", estimates)
            self.outputs.point_latest(study, run_id)
        return run_id

    def scores(self, name: str, days: float, shard: int = 0, table: str = "scores", **row: Any) -> Path:
        """A file of scores, last written so long ago."""
        path = self.root / table / f"{scoring(name)}-{shard:016x}.parquet"
        values = {"scoring_id": scoring(name), "revision": REVISION, "dtype": "float32", "base_model": "m"}
        known = {c.name for c in TABLES[table].columns}
        given = {key: value for key, value in (values | row).items() if key in known}
        tables.write(path, table, [filled(TABLES[table], **given)])
        return self.aged(path, days)

    def damaged(self, days: float, name: str = "scores/x.parquet") -> Path:
        """A file that was set aside so long ago; it had been written long before."""
        path = self.root / ".damaged" / f"{self.now - timedelta(days=days):%Y%m%dT%H%M%S.%fZ}" / name
        tables.write_text(path, "torn")
        return self.aged(path, 400)

    def aged(self, path: Path, days: float) -> Path:
        moment = (self.now - timedelta(days=days)).timestamp()
        os.utime(path, (moment, moment))
        return path

    def with_manifest(self) -> "Folder":
        write_manifest(self.outputs)
        return self

    def left(self) -> set[str]:
        """Every file, folder and link, but for those that every command may write."""
        own = {".lock", "manifest.json", ".manifest.json"}
        return {path.relative_to(self.root).as_posix() for path in self.root.rglob("*")} - own


def seen(root: Path) -> dict[Path, tuple[int, bytes]]:
    """What lies under a folder, with times of change; the folders themselves, too."""
    paths = [root, *sorted(root.rglob("*"))]
    return {path: (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"") for path in paths}
