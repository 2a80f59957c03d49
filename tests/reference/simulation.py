"""Bias and coverage over 1,000 seeded datasets for each of the rate, Bradley–Terry and the ladder.

    python -m tests.reference.simulation > tests/reference/simulation.txt

Every dataset has new prompts, responses and labels. Comparisons of a prompt share a part of their covariates, and their
labels are drawn with a Gaussian copula: each is logistic given its covariates, exactly, and they depend on each other.
So the truth is known (the planted α, and the rate that it makes, by quadrature) and clustering matters: the last column
is the coverage of the interval that takes comparisons as independent. A share of 1,000 has a standard error of 0.7
points.
"""

import sys
import time

import numpy as np
import pyarrow as pa
from scipy import integrate, special, stats

from analysis.regression import bradley_terry
from analysis.regression.cell import Cell
from analysis.regression.fitting import Fitter
from analysis.regression.inference import Interval, t_interval, wilson
from analysis.regression.part import Part
from analysis.regression.specifications import LENGTH, SPECIFICATIONS, STYLE

ALPHA = 0.57
DATASETS = 1000
SHARED = 0.5  # of the variance of a covariate, and correlation of the labels' normal scores within a prompt
MEASURE = "mean_logprob"
# Log-odds per unit; of the controls that are not named, none.
CONTROLS = {
    "length": {"log_words": 0.4, "log_words_squared": -0.1},
    "style": {"headers": 0.3, "bold": -0.3, "refusal": -0.5},
    "quality": {"correct": 0.5},
    "source": {"of_source": 1.0},
}
SOURCES = np.array([0.0, 0.4, -0.4, 0.2, -0.2])  # their log-odds; what is typical differs between them, too
# What is fitted, to how many prompts; fewer than 50 take the bootstrap.
CASES = (
    *(("rate", 200), ("rate_prompts", 200), ("bt", 200), ("bt_prompts", 200)),
    *(("bt_length", 400), ("bt_style", 600), ("bt_quality", 800), ("bt_source", 1000)),
    *(("rate", 40), ("bt", 40)),
)


def cell(random: np.random.Generator, n_prompts: int, groups: tuple[str, ...]) -> Cell:
    """One dataset: 2 to 6 comparisons a prompt. Controls of the groups matter, and are correlated with typicality."""
    prompts = np.repeat(np.arange(n_prompts), random.integers(2, 7, n_prompts))
    n = len(prompts)

    def covariate() -> np.ndarray:
        """(2n,) of a and b; differences have a variance of 2, half of it shared within the prompt."""
        common = random.normal(size=n_prompts)[prompts] * np.sqrt(SHARED / 2)
        return np.concatenate([common, -common]) + random.normal(size=2 * n) * np.sqrt(1 - SHARED)

    style = {name: covariate() for name in STYLE}
    length = covariate() * 0.7
    typical = covariate()
    if "length" in groups:
        typical = 0.7 * typical + 0.6 * length
    if "style" in groups:
        typical = typical + 0.3 * style["bold"] - 0.3 * style["headers"]
    correct = np.round(covariate() + 2)
    sources = random.integers(0, len(SOURCES), 2 * n)
    if "quality" in groups:
        typical = typical + 0.4 * correct
    if "source" in groups:
        typical = typical + SOURCES[sources]
    # One of a flag, a share and counts, as the features have them.
    style["refusal"] = (style["refusal"] > 1.3).astype(float)
    values = {MEASURE: typical, LENGTH[0]: length, LENGTH[1]: length**2, **style}
    held = {**values, "correct": correct, "of_source": SOURCES[sources]}
    difference = {name: value[:n] - value[n:] for name, value in held.items()}
    logit = ALPHA * difference[MEASURE]
    for group in groups:
        logit = logit + sum(beta * difference[name] for name, beta in CONTROLS[group].items())
    scores = np.sqrt(SHARED) * random.normal(size=n_prompts)[prompts] + np.sqrt(1 - SHARED) * random.normal(size=n)
    table = pa.table(
        {
            "prompt_id": pa.array([f"p{p:05}" for p in prompts]),
            "preference": pa.array(np.where(stats.norm.cdf(scores) < special.expit(logit), "a", "b")),
            "source_a": pa.array(sources[:n].astype(str)),
            "source_b": pa.array(sources[n:].astype(str)),
        }
    )
    ratings = {"correct": (correct[:n], correct[n:])}
    return Cell(table, pa.array([], pa.string()), np.arange(n), np.arange(n, 2 * n), np.ones(n), values, ratings)


def part_of(made: Cell) -> Part:
    """All of its comparisons."""
    return Part(made, MEASURE, np.ones(len(made), bool))


def independent(part: Part, specification: str) -> Interval:
    """The interval that takes comparisons as independent."""
    if specification.startswith("rate"):
        return wilson(float(part.wins.sum()), len(part.wins))
    groups = SPECIFICATIONS[specification].groups
    columns = [part.delta, *(x for group in groups for _, x in part.covariates(group))]
    fitted = bradley_terry.fit(part.preferred_a, np.column_stack(columns), np.arange(len(part.at)))
    return t_interval(float(fitted.coefficients[0]), float(np.sqrt(fitted.covariance[0, 0])), fitted.n_clusters)


def true_rate() -> float:
    """E σ(α |Δ|) for Δ ~ N(0, 2)."""
    return float(
        integrate.quad(
            lambda d: special.expit(ALPHA * abs(d)) * stats.norm.pdf(d, scale=np.sqrt(2)), -np.inf, np.inf, limit=200
        )[0]
    )


def main() -> None:
    """Print the table."""
    out = sys.stdout
    out.write(f"{DATASETS} datasets each, planted α {ALPHA}, correlation {SHARED} within prompts\n")
    out.write("specification  prompts  truth   mean    bias %  noise %  coverage %  as if independent %\n")
    started = time.perf_counter()
    for k, (specification, n_prompts) in enumerate(CASES):
        truth = true_rate() if specification.startswith("rate") else ALPHA
        made, naive = [], []
        for seed in range(DATASETS):
            random = np.random.default_rng([k, seed])
            part = part_of(cell(random, n_prompts, SPECIFICATIONS[specification].groups))
            made.append(Fitter(part, 0.02, random).rows(specification)[0])
            naive.append(independent(part, specification))
        estimates = np.array([row["estimate"] for row in made])
        noise = estimates.std(ddof=1) / np.sqrt(DATASETS)
        coverage = np.mean([row["conf_low"] <= truth <= row["conf_high"] for row in made])
        without = np.mean([one.low <= truth <= one.high for one in naive])
        out.write(
            f"{specification:<13}  {n_prompts:>7}  {truth:.4f}  {estimates.mean():.4f}  "
            f"{100 * (estimates.mean() / truth - 1):>6.2f}  {100 * noise / truth:>7.2f}  {100 * coverage:>10.1f}  "
            f"{100 * without:>19.1f}\n"
        )
        out.flush()
    sys.stderr.write(f"{time.perf_counter() - started:.0f} s\n")


if __name__ == "__main__":
    main()
