"""How fast responses are scored, against other people's scorers, side by side in one run; and in how much memory.

    python -m tests.bench.scoring [--only speed fours memory] [--models 15m 135m] [--peers …] [--pairs N] [--repeats 3]

Random-weight Llamas of 15 million (32k vocabulary) and 135 million parameters (SmolLM2's shape) score the same texts
with the same threads: hh-rlhf where it lies beside the project, made-up text of like lengths elsewhere. Every scorer
runs in a process of its own, a peer with the batch size at which it was fastest on a third of the pairs; they take
turns, and medians over the turns are compared. Sums must agree within 1e-3 nats in float32: else the exit status is 1.

speed: pairs, against every peer, and against the limit: the least work in matrix products (each prompt once, logits at
response positions only) at the largest rate a matrix product reached in this run. For each comparison a line
`ratio <peer> <model> <dtype> <number>`; what entropies cost is told apart.
fours: the same prompts with two and with four responses each. memory: see `tests.bench.memory`.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from tests.bench import memory
from tests.bench.material import (
    SHAPES,
    Lengths,
    Prompt,
    fours,
    hh_pairs,
    largest_rate,
    least_work,
    lengths,
    make_model,
)

PAIRS = {"15m": 200, "135m": 96}
PEERS = {"lm-eval": (1, 4, 16), "loop": (1,), "minicons": (1, 8, 16), "trl": (1, 2, 8)}
PACKAGES = ("torch", "transformers", "lm_eval", "minicons", "trl")
LARGEST_DIFFERENCE = 1e-3


class Worker:
    """A scorer's process."""

    def __init__(self, name: str, folder: Path, dtype: str, prompts: Path, batch: int) -> None:
        self.name, self.dtype, self.batch = name, dtype, batch
        command = [sys.executable, "-m", "tests.bench.scorers", name, str(folder), dtype, str(prompts), str(batch)]
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )
        self.seconds: list[float] = []
        self.sums: list[float] = []
        self.peak, self.tokens_read = 0, 0
        self._answer()

    def _answer(self) -> dict[str, Any]:
        """The next line of JSON."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                return dict(json.loads(line))
        self.errors.seek(0)
        raise SystemExit(f"{self.name} ended:\n{self.errors.read()[-2000:]}")

    def go(self) -> float:
        """Score all texts once; in how many seconds."""
        assert self.process.stdin is not None
        print("go" if self.sums else "sums", file=self.process.stdin, flush=True)
        told = self._answer()
        self.seconds.append(told["seconds"])
        self.peak, self.tokens_read = told["peak_mib"], told["tokens_read"]
        self.sums = told.get("sums", self.sums)
        return self.seconds[-1]

    @property
    def median(self) -> float:
        """Seconds of a turn."""
        return statistics.median(self.seconds)

    def off(self, reference: "Worker") -> float:
        """The largest difference of a sum, in nats."""
        return max(abs(a - b) for a, b in zip(self.sums, reference.sums, strict=True))

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        self.errors.close()


class Bench:
    """One model with its texts, in a folder of its own."""

    def __init__(self, name: str, n: int, options: argparse.Namespace, root: Path) -> None:
        self.name, self.options, self.root, self.folder = name, options, root, root / "model"
        self.pairs = hh_pairs(n)
        make_model(SHAPES[name], hh_pairs(2000), self.folder)
        self._best: dict[str, int] = {}

    def lengths(self, prompts: Sequence[Prompt]) -> list[Lengths]:
        """How long prompts and responses are."""
        return lengths(prompts, self.folder)

    def write(self, name: str, prompts: Sequence[Prompt]) -> Path:
        """A file of prompts, for the workers."""
        path = self.root / f"{name}.json"
        path.write_text(json.dumps(prompts), encoding="utf-8")
        return path

    def peer(self, name: str, prompts: Path) -> Worker:
        """A peer, with the batch size that suits it best."""
        return Worker(name, self.folder, "float32", prompts, self._best_batch(name))

    def ours(self, prompts: Path, dtype: str = "float32", name: str = "ours") -> Worker:
        """This project's scorer."""
        return Worker(name, self.folder, dtype, prompts, self.options.budget)

    def _best_batch(self, name: str) -> int:
        sizes = PEERS[name]
        if name not in self._best:
            path = self.write("sample", self.pairs[::3]) if len(sizes) > 1 else Path()
            self._best[name] = min(sizes, key=lambda batch: self._seconds(name, path, batch)) if path.name else sizes[0]
        return self._best[name]

    def _seconds(self, name: str, path: Path, batch: int) -> float:
        worker = Worker(name, self.folder, "float32", path, batch)
        try:
            return worker.go()
        finally:
            worker.stop()


