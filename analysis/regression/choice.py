"""Conditional and rank-ordered logit: which response of a set is best, or in which order all of them are."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.regression import orders as sets_of
from analysis.regression.bootstrap import FEW_CLUSTERS
from analysis.regression.findings import TOO_FEW, Finding, logit_findings, usable_terms
from analysis.regression.inference import Array, Codes, NoEstimate, cluster_sums
from analysis.regression.part import Part
from analysis.regression.within import centred

_STEPS = 100
_HALVINGS = 40
# Of the distance to the maximum in standard errors, squared.
_CONVERGED = 1e-16
_SURE_LOGIT = 10.0
_NOTHING = 1e-290


@dataclass(frozen=True)
class Stages:
    """Choices (S) among n responses, each of the best of those that are left of a set.

    Attributes
    ----------
    sets
        (n,) codes of the sets, rising; within one, the best stand first.
    firsts, n_chosen
        (S,) where the chosen begin, and how many they are; all behind them in the set were left.
    """

    sets: Codes
    firsts: Codes
    n_chosen: Codes

    @cached_property
    def starts(self) -> Codes:
        """(sets,) where each set begins."""
        made: Codes = np.flatnonzero(np.r_[True, np.diff(self.sets) > 0])
        return made

    @cached_property
    def sizes(self) -> Codes:
        """(sets,) how many responses each has."""
        made: Codes = np.diff(np.r_[self.starts, len(self.sets)])
        return made

    @cached_property
    def chosen(self) -> Codes:
        """(C,) all that are chosen at some stage, in order."""
        made: Codes = np.repeat(self.firsts, self.n_chosen) + self._turn
        return made

    @cached_property
    def stage(self) -> Codes:
        """(C,) the stage of each of them."""
        made: Codes = np.repeat(np.arange(len(self.firsts)), self.n_chosen)
        return made

    @cached_property
    def gone(self) -> Array:
        """(C,) the share of those it is tied with that is gone before each."""
        return self._turn / self.n_chosen[self.stage]

    @cached_property
    def _turn(self) -> Codes:
        made: Codes = np.arange(len(self.stage)) - np.repeat(np.cumsum(self.n_chosen) - self.n_chosen, self.n_chosen)
        return made

    def tied(self, values: Array) -> Array:
        """(S × k) sums over the chosen of each stage."""
        return cluster_sums(values[self.chosen], self.stage)

    def accumulated(self, values: Array, ufunc: np.ufunc = np.add, backwards: bool = True) -> Array:
        """(n × k) of each response and all behind it (or before it) in its set, such as their sum."""
        made = values.copy()
        longest = np.argsort(-self.sizes, kind="stable")
        first, size = self.starts[longest], self.sizes[longest]
        ends, step = (first + size - 1, -1) if backwards else (first, 1)
        # One place after the other, in all sets that are so long: sums of one set never meet another's.
        for k in range(1, size[0]):
            at = ends[: np.searchsorted(-size, -k)] + k * step
            made[at] = ufunc(made[at], made[at - step])
        return made


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


def stages(sets: Codes, levels: Codes, only_best: bool) -> Stages:
    """The choices that orders are made of: the best of all, then the best of the others, and so on.

    Parameters
    ----------
    sets, levels
        (n,) codes of the sets, rising, and levels within them, 0 the best, rising.
    only_best
        Whether to stop after the first choice.
    """
    firsts = np.flatnonzero(np.r_[True, (np.diff(sets) > 0) | (np.diff(levels) > 0)])
    size = np.diff(np.r_[firsts, len(sets)])
    # The last ones of a set are no choice.
    real = firsts + size < np.searchsorted(sets, sets[firsts], side="right")
    if only_best:
        real &= levels[firsts] == 0
    return Stages(sets, firsts[real], size[real])


def fit(covariates: Array, sets: Codes, levels: Codes, clusters: Codes, only_best: bool = False) -> ChoiceFit:
    """Fit P(i is best of those left) = exp(x_i·β) / Σ_j exp(x_j·β) by maximum likelihood.

    With `only_best` the conditional logit of the best of each set (McFadden 1974); else the rank-ordered or exploded
    logit (Plackett 1975; Beggs, Cardell & Hausman 1981). Ties take Efron's (1977) approximation to the mean over the
    orders that the tied may have, as R's `coxph(ties = "efron")`. The covariance is the sandwich clustered as given,
    times G/(G−1).

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
    beta, value, scores, hessian = _maximise(x, steps)
    sums = cluster_sums(scores, clusters[steps.firsts])
    n_clusters = int(clusters.max()) + 1
    if n_clusters > 1 and np.any((sums**2).sum(0) <= 1e-20 * (scores**2).sum(0)):
        raise NoEstimate("the outcome does not vary between prompts, so there is no error to estimate")
    influence = np.linalg.solve(-hessian, sums.T).T / scale
    covariance = influence.T @ influence * n_clusters / max(n_clusters - 1, 1)
    return ChoiceFit(beta / scale, covariance, n_clusters, value)


