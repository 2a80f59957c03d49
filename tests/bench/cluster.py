"""Scoring by two workers of a local Ray cluster, one of which is killed midway, beside one process.

`python -m tests.bench.cluster [PROMPTS] [FOLDER]` needs `pip install 'typicality[ray]'`. The demo's data under the
embedded base model, or that of a folder; each side is timed from the first shard to the last, without the cluster's
start; it loads the base model, if the time before did not.
"""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from analysis.likelihood.backends import ray as backend
from analysis.likelihood.backends.ray import Done, Shard, score_shard
from analysis.likelihood.stage import Scored, score
from analysis.outputs import Outputs
from analysis.preferences.stage import fetch
from analysis.study import BaseModelSpec, Study, load
from flows.cluster import workers
from flows.parameters import STUDIES
from tests.likelihood.cell import scores

MARK = "TYPICALITY_BENCH_MARK"
KILLED_AT = 3


def marked(shard: Shard) -> Done:
    """Note who works; the worker of the third shard is killed."""
    path = Path(os.environ[MARK])
    with path.open("a") as file:
        file.write(f"{os.getpid()}\n")
    if len(path.read_text().splitlines()) == KILLED_AT:
        os.kill(os.getpid(), signal.SIGKILL)
    return score_shard(shard)


def run(study: Study, folder: Path, cluster: object) -> tuple[Scored, float]:
    """Read the data and score them; with how long scoring took."""
    outputs = Outputs(folder)
    work = outputs.work("bench")
    (dataset,) = study.datasets
    fetch(dataset, study.name, study.seed, outputs, work)
    began = time.monotonic()
    found = score(study.base_models[0], dataset.key, study, outputs, work, workers=cluster)
    return found, time.monotonic() - began


def main(n_prompts: int, model: str | None) -> None:
    """Print whether the rows are the same, and how fast both were."""
    local = load(STUDIES / "demo.toml").narrowed((), (), n_prompts)
    if model:
        local = local.model_copy(update={"base_models": (BaseModelSpec(name=model, label="given"),)})
    spec = local.base_models[0].model_copy(update={"backend": "ray"})
    there = local.model_copy(update={"base_models": (spec,)})
    backend.SHARD_TOKENS = 4_096
    with tempfile.TemporaryDirectory() as made_for_this, workers() as cluster:
        folder = Path(made_for_this)
        os.environ[MARK] = str(folder / "mark")
        # The cluster is joined, and the base model loaded, beforehand.
        run(there.narrowed((), (), 4), folder / "warm", cluster)
        one, alone = run(local, folder / "one", None)
        _, spread = run(there, folder / "two", cluster)
        backend.score_shard = marked
        _, killed = run(there, folder / "killed", cluster)
        n_workers = len(set((folder / "mark").read_text().split()))
        wanted = scores(Outputs(folder / "one"))
        rest = [name for name in wanted if name not in ("sum_logprob", "mean_entropy")]
        told = {"two": "two workers", "killed": f"one of two killed ({n_workers} worked)"}
        for name, seconds in (("two", spread), ("killed", killed)):
            made = scores(Outputs(folder / name))
            off = (made["sum_logprob"] - wanted["sum_logprob"]).abs().max()
            same = "the same" if made[rest].equals(wanted[rest]) else "OTHER"
            print(
                f"{told[name]}: {len(made):,} rows, {same}; sums differ by {off:.1e} nats at most; "
                f"{alone / seconds:.2f} times as fast as one process ({one.n_tokens_now:,} tokens)"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200, sys.argv[2] if len(sys.argv) > 2 else None)
