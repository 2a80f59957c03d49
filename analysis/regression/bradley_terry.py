"""Bradley–Terry on covariates: the logit of "a preferred" on differences between a and b, with no intercept."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.regression.inference import Array, Codes, NoEstimate, cluster_sums, separable

CONSTANT = "it is the same for both responses of every comparison"
COLLINEAR = "it is collinear with the covariates before it"
_SURE_LOGIT = 10.0
_INDEPENDENT = 1e-8


@dataclass(frozen=True)
class Fit:
    """A fitted model of k covariates on n comparisons in G clusters.

    Attributes
    ----------
    coefficients, covariance
        (k,) and their clustered covariance (k × k).
    influence
        (G, k): what each cluster adds to the coefficients, to first order. Its squares sum to the covariance, but for
        the correction G/(G−1).
    preferred_a, probabilities
        (n,) whether a was preferred, and P(a preferred).
    weights
        (n,) of the comparisons; their mean is 1.
    mean_log_likelihood
        Nats a comparison.
    """

    coefficients: Array
    covariance: Array
    influence: Array
    preferred_a: npt.NDArray[np.bool_]
    probabilities: Array
    weights: Array
    mean_log_likelihood: float

    @property
    def n_clusters(self) -> int:
        """G."""
        return len(self.influence)


def usable(differences: Sequence[Array]) -> dict[int, str]:
    """Which covariates cannot be had beside those before them, and why: they are constant, or collinear.

    Parameters
    ----------
    differences
        One (n,) array a covariate, of a minus b.
    """
    reasons: dict[int, str] = {}
    held: list[Array] = []
    for j, column in enumerate(differences):
        norm = float(np.sqrt(column @ column))
        if not norm > 0:
            reasons[j] = CONSTANT
            continue
        # Twice, because once leaves rounding behind (Giraud et al. 2005).
        rest = column / norm
        for _ in range(2):
            for other in held:
                rest = rest - (other @ rest) * other
        left = float(np.sqrt(rest @ rest))
        if left**2 < _INDEPENDENT:
            reasons[j] = COLLINEAR
        else:
            held.append(rest / left)
    return reasons


def fit(
    preferred_a: npt.NDArray[np.bool_],
    differences: Array,
    clusters: Codes,
    weights: Array | None = None,
    start: Array | None = None,
) -> Fit:
    """Fit P(a preferred) = σ(Σ_j β_j (x_aj − x_bj)) by maximum likelihood (Bradley & Terry 1952).

    There is no intercept: exchanging a and b of any row changes nothing. The covariance is the sandwich clustered as
    given (Liang & Zeger 1986), times G/(G−1).

    Parameters
    ----------
    preferred_a
        (n,) whether a was preferred.
    differences
        (n, k) covariate of a minus that of b.
    clusters
        (n,) codes 0 … G−1.
    weights
        (n,) of the comparisons; all weigh the same where None.
    start
        (k,) coefficients near the solution.

    Raises
    ------
    NoEstimate
        If there is no row, a covariate is constant or collinear, or the preferences are perfectly predicted.
    """
    n, k = differences.shape
    if n == 0:
        raise NoEstimate("no comparison is decided")
    scale = np.sqrt(np.mean(differences**2, axis=0))
    if not np.all(scale > 0):
        raise NoEstimate("a covariate is the same for both responses of every comparison")
    scaled = differences / scale
    if np.linalg.matrix_rank(scaled.T @ scaled / n, tol=1e-10) < k:
        raise NoEstimate("the covariates are collinear")
    given = np.ones(n) if weights is None else weights / weights.mean()
    beta = _maximise(preferred_a, scaled, None if weights is None else given, None if start is None else start * scale)
    logits = scaled @ beta
    sided = np.where(preferred_a, logits, -logits)
    p = 1 / (1 + np.exp(-logits))
    bread = np.linalg.inv(scaled.T @ (scaled * (given * p * (1 - p))[:, None]))
    rows = scaled * (given * (preferred_a - p))[:, None]
    scores = cluster_sums(rows, clusters)
    if len(scores) > 1 and np.any((scores**2).sum(0) <= 1e-20 * (rows**2).sum(0)):
        raise NoEstimate("the outcome does not vary between prompts, so there is no error to estimate")
    influence = scores @ bread / scale
    covariance = influence.T @ influence * len(scores) / max(len(scores) - 1, 1)
    mean_log_likelihood = float(-np.mean(given * np.logaddexp(0, -sided)))
    return Fit(beta / scale, covariance, influence, preferred_a, p, given, mean_log_likelihood)


def _maximise(preferred_a: npt.NDArray[np.bool_], scaled: Array, weights: Array | None, start: Array | None) -> Array:
    import statsmodels.api as sm
    from statsmodels.tools.sm_exceptions import ConvergenceWarning, HessianInversionWarning, PerfectSeparationWarning

    outcome = preferred_a.astype(float)
    with warnings.catch_warnings():
        for category in (ConvergenceWarning, HessianInversionWarning, PerfectSeparationWarning, RuntimeWarning):
            warnings.simplefilter("ignore", category)
        try:
            if weights is None:
                found = sm.Logit(outcome, scaled).fit(
                    start, method="newton", maxiter=100, tol=1e-12, disp=0, skip_hessian=True
                )
                converged = bool(found.mle_retvals["converged"])
            else:
                model = sm.GLM(outcome, scaled, family=sm.families.Binomial(), var_weights=weights)
                found = model.fit(start, maxiter=100, tol=1e-14, tol_criterion="params")
                converged = bool(found.converged)
            beta = np.asarray(found.params, float)
        except (np.linalg.LinAlgError, ValueError):
            beta, converged = np.full(scaled.shape[1], np.nan), False
    # Only a fit that fails, or predicts some row almost surely, can be that of separated data.
    if (not converged or not np.abs(scaled @ beta).max() < _SURE_LOGIT) and separated(preferred_a, scaled):
        raise NoEstimate("the preferences are perfectly predicted, so no estimate is finite")
    if not converged:
        raise NoEstimate("the fit did not converge")
    return beta


def separated(preferred_a: npt.NDArray[np.bool_], differences: Array) -> bool:
    """Whether some direction puts no row on its wrong side and some row on its right one (Albert & Anderson 1984)."""
    return separable(np.where(preferred_a, 1.0, -1.0)[:, None] * differences)
