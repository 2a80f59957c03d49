"""Effect sizes of a fitted Bradley–Terry model, with what each cluster adds to them (their influence).

An influence is (G,): the clusters' contributions to an estimate, to first order; √(G/(G−1) Σ ψ_g²) is the clustered
standard error (the delta method), and sums over resampled clusters are a bootstrap without refitting.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.regression.bradley_terry import Fit
from analysis.regression.inference import LEVEL, Array, Codes, Interval, cluster_sums, t_interval

POWER = 0.8
MANY = 1000


@dataclass(frozen=True)
class Effect:
    """An estimate with its clusters' influence (G,)."""

    estimate: float
    influence: Array

    @property
    def std_error(self) -> float:
        """Clustered standard error."""
        n = len(self.influence)
        return float(np.sqrt(self.influence @ self.influence * n / max(n - 1, 1)))

    def interval(self, null: float = 0.0) -> Interval:
        """By Student's t with G − 1 degrees of freedom."""
        return t_interval(self.estimate, self.std_error, len(self.influence), null)


def average_marginal_effect(fitted: Fit, differences: Sequence[Array], term: int, clusters: Codes) -> Effect:
    """Mean over comparisons of ∂P/∂(difference of the term) = p(1−p) β, in probability per unit of the term.

    Its derivative by β_j is mean(p(1−p)(1−2p) x_j) β_term, and mean(p(1−p)) more for the term itself.

    Parameters
    ----------
    fitted
        The model.
    differences
        k arrays (n,), as it was fitted.
    term
        Which covariate.
    clusters
        (n,) codes 0 … G−1.
    """
    p, w = fitted.probabilities, fitted.weights
    slope, beta = p * (1 - p), float(fitted.coefficients[term])
    bend = w * slope * (1 - 2 * p) / len(p)
    return mean_slope(beta, slope, np.array([bend @ x for x in differences]), term, fitted.influence, clusters, w)


def mean_slope(
    beta: float,
    slope: Array,
    bends: Array,
    term: int,
    influence: Array,
    clusters: Codes,
    weights: Array | None = None,
) -> Effect:
    """Weighted mean over comparisons of β · `slope`.

    Parameters
    ----------
    beta
        The coefficient of the term.
    slope
        (n,) derivative of a comparison's expected score by its logit.
    bends
        (p,) derivatives of the weighted mean of `slope` by the parameters.
    term
        Which of the parameters the coefficient is.
    influence
        (G, p) of the clusters on the parameters.
    clusters
        (n,) codes 0 … G−1.
    weights
        (n,), their mean 1; all weigh the same where None.
    """
    w = np.ones(len(slope)) if weights is None else weights
    estimate = float(np.mean(w * slope)) * beta
    gradient = beta * bends
    gradient[term] += np.mean(w * slope)
    own = w * (slope * beta - estimate) / len(slope)
    return Effect(estimate, influence @ gradient + cluster_sums(own[:, None], clusters)[:, 0])


def adjusted_rate(fitted: Fit, delta: Array, term: int, clusters: Codes) -> Effect:
    """Mean over comparisons of σ(β |Δ|): how often the more typical response is preferred, all else equal.

    Parameters
    ----------
    fitted
        The model.
    delta
        (n,) the term's differences.
    term
        Which covariate.
    clusters
        (n,) codes 0 … G−1.
    """
    size, w = np.abs(delta), fitted.weights
    q = 1 / (1 + np.exp(-fitted.coefficients[term] * size))
    estimate = float(np.mean(w * q))
    gradient = float(np.mean(w * q * (1 - q) * size))
    own = w * (q - estimate) / len(q)
    return Effect(estimate, gradient * fitted.influence[:, term] + cluster_sums(own[:, None], clusters)[:, 0])


def spread(delta: Array, weights: Array | None = None) -> float:
    """√mean(Δ²): the SD about zero, so that exchanging a and b changes nothing."""
    return float(np.sqrt(np.average(delta**2, weights=weights)))


def odds_ratio_per_sd(coefficient: float, sd: float) -> float:
    """Odds ratio exp(β SD) of a difference of one SD."""
    return float(np.exp(coefficient * sd))


def probability_change(coefficient: float, sd: float) -> float:
    """σ(β SD) − σ(−β SD): the change in probability from a difference of −1 SD to one of +1 SD, all else equal."""
    return float(np.tanh(coefficient * sd / 2))


def share_left(
    adjusted: Effect, raw: Effect, random: np.random.Generator, draws: int = 999
) -> tuple[float, float, float] | None:
    """Ratio of a marginal effect to the raw one, with its 95 % interval; None where the raw one may be zero.

    The interval holds the middle 95 % of the ratios over resampled clusters, without refitting. Beyond a thousand
    clusters their sums are drawn from the normal distribution that they then have.
    """
    found = raw.interval()
    if found.low <= 0 <= found.high:
        return None
    n, both = len(raw.influence), np.column_stack([adjusted.influence, raw.influence])
    if n > MANY:
        sums = random.multivariate_normal(np.zeros(2), both.T @ both, draws)
    else:
        sums = np.array([(np.bincount(random.integers(0, n, n), minlength=n) - 1.0) @ both for _ in range(draws)])
    ratios = (adjusted.estimate + sums[:, 0]) / (raw.estimate + sums[:, 1])
    low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return adjusted.estimate / raw.estimate, float(low), float(high)


def equivalence(rate: float, std_error: float, n_clusters: int, margin: float) -> float:
    """Return the p value of two one-sided tests that a rate lies within `margin` of one half (Schuirmann 1987)."""
    df = max(n_clusters - 1, 1)
    above, below = (rate - 0.5 + margin) / std_error, (rate - 0.5 - margin) / std_error
    return float(max(stats.t.sf(above, df), stats.t.cdf(below, df)))


def power(effect: float, std_error: float, n_clusters: int) -> float:
    """Probability that the two-sided 5 % test finds an effect of this size, given the standard error."""
    df = max(n_clusters - 1, 1)
    critical = float(stats.t.ppf((1 + LEVEL) / 2, df))
    shift = abs(effect) / std_error
    return float(stats.nct.sf(critical, df, shift) + stats.nct.cdf(-critical, df, shift))


def minimum_detectable(std_error: float, n_clusters: int) -> float:
    """(t_.975 + t_.8) standard errors: the smallest effect that a 5 % test finds with 80 % power (Bloom 1995)."""
    df = max(n_clusters - 1, 1)
    return float((stats.t.ppf((1 + LEVEL) / 2, df) + stats.t.ppf(POWER, df)) * std_error)
