"""Does the estimator find what was planted? Labels are drawn with a known α on a cell's own differences."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

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
    draws, found
        How many draws were made, and how many of them gave an estimate; what follows is of those.
    bias, relative_bias
        Mean estimate less the truth; the same over the truth (None where that is 0, or for a rate).
    coverage
        Share of the 95 % intervals that hold the truth.
    noise
        Standard error of the bias, from the draws; None where fewer than two gave an estimate.
    """

    specification: str
    alpha: float
    truth: float
    draws: int
    found: int
    bias: float | None
    relative_bias: float | None
    coverage: float | None
    noise: float | None


def recover(
    part: Part,
    random: np.random.Generator,
    alphas: Sequence[float] = ALPHAS,
    draws: int = DRAWS,
    tick: Callable[[int, int], None] = lambda done, total: None,
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
    tick
        Called with the draws that are done and their total.

    Raises
    ------
    NoEstimate
        If there is no comparison, or they belong to one prompt.
    """
    if not len(part.at):
        raise NoEstimate("no comparison is decided")
    if part.n_prompts < 2:
        raise NoEstimate("all comparisons belong to one prompt, so there is no error to estimate")
    for k, alpha in enumerate(alphas):
        probability = expit(alpha * part.delta)
        rate = float(np.mean(expit(alpha * np.abs(part.delta))))
        found: dict[str, list[Interval]] = {"bt": [], "rate": []}
        for done in range(draws):
            tick(k * draws + done, len(alphas) * draws)
            labels = random.random(len(probability)) < probability
            for name, estimator in _ESTIMATORS.items():
                try:
                    found[name].append(estimator(labels, part.delta, part.clusters))
                except NoEstimate:
                    continue
        for name, truth in (("bt", alpha), ("rate", rate)):
            yield _summary(name, alpha, truth, draws, found[name])


def _bt(labels: Mask, delta: Array, clusters: Codes) -> Interval:
    fitted = bradley_terry.fit(labels, delta[:, None], clusters)
    return t_interval(float(fitted.coefficients[0]), float(np.sqrt(fitted.covariance[0, 0])), fitted.n_clusters)


def _rate(labels: Mask, delta: Array, clusters: Codes) -> Interval:
    return clustered_mean(wins(delta, labels), clusters, 0.5)


_ESTIMATORS: dict[str, Callable[..., Interval]] = {"bt": _bt, "rate": _rate}


def _summary(name: str, alpha: float, truth: float, draws: int, found: Sequence[Interval]) -> Recovery:
    estimates = np.array([one.estimate for one in found])
    bias = float(estimates.mean() - truth) if found else None
    return Recovery(
        specification=name,
        alpha=alpha,
        truth=truth,
        draws=draws,
        found=len(found),
        bias=bias,
        relative_bias=bias / truth if bias is not None and name == "bt" and truth else None,
        coverage=float(np.mean([one.low <= truth <= one.high for one in found])) if found else None,
        noise=float(estimates.std(ddof=1) / np.sqrt(len(found))) if len(found) > 1 else None,
    )
