"""How much memory scoring takes beside the weights, whatever the vocabulary: a process of its own for each.

    python -m tests.bench.memory MODEL_FOLDER PROMPTS.json BUDGET

Resident memory is looked at when the model is loaded, when its scorer is made (which lays the weights out anew, and
tries a few texts), and at its largest while scoring. Free memory that the allocator still holds is given back before
each look, so that nothing hides in it.
"""

import ctypes
import gc
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.material import SHAPES, Prompt, make_model
from tests.bench.scorers import Ours, load

VOCABULARIES = (32_000, 128_000, 256_000)
LAYERS = 2


def resident(largest: bool = False) -> float:
    """Resident memory of this process in MiB; or the largest since `start_over`."""
    field = "VmHWM" if largest else "VmRSS"
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this system does not tell resident memory")


def settled() -> float:
    """Resident memory in MiB, with nothing held that is free."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return resident()


def start_over() -> None:
    """Forget the largest resident memory so far: it includes that of loading."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def main() -> None:
    """Score all prompts, and answer with a line of JSON, in MiB."""
    folder, path, budget = sys.argv[1:]
    prompts: list[Prompt] = [(p, responses) for p, responses in json.loads(Path(path).read_text(encoding="utf-8"))]
    model = load(folder, "float32")
    # Weights read from a file may be in memory only once they are used.
    if not all(bool(p.sum().isfinite()) for p in model.parameters()):
        raise SystemExit("the model has no weights")
    told = {"weights": sum(p.nbytes for p in model.parameters()) / 2**20}
    loaded = settled()
    start_over()
    scorer = Ours(model, folder, int(budget), entropy=False)
    told |= {"making": resident(largest=True) - loaded, "made": (made := settled()) - loaded}
    for name, entropy in (("sums", False), ("entropy", True)):
        settled()
        start_over()
        scorer.entropy = entropy
        scorer(prompts)
        told[name] = resident(largest=True) - made
    print(json.dumps(told))


def measure(prompts: Sequence[Prompt], budget: int, texts: Sequence[Prompt]) -> None:
    """Print what scoring takes beside the weights, for models that differ in their vocabulary only."""
    for vocabulary in VOCABULARIES:
        with tempfile.TemporaryDirectory() as root:
            folder, path = Path(root) / "model", Path(root) / "prompts.json"
            make_model(SHAPES["15m"] | {"num_hidden_layers": LAYERS, "vocab_size": vocabulary}, texts, folder)
            path.write_text(json.dumps(prompts), encoding="utf-8")
            command = [sys.executable, "-m", "tests.bench.memory", str(folder), str(path), str(budget)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        _report(vocabulary, json.loads(done.stdout.splitlines()[-1]))


def _report(vocabulary: int, told: dict[str, Any]) -> None:
    print(
        f"memory: vocabulary {vocabulary:,}, weights {told['weights']:.0f} MiB; the scorer made adds {told['made']:.0f}"
        f" (while it is made {told['making']:.0f}), scoring {told['sums']:.0f}, with entropies {told['entropy']:.0f}"
    )
    print(f"memory {vocabulary} {told['sums']:.0f}")
    print(f"memory-entropy {vocabulary} {told['entropy']:.0f}", flush=True)


if __name__ == "__main__":
    main()
