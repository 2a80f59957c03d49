"""A small study of the user's own data on disk, taken through the first stages without a flow."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import tables
from analysis.likelihood.stage import Scored, score
from analysis.outputs import Outputs
from analysis.preferences.stage import fetch
from analysis.study import Study, parse

RUN = "run"
WORDS = (
    *("the", "dog", "answer", "question", "France", "capital", "of", "and"),
    *("nobody", "sea", "🌊", "year", "weather", "fine"),
)
Row = Mapping[str, Any]


def pairs(n: int = 12, seed: int = 0, longest: int = 14, **columns: Any) -> list[dict[str, Any]]:
    """Pairs of made-up text; every other one has the prompt of the one before it."""
    random = np.random.default_rng(seed)

    def text(low: int, high: int) -> str:
        return " ".join(random.choice(WORDS, int(random.integers(low, high))))

    rows: list[dict[str, Any]] = []
    for i in range(n):
        prompt = rows[-1]["prompt"] if i % 2 else f"{text(2, 8)} {seed}.{i}?"
        answers = {"a": f"{text(1, longest)} {i}", "b": f"{text(1, longest)} {i}!"}
        rows.append({"prompt": prompt, **answers, "best": "ab"[int(random.integers(2))], **columns})
    return rows


def study_of(folder: Path, rows: Sequence[Row], model: Path, **options: Any) -> Study:
    """A study of one dataset of pairs (columns prompt, a, b, best and any others, which must be declared).

    `dataset` and `base_model` among the options are further keys of the two; the others belong to the study.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    declared = {
        "name": "pairs",
        "path": str(path),
        "shape": "pairs",
        "rater": "human",
        "prompt": "prompt",
        "response_a": "a",
        "response_b": "b",
        "preference": "best",
        "values": {"a": "a", "b": "b", "tie": "tie"},
    }
    values = {
        "name": "study",
        "datasets": [{**declared, **options.pop("dataset", {})}],
        "base_models": [{"name": str(model), "label": "tiny", "device": "cpu", **options.pop("base_model", {})}],
        **options,
    }
    return parse(values, folder)


def fetched(study: Study, outputs: Outputs) -> Path:
    """Read the study's datasets; returns the run's folder of unpublished tables."""
    work = outputs.work(RUN)
    for spec in study.datasets:
        fetch(spec, study.name, study.seed, outputs, work)
    return work


def scored(study: Study, outputs: Outputs, tick: Callable[[int, int], None] = lambda done, total: None) -> Scored:
    """Read the study's dataset and score it under its base model."""
    work = fetched(study, outputs)
    return score(study.base_models[0], study.datasets[0].key, study, outputs, work, tick)


def in_work(name: str, outputs: Outputs) -> pd.DataFrame:
    """What the run has written of a table, not published yet."""
    return tables.scan(name, sorted((outputs.work(RUN) / name).glob("*.parquet"))).to_pandas()


def excluded(outputs: Outputs, stage: str) -> dict[tuple[str, str], int]:
    """Counts of what one stage left out, by unit and reason."""
    found = in_work("exclusions", outputs)
    found = found[found["stage"] == stage]
    return {(unit, reason): n for unit, reason, n in zip(found["unit"], found["reason"], found["n"], strict=True)}


def scores(outputs: Outputs) -> pd.DataFrame:
    found = tables.read("scores", outputs.root)
    return found.sort_values(["scoring_id", "conditional", "response_id"], ignore_index=True)


def shards(outputs: Outputs) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in tables.files("scores", outputs.root)}
