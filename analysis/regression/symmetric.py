"""Ordered logit of a signed strength on differences between a and b, its thresholds symmetric about zero."""

import numpy as np
from scipy.special import expit

from analysis.regression import ordered
from analysis.regression.inference import Array, Codes, NoEstimate
from analysis.regression.levels import Expected, GradedFit, influences, scaled


def fit(levels: Codes, differences: Array, clusters: Codes) -> GradedFit:
    """Fit P(level ≤ l) = σ(θ_l − Σ_j β_j (x_aj − x_bj)) by maximum likelihood (McCullagh 1980).

    The thresholds are ±τ_1, …, ±τ_K where there is a level 0, and 0, ±τ_2, …, ±τ_K where there is none (as
    `symmetric2` of R's ordinal): a and b may be exchanged, and where they stand has no effect. With the levels −1, 0
    and 1 it is the model of Rao & Kupper (1967), τ_1 the logarithm of their θ.

    Parameters
    ----------
    levels
        (n,) −K … K, above 0 where a was preferred; none of 1 … K is empty on both sides.
    differences
        (n, k) covariate of a minus that of b.
    clusters
        (n,) codes 0 … G−1.

    Returns
    -------
    GradedFit
        Its `levels` are the thresholds τ that were estimated, rising.

    Raises
    ------
    NoEstimate
        If there is no threshold to estimate, a covariate is constant or collinear, or the levels are perfectly
        predicted.
    """
    size = np.abs(levels)
    most, has_zero = int(size.max(initial=0)), bool((size == 0).any())
    q = most if has_zero else most - 1
    if q < 1:
        raise NoEstimate("all preferences are equally strong")
    x, scale = scaled(differences)
    k = x.shape[1]
    one = np.eye(q)
    free = np.vstack([-one[::-1], *([] if has_zero else [np.zeros((1, q))]), one])
    y = levels + most - (0 if has_zero else (levels > 0).astype(np.intp))
    # P(|level| < l) = σ(τ) − σ(−τ) where there is no effect.
    below = np.cumsum(np.bincount(size))[most - q : most] / len(size)
    start = np.concatenate([np.log((1 + below) / (1 - below)), np.zeros(k)])
    at, value, scores, hessian = ordered.maximise(y, x, start, free, "strengths")
    turned = np.r_[q : q + k, :q]
    influence = influences(scores[:, turned], hessian[np.ix_(turned, turned)], clusters, k)
    influence[:, :k] /= scale
    return GradedFit(at[q:] / scale, at[:q], influence, value / len(y))


def expected(logits: Array, threshold: float | None) -> Expected:
    """Expected scores at given logits.

    Parameters
    ----------
    logits
        (n,) Σ_j β_j (x_aj − x_bj).
    threshold
        τ_1, the one above level 0; None where there is no such level.
    """
    inner = 0.0 if threshold is None else threshold
    above, below = expit(logits - inner), expit(logits + inner)
    f_above, f_below = above * (1 - above), below * (1 - below)
    d_above, d_below = f_above * (1 - 2 * above), f_below * (1 - 2 * below)
    return Expected(
        score=(above + below) / 2,
        slope=(f_above + f_below) / 2,
        bend=(d_above + d_below) / 2,
        by_tie=None if threshold is None else (d_below - d_above) / 2,
    )