def _maximise(x: Array, steps: Stages) -> tuple[Array, float, Array, Array]:
    """The coefficients, their log-likelihood, the stages' scores (S × k), and the Hessian."""
    at, finite = np.zeros(x.shape[1]), False
    value, scores, hessian = _likelihood(x, steps, at)
    for _ in range(_STEPS):
        try:
            step = np.linalg.solve(-hessian, scores.sum(0))
        except np.linalg.LinAlgError as error:
            raise NoEstimate("the fit did not converge") from error
        promised = float(step @ scores.sum(0))
        for halved in range(_HALVINGS):
            tried = at + step / 2**halved
            new = _likelihood(x, steps, tried)
            # Rounding, near the maximum, is no descent.
            if new[0] >= value - 1e-12 * abs(value):
                break
        else:
            raise NoEstimate("the fit did not converge")
        at, (value, scores, hessian) = tried, new
        # Only a fit that is almost sure of some choice can be that of separated data.
        if not finite and _surest(x @ at, steps) > _SURE_LOGIT:
            if separated(x, steps):
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


def _likelihood(x: Array, steps: Stages, beta: Array) -> tuple[float, Array, Array]:
    """Log-likelihood, its derivative by β for each stage (S × k), and its Hessian (k × k).

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


def separated(x: Array, steps: Stages) -> bool:
    """Whether some direction puts no chosen one behind another, leaves the tied level, and puts some one ahead.

    Such a direction never lowers the likelihood. A linear programme finds it (Konis 2007), as for pairs.
    """
    from scipy.optimize import linprog

    ends = np.repeat(steps.starts + steps.sizes, steps.sizes)[steps.firsts]
    behind = steps.firsts + steps.n_chosen
    lengths = ends - behind
    others = np.arange(lengths.sum()) + np.repeat(behind - (np.cumsum(lengths) - lengths), lengths)
    # The tied stand level with the first of them, and it ahead of the others.
    ahead = x[np.repeat(steps.firsts, lengths)] - x[others]
    level = (x[steps.chosen] - x[steps.firsts][steps.stage])[steps.gone > 0]
    equal = {"A_eq": level, "b_eq": np.zeros(len(level))} if len(level) else {}
    found = linprog(-ahead.sum(0), A_ub=-ahead, b_ub=np.zeros(len(ahead)), bounds=(-1, 1), method="highs", **equal)
    return found.fun is not None and bool(-found.fun > 1e-7)


def conditional(part: Part, random: np.random.Generator) -> Iterator[Finding]:
    """The best response of each completely ordered set, on the measure and quality."""
    return _findings(part, only_best=True)


def rank_ordered(part: Part, random: np.random.Generator) -> Iterator[Finding]:
    """The order of the responses of each completely ordered set, on the measure and quality."""
    return _findings(part, only_best=False)


def _findings(part: Part, only_best: bool) -> Iterator[Finding]:
    found = sets_of.orders(part.with_quality())
    if 1 < found.part.n_prompts < FEW_CLUSTERS:
        raise NoEstimate(TOO_FEW)
    within = {name: centred(x[:, None], found.sets)[:, 0] for name, x in found.columns.items()}
    terms, lost = usable_terms(within)
    fitted = fit(
        np.column_stack([found.columns[term] for term in terms]), found.sets, found.levels, found.prompts, only_best
    )
    counts = {"n_responses": len(found.sets)}
    numbers = {**counts, "mean_log_likelihood": fitted.log_likelihood / found.n_sets}
    deltas = {term: found.difference(term) for term in terms}
    yield from logit_findings(found.part, terms, fitted, deltas, numbers)
    for term, reason in lost.items():
        yield Finding(term, found.part, status=reason, numbers=counts)
