"""Coverage of the synthesis' intervals, and size of the test of heterogeneity, over 1,000 seeded studies each.

    python -m tests.reference.synthesis.simulation > tests/reference/synthesis/simulation.txt

Three tables. In the first, studies are whole: every dataset has new prompts and labels, its effect is drawn anew, and
two base models' differences are noisy versions of what the labels follow, so that their estimates share their errors;
the covariance is estimated as the product does, and the truth is that of very large datasets, averaged over effects. In
the second the covariance is known and correlated at 0.8, datasets differ in size, and true values vary by stated SDs:
beside the interval stand the one that trusts the model (t with datasets − 1 degrees of freedom), and how often the
prediction interval holds the true value of a new dataset under a new base model. In the third α is the same for all
values of a column; the share of p values below 5 %, and beside it that of Wald's F without corrections for few prompts.
A share of 1,000 near 95 % has a standard error of 0.7 points.
"""

import sys
import time

import numpy as np
import pyarrow as pa
from scipy import special, stats

from analysis.regression import bradley_terry, multilevel
from analysis.regression.cell import Cell, Mask
from analysis.regression.effects import spread
from analysis.regression.heterogeneity import equality, slopes
from analysis.regression.inference import Array, Codes
from analysis.regression.influences import LOG_ODDS_SD, of_rate, of_rung
from analysis.regression.part import Part
from tests.regression.made import MEASURE, clustered_uniforms

STUDIES = 1000
EFFECT, BETWEEN = 0.5, 0.25  # mean and SD over datasets of the log-odds per unit of what the labels follow
NOISE = (0.5, 0.8)  # SD of each base model's error in it
SHARED = 0.5  # of the variance of differences, and correlation of labels, within a prompt
SUMMARY = tuple((n, *sds) for n in (5, 12) for sds in ((0.0, 0.0), (0.1, 0.03), (0.3, 0.1)))
# Values, prompts, and whether a prompt has comparisons of one value only.
COLUMNS = ((5, 200, True), (5, 100, False), (10, 300, True))


def plain_part(delta: Array, preferred_a: Mask, prompts: Codes) -> Part:
    """A part that has nothing but differences, labels and prompts, made without a detour over rows."""
    n = len(delta)
    table = pa.table(
        {
            "prompt_id": pa.array(prompts).cast(pa.string()),
            "preference": pa.array(np.where(preferred_a, "a", "b")),
        }
    )
    values = {MEASURE: np.concatenate([delta, np.zeros(n)])}
    cell = Cell(table, pa.array([], pa.string()), np.arange(n), np.arange(n, 2 * n), np.ones(n), values, {})
    return Part(cell, MEASURE, np.ones(n, bool))


def dataset(random: np.random.Generator, effect: float, n_prompts: int) -> tuple[Part, ...]:
    """One dataset under each base model: about three comparisons a prompt."""
    prompts = np.repeat(np.arange(n_prompts), random.integers(2, 5, n_prompts))
    z = np.sqrt(SHARED) * random.normal(size=n_prompts)[prompts] + np.sqrt(1 - SHARED) * random.normal(
        size=len(prompts)
    )
    preferred = clustered_uniforms(random, prompts, SHARED) < special.expit(effect * z)
    return tuple(plain_part(z + noise * random.normal(size=len(z)), preferred, prompts) for noise in NOISE)


def estimates(parts: tuple[Part, ...]) -> dict[str, tuple[Array, Array]]:
    """By scale, a dataset's estimates (2,) and their prompts' influences (G, 2)."""
    values: dict[str, list[float]] = {"log_odds_sd": [], "logit_rate": []}
    influences: dict[str, list[Array]] = {"log_odds_sd": [], "logit_rate": []}
    for part in parts:
        fitted = bradley_terry.fit(part.preferred_a, part.delta[:, None], part.clusters)
        values["log_odds_sd"].append(float(fitted.coefficients[0]) * spread(part.delta))
        influences["log_odds_sd"].append(of_rung(part, fitted)[LOG_ODDS_SD])
        values["logit_rate"].append(float(special.logit(part.wins.mean())))
        influences["logit_rate"].append(of_rate(part))
    return {scale: (np.array(values[scale]), np.column_stack(influences[scale])) for scale in values}


def truths() -> dict[str, float]:
    """The mean over effects and base models of what very large datasets give, by Gauss–Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(7)
    random = np.random.default_rng(0)
    z, uniform = random.normal(size=400_000), random.random(400_000)
    found: dict[str, float] = {"log_odds_sd": 0.0, "logit_rate": 0.0}
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        preferred = uniform < special.expit((EFFECT + BETWEEN * node) * z)
        for noise in NOISE:
            delta = z + noise * random.normal(size=len(z))
            fitted = bradley_terry.fit(preferred, delta[:, None], np.arange(len(z)))
            share = weight / len(NOISE)
            found["log_odds_sd"] += share * float(fitted.coefficients[0]) * spread(delta)
            found["logit_rate"] += share * float(special.logit(np.mean((delta > 0) == preferred)))
    return found


def whole(n_datasets: int) -> None:
    """Print the coverage of the mean over studies of so many datasets."""
    truth = truths()
    hits: dict[str, list[bool]] = {scale: [] for scale in truth}
    means: dict[str, list[float]] = {scale: [] for scale in truth}
    codes = np.repeat(np.arange(n_datasets), 2)
    for seed in range(STUDIES):
        random = np.random.default_rng([n_datasets, seed])
        made = [
            estimates(dataset(random, random.normal(EFFECT, BETWEEN), int(random.integers(60, 200))))
            for _ in range(n_datasets)
        ]
        for scale, mean in truth.items():
            y = np.concatenate([one[scale][0] for one in made])
            errors = np.zeros((len(y), len(y)))
            for d, one in enumerate(made):
                errors[2 * d : 2 * d + 2, 2 * d : 2 * d + 2] = one[scale][1].T @ one[scale][1]
            low, high, centre = interval(y, errors, codes)
            hits[scale].append(low <= mean <= high)
            means[scale].append(centre)
    for scale, mean in truth.items():
        out(
            f"{n_datasets:>8}  {scale:<11}  {mean:.4f}  {np.mean(means[scale]):.4f}  "
            f"{100 * np.mean(hits[scale]):>10.1f}\n"
        )


def interval(y: Array, errors: Array, codes: Codes) -> tuple[float, float, float]:
    """The product's interval of the mean, and the mean."""
    fitted = multilevel.fit(y, errors, np.ones((len(y), 1)), [codes, np.arange(len(y))])
    found = multilevel.robust(fitted, codes, np.ones(1))
    return *found.interval(), found.estimate


