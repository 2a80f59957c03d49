"""Does the estimator find what was planted? Labels are drawn with a known α on a cell's own differences."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.regression import bradley_terry
from analysis.regression.cell import Mask
from analysis.regression.inference import Array, Codes, Interval, NoEstimate, clustered_mean, t_interval
from analysis.regression.part import Part, wins

ALPHAS = (0.0, 0.25, 0.57, 1.0)
DRAWS = 500


@dataclass(frozen=True)
class Recovery:
    """How an estimator did over the draws of one planted α.

    Attributes
    ----------
    specification, alpha, truth
        What was estimated, the α that was planted, and the number to be found (α itself, or the rate it makes).
    draws
        How many draws gave an estimate.
    bias, relative_bias
        Mean estimate less the truth; the same over the truth (None where that is 0, or for a rate).
    coverage
        Share of the 95 % intervals that hold the truth.
    noise
        Standard error of the bias, from the draws.
    """

    specification: str
    alpha: float
    truth: float
    draws: int
    bias: float
    relative_bias: float | None
    coverage: float
    noise: float


def recover(
    part: Part, random: np.random.Generator, alphas: Sequence[float] = ALPHAS, draws: int = DRAWS
) -> Iterator[Recovery]:
    """Plant each α on a part's differences, estimate it, and compare.

    A label is drawn for each comparison: a is preferred with probability σ(α Δ).

    Parameters
    ----------
    part
        The comparisons whose differences and prompts are used; their labels are not.
    random
        Draws the labels.
    alphas, draws
        What is planted, and how often.

    Raises
    ------
    NoEstimate
        If there is no comparison.
    """
    if not len(part.at):
        raise NoEstimate("no comparison is decided")
    for alpha in alphas:
        probability = 1 / (1 + np.exp(-alpha * part.delta))
        rate = float(np.mean(1 / (1 + np.exp(-alpha * np.abs(part.delta)))))
        found: dict[str, list[Interval]] = {"bt": [], "rate": []}
        for _ in range(draws):
            labels = random.random(len(probability)) < probability
            for name, estimator in _ESTIMATORS.items():
                try:
                    found[name].append(estimator(labels, part.delta, part.clusters))
                except NoEstimate:
                    continue
        for name, truth in (("bt", alpha), ("rate", rate)):
            if found[name]:
                yield _summary(name, alpha, truth, found[name])


def _bt(labels: Mask, delta: Array, clusters: Codes) -> Interval:
    fitted = bradley_terry.fit(labels, delta[:, None], clusters)
    return t_interval(float(fitted.coefficients[0]), float(np.sqrt(fitted.covariance[0, 0])), fitted.n_clusters)


def _rate(labels: Mask, delta: Array, clusters: Codes) -> Interval:
    return clustered_mean(wins(delta, labels), clusters, 0.5)


_ESTIMATORS: dict[str, Callable[..., Interval]] = {"bt": _bt, "rate": _rate}


def _summary(name: str, alpha: float, truth: float, found: Sequence[Interval]) -> Recovery:
    estimates = np.array([one.estimate for one in found])
    bias = float(estimates.mean() - truth)
    return Recovery(
        specification=name,
        alpha=alpha,
        truth=truth,
        draws=len(found),
        bias=bias,
        relative_bias=bias / truth if name == "bt" and truth else None,
        coverage=float(np.mean([one.low <= truth <= one.high for one in found])),
        noise=float(estimates.std(ddof=1) / np.sqrt(len(found))) if len(found) > 1 else float("nan"),
    )
