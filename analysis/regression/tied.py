"""Likelihoods of choices with ties: Efron's rule at every stage, and the exact one of the best of each set."""

import numpy as np

from analysis.regression.inference import Array, Codes, cluster_sums
from analysis.regression.stages import Stages

_NOTHING = 1e-290
_AT_A_TIME = 4096
# The log-likelihood, its derivative by β for each stage (S × k), and its Hessian (k × k).
Likelihood = tuple[float, Array, Array]


def efron(x: Array, steps: Stages, beta: Array) -> Likelihood:
    """Each of the best of those that are left, ties by Efron's (1977) rule.

    A stage with k tied has Σ_tied x·β − Σ_l log(R − (l/k) T), l = 0 … k−1, where R sums exp(x·β) over all that are left
    and T over the tied ones.
    """
    stage, gone, starts = steps.stage, steps.gone[:, None], steps.starts
    logits = x @ beta
    top = np.repeat(np.maximum.reduceat(logits, starts), steps.sizes)
    odds = np.exp(logits - top)
    both = odds[:, None] * np.column_stack([np.ones(len(x)), x])
    sums = steps.accumulated(both)[steps.firsts][stage] - gone * steps.tied(both)[stage]
    left, means = sums[:, 0], sums[:, 1:] / sums[:, :1]
    # Odds that are too small to be told from none, at coefficients far from the maximum.
    value = float((logits - top)[steps.chosen].sum() - np.log(left).sum()) if left.min() > _NOTHING else -np.inf
    n = len(steps.firsts)
    whole, tied = np.zeros(len(x)), np.zeros(len(x))
    whole[steps.firsts] = np.bincount(stage, 1 / left, n)
    tied[steps.chosen] = np.bincount(stage, steps.gone / left, n)[stage]
    weights = odds * (steps.accumulated(whole, backwards=False) - tied)
    scores = steps.tied(x) - cluster_sums(means, stage)
    return value, scores, means.T @ means - x.T @ (x * weights[:, None])


def exact(x: Array, steps: Stages, beta: Array) -> Likelihood:
    """The k best of each set, given that they are k: P = exp(Σ_best x·β) / Σ over all k of the set exp(Σ x·β).

    The sums over subsets are built up one response at a time (Gail, Lubin & Rubinstein 1981), here as logarithms with
    the mean and the covariance of what a subset's covariates add up to, so that nothing overflows or cancels.
    """
    scores = np.zeros((len(steps.firsts), x.shape[1]))
    value, hessian = 0.0, np.zeros((x.shape[1], x.shape[1]))
    starts, n, best = steps.firsts, steps.n_chosen + steps.behind, steps.n_chosen
    # To choose k is to leave n − k, with the signs turned: the smaller number is less work.
    sign, k = np.where(2 * best > n, -1.0, 1.0), np.minimum(best, n - best)
    first = np.where(sign > 0, starts, starts + best)
    for few in np.unique(k):
        alike = np.flatnonzero(k == few)
        alike = alike[np.argsort(-n[alike], kind="stable")]
        for at in range(0, len(alike), _AT_A_TIME):
            some = alike[at : at + _AT_A_TIME]
            turned = sign[some][:, None]
            chosen = turned * x[first[some][:, None] + np.arange(few)].sum(1)
            log_sum, mean, covariance = _subsets(x, beta, starts[some], n[some], int(few), turned)
            value += float((chosen @ beta - log_sum).sum())
            scores[some] = chosen - mean
            hessian -= covariance.sum(0)
    return value, scores, hessian


def _subsets(x: Array, beta: Array, starts: Codes, n: Codes, k: int, sign: Array) -> tuple[Array, Array, Array]:
    """Over all k of the n responses from each start: the log of the sum, the mean and covariance of Σ ±x; n falls."""
    n_sets, p = len(starts), x.shape[1]
    log_sum = np.full((n_sets, k + 1), -np.inf)
    log_sum[:, 0] = 0.0
    mean, covariance = np.zeros((n_sets, k + 1, p)), np.zeros((n_sets, k + 1, p, p))
    for one in range(n[0]):
        live = slice(int(np.searchsorted(-n, -one)))
        here = sign[live] * x[starts[live] + one]
        # With this response, one fewer of those before; or without it.
        beside, without = log_sum[live, :-1] + (here @ beta)[:, None], log_sum[live, 1:]
        both = np.logaddexp(beside, without)
        with np.errstate(invalid="ignore"):
            share = np.where(np.isfinite(both), np.exp(beside - both), 0.0)[:, :, None]
        gap = mean[live, :-1] + here[:, None] - mean[live, 1:]
        spread = gap[..., :, None] * gap[..., None, :]
        wide = share[..., None]
        covariance[live, 1:] += wide * (covariance[live, :-1] - covariance[live, 1:]) + wide * (1 - wide) * spread
        mean[live, 1:] += share * gap
        log_sum[live, 1:] = both
    return log_sum[:, k], mean[:, k], covariance[:, k]
