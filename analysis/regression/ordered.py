"""Ordered logit: a rating on covariates of the responses, with a threshold between each two neighbouring levels."""

from dataclasses import dataclass

import numpy as np

from analysis.regression.inference import Array, Codes, NoEstimate, cluster_sums, separable

MOST_LEVELS = 20
_STEPS = 100
_HALVINGS = 40
# Of the distance to the maximum in standard errors, squared.
_CONVERGED = 1e-16
_SURE_LOGIT = 10.0


@dataclass(frozen=True)
class OrderedFit:
    """A fitted model of k covariates with L levels of the outcome.

    Attributes
    ----------
    coefficients, covariance
        (k,) and their clustered covariance (k × k).
    thresholds
        (L−1,), rising.
    n_clusters
        G.
    mean_log_likelihood
        Nats a row.
    """

    coefficients: Array
    covariance: Array
    thresholds: Array
    n_clusters: int
    mean_log_likelihood: float


def fit(outcome: Array, covariates: Array, clusters: Codes) -> OrderedFit:
    """Fit P(outcome ≤ level l) = σ(θ_l − x·β) by maximum likelihood (McCullagh 1980).

    The log-likelihood is concave (Pratt 1981), and Newton's method with shorter steps where needed finds its one
    maximum. The covariance is the sandwich over all parameters clustered as given, times G/(G−1).

    Parameters
    ----------
    outcome
        (n,) numbers; their order alone matters.
    covariates
        (n, k), none of them constant.
    clusters
        (n,) codes 0 … G−1.

    Raises
    ------
    NoEstimate
        If the outcome has one level or more than `MOST_LEVELS`, a covariate is constant or collinear, or the outcome is
        perfectly predicted.
    """
    levels, y = np.unique(outcome, return_inverse=True)
    if not 2 <= len(levels) <= MOST_LEVELS:
        found = f"{len(levels):,} level{'s' * (len(levels) != 1)}"
        raise NoEstimate(f"the ratings have {found}; an ordered logit takes 2 to {MOST_LEVELS}")
    centre, scale = covariates.mean(0), covariates.std(0)
    if not np.all(scale > 1e-12 * (1 + np.abs(centre))):
        raise NoEstimate("a covariate is the same for all responses")
    x = (covariates - centre) / scale
    if np.linalg.matrix_rank(x.T @ x / len(x), tol=1e-10) < x.shape[1]:
        raise NoEstimate("the covariates are collinear")
    below = np.cumsum(np.bincount(y))[:-1] / len(y)
    start = np.concatenate([np.log(below / (1 - below)), np.zeros(x.shape[1])])
    m = len(levels) - 1
    at, value, scores, hessian = maximise(y, x, start, np.eye(m), "ratings")
    beta = at[m:]
    try:
        bread = np.linalg.inv(-hessian)
    except np.linalg.LinAlgError as error:
        raise NoEstimate("the fit did not converge") from error
    sums = cluster_sums(scores, clusters)
    n_clusters = len(sums)
    if n_clusters > 1 and np.any((sums[:, m:] ** 2).sum(0) <= 1e-20 * (scores[:, m:] ** 2).sum(0)):
        raise NoEstimate("the outcome does not vary between prompts, so there is no error to estimate")
    influence = sums @ bread
    covariance = influence[:, m:].T @ influence[:, m:] * n_clusters / max(n_clusters - 1, 1)
    thresholds = at[:m] + centre @ (beta / scale)
    return OrderedFit(beta / scale, covariance / np.outer(scale, scale), thresholds, n_clusters, value / len(y))


def maximise(y: Codes, x: Array, start: Array, free: Array, what: str) -> tuple[Array, float, Array, Array]:
    """Maximise the likelihood where the thresholds are θ = `free` · τ.

    Parameters
    ----------
    y
        (n,) levels 0 … L−1.
    x
        (n, k) covariates.
    start
        (q+k,) τ, then coefficients, to begin from: with rising thresholds.
    free
        (L−1, q) how the thresholds follow from τ; the identity where they are free.
    what
        What the levels are, for the reasons.

    Returns
    -------
    tuple
        The parameters (q+k,) as in `start`, their log-likelihood, rows' scores (n, q+k), and the Hessian.

    Raises
    ------
    NoEstimate
        If the levels are perfectly predicted, or the search fails.
    """
    at, finite = start, False
    value, scores, hessian = _reduced(y, x, at, free)
    for _ in range(_STEPS):
        try:
            step = np.linalg.solve(-hessian, scores.sum(0))
        except np.linalg.LinAlgError as error:
            raise NoEstimate("the fit did not converge") from error
        promised = float(step @ scores.sum(0))
        for halved in range(_HALVINGS):
            tried = at + step / 2**halved
            if np.all(np.diff(free @ tried[: free.shape[1]]) > 0):
                new = _reduced(y, x, tried, free)
                # Rounding, near the maximum, is no descent.
                if new[0] >= value - 1e-12 * abs(value):
                    break
        else:
            raise NoEstimate("the fit did not converge")
        at, (value, scores, hessian) = tried, new
        # Only a fit that predicts some row almost surely can be that of separated data.
        if not finite and _furthest(y, x, at, free) > _SURE_LOGIT:
            if separated(y, x, free):
                raise NoEstimate(f"the {what} are perfectly predicted, so no estimate is finite")
            finite = True
        if promised <= _CONVERGED:
            return at, value, scores, hessian
    raise NoEstimate("the fit did not converge")


