"""A small study of made-up data, and the command run on it in this process."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from analysis.outputs import Outputs

HOSTILE = "<script>alert(1)</script> | `x` *b* [y](javascript:z)"
WORDS = ("the", "dog", "weather", "answer", "question", "sea", "year", "capital", "fine", "response", "nobody", "café")


@dataclass(frozen=True)
class Finished:
    """A command that ended: its status, what it printed, and the output folder."""

    status: int
    out: str
    err: str
    folder: Path

    @property
    def outputs(self) -> Outputs:
        """The output folder."""
        return Outputs(self.folder / "outputs")

    def table(self, name: str) -> pd.DataFrame:
        """A published table, as a pandas user reads it."""
        return pd.read_parquet(self.folder / "outputs" / name)


def sentence(random: np.random.Generator, n: int) -> str:
    """A sentence of n words."""
    return " ".join(random.choice(WORDS, n)).capitalize() + "."


def pair_rows(n: int = 80, seed: int = 0) -> list[dict[str, Any]]:
    """Pairs of two prompts each, with ties, an empty response, two equal ones, and a hostile undeclared label."""
    random = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = [
        {
            "question": f"{sentence(random, 5)} {i // 2}",
            "first": sentence(random, int(random.integers(2, 25))),
            "second": sentence(random, int(random.integers(2, 25))),
            "best": str(random.choice(["1", "2", "0"], p=[0.5, 0.4, 0.1])),
        }
        for i in range(n)
    ]
    rows[3]["first"] = "  "
    rows[5]["second"] = rows[5]["first"]
    rows[7]["best"] = HOSTILE
    rows[9]["question"] = HOSTILE
    return rows


def graded_rows(n: int = 30, seed: int = 1) -> list[dict[str, Any]]:
    """Three or so responses to each of ten questions, with an outcome and a quality rating."""
    random = np.random.default_rng(seed)
    return [
        {
            "question": f"Question {i % 10}?",
            "answer": sentence(random, int(random.integers(2, 15))) + f" {i}",
            "good": int(random.integers(0, 3)),
            "true": bool(random.integers(0, 2)),
        }
        for i in range(n)
    ]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


PAIRS = """
[[datasets]]
name = "pairs"
path = "pairs.jsonl"
shape = "pairs"
rater = "human"
prompt = "question"
response_a = "first"
response_b = "second"
preference = "best"
values = { "1" = "a", "2" = "b", "0" = "tie" }
"""
GRADED = """
[[datasets]]
name = "graded"
path = "graded.jsonl"
shape = "graded"
rater = "ai"
prompt = "question"
response = "answer"
outcome = "good"
quality = ["true"]
"""


def write_study(folder: Path, model: Path, datasets: str = PAIRS + GRADED, more: str = "") -> Path:
    """Write a study with its data and return its file."""
    write_rows(folder / "pairs.jsonl", pair_rows())
    write_rows(folder / "graded.jsonl", graded_rows())
    measures = '["mean_logprob", "logprob_per_byte", "sum_logprob", "mean_pmi"]'
    text = f'name = "made"\ntitle = "Made-up data"\ntemplate = "dialogue"\nmeasures = {measures}\n{more}\n'
    path = folder / "made.toml"
    path.write_text(f'{text}\n[[base_models]]\nname = "{model}"\n{datasets}', encoding="utf-8")
    return path


def write_remedies(folder: Path, model: Path) -> Path:
    """Write a study of remedies that asks a model on this machine, and return its file."""
    text = f'name = "sampled"\nn = 2\n[[models]]\nbackend = "transformers"\nname = "{model}"\ntemplate = "plain"\n'
    text += '[[methods]]\nname = "direct"\nmax_tokens = 4\n[[prompts]]\nprompt = "The weather"\n'
    path = folder / "sampled.toml"
    path.write_text(text, encoding="utf-8")
    return path


def run_command(folder: Path, *arguments: str) -> Finished:
    """Run `typicality …` in this process; what it prints and exits with is returned."""
    from flows import progress
    from flows.cli import main

    out, err = io.StringIO(), io.StringIO()
    status: Any = None
    with redirect_stdout(out), redirect_stderr(err), mock.patch("sys.argv", ["typicality", *arguments]):
        progress.console.file = err
        try:
            main()
        except SystemExit as ended:
            status = ended.code
    return Finished(status, out.getvalue(), err.getvalue(), folder)
