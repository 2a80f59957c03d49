"""Conditional and rank-ordered logit: which response of a set is best, or in which order all of them are."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analysis.regression import effects
from analysis.regression.bootstrap import FEW_CLUSTERS, TOO_FEW
from analysis.regression.inference import CLUSTERED, Array, Codes, NoEstimate, cluster_sums, separable, t_interval
from analysis.regression.orders import orders
from analysis.regression.part import Part
from analysis.regression.rows import Row, row_of
from analysis.regression.stages import Stages, stages
from analysis.regression.tied import efron, exact
from analysis.regression.usable import usable_terms
from analysis.regression.within import centred

_STEPS = 100
_HALVINGS = 40
# Of the distance to the maximum in standard errors, squared.
_CONVERGED = 1e-16
_SURE_LOGIT = 10.0
# Efron's rule takes the tied for ordered, unknown how. Where they are tied because they are close, it pulls α towards
# zero: by 1 % near this share (tests/reference/responses_simulation.txt), by 8 % where 14 % are tied.
MOST_TIED = 0.05


@dataclass(frozen=True)
class ChoiceFit:
    """A fitted model of k covariates.

    Attributes
    ----------
    coefficients, covariance
        (k,) and their clustered covariance (k × k).
    n_clusters
        G.
    log_likelihood
        Nats, of all choices.
    """

    coefficients: Array
    covariance: Array
    n_clusters: int
    log_likelihood: float


def fit(covariates: Array, sets: Codes, levels: Codes, clusters: Codes, only_best: bool = False) -> ChoiceFit:
    """Fit P(i is best of those left) = exp(x_i·β) / Σ_j exp(x_j·β) by maximum likelihood.

    With `only_best` the conditional logit of the best of each set (McFadden 1974); where several are tied for the best,
    that of these against all sets of as many, exactly (Chamberlain 1980), as R's `clogit(method = "exact")`. Else the
    rank-ordered or exploded logit (Plackett 1975; Beggs, Cardell & Hausman 1981); ties take Efron's (1977)
    approximation to the mean over the orders that the tied may have, as R's `coxph(ties = "efron")`. The covariance is
    the sandwich clustered as given, times G/(G−1).

    Parameters
    ----------
    covariates
        (n, k).
    sets, levels
        (n,) codes of the sets, rising, and levels within them, 0 the best, rising.
    clusters
        (n,) codes 0 … G−1; sets are nested in them.

    Raises
    ------
    NoEstimate
        If there is no choice, a covariate is constant or collinear within the sets, or the choices are perfectly
        predicted.
    """
    steps = stages(sets, levels, only_best)
    if not len(steps.firsts):
        raise NoEstimate("all responses of each prompt are equally good")
    x = centred(covariates, sets)
    scale = np.sqrt(np.mean(x**2, axis=0))
    if not np.all(scale > 0):
        raise NoEstimate("a covariate is the same for all responses of every prompt")
    x = x / scale
    if np.linalg.matrix_rank(x.T @ x / len(x), tol=1e-10) < x.shape[1]:
        raise NoEstimate("the covariates are collinear")
    beta, value, scores, hessian = _maximise(x, steps, only_best)
    sums = cluster_sums(scores, clusters[steps.firsts])
    n_clusters = int(clusters.max()) + 1
    if n_clusters > 1 and np.any((sums**2).sum(0) <= 1e-20 * (scores**2).sum(0)):
        raise NoEstimate("the outcome does not vary between prompts, so there is no error to estimate")
    influence = np.linalg.solve(-hessian, sums.T).T / scale
    covariance = influence.T @ influence * n_clusters / max(n_clusters - 1, 1)
    return ChoiceFit(beta / scale, covariance, n_clusters, value)


def _maximise(x: Array, steps: Stages, only_best: bool) -> tuple[Array, float, Array, Array]:
    """The coefficients, their log-likelihood, the stages' scores (S × k), and the Hessian."""
    at, finite, likelihood = np.zeros(x.shape[1]), False, exact if only_best else efron
    value, scores, hessian = likelihood(x, steps, at)
    for _ in range(_STEPS):
        try:
            step = np.linalg.solve(-hessian, scores.sum(0))
        except np.linalg.LinAlgError as error:
            raise NoEstimate("the fit did not converge") from error
        promised = float(step @ scores.sum(0))
        for halved in range(_HALVINGS):
            tried = at + step / 2**halved
            new = likelihood(x, steps, tried)
            # Rounding, near the maximum, is no descent.
            if new[0] >= value - 1e-12 * abs(value):
                break
        else:
            raise NoEstimate("the fit did not converge")
        at, (value, scores, hessian) = tried, new
        # Only a fit that is almost sure of some choice can be that of separated data.
        if not finite and _surest(x @ at, steps) > _SURE_LOGIT:
            if separated(x, steps, only_best):
                raise NoEstimate("the choices are perfectly predicted, so no estimate is finite")
            finite = True
        if promised <= _CONVERGED:
            return at, value, scores, hessian
    raise NoEstimate("the fit did not converge")