def _reduced(y: Codes, x: Array, at: Array, free: Array) -> tuple[float, Array, Array]:
    """`_likelihood` in τ and the coefficients."""
    (m, q), k = free.shape, x.shape[1]
    value, scores, hessian = _likelihood(y, x, np.concatenate([free @ at[:q], at[q:]]), m)
    by = np.zeros((m + k, q + k))
    by[:m, :q], by[m:, q:] = free, np.eye(k)
    return value, scores @ by, by.T @ hessian @ by


def _furthest(y: Codes, x: Array, at: Array, free: Array) -> float:
    """The largest distance of a row's logit from a threshold that bounds its level."""
    m, q = free.shape
    thresholds, logit, inner, outer = free @ at[:q], x @ at[q:], y < m, y > 0
    return float(
        max(np.abs(thresholds[y[inner]] - logit[inner]).max(), np.abs(thresholds[y[outer] - 1] - logit[outer]).max())
    )


def separated(y: Codes, x: Array, free: Array) -> bool:
    """Whether some direction moves no row's threshold to its wrong side and some row's to its right one.

    As for two levels (Albert & Anderson 1984). Thresholds are those of `maximise`.
    """
    inner, outer = y < len(free), y > 0
    upper = np.hstack([free[y[inner]], -x[inner]])
    lower = np.hstack([-free[y[outer] - 1], x[outer]])
    return separable(np.vstack([upper, lower]))


def _likelihood(y: Codes, x: Array, at: Array, n_thresholds: int) -> tuple[float, Array, Array]:
    """Log-likelihood, its derivative by the parameters for each row (n × p), and its Hessian (p × p).

    A row's probability is σ(u) − σ(l) for its upper and lower bound u = θ_y − x·β and l = θ_{y−1} − x·β.
    """
    n, k = x.shape
    bounds = np.concatenate([[-np.inf], at[:n_thresholds], [np.inf]])
    logit = x @ at[n_thresholds:]
    upper, lower = bounds[y + 1] - logit, bounds[y] - logit
    # σ(u) − σ(l) = σ(u) σ(−l) (1 − e^{l−u}): no cancellation in the tails.
    log_p = -np.logaddexp(0, -upper) - np.logaddexp(0, lower) + np.log(-np.expm1(lower - upper))
    ends = []
    for bound in (upper, lower):
        log_f = -np.logaddexp(0, -bound) - np.logaddexp(0, bound)
        with np.errstate(over="ignore"):
            ratio = np.where(np.isfinite(bound), np.exp(np.where(np.isfinite(bound), log_f, 0) - log_p), 0.0)
        ends.append((ratio, ratio * -np.tanh(np.where(np.isfinite(bound), bound, 0) / 2)))
    (fu, du), (fl, dl) = ends
    by_upper, by_lower = fu, -fl
    curve = {"uu": du - fu**2, "ll": -dl - fl**2, "ul": fu * fl}
    scores = np.zeros((n, n_thresholds + k))
    rows = np.arange(n)
    inner, outer = y < n_thresholds, y > 0
    scores[rows[inner], y[inner]] += by_upper[inner]
    scores[rows[outer], y[outer] - 1] += by_lower[outer]
    scores[:, n_thresholds:] = -(by_upper + by_lower)[:, None] * x
    hessian = np.zeros((n_thresholds + k, n_thresholds + k))
    slopes = curve["uu"] + curve["ll"] + 2 * curve["ul"]
    hessian[n_thresholds:, n_thresholds:] = x.T @ (slopes[:, None] * x)
    for level in range(n_thresholds + 1):
        at_level = y == level
        x_here = x[at_level]
        for j, own in ((level, "uu"), (level - 1, "ll")):
            if 0 <= j < n_thresholds:
                hessian[j, j] += curve[own][at_level].sum()
                mixed = -((curve[own] + curve["ul"])[at_level] @ x_here)
                hessian[j, n_thresholds:] += mixed
                hessian[n_thresholds:, j] += mixed
        if 0 < level < n_thresholds:
            both = curve["ul"][at_level].sum()
            hessian[level, level - 1] += both
            hessian[level - 1, level] += both
    return float(log_p.sum()), scores, hessian