def summary(n_datasets: int, between: float, within: float) -> None:
    """Print coverage where the errors' covariance is known."""
    codes = np.repeat(np.arange(n_datasets), 2)
    k, hits = len(codes), np.zeros(3)
    for seed in range(STUDIES):
        random = np.random.default_rng([n_datasets, int(1000 * between), seed])
        sizes = np.exp(random.normal(np.log(0.08), 0.4, n_datasets))[codes]
        errors = np.outer(sizes, sizes) * np.where(np.eye(k) > 0, 1.0, np.where(codes[:, None] == codes, 0.8, 0.0))
        effects = random.normal(0, between, n_datasets)[codes] + random.normal(0, within, k)
        y = effects + np.linalg.cholesky(errors) @ random.normal(size=k)
        fitted = multilevel.fit(y, errors, np.ones((k, 1)), [codes, np.arange(k)])
        low, high = multilevel.robust(fitted, codes, np.ones(1)).interval()
        centre, error = float(fitted.coefficients[0]), float(np.sqrt(fitted.covariance[0, 0]))
        new = random.normal(0, between) + random.normal(0, within)
        far = float(stats.t.ppf(0.975, n_datasets - 2)) * np.sqrt(error**2 + fitted.variances.sum())
        hits += [low <= 0 <= high, abs(centre) <= stats.t.ppf(0.975, n_datasets - 1) * error, abs(new - centre) <= far]
    robust, model, predicted = 100 * hits / STUDIES
    out(f"{n_datasets:>8}  {between:>7.2f}  {within:>6.2f}  {robust:>10.1f}  {model:>7.1f}  {predicted:>12.1f}\n")


def size(n_values: int, n_prompts: int, nested: bool) -> None:
    """Print how often the test of equality rejects where all values have the same α, and how an α's interval covers."""
    rejected, naive, covered = 0, 0, 0
    for seed in range(STUDIES):
        random = np.random.default_rng([n_values, n_prompts, seed])
        prompts = np.repeat(np.arange(n_prompts), random.integers(2, 7, n_prompts))
        n = len(prompts)
        group = random.integers(0, n_values, n_prompts)[prompts] if nested else random.integers(0, n_values, n)
        group = np.unique(group, return_inverse=True)[1]
        delta = np.sqrt(SHARED) * random.normal(size=n_prompts)[prompts] + np.sqrt(1 - SHARED) * random.normal(size=n)
        preferred = clustered_uniforms(random, prompts, SHARED) < special.expit(EFFECT * delta)
        found = slopes(plain_part(delta, preferred, prompts), group, [])
        tested = equality(found)
        rejected += tested.p_value < 0.05
        contrasts = np.column_stack([-np.ones(len(found.estimates) - 1), np.eye(len(found.estimates) - 1)])
        difference, among = contrasts @ found.estimates, contrasts @ found.covariance @ contrasts.T
        plain = difference @ np.linalg.solve(among, difference) / len(difference)
        naive += stats.f.sf(plain, len(difference), n_prompts - 1) < 0.05
        half = stats.t.ppf(0.975, found.n_prompts[0] - 1) * np.sqrt(found.covariance[0, 0])
        covered += abs(found.estimates[0] - EFFECT) <= half
    kind = "one value a prompt" if nested else "values within prompts"
    out(
        f"{n_values:>6}  {n_prompts:>7}  {kind:<21}  {100 * rejected / STUDIES:>8.1f}  {100 * naive / STUDIES:>11.1f}  "
        f"{100 * covered / STUDIES:>15.1f}\n"
    )


def out(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> None:
    """Print the tables."""
    started = time.perf_counter()
    out(f"{STUDIES} studies each\n\nWhole studies: datasets of 60 to 200 prompts under two base models\n")
    out("datasets  scale        truth   mean    coverage %\n")
    for n_datasets in (5, 12):
        whole(n_datasets)
    out("\nKnown covariance, two base models a dataset\n")
    out("datasets  between  within  coverage %  t (D−1)  prediction %\n")
    for case in SUMMARY:
        summary(*case)
    out("\nEquality of α over the values of a column, α equal\n")
    out("values  prompts  where                  below 5 %  uncorrected  coverage of an α\n")
    for columns in COLUMNS:
        size(*columns)
    sys.stderr.write(f"{time.perf_counter() - started:.0f} s\n")


if __name__ == "__main__":
    main()
