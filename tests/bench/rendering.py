"""How long a report takes, and how large it is, with many cells: a run's own tables, as if of many datasets.

python -m tests.bench.rendering OUTPUTS STUDY [--cells 4 20 40]
"""

import argparse
import copy
import json
import shutil
import tempfile
import time
from pathlib import Path

import pandas as pd

from analysis import tables
from analysis.outputs import Outputs
from analysis.report.content import latest_run
from analysis.report.stage import report

PER_CELL = ("estimates", "differences", "comparisons", "forecasts", "diversity", "heterogeneity")


def repeated(source: Outputs, study: str, n: int, root: Path) -> str:
    """The run's output folder with its cells repeated under other labels, up to `n` of them; gives the run's id."""
    run_id = latest_run(source, study)
    shutil.copytree(source.root, root, symlinks=True, dirs_exist_ok=True)
    path = root / "runs" / f"{run_id}.parquet"
    run = tables.scan("runs", [path]).to_pylist()[0]
    definition = json.loads(run["definition"])
    times = -(-n // len(run["cells"]))
    definition["datasets"] = [
        {**copy.deepcopy(d), "label": f"{d.get('label') or d['name']}-{k}"}
        for k in range(times)
        for d in definition["datasets"]
    ]
    run["definition"] = json.dumps(definition)
    for column in ("datasets", "cells"):
        run[column] = [{**row, "dataset": f"{row['dataset']}-{k}"} for k in range(times) for row in run[column]]
    tables.write(path, "runs", [run])
    files = [(root / name / f"{study}.parquet", name) for name in PER_CELL]
    for file, name in [*files, (root / "runs" / run_id / "_estimates.parquet", "estimates")]:
        frame = tables.scan(name, [file]).to_pandas()
        many = [frame.assign(dataset=frame["dataset"] + f"-{k}") for k in range(times)]
        tables.write(file, name, pd.concat(many))
    left_out = root / "runs" / run_id / "_exclusions.parquet"
    tables.write(left_out, "exclusions", tables.scan("exclusions", [left_out]).slice(0, 0))
    return run_id


def main() -> None:
    """Print seconds and sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outputs", type=Path)
    parser.add_argument("study")
    parser.add_argument("--cells", type=int, nargs="+", default=[4, 20, 40])
    options = parser.parse_args()
    for n in options.cells:
        with tempfile.TemporaryDirectory() as folder:
            run_id = repeated(Outputs(options.outputs), options.study, n, Path(folder))
            began = time.perf_counter()
            made = report(Outputs(Path(folder)), run_id)
            seconds = time.perf_counter() - began
            size, markdown = (p.stat().st_size / 2**20 for p in (made.html, made.markdown))
            print(f"{n} cells: {seconds:.1f} s, {size:.2f} MiB of HTML, {markdown:.2f} MiB of Markdown", flush=True)


if __name__ == "__main__":
    main()
