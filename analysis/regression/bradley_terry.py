"""Bradley–Terry on covariates: the logit of "a preferred" on differences between a and b, with no intercept."""

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.regression.inference import Array, Codes, NoEstimate, cluster_sums

_SURE_LOGIT = 10.0


@dataclass(frozen=True)
class Fit:
    """A fitted model: coefficients (k,), their clustered covariance (k × k), and what effect sizes need."""

    coefficients: Array
    covariance: Array
    probabilities: Array
    n_clusters: int


def fit(preferred_a: npt.NDArray[np.bool_], differences: Array, clusters: Codes) -> Fit:
    """Fit P(a preferred) = σ(Σ_j β_j (x_aj − x_bj)) by maximum likelihood (Bradley & Terry 1952).

    There is no intercept: exchanging a and b of any row changes nothing. The covariance is the sandwich clustered as
    given, times G/(G−1).

    Parameters
    ----------
    preferred_a
        (n,) whether a was preferred.
    differences
        (n, k) covariate of a minus that of b.
    clusters
        (n,) codes 0 … G−1.

    Raises
    ------
    NoEstimate
        If there is no row, the covariates are constant or collinear, or the preferences are perfectly predicted.
    """
    import statsmodels.api as sm
    from statsmodels.tools.sm_exceptions import ConvergenceWarning, HessianInversionWarning, PerfectSeparationWarning

    n, k = differences.shape
    if n == 0:
        raise NoEstimate("no comparison is decided")
    scale = np.sqrt(np.mean(differences**2, axis=0))
    if not np.all(scale > 0):
        raise NoEstimate("a covariate is the same for both responses of every comparison")
    scaled = differences / scale
    if np.linalg.matrix_rank(scaled.T @ scaled / n, tol=1e-10) < k:
        raise NoEstimate("the covariates are collinear")
    with warnings.catch_warnings():
        for category in (ConvergenceWarning, HessianInversionWarning, PerfectSeparationWarning, RuntimeWarning):
            warnings.simplefilter("ignore", category)
        try:
            result = sm.Logit(preferred_a.astype(float), scaled).fit(method="newton", maxiter=100, tol=1e-12, disp=0)
            beta, converged = np.asarray(result.params, float), bool(result.mle_retvals["converged"])
        except np.linalg.LinAlgError:
            beta, converged = np.full(k, np.nan), False
    logits = scaled @ beta
    # Only a fit that fails, or predicts some row almost surely, can be that of separated data.
    if (not converged or not np.abs(logits).max() < _SURE_LOGIT) and _separated(preferred_a, scaled):
        raise NoEstimate("the preferences are perfectly predicted, so no estimate is finite")
    if not converged:
        raise NoEstimate("the fit did not converge")
    p = 1 / (1 + np.exp(-logits))
    bread = np.linalg.inv((scaled * (p * (1 - p))[:, None]).T @ scaled)
    rows = scaled * (preferred_a - p)[:, None]
    scores = cluster_sums(rows, clusters)
    if len(scores) > 1 and np.any((scores**2).sum(0) <= 1e-20 * (rows**2).sum(0)):
        raise NoEstimate("the outcome does not vary between prompts, so there is no error to estimate")
    n_clusters = len(scores)
    meat = scores.T @ scores * n_clusters / max(n_clusters - 1, 1)
    covariance = bread @ meat @ bread
    return Fit(beta / scale, covariance / np.outer(scale, scale), p, n_clusters)


def _separated(preferred_a: npt.NDArray[np.bool_], differences: Array) -> bool:
    """Whether some direction puts no row on its wrong side and some row on its right one (Albert & Anderson 1984).

    A linear programme (Konis 2007): the largest Σ s_i x_i·b with every s_i x_i·b ≥ 0 and |b_j| ≤ 1 is 0 unless so.
    """
    from scipy.optimize import linprog

    sided = np.where(preferred_a, 1.0, -1.0)[:, None] * differences
    found = linprog(-sided.sum(0), A_ub=-sided, b_ub=np.zeros(len(sided)), bounds=(-1, 1), method="highs")
    return found.fun is not None and bool(-found.fun > 1e-7)


def average_marginal_effect(fitted: Fit, term: int) -> float:
    """Mean over comparisons of ∂P/∂(difference of the term) = p(1−p) β, in probability per unit of the term."""
    p = fitted.probabilities
    return float(np.mean(p * (1 - p)) * fitted.coefficients[term])


def odds_ratio_per_sd(coefficient: float, differences: Array) -> tuple[float, float]:
    """√mean(Δ²) of a term's differences (n,), and the odds ratio exp(β √mean(Δ²)).

    The SD is about zero, not about the mean, so that exchanging a and b changes nothing.
    """
    sd = float(np.sqrt(np.mean(differences**2)))
    return sd, float(np.exp(coefficient * sd))