def agree(workers: Sequence[Worker], reference: Worker) -> bool:
    """Whether the sums of all float32 scorers are those of the reference; says which are not."""
    wrong = [w for w in workers if w.dtype == "float32" and not w.off(reference) <= LARGEST_DIFFERENCE]
    for worker in wrong:
        print(f"the sums of {worker.name} differ by {worker.off(reference):.1e} nats", file=sys.stderr)
    return not wrong


def speed(bench: Bench) -> bool:
    """Pairs, against every peer; whether all sums agree."""
    options, path = bench.options, bench.write("pairs", bench.pairs)
    dtypes = list(dict.fromkeys(["float32", *options.dtypes]))
    workers = [bench.ours(path, dtype, name) for dtype in dtypes for name in ("ours", "ours-entropy")]
    workers += [bench.peer(peer, path) for peer in options.peers]
    rates = dict.fromkeys(dtypes, 0.0)
    for _ in range(options.repeats):
        for dtype in dtypes:
            rates[dtype] = max(rates[dtype], largest_rate(getattr(torch, dtype)))
        for worker in workers:
            worker.go()
    for worker in workers:
        worker.stop()
    n, work = len(bench.pairs), least_work(SHAPES[bench.name], bench.lengths(bench.pairs))
    report(bench.name, n, workers, {dtype: rate / work for dtype, rate in rates.items()})
    return agree(workers, workers[0])


def report(name: str, n: int, workers: Sequence[Worker], limits: Mapping[str, float]) -> None:
    """Print rates, and what share they are of the limits (turns a second), then ratios."""
    for worker in workers:
        ours = worker.name.startswith("ours")
        share = f", {1 / worker.median / limits[worker.dtype]:.0%} of the limit" if ours else f", batch {worker.batch}"
        print(
            f"{name} {worker.name:13} {worker.dtype:9} {n / worker.median:7.2f} pairs/s, {worker.peak:6,} MiB, "
            f"largest difference {worker.off(workers[0]):.1e}{share}"
        )
    made = {(worker.name, worker.dtype): worker.median for worker in workers}
    for dtype in limits:
        mine = made["ours", dtype]
        for worker in workers:
            if not worker.name.startswith("ours"):
                print(f"ratio {worker.name} {name} {dtype} {worker.median / mine:.2f}")
        print(f"entropy {name} {dtype} {made['ours-entropy', dtype] / mine - 1:+.1%} time", flush=True)


def responses(bench: Bench) -> bool:
    """The same prompts with two and with four responses each; whether all sums agree."""
    twos = bench.pairs[: (len(bench.pairs) + 1) // 2]
    groups = {"pairs": twos, "fours": fours(twos)}
    paths = {kind: bench.write(kind, prompts) for kind, prompts in groups.items()}
    mine = {kind: bench.ours(path) for kind, path in paths.items()}
    others = [bench.peer("lm-eval", paths["fours"])] if "lm-eval" in bench.options.peers else []
    for _ in range(bench.options.repeats):
        for worker in (*mine.values(), *others):
            worker.go()
    rates = {kind: len(worker.sums) / worker.median for kind, worker in mine.items()}
    for kind, worker in mine.items():
        sizes = bench.lengths(groups[kind])
        times = (worker.tokens_read - sum(s.read for s in sizes)) / sum(s.prompt for s in sizes)
        print(
            f"{bench.name} {kind} {rates[kind]:.1f} responses/s, {worker.tokens_read / len(worker.sums):.1f} tokens "
            f"read a response, each prompt read {times:.2f} times"
        )
    print(f"fours {bench.name} float32 {rates['fours'] / rates['pairs']:.2f} times the responses/s of pairs")
    for worker in others:
        print(f"fours-ratio {worker.name} {bench.name} float32 {worker.median / mine['fours'].median:.2f}", flush=True)
    for worker in (*mine.values(), *others):
        worker.stop()
    return agree(others, mine["fours"])


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=["speed", "fours", "memory"], default=["speed", "fours", "memory"])
    parser.add_argument("--models", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--dtypes", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"])
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--pairs", type=int, help=f"by default {PAIRS}; fours take half as many prompts")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--budget", type=int, default=2048, help="tokens that ours reads at a time")
    options = parser.parse_args()
    print(
        ", ".join(f"{name} {version(name)}" for name in PACKAGES) + f"; {torch.get_num_threads()} threads", flush=True
    )
    agreed = True
    for name in options.models if {"speed", "fours"} & set(options.only) else ():
        with tempfile.TemporaryDirectory() as root:
            bench = Bench(name, options.pairs or PAIRS[name], options, Path(root))
            for part, run in (("speed", speed), ("fours", responses)):
                agreed = (part not in options.only or run(bench)) and agreed
    if "memory" in options.only:
        memory.measure(hh_pairs(options.pairs or PAIRS["15m"]), options.budget, hh_pairs(2000))
    sys.exit(not agreed)


if __name__ == "__main__":
    main()
