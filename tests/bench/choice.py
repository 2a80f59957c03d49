"""Time of the conditional and rank-ordered logit on 20,000 responses in groups of 50, and other people's code.

    python -m tests.bench.choice [--rows 20000] [--group 50] [--repeats 3]

Made-up responses with three covariates; errors are clustered by group in ours, and not at all in statsmodels. Printed
are lines `ratio <peer> <model> <number>`: the peer's time over ours, medians of turns taken one after the other.
Peers: statsmodels' ConditionalLogit (one best of each group), and R's `coxph` (survival) where it is installed.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from analysis.regression import choice
from tests.bench.rscript import in_r

TERMS = ["x1", "x2", "x3"]
R = """
arguments <- commandArgs(TRUE)
library(survival)
d <- read.csv(arguments[1])
for (turn in seq_len(as.integer(arguments[2]))) for (model in c("conditional", "rank_ordered")) {
  d$time <- if (model == "conditional") ifelse(d$level == 0, 1, 2) else d$level + 1
  d$event <- as.numeric(if (model == "conditional") d$level == 0 else d$level < ave(d$level, d$set, FUN = max))
  began <- proc.time()[["elapsed"]]
  m <- coxph(Surv(time, event) ~ x1 + x2 + x3 + strata(set), data = d, ties = "efron", cluster = set)
  seconds <- proc.time()[["elapsed"]] - began
  cat(sprintf('{"model": "%s", "seconds": %f, "beta": %.9f}\\n', model, seconds, coef(m)[1]))
}
"""


def made_up(n: int, group: int, random: np.random.Generator) -> pd.DataFrame:
    """Responses in order, best first, in groups."""
    frame = pd.DataFrame(random.normal(size=(n, 3)), columns=TERMS)
    frame["set"] = np.arange(n) // group
    frame["utility"] = frame[TERMS] @ [0.5, -0.3, 0.2] + random.gumbel(size=n)
    frame = frame.sort_values(["set", "utility"], ascending=[True, False], kind="stable", ignore_index=True)
    return frame.assign(level=frame.groupby("set").cumcount())


def ours(frame: pd.DataFrame, model: str) -> float:
    """The first coefficient."""
    sets = frame["set"].to_numpy()
    fitted = choice.fit(frame[TERMS].to_numpy(), sets, frame["level"].to_numpy(), sets, model == "conditional")
    return float(fitted.coefficients[0])


def conditional_logit(frame: pd.DataFrame) -> float:
    """The same by statsmodels."""
    from statsmodels.discrete.conditional_models import ConditionalLogit

    best = (frame["level"] == 0).to_numpy(float)
    return float(ConditionalLogit(best, frame[TERMS].to_numpy(), groups=frame["set"].to_numpy()).fit(disp=0).params[0])


def main() -> None:
    """Time ours beside the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--group", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    frame = made_up(options.rows, options.group, np.random.default_rng(0))
    runs: dict[tuple[str, str], Callable[[], float]] = {
        ("ours", "conditional"): lambda: ours(frame, "conditional"),
        ("ours", "rank_ordered"): lambda: ours(frame, "rank_ordered"),
        ("statsmodels", "conditional"): lambda: conditional_logit(frame),
    }
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    found = {}
    for _ in range(options.repeats):
        for key, run in runs.items():
            began = time.perf_counter()
            found[key] = run()
            seconds[key].append(time.perf_counter() - began)
    for turn in in_r(R, frame, options.repeats):
        key = "r", str(turn["model"])
        found[key] = float(str(turn["beta"]))
        seconds.setdefault(key, []).append(float(str(turn["seconds"])))
    for (who, model), beta in found.items():
        print(f"{who:12} {model:13} {statistics.median(seconds[who, model]):8.3f} s  coefficient {beta:.6f}")
    for who, model in found:
        if who != "ours":
            ratio = statistics.median(seconds[who, model]) / statistics.median(seconds["ours", model])
            print(f"ratio {who} {model} {ratio:.1f}")


if __name__ == "__main__":
    main()
