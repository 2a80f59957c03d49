"""Judgements that say more than a winner: the levels they are put into, and what fits of them have in common."""

from dataclasses import dataclass

import numpy as np

from analysis.regression.inference import Array, Codes, NoEstimate, cluster_sums

MOST_SIZES = 10
# Strengths that differ by less are differences of equal decimals, such as 4.3 − 4.1 and 2.3 − 2.1.
_DIGITS = 12


@dataclass(frozen=True)
class GradedFit:
    """A fitted model of k covariates with q parameters of the levels (thresholds, or log ν) on G clusters.

    Attributes
    ----------
    coefficients
        (k,).
    levels
        (q,).
    influence
        (G, k+q): what each cluster adds to the coefficients, then to the parameters of the levels, to first order.
    mean_log_likelihood
        Nats a comparison.
    """

    coefficients: Array
    levels: Array
    influence: Array
    mean_log_likelihood: float

    @property
    def n_clusters(self) -> int:
        """G."""
        return len(self.influence)

    @property
    def covariance(self) -> Array:
        """(k+q, k+q), clustered, times G/(G−1)."""
        made: Array = self.influence.T @ self.influence * self.n_clusters / max(self.n_clusters - 1, 1)
        return made


@dataclass(frozen=True)
class Expected:
    """Expected scores P(a preferred) + P(tie) / 2 of n comparisons.

    Attributes
    ----------
    score, slope, bend
        (n,) the score, and its first and second derivative by the logit of the comparison.
    by_tie
        (n,) derivative of `slope` by the first parameter of the levels; None where it does not depend on it.
    """

    score: Array
    slope: Array
    bend: Array
    by_tie: Array | None


def signed_levels(strength: Array) -> tuple[Codes, Array]:
    """Levels of a signed strength, symmetric about zero: −K … K, or without 0 where no strength is 0.

    Up to `MOST_SIZES` sizes are a level each. More of them are put into that many bins of about equal numbers, at sizes
    that occur; a size that a tenth of all have is a bin by itself. What is ordered stays so: an ordered logit loses
    nothing by it but precision.

    Parameters
    ----------
    strength
        (n,) finite.

    Returns
    -------
    tuple
        The levels (n,), and the smallest size in each of 1 … K (K,).
    """
    size = np.abs(strength)
    if not size.any():
        return np.zeros(len(size), np.intp), np.empty(0)
    size = np.round(size, _DIGITS - int(np.ceil(np.log10(size.max()))))
    values, counts = np.unique(size[size > 0], return_counts=True)
    lows = np.asarray(values, np.float64)
    if len(values) > MOST_SIZES:
        # What is below each value, as a share.
        below = np.cumsum(counts) / counts.sum()
        quantiles = values[np.searchsorted(below, np.arange(MOST_SIZES) / MOST_SIZES, side="right")]
        alone = np.flatnonzero(counts >= counts.sum() / MOST_SIZES)
        lows = np.unique(np.concatenate([quantiles, values[alone], values[alone[alone + 1 < len(values)] + 1]]))
    return (np.searchsorted(lows, size, side="right") * np.sign(strength)).astype(np.intp), lows


def scaled(differences: Array) -> tuple[Array, Array]:
    """Differences (n, k) over their √mean(x²), and that (k,).

    Raises
    ------
    NoEstimate
        If a covariate is constant or collinear.
    """
    scale = np.sqrt(np.mean(differences**2, axis=0))
    if not np.all(scale > 0):
        raise NoEstimate("a covariate is the same for both responses of every comparison")
    x = differences / scale
    if np.linalg.matrix_rank(x.T @ x / len(x), tol=1e-10) < x.shape[1]:
        raise NoEstimate("the covariates are collinear")
    return x, scale


def influences(scores: Array, hessian: Array, clusters: Codes, k: int) -> Array:
    """Influence (G, p) of the clusters on the parameters, the first k of them coefficients.

    Parameters
    ----------
    scores, hessian
        (n, p) derivatives of the rows' log-likelihood, and the second ones of their sum (p, p).
    clusters
        (n,) codes 0 … G−1.
    k
        How many are coefficients.

    Raises
    ------
    NoEstimate
        If there is no information, or the clusters do not differ.
    """
    sums = cluster_sums(scores, clusters)
    if len(sums) > 1 and np.any((sums[:, :k] ** 2).sum(0) <= 1e-20 * (scores[:, :k] ** 2).sum(0)):
        raise NoEstimate("the outcome does not vary between prompts, so there is no error to estimate")
    try:
        made: Array = sums @ np.linalg.inv(-hessian)
    except np.linalg.LinAlgError as error:
        raise NoEstimate("the fit did not converge") from error
    return made
