"""Bias and coverage over 1,000 seeded datasets of the models of responses, and of the tests of shape.

    python -m tests.reference.responses_simulation > tests/reference/responses_simulation.txt

Every dataset has new prompts, responses and ratings or orders. What is known: the planted coefficient; for tests that
the null hypothesis holds, so that the truth is zero. What clustering must catch: ratings have a slope of their own in
each prompt, about the planted one; each prompt is ordered by three annotators, whose noise is correlated; comparisons
are those of `simulation.py`. The last column is the coverage of the interval that takes responses (ratings), sets
(orders) or comparisons as independent. A share of 1,000 has a standard error of 0.7 points.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

import numpy as np
import pyarrow as pa
from scipy import special, stats

from analysis.regression import choice, orders, shape, within
from analysis.regression.bradley_terry import fit
from analysis.regression.cell import Cell
from analysis.regression.fitting import Fitter
from analysis.regression.inference import Array, Codes, Interval, clustered_mean, t_interval
from analysis.regression.part import OUTCOME, Part
from analysis.regression.rows import Row
from tests.reference.simulation import ALPHA, DATASETS, MEASURE, SHARED, cell, part_of

QUALITY = 0.4
ANNOTATORS = 3


def responses(random: np.random.Generator, n_prompts: int) -> tuple[Codes, Array, Array]:
    """Three to six responses a prompt: their prompts, a measure and a rating of quality, which are correlated."""
    prompts = np.repeat(np.arange(n_prompts), random.integers(3, 7, n_prompts))
    quality = random.integers(0, 5, len(prompts)).astype(float)
    shared = random.normal(size=n_prompts)[prompts]
    return prompts, 0.3 * quality + 0.7 * shared + random.normal(size=len(prompts)), quality


def all_pairs(prompts: Codes) -> tuple[Codes, Codes]:
    """All pairs of responses to one prompt."""
    starts = np.flatnonzero(np.r_[True, np.diff(prompts) > 0, True])
    pairs = [pair for low, high in pairwise(starts) for pair in combinations(range(low, high), 2)]
    a, b = np.array(pairs).T
    return a, b


def cell_of(prompts: Codes, measure: Array, quality: Array, outcome: Array, annotator: Codes | None = None) -> Cell:
    """The cell of all pairs; `outcome` is (n,), or (annotators, n)."""
    a, b = all_pairs(prompts)
    rows, who, better = [], [], []
    for k, one in enumerate(np.atleast_2d(outcome)):
        rows.append(np.arange(len(a)))
        who.append(np.full(len(a), k))
        better.append(np.sign(one[a] - one[b]))
    at, signs = np.concatenate(rows), np.concatenate(better)
    # By prompt, as the table of comparisons is.
    order = np.argsort(prompts[a[at]], kind="stable")
    at, signs, judges = at[order], signs[order], np.concatenate(who)[order]
    a, b = a[at], b[at]
    apart = np.ndim(outcome) > 1
    table = pa.table(
        {
            "prompt_id": pa.array([f"p{p:05}" for p in prompts[a]]),
            "preference": pa.array(np.select([signs > 0, signs < 0], ["a", "b"], "tie")),
            "annotator": pa.array([f"w{k}" for k in judges]) if apart else pa.nulls(len(a), pa.string()),
        }
    )
    values = {MEASURE: measure} if apart else {MEASURE: measure, OUTCOME: outcome}
    ratings = {"correct": (quality[a], quality[b])}
    return Cell(table, pa.array([], pa.string()), a, b, np.ones(len(a)), values, ratings, complete=True)


def rated(random: np.random.Generator, n_prompts: int) -> Part:
    """Ratings with a slope of each prompt about the planted one."""
    prompts, measure, quality = responses(random, n_prompts)
    slope = (ALPHA + 0.5 * random.normal(size=n_prompts))[prompts]
    level = random.normal(size=n_prompts)[prompts]
    outcome = level + slope * measure + QUALITY * quality + random.normal(size=len(prompts))
    return part_of(cell_of(prompts, measure, quality, outcome))


def ordered(random: np.random.Generator, n_prompts: int, step: float = 0.0) -> Part:
    """Three annotators' orders; utilities have Gumbel noise, which a Gaussian copula correlates between them.

    With a `step`, utilities are rounded down to multiples of it, so that some are tied.
    """
    prompts, measure, quality = responses(random, n_prompts)
    n = len(prompts)
    shared, own = random.normal(size=n), random.normal(size=(ANNOTATORS, n))
    uniform = stats.norm.cdf(np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * own)
    utility = ALPHA * measure + QUALITY * quality - np.log(-np.log(uniform))
    return part_of(cell_of(prompts, measure, quality, np.floor(utility / step) if step else utility))


def several(random: np.random.Generator, n_prompts: int) -> Part:
    """Three annotators, each of whom says of every response whether it will do; so several of a prompt are best."""
    prompts, measure, quality = responses(random, n_prompts)
    n = len(prompts)
    shared, own = random.normal(size=n), random.normal(size=(ANNOTATORS, n))
    uniform = stats.norm.cdf(np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * own)
    logit = random.normal(size=n_prompts)[prompts] - 1 + ALPHA * measure + QUALITY * quality
    return part_of(cell_of(prompts, measure, quality, (uniform < special.expit(logit)).astype(float)))


def compared(random: np.random.Generator, n_prompts: int) -> Part:
    """Comparisons as in `simulation.py`, without controls."""
    return part_of(cell(random, n_prompts, ()))


def rivals(random: np.random.Generator, n_prompts: int, alpha: float = ALPHA) -> Part:
    """Two measures that play the same part: labels follow their sum, so that neither is to be preferred."""
    made = cell(random, n_prompts, ())
    # Its differences have the same distribution, a normal one with a variance of 2, though none shared in the prompt.
    other = random.normal(size=len(made.values[MEASURE]))
    n, prompts = len(made), made.prompts
    delta = made.values[MEASURE] + other
    scores = np.sqrt(SHARED) * random.normal(size=n_prompts)[prompts] + np.sqrt(1 - SHARED) * random.normal(size=n)
    wins = stats.norm.cdf(scores) < special.expit(alpha * (delta[:n] - delta[n:]))
    table = made.comparisons.set_column(1, "preference", pa.array(np.where(wins, "a", "b")))
    return part_of(replace(made, comparisons=table, values={**made.values, shape.RIVAL: other}))


def naive_ratings(part: Part) -> Interval:
    """Residuals as independent."""
    found = part.responses()  # no two ratings are equal
    assert found is not None
    outcome, columns, groups = found
    x = np.column_stack(list(columns.values()))
    made = within.fit(outcome, x, groups, groups)
    deviations = within.centred(x, groups)
    residuals = within.centred(outcome[:, None], groups)[:, 0] - deviations @ made.coefficients
    df = len(outcome) - made.n_clusters - x.shape[1]
    variance = np.linalg.inv(deviations.T @ deviations)[0, 0] * (residuals @ residuals) / df
    return t_interval(float(made.coefficients[0]), float(np.sqrt(variance)), df)


def naive_choice(only_best: bool) -> Callable[[Part], Interval]:
    """Sets as independent."""

    def made(part: Part) -> Interval:
        found = orders.orders(part)
        x = np.column_stack(list(found.columns.values()))
        one = choice.fit(x, found.sets, found.levels, found.sets, only_best)
        return t_interval(float(one.coefficients[0]), float(np.sqrt(one.covariance[0, 0])), one.n_clusters)

    return made


def naive_spline(part: Part) -> Interval:
    """Comparisons as independent."""
    x = np.column_stack([x for _, x in shape.spline(part).terms])
    one = fit(part.preferred_a, x, np.arange(len(x)))
    return t_interval(float(one.coefficients[0]), float(np.sqrt(one.covariance[0, 0])), one.n_clusters)


def naive_vuong(part: Part) -> Interval:
    """Comparisons as independent."""
    gains = [
        shape.log_likelihoods(part.preferred_a, x, part.clusters) for x in (part.delta, part.difference(shape.RIVAL))
    ]
    return clustered_mean(gains[0] - gains[1], np.arange(len(part.at)), 0.0)


@dataclass(frozen=True)
class Case:
    """What is drawn, and fitted to how many prompts; fewer than 50 take the bootstrap."""

    label: str
    specification: str
    n_prompts: int
    truth: float
    draw: Callable[[np.random.Generator, int], Part]
    naive: Callable[[Part], Interval]


def tied(random: np.random.Generator, n_prompts: int) -> Part:
    """Orders in which nearly as many pairs are tied as a rank-ordered logit takes."""
    return ordered(random, n_prompts, 0.3)


def useless(random: np.random.Generator, n_prompts: int) -> Part:
    """Two measures that have nothing to do with the labels."""
    return rivals(random, n_prompts, 0.0)


CASES = (
    Case("ratings", "ratings", 200, ALPHA, rated, naive_ratings),
    Case("ratings, few prompts", "ratings", 40, ALPHA, rated, naive_ratings),
    Case("conditional", "conditional", 200, ALPHA, ordered, naive_choice(True)),
    Case("rank_ordered", "rank_ordered", 200, ALPHA, ordered, naive_choice(False)),
    Case("conditional, several best", "conditional", 200, ALPHA, several, naive_choice(True)),
    Case("rank_ordered, 4 % tied", "rank_ordered", 200, ALPHA, tied, naive_choice(False)),
    Case("spline, its linear term", "spline", 200, ALPHA, compared, naive_spline),
    Case("entropy_vuong", "entropy_vuong", 200, 0.0, rivals, naive_vuong),
    Case("entropy_vuong, both useless", "entropy_vuong", 200, 0.0, useless, naive_vuong),
)


def curve_at(rows: list[Row], step: int) -> tuple[Row, float]:
    """A point of the curve, and what it is where the effect is a straight line."""
    row = [r for r in rows if r["term"].startswith(shape.CURVE)][step]
    _, _, x, _, middle = row["term"].split()
    return row, ALPHA * (float(x) - float(middle))


def main() -> None:
    """Print the table."""
    out = sys.stdout
    out.write(f"{DATASETS} datasets each, planted coefficient {ALPHA}\n")
    out.write(
        "case                         prompts  truth   mean     bias     noise   coverage %  as if independent %\n"
    )
    started = time.perf_counter()
    linear, curves = [], {0: [], 5: [], -1: []}
    for k, case in enumerate(CASES):
        made, naive = [], []
        for seed in range(DATASETS):
            random = np.random.default_rng([100 + k, seed])
            part = case.draw(random, case.n_prompts)
            rows = Fitter(part, 0.02, random).rows(case.specification)
            made.append(rows[0])
            naive.append(case.naive(part))
            if case.specification == "spline":
                linear.append(rows[0]["p_linearity"])
                for step, covered in curves.items():
                    row, truth = curve_at(rows, step)
                    covered.append(row["conf_low"] <= truth <= row["conf_high"])
        estimates = np.array([row["estimate"] for row in made])
        coverage = np.mean([row["conf_low"] <= case.truth <= row["conf_high"] for row in made])
        without = np.mean([one.low <= case.truth <= one.high for one in naive])
        out.write(
            f"{case.label:<27}  {case.n_prompts:>7}  {case.truth:.4f}  {estimates.mean():.4f}  "
            f"{estimates.mean() - case.truth:>7.4f}  {estimates.std(ddof=1) / np.sqrt(DATASETS):>6.4f}  "
            f"{100 * coverage:>10.1f}  {100 * without:>19.1f}\n"
        )
        out.flush()
    out.write(
        f"spline, 5 % test of linearity: rejects {100 * np.mean(np.array(linear) < 0.05):.1f} % of straight lines\n"
    )
    for name, covered in zip(("first", "sixth", "last"), curves.values(), strict=True):
        out.write(f"spline, {name} point of the curve: coverage {100 * np.mean(covered):.1f} %\n")
    sys.stderr.write(f"{time.perf_counter() - started:.0f} s\n")


if __name__ == "__main__":
    main()
