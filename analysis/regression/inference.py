"""Means and intervals that respect clustering: free functions on arrays."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]
LEVEL = 0.95
CLUSTERED = "clustered by prompt: sandwich × G/(G−1), t with G−1 degrees of freedom"
_SOME = 500
_SPANNED = 1e-4
WILSON = "Wilson score interval; takes comparisons as independent"


class NoEstimate(Exception):
    """There is no number; the text is the reason."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its standard error, test against `null`, and 95 % interval."""

    estimate: float
    std_error: float
    statistic: float
    p_value: float
    low: float
    high: float


def t_interval(estimate: float, std_error: float, n_clusters: int, null: float = 0.0) -> Interval:
    """Interval and two-sided test by Student's t with `n_clusters` − 1 degrees of freedom.

    Raises
    ------
    NoEstimate
        If there are fewer than two clusters, or the standard error is not positive and finite.
    """
    if n_clusters < 2:
        raise NoEstimate("all comparisons belong to one prompt, so there is no error to estimate")
    if not np.isfinite(estimate) or not np.isfinite(std_error) or std_error <= 0:
        raise NoEstimate("the outcome does not vary, so there is no error to estimate")
    df = n_clusters - 1
    half = float(stats.t.ppf(0.5 + LEVEL / 2, df)) * std_error
    statistic = (estimate - null) / std_error
    p_value = float(2 * stats.t.sf(abs(statistic), df))
    return Interval(estimate, std_error, statistic, p_value, estimate - half, estimate + half)


def cluster_sums(values: Array, clusters: Codes) -> Array:
    """Sums of the rows of `values` (n × k) within clusters (n codes 0 … G−1), as G × k."""
    n_clusters = int(clusters.max()) + 1
    return np.column_stack([np.bincount(clusters, column, n_clusters) for column in values.T])


def separable(sided: Array) -> bool:
    """Whether some direction d has `sided` · d ≥ 0 in every row (n × p) and > 0 in some.

    Where the rows are differences, turned so that what was observed is above zero, such a direction never lowers a
    likelihood, and no estimate is finite (Albert & Anderson 1984). Some rows of each column are asked first: if they
    span all directions and there is none for them, there is none for all.
    """
    held = [np.flatnonzero(column) for column in sided.T]
    some = np.unique(np.concatenate([rows[:: len(rows) // _SOME + 1] for rows in held]))
    few = sided[some]
    spans = np.linalg.matrix_rank(few, tol=_SPANNED * np.linalg.norm(few)) == sided.shape[1]
    return not (spans and not _has_direction(few)) and _has_direction(sided)


def _has_direction(sided: Array) -> bool:
    """Solve a linear programme (Konis 2007): the largest sum with rows ≥ 0 and |d_j| ≤ 1 is 0 unless there is one."""
    from scipy.optimize import linprog

    found = linprog(-sided.sum(0), A_ub=-sided, b_ub=np.zeros(len(sided)), bounds=(-1, 1), method="highs")
    return found.fun is not None and bool(-found.fun > 1e-7)


def clustered_mean(x: Array, clusters: Codes, null: float, weights: Array | None = None) -> Interval:
    """Mean of `x` (n,) with a cluster-robust standard error.

    The variance is G/(G−1) · Σ_g (Σ_{i∈g} w_i (x_i − x̄))² / (Σ w)²: the sandwich of a regression on a constant (Liang &
    Zeger 1986) with the correction for few clusters. Repeating every row within its cluster changes nothing.

    Raises
    ------
    NoEstimate
        If there is no row, one cluster, or no variation.
    """
    n = len(x)
    if n == 0:
        raise NoEstimate("no comparison is decided")
    w = np.ones(n) if weights is None else weights / weights.mean()
    mean = float(np.mean(w * x))
    sums = cluster_sums((w * (x - mean))[:, None], clusters)[:, 0]
    n_clusters = len(sums)
    variance = float(sums @ sums) / n**2 * n_clusters / max(n_clusters - 1, 1)
    # Against x itself, not its deviations: those of a constant are rounding, too.
    if n_clusters > 1 and np.sqrt(variance) <= 1e-12 * np.sqrt(np.mean(x**2)):
        raise NoEstimate("the outcome does not vary between prompts, so there is no error to estimate")
    return t_interval(mean, float(np.sqrt(variance)), n_clusters, null)


def wilson(successes: float, n: int) -> Interval:
    """Wilson's score interval for a share, with the score test against one half (Wilson 1927).

    `successes` may hold halves (ties). The standard error is √(p(1−p)/n).

    Raises
    ------
    NoEstimate
        If n is 0.
    """
    if n == 0:
        raise NoEstimate("no comparison is decided")
    p = successes / n
    z = float(stats.norm.ppf(0.5 + LEVEL / 2))
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)))
    statistic = (p - 0.5) / float(np.sqrt(0.25 / n))
    return Interval(
        p,
        float(np.sqrt(p * (1 - p) / n)),
        statistic,
        float(2 * stats.norm.sf(abs(statistic))),
        max(0.0, centre - half),
        min(1.0, centre + half),
    )


def two_way(covariance: Callable[[Codes], Array], first: Codes, second: Codes) -> tuple[Array, int]:
    """Covariance clustered two ways: V₁ + V₂ − V₁₂, the last of their intersection (Cameron, Gelbach & Miller 2011).

    Parameters
    ----------
    covariance
        Gives the covariance clustered one way, by codes 0 … G−1.
    first, second
        (n,) codes of both ways.

    Returns
    -------
    tuple
        The covariance, and the number of clusters of the way that has fewer.
    """
    _, both = np.unique(np.column_stack([first, second]), axis=0, return_inverse=True)
    made = covariance(first) + covariance(second) - covariance(both.ravel())
    return made, int(min(first.max(), second.max())) + 1


def holm(p: Array) -> Array:
    """P values adjusted for the family-wise error rate (Holm 1979)."""
    # That of statsmodels collects garbage at every call, which takes half a second in a process that holds much.
    order = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    made = np.empty_like(p)
    made[order] = np.minimum(raised, 1.0)
    return made


def benjamini_hochberg(p: Array) -> Array:
    """P values adjusted for the false discovery rate (Benjamini & Hochberg 1995)."""
    return np.asarray(stats.false_discovery_control(p, method="bh"))
