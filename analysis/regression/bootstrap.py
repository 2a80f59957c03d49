"""Intervals where prompts are few: prompts are drawn with replacement, and every draw is fitted anew (bootstrap-t)."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from analysis.regression.inference import LEVEL, Array, Codes, Interval, NoEstimate, cluster_sums

FEW_CLUSTERS = 50
DRAWS = 999
BOOTSTRAP = f"prompt bootstrap-t, {DRAWS} draws, because there are fewer than {FEW_CLUSTERS} prompts"
_LOST = 0.1
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
        Fits with the clusters weighted as given, (G,) counts; NaN where that fails.
    random
        Draws the clusters.

    Raises
    ------
    NoEstimate
        If more than a tenth of the draws cannot be fitted.
    """
    statistics = np.empty((DRAWS, len(estimates)))
    for k in range(DRAWS):
        counts = np.bincount(random.integers(0, n_clusters, n_clusters), minlength=n_clusters).astype(float)
        found, spread = draw(counts)
        with np.errstate(divide="ignore", invalid="ignore"):
            statistics[k] = (found - estimates) / spread
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

    def draw(counts: Array) -> Drawn:
        v = w * counts[clusters]
        mean = float(v @ x / v.sum())
        # Each copy of a cluster is a cluster of its own.
        sums = cluster_sums((w * (x - mean))[:, None], clusters)[:, 0] / v.sum()
        g = counts.sum()
        return np.array([mean]), np.sqrt(np.array([counts @ sums**2]) * g / (g - 1))

    return draw


def draw_logit(
    preferred_a: npt.NDArray[np.bool_], differences: Array, clusters: Codes, weights: Array | None, start: Array
) -> Callable[[Array], Drawn]:
    """Bradley–Terry fits to drawn clusters, by Newton's method from the whole sample's coefficients."""
    w = np.ones(len(preferred_a)) if weights is None else weights
    nothing = np.full(len(start), np.nan)

    def draw(counts: Array) -> Drawn:
        v, beta = w * counts[clusters], start.copy()
        for _ in range(30):
            p = 1 / (1 + np.exp(-np.clip(differences @ beta, -30, 30)))
            information = differences.T @ (differences * (v * p * (1 - p))[:, None])
            try:
                step = np.linalg.solve(information, differences.T @ (v * (preferred_a - p)))
            except np.linalg.LinAlgError:
                return nothing, nothing
            beta = beta + step
            if np.abs(step).max() <= 1e-9 * (1 + np.abs(beta).max()):
                break
        else:
            return nothing, nothing
        try:
            bread = np.linalg.inv(information)
        except np.linalg.LinAlgError:
            return nothing, nothing
        influence = cluster_sums(differences * (w * (preferred_a - p))[:, None], clusters) @ bread
        g = counts.sum()
        return beta, np.sqrt((counts @ influence**2) * g / (g - 1))

    return draw
