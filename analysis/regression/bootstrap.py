"""Intervals where prompts are few: prompts are drawn with replacement, and every draw is fitted anew (bootstrap-t)."""

from collections.abc import Callable
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from analysis.regression.inference import LEVEL, Array, Codes, Interval, NoEstimate, cluster_sums

FEW_CLUSTERS = 50
DRAWS = 999
BOOTSTRAP = f"prompt bootstrap-t, {DRAWS} draws, because there are fewer than {FEW_CLUSTERS} prompts"
TOO_FEW = f"there are fewer than {FEW_CLUSTERS} prompts, too few for the errors of this model"
_LOST = 0.1
_AT_A_TIME = 111
_STEPS = 30
# What a draw gives: its estimates and their clustered standard errors.
Drawn = tuple[Array, Array]


def bootstrap_t(
    estimates: Array,
    errors: Array,
    nulls: float,
    n_clusters: int,
    draw: Callable[[Array], Drawn],
    random: np.random.Generator,
) -> list[Interval]:
    """Bootstrap-t intervals (Efron & Tibshirani 1993, §12.5; for clusters Cameron, Gelbach & Miller 2008).

    Parameters
    ----------
    estimates, errors
        (k,) and their clustered standard errors.
    nulls
        What the p values test against.
    n_clusters
        G.
    draw
        Fits with the clusters weighted as given, (draws, G) counts: (draws, k) estimates and errors; NaN where that
        fails.
    random
        Draws the clusters.

    Raises
    ------
    NoEstimate
        If more than a tenth of the draws cannot be fitted.
    """
    drawn = random.integers(0, n_clusters, (DRAWS, n_clusters))
    counts = np.stack([np.bincount(row, minlength=n_clusters) for row in drawn]).astype(float)
    parts = [draw(counts[k : k + _AT_A_TIME]) for k in range(0, DRAWS, _AT_A_TIME)]
    found, spread = (np.concatenate(side) for side in zip(*parts, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        statistics = (found - estimates) / spread
    whole = statistics[np.isfinite(statistics).all(1)]
    if len(whole) < (1 - _LOST) * DRAWS:
        raise NoEstimate(f"there are only {n_clusters} prompts: too many samples of them cannot be fitted")
    low, high = np.quantile(whole, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    t = (estimates - nulls) / errors
    above = (1 + (whole >= t).sum(0)) / (1 + len(whole))
    below = (1 + (whole <= t).sum(0)) / (1 + len(whole))
    p = np.minimum(1.0, 2 * np.minimum(above, below))
    return [
        Interval(*map(float, values))
        for values in zip(estimates, errors, t, p, estimates - high * errors, estimates - low * errors, strict=True)
    ]


def draw_mean(x: Array, clusters: Codes, weights: Array | None) -> Callable[[Array], Drawn]:
    """Means of `x` (n,) over drawn clusters."""
    w = np.ones(len(x)) if weights is None else weights
    both = cluster_sums(np.column_stack([w, w * x]), clusters)

    def draw(counts: Array) -> Drawn:
        total, weighted = (counts @ both).T
        mean = weighted / total
        # Each copy of a cluster is a cluster of its own.
        off = both[:, 1] - mean[:, None] * both[:, 0]
        return mean[:, None], _error(((counts * off**2).sum(1) / total**2)[:, None], counts)

    return draw


def draw_logit(
    preferred_a: npt.NDArray[np.bool_], differences: Array, clusters: Codes, weights: Array | None, start: Array
) -> Callable[[Array], Drawn]:
    """Bradley–Terry fits to drawn clusters, by Newton's method from the whole sample's coefficients, all together."""
    n, k = differences.shape
    w = np.ones(n) if weights is None else weights
    products = (differences[:, :, None] * differences[:, None, :]).reshape(n, k * k)

    def draw(counts: Array) -> Drawn:
        v, beta = w * counts[:, clusters], np.tile(start, (len(counts), 1))
        done = np.zeros(len(counts), bool)
        for _ in range(_STEPS):
            p = 1 / (1 + np.exp(-np.clip(beta @ differences.T, -30, 30)))
            bread = _inverse(((v * p * (1 - p)) @ products).reshape(-1, k, k))
            step = np.einsum("bij,bj->bi", bread, (v * (preferred_a - p)) @ differences)
            beta = beta + step
            done = np.abs(step).max(1) <= 1e-9 * (1 + np.abs(beta).max(1))
            if done.all():
                break
        p = 1 / (1 + np.exp(-np.clip(beta @ differences.T, -30, 30)))
        bread = _inverse(((v * p * (1 - p)) @ products).reshape(-1, k, k))
        variance = np.empty_like(beta)
        for row, count in enumerate(counts):
            scores = cluster_sums(differences * (w * (preferred_a - p[row]))[:, None], clusters)
            variance[row] = count @ (scores @ bread[row]) ** 2
        beta[~done] = np.nan
        return beta, _error(variance, counts)

    return draw


def _error(variance: Array, counts: Array) -> Array:
    """Standard errors (draws, k), with the correction G/(G−1)."""
    g = counts.sum(1, keepdims=True)
    made: Array = np.sqrt(variance * g / (g - 1))
    return made


def _inverse(matrices: Array) -> Array:
    """Inverses of (draws, k, k); NaN where there is none."""
    made: Array
    try:
        made = np.asarray(np.linalg.inv(matrices), np.float64)
    except np.linalg.LinAlgError:
        made = np.full_like(matrices, np.nan)
        for row, one in enumerate(matrices):
            with suppress(np.linalg.LinAlgError):
                made[row] = np.linalg.inv(one)
    return made
