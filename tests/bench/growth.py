"""Memory of scoring as a dataset grows: up to a million made-up responses under a one-layer model.

    python -m tests.bench.growth [--pairs 5000 50000 500000]

A process of its own reads each dataset and another scores it; printed is how far its memory rises above what it
holds once the model is loaded, and how long it takes.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.bench.reading import WORDS
from tests.tiny import tiny_model

PREPARE = """
import sys
from pathlib import Path
from analysis.outputs import Outputs
from analysis.study import load

study, outputs = load(Path(sys.argv[1])), Outputs(Path(sys.argv[2]))
"""
FETCH = """
from analysis.preferences.stage import fetch
fetch(study.datasets[0], study.name, 0, outputs, outputs.work("run"))
"""
SCORE = """
import json, time
from analysis.likelihood.backends import transformers as local
from analysis.likelihood.model import locate
from analysis.likelihood.stage import score

def memory(what):
    return next(int(l.split()[1]) for l in Path("/proc/self/status").read_text().splitlines() if l.startswith(what))

spec = study.base_models[0]
local.scorer_of(locate(spec), spec)
Path("/proc/self/clear_refs").write_text("5")
before, began = memory("VmRSS"), time.perf_counter()
done = score(spec, study.datasets[0].key, study, outputs, outputs.work("run"))
print(json.dumps({
    "responses": done.n_scored, "tokens": done.n_tokens_now, "seconds": round(time.perf_counter() - began, 1),
    "model_loaded_mib": before // 1024, "peak_above_mib": (memory("VmHWM") - before) // 1024,
    "files": len(list((outputs.root / "scores").iterdir())),
}))
"""
STUDY = """
name = "growth"
[[base_models]]
name = "{root}/model"
device = "cpu"
[[datasets]]
name = "pairs"
path = "{root}/pairs.parquet"
shape = "pairs"
rater = "human"
prompt = "prompt"
chosen = "chosen"
rejected = "rejected"
"""


def pairs(n: int, dice: random.Random) -> Iterator[dict[str, str]]:
    """Made-up pairs."""
    for i in range(n):
        prompt, chosen, rejected = (" ".join(dice.choices(WORDS, k=dice.randint(6, 24))) for _ in "abc")
        yield {"prompt": f"{i} {prompt}", "chosen": chosen, "rejected": rejected}


def main() -> None:
    """Make each dataset, read it, score it, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[5_000, 50_000, 500_000])
    for n in parser.parse_args().pairs:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            tiny_model(root / "model", layers=1, window=512)
            pq.write_table(pa.Table.from_pylist(list(pairs(n, random.Random(0)))), root / "pairs.parquet")
            (root / "study.toml").write_text(STUDY.format(root=root), encoding="utf-8")
            for code in (FETCH, SCORE):
                command = [sys.executable, "-c", PREPARE + code, str(root / "study.toml"), str(root / "outputs")]
                told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            print(told.strip(), flush=True)


if __name__ == "__main__":
    main()
