"""Time of the estimators on a million comparisons of 300,000 prompts, and other people's code on the same model.

    python -m tests.bench.regression [--comparisons N] [--prompts G] [--repeats 3]

Made-up comparisons with controls. Printed are the time of the ladder, the rate and the placebos together, that of the
models of strength and ties (a tenth of the comparisons tied), and the largest resident memory; then, for Bradley–Terry
with the covariates of `bt_style` and errors clustered by prompt, lines `ratio <peer> bt_style <number>`: the peer's
time over ours, medians of turns taken one after the other.
Peers: pyfixest where it is installed, and R (`glm.fit` and `sandwich`) where it is.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis import tables
from analysis.regression import bradley_terry
from analysis.regression.cell import Cell
from analysis.regression.fitting import Fitter
from analysis.regression.part import Part
from analysis.regression.specifications import LENGTH, STYLE
from tests.bench.rscript import in_r

SPECIFICATIONS = (
    *("rate", "rate_prompts", "bt", "bt_prompts", "bt_length", "bt_style", "bt_quality", "bt_source"),
    *("quadratic", "binned", "paper", "placebo_labels", "placebo_prompts", "length_only"),
)
# Each with the number of sizes of strength; more than ten are put into bins.
GRADED = (("ties", 3), ("ordered", 3), ("ordered", 1000))
R = """
arguments <- commandArgs(TRUE)
library(sandwich)
x <- as.matrix(read.csv(arguments[1]))
y <- x[, "y"]; prompt <- x[, "prompt"]; x <- x[, setdiff(colnames(x), c("y", "prompt"))]
for (turn in seq_len(as.integer(arguments[2]))) {
  began <- proc.time()[["elapsed"]]
  fitted <- glm(y ~ 0 + x, family = binomial())
  errors <- sqrt(diag(vcovCL(fitted, cluster = prompt, type = "HC0", cadjust = TRUE)))
  seconds <- proc.time()[["elapsed"]] - began
  cat(sprintf('{"seconds": %f, "beta": %.12f, "error": %.12f}\\n', seconds, coef(fitted)[1], errors[1]))
}
"""


def made_up(n: int, n_prompts: int, random: np.random.Generator) -> Cell:
    """A cell whose labels follow typicality, length and style."""
    m = 2 * n
    values = {name: random.normal(size=m) for name in ("mean_logprob", "log_words", "repetition")}
    values["log_words_squared"] = values["log_words"] ** 2
    values |= {name: np.log1p(random.poisson(0.7, m)) for name in STYLE if name not in values}
    a, b = np.arange(n), np.arange(n, m)
    quality = {name: (random.integers(0, 5, n).astype(float), random.integers(0, 5, n).astype(float)) for name in "qr"}
    logit = 0.5 * (values["mean_logprob"][:n] - values["mean_logprob"][n:])
    logit += 0.3 * (values["log_words"][:n] - values["log_words"][n:]) + 0.4 * (quality["q"][0] - quality["q"][1])
    prompts = np.sort(random.integers(0, n_prompts, n))
    names = np.array([f"model-{k}" for k in range(12)])
    columns = {
        "prompt_id": pa.array(prompts.astype(str)),
        "preference": pa.array(np.where(random.random(n) < 1 / (1 + np.exp(-logit)), "a", "b")),
        "source_a": pa.array(names[random.integers(0, 12, n)]),
        "source_b": pa.array(names[random.integers(0, 12, n)]),
    }
    schema = tables.table("comparisons").schema
    comparisons = pa.table({f.name: columns.get(f.name, pa.nulls(n, f.type)) for f in schema})
    return Cell(comparisons, pa.nulls(m, pa.string()), a, b, np.ones(n), values, quality)


def graded(cell: Cell, sizes: int, random: np.random.Generator) -> Cell:
    """The same with ties, a tenth, and strengths of so many sizes."""
    n = len(cell)
    tied = random.random(n) < 0.1
    preference = np.where(tied, "tie", cell.comparisons["preference"].to_numpy(zero_copy_only=False))
    held = {"preference": preference, "strength": np.where(tied, 0.0, random.integers(1, sizes + 1, n))}
    comparisons = cell.comparisons
    for name, values in held.items():
        at = comparisons.schema.get_field_index(name)
        comparisons = comparisons.set_column(at, name, pa.array(values))
    return replace(cell, comparisons=comparisons)


def ours(y: np.ndarray, x: np.ndarray, clusters: np.ndarray) -> tuple[float, float]:
    """The first coefficient and its error."""
    fitted = bradley_terry.fit(y, x, clusters)
    return float(fitted.coefficients[0]), float(np.sqrt(fitted.covariance[0, 0]))


def pyfixest(frame: pd.DataFrame, terms: list[str]) -> Callable[[], tuple[float, float]] | None:
    """The same by pyfixest, where it is installed."""
    try:
        import pyfixest as pf
    except ImportError:
        return None

    def fit() -> tuple[float, float]:
        found = pf.feglm(f"y ~ 0 + {' + '.join(terms)}", data=frame, family="logit", vcov={"CRV1": "prompt"})
        return float(found.coef().iloc[0]), float(found.se().iloc[0])

    return fit


def main() -> None:
    """Time everything, then the one model against peers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparisons", type=int, default=1_000_000)
    parser.add_argument("--prompts", type=int, default=300_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    cell = made_up(options.comparisons, options.prompts, np.random.default_rng(0))
    part = Part(cell, "mean_logprob", np.ones(len(cell), bool))
    began = time.perf_counter()
    for name in SPECIFICATIONS:
        each = time.perf_counter()
        row = Fitter(part, 0.02, np.random.default_rng(0)).rows(name)[0]
        print(f"{name:16} {time.perf_counter() - each:6.1f} s  {row['status']}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"regression {options.comparisons} comparisons {time.perf_counter() - began:.1f} s {peak} MiB", flush=True)
    time_graded(cell)
    against(part, options.repeats)


def time_graded(cell: Cell) -> None:
    """Print the times of the models of strength and ties."""
    total = 0.0
    for name, sizes in GRADED:
        part = Part(graded(cell, sizes, np.random.default_rng(1)), "mean_logprob", np.ones(len(cell), bool))
        began = time.perf_counter()
        row = Fitter(part, 0.02, np.random.default_rng(0)).rows(name)[0]
        seconds = time.perf_counter() - began
        total += seconds
        print(f"{f'{name}, {sizes} sizes':20} {seconds:6.1f} s  {row['status']}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"graded {len(cell)} comparisons {total:.1f} s {peak} MiB", flush=True)


def against(part: Part, repeats: int) -> None:
    """Print the ratios for one model."""
    terms = ["typicality", *LENGTH, *STYLE]
    x = np.column_stack([part.delta, *(part.difference(name) for name in terms[1:])])
    frame = pd.DataFrame(x, columns=terms).assign(y=part.preferred_a.astype(float), prompt=part.clusters)
    other, seconds, found = pyfixest(frame, terms), {"ours": [], "pyfixest": []}, {}
    for _ in range(repeats):
        for name, run in (("ours", lambda: ours(part.preferred_a, x, part.clusters)), ("pyfixest", other)):
            if run is not None:
                began = time.perf_counter()
                found[name] = run()
                seconds[name].append(time.perf_counter() - began)
    turns = in_r(R, frame, repeats)
    if turns:
        seconds["r"], found["r"] = [t["seconds"] for t in turns], (turns[0]["beta"], turns[0]["error"])
    for name, (beta, error) in found.items():
        print(f"{name:10} {statistics.median(seconds[name]):6.1f} s  coefficient {beta:.9f}, error {error:.9f}")
    for name in found.keys() - {"ours"}:
        print(f"ratio {name} bt_style {statistics.median(seconds[name]) / statistics.median(seconds['ours']):.2f}")


if __name__ == "__main__":
    main()