def _surest(logits: Array, steps: Stages) -> float:
    """By how much the chosen are ahead of all others, where they are most."""
    best = steps.accumulated(logits, np.maximum)
    chosen = np.full(len(steps.firsts), np.inf)
    np.minimum.at(chosen, steps.stage, logits[steps.chosen])
    return float((chosen - best[steps.firsts + steps.n_chosen]).max())


def separated(x: Array, steps: Stages, only_best: bool) -> bool:
    """Whether some direction puts no chosen one behind another and puts some one ahead.

    By Efron's rule it must leave the tied level, too. Such a direction never lowers the likelihood.
    """
    one, other = steps.pairs(each=only_best)
    sided = [x[one] - x[other]]
    if not only_best:
        level = (x[steps.chosen] - x[steps.firsts][steps.stage])[steps.gone > 0]
        sided += [level, -level]
    return separable(np.vstack(sided))


def conditional_rows(name: str, part: Part, random: np.random.Generator) -> Iterator[Row]:
    """Rows of the conditional logit: the best response of each completely ordered set, on the measure and quality."""
    return _rows(name, part, only_best=True)


def rank_ordered_rows(name: str, part: Part, random: np.random.Generator) -> Iterator[Row]:
    """Rows of the rank-ordered logit: the order of each completely ordered set, on the measure and quality."""
    return _rows(name, part, only_best=False)


def _rows(name: str, part: Part, only_best: bool) -> Iterator[Row]:
    found = orders(part.with_quality())
    if 1 < found.part.n_prompts < FEW_CLUSTERS:
        raise NoEstimate(TOO_FEW)
    share = stages(found.sets, found.levels, only_best).tied_share
    if not only_best and share > MOST_TIED:
        most = f"a rank-ordered logit takes no more than {100 * MOST_TIED:.0f} %"
        raise NoEstimate(f"{100 * share:.1f} % of the pairs are tied, and {most}")
    terms, lost = usable_terms({term: centred(x[:, None], found.sets)[:, 0] for term, x in found.columns.items()})
    x = np.column_stack([found.columns[term] for term in terms])
    fitted = fit(x, found.sets, found.levels, found.prompts, only_best)
    n_responses = {"n_responses": len(found.sets)}
    for term, beta, error in zip(terms, fitted.coefficients, np.sqrt(np.diag(fitted.covariance)), strict=True):
        interval, delta = t_interval(float(beta), float(error), fitted.n_clusters), found.difference(term)
        sd = effects.spread(delta)
        yield row_of(name, term, found.part, CLUSTERED, interval, delta) | {
            **n_responses,
            "odds_ratio_sd": effects.odds_ratio_per_sd(interval.estimate, sd),
            "probability_change": effects.probability_change(interval.estimate, sd),
            "minimum_detectable": effects.minimum_detectable(interval.std_error, fitted.n_clusters),
            "mean_log_likelihood": fitted.log_likelihood / found.n_sets,
        }
    for term, reason in lost.items():
        yield row_of(name, term, found.part, status=reason) | n_responses
