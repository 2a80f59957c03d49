"""Bradley–Terry with ties (Davidson 1970) on differences between a and b."""

import numpy as np

from analysis.regression.inference import Array, Codes, NoEstimate, separable
from analysis.regression.levels import Expected, GradedFit, influences, scaled

_STEPS = 100
_HALVINGS = 40
# Of the distance to the maximum in standard errors, squared.
_CONVERGED = 1e-16
_SURE_LOGIT = 10.0


def fit(sign: Array, differences: Array, clusters: Codes) -> GradedFit:
    """Fit P(a) : P(tie) : P(b) = e^{η/2} : ν : e^{−η/2}, η = Σ_j β_j (x_aj − x_bj), by maximum likelihood.

    Davidson's P(tie) ∝ ν √(π_a π_b), with log π = Σ_j β_j x_j. The odds of a against b are e^η, as without ties. It is
    a multinomial logit: its log-likelihood is concave, and Newton's method with shorter steps where needed finds the
    one maximum. There is no effect of position.

    Parameters
    ----------
    sign
        (n,) 1 where a was preferred, −1 where b was, 0 for a tie.
    differences
        (n, k) covariate of a minus that of b.
    clusters
        (n,) codes 0 … G−1.

    Returns
    -------
    GradedFit
        Its `levels` are (log ν,).

    Raises
    ------
    NoEstimate
        If nothing is tied or all is, a covariate is constant or collinear, or the judgements are perfectly predicted.
    """
    tie = sign == 0
    share = float(tie.mean()) if len(sign) else 0.0
    if share in (0.0, 1.0):
        raise NoEstimate("no comparison is a tie" if share == 0 else "no comparison is decided")
    x, scale = scaled(differences)
    k = x.shape[1]
    at = np.append(np.zeros(k), np.log(2 * share / (1 - share)))
    at, value = _maximise(sign, tie, x, at)
    scores, hessian = _derivatives(sign, tie, x, at)
    influence = influences(scores, hessian, clusters, k)
    influence[:, :k] /= scale
    return GradedFit(at[:k] / scale, at[k:], influence, value / len(sign))


def _maximise(sign: Array, tie: Array, x: Array, at: Array) -> tuple[Array, float]:
    value, finite = _log_likelihood(sign, tie, x, at), False
    for _ in range(_STEPS):
        scores, hessian = _derivatives(sign, tie, x, at)
        gradient = scores.sum(0)
        try:
            step = np.linalg.solve(-hessian, gradient)
        except np.linalg.LinAlgError as error:
            raise NoEstimate("the fit did not converge") from error
        for halved in range(_HALVINGS):
            tried = at + step / 2**halved
            new = _log_likelihood(sign, tie, x, tried)
            # Rounding, near the maximum, is no descent.
            if new >= value - 1e-12 * abs(value):
                break
        else:
            raise NoEstimate("the fit did not converge")
        at, value = tried, new
        # Only a fit that predicts some row almost surely can be that of separated data.
        if not finite and max(np.abs(x @ at[:-1]).max(), abs(at[-1])) > _SURE_LOGIT:
            if _separated(sign, tie, x):
                raise NoEstimate("the judgements are perfectly predicted, so no estimate is finite")
            finite = True
        if float(step @ gradient) <= _CONVERGED:
            return at, value
    raise NoEstimate("the fit did not converge")


def _probabilities(x: Array, at: Array) -> tuple[Array, Array, Array, Array]:
    """Half the logits (n,), the logarithm of the sum of the three terms, P(a) − P(b), and P(tie)."""
    half = x @ at[:-1] / 2
    total = np.logaddexp(np.logaddexp(half, -half), at[-1])
    return half, total, np.exp(half - total) - np.exp(-half - total), np.exp(at[-1] - total)


def _log_likelihood(sign: Array, tie: Array, x: Array, at: Array) -> float:
    half, total, _, _ = _probabilities(x, at)
    return float((sign * half + tie * at[-1] - total).sum())


def _derivatives(sign: Array, tie: Array, x: Array, at: Array) -> tuple[Array, Array]:
    """Rows' derivatives by the coefficients and log ν (n, k+1), and the Hessian of their sum (k+1, k+1)."""
    _, _, ahead, p_tie = _probabilities(x, at)
    scores = np.column_stack([x * ((sign - ahead) / 2)[:, None], tie - p_tie])
    k = x.shape[1]
    hessian = np.empty((k + 1, k + 1))
    # The variance of the sign is 1 − P(tie) − (P(a) − P(b))².
    hessian[:k, :k] = -x.T @ (x * ((1 - p_tie - ahead**2) / 4)[:, None])
    hessian[:k, k] = hessian[k, :k] = x.T @ (ahead * p_tie / 2)
    hessian[k, k] = -(p_tie * (1 - p_tie)).sum()
    return scores, hessian


def _separated(sign: Array, tie: Array, x: Array) -> bool:
    """Whether some direction raises no alternative above the one that was chosen, and lowers some."""
    decided = ~tie.astype(bool)
    ahead, one = sign[decided, None] * x[decided], np.ones((int(decided.sum()), 1))
    tied, other = x[~decided], np.ones((int((~decided).sum()), 1))
    return separable(
        np.vstack(
            [
                np.hstack([ahead, 0 * one]),  # over the other response
                np.hstack([ahead / 2, -one]),  # over a tie
                np.hstack([tied / 2, other]),
                np.hstack([-tied / 2, other]),
            ]
        )
    )


def expected(logits: Array, log_nu: float) -> Expected:
    """Expected scores at given logits (n,) η; `by_tie` is by log ν."""
    half = logits / 2
    total = np.logaddexp(np.logaddexp(half, -half), log_nu)
    ahead, tie = np.exp(half - total) - np.exp(-half - total), np.exp(log_nu - total)
    variance = 1 - tie - ahead**2
    # dE/dη of the sign is half its variance, dP(tie)/dη = −ahead · tie / 2; by log ν the sign loses ahead · tie.
    return Expected(
        score=(1 + ahead) / 2,
        slope=variance / 4,
        bend=(ahead * tie / 2 - ahead * variance) / 4,
        by_tie=(-tie * (1 - tie) + 2 * ahead**2 * tie) / 4,
    )
