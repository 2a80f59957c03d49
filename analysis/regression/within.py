"""Least squares within prompts: ratings on covariates of the responses, each prompt with a level of its own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from analysis.regression import effects
from analysis.regression.bootstrap import BOOTSTRAP, FEW_CLUSTERS, Drawn, bootstrap_t
from analysis.regression.cell import Mask
from analysis.regression.inference import CLUSTERED, Array, Codes, NoEstimate, cluster_sums, t_interval
from analysis.regression.nodes import Nodes
from analysis.regression.part import OUTCOME, Part
from analysis.regression.rows import Row, row_of
from analysis.regression.usable import usable_terms


@dataclass(frozen=True)
class WithinFit:
    """Least squares of k covariates within groups, in G clusters.

    Attributes
    ----------
    coefficients, covariance
        (k,) and their clustered covariance (k × k).
    products, moments
        (G, k, k) and (G, k): x'x and x'y of each cluster, in deviations from the groups' means.
    """

    coefficients: Array
    covariance: Array
    products: Array
    moments: Array

    @property
    def n_clusters(self) -> int:
        """G."""
        return len(self.moments)


def centred(x: Array, groups: Codes) -> Array:
    """Deviations of the rows of `x` (n × k) from the means of their groups (n codes 0 … G−1); rounding alone is 0."""
    made: Array = x - (cluster_sums(x, groups) / np.bincount(groups)[:, None])[groups]
    made[:, np.abs(made).max(0) <= 1e-12 * np.abs(x).max(0)] = 0.0
    return made


def fit(outcome: Array, covariates: Array, groups: Codes, clusters: Codes) -> WithinFit:
    """Fit outcome = level of the group + x·β by least squares (the within or fixed-effects estimator).

    The covariance is the sandwich clustered as given, times G/(G−1) (clubSandwich's CR1). The groups' levels are nested
    in the clusters and cost no degrees of freedom (Cameron & Miller 2015, § III.B).

    Parameters
    ----------
    outcome
        (n,) ratings.
    covariates
        (n, k).
    groups, clusters
        (n,) codes 0 …; groups are nested in the G clusters.

    Raises
    ------
    NoEstimate
        If the outcome or a covariate does not vary within the groups, or covariates are collinear there.
    """
    x, y = centred(covariates, groups), centred(outcome[:, None], groups)[:, 0]
    if not y.any():
        raise NoEstimate("the rating is the same for all responses of every prompt")
    scale = np.sqrt(np.mean(x**2, axis=0))
    if not np.all(scale > 0):
        raise NoEstimate("a covariate is the same for all responses of every prompt")
    x = x / scale
    k = x.shape[1]
    if np.linalg.matrix_rank(x.T @ x / len(x), tol=1e-10) < k:
        raise NoEstimate("the covariates are collinear")
    bread = np.linalg.inv(x.T @ x)
    beta = bread @ (x.T @ y)
    rows = x * (y - x @ beta)[:, None]
    scores = cluster_sums(rows, clusters)
    if len(scores) > 1 and np.any((scores**2).sum(0) <= 1e-20 * (x**2).sum(0) * (y @ y)):
        raise NoEstimate("the ratings are perfectly predicted, so there is no error to estimate")
    influence = scores @ bread / scale
    covariance = influence.T @ influence * len(scores) / max(len(scores) - 1, 1)
    products = cluster_sums((x[:, :, None] * x[:, None, :]).reshape(-1, k * k), clusters).reshape(-1, k, k)
    moments = cluster_sums(x * y[:, None], clusters)
    return WithinFit(beta / scale, covariance, products * np.outer(scale, scale), moments * scale)


def draw(fitted: WithinFit) -> Callable[[Array], Drawn]:
    """Fits to drawn clusters, for `bootstrap_t`."""

    def drawn(counts: Array) -> Drawn:
        whole = np.tensordot(counts, fitted.products, 1)
        sums = counts @ fitted.moments
        scale = np.sqrt(np.einsum("bii->bi", whole))
        # In units in which all covariates vary alike, so that what cannot be inverted shows.
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = whole / (scale[:, :, None] * scale[:, None, :])
            known = np.isfinite(scaled).all((1, 2))
        known[known] = np.linalg.cond(scaled[known]) < 1e10
        found, error = (np.full(sums.shape, np.nan) for _ in range(2))
        bread = np.linalg.inv(whole[known])
        beta = np.einsum("bij,bj->bi", bread, sums[known])
        scores = fitted.moments - np.einsum("gij,bj->bgi", fitted.products, beta)
        influence = np.einsum("bgi,bij->bgj", scores, bread)
        g = counts.sum(1, keepdims=True)[known]
        found[known] = beta
        error[known] = np.sqrt((counts[known][:, :, None] * influence**2).sum(1) * g / (g - 1))
        return found, error

    return drawn


def ratings_rows(name: str, part: Part, random: np.random.Generator) -> Iterator[Row]:
    """Rows of rating = level of the prompt + α m + quality, on all responses of which the dataset compares two or more.

    Judged ties count: that ratings are equal where the measure is not is part of the answer. Where the slice connects
    only some responses of a prompt, such as those of equal quality, each such set has a level of its own.

    Raises
    ------
    NoEstimate
        If the responses have no rating, or it cannot be fitted.
    """
    part = part.with_quality().with_ties()
    if OUTCOME not in part.cell.values:
        raise NoEstimate("the responses have no rating that is the outcome")
    nodes = Nodes(part, apart=False)
    outcome = part.cell.values[OUTCOME][nodes.which]
    several: Mask = np.isfinite(outcome)
    several &= np.bincount(nodes.sets[several], minlength=len(outcome))[nodes.sets] > 1
    if not several.any():
        raise NoEstimate("no prompt has two responses with a rating")
    groups, clusters = (np.unique(c[several], return_inverse=True)[1] for c in (nodes.sets, nodes.prompts))
    outcome, columns = outcome[several], {term: x[several] for term, x in nodes.columns.items()}
    within = centred(np.column_stack(list(columns.values())), groups).T
    terms, lost = usable_terms(dict(zip(columns, within, strict=True)))
    fitted = fit(outcome, np.column_stack([columns[term] for term in terms]), groups, clusters)
    errors = np.sqrt(np.diag(fitted.covariance))
    covariance = CLUSTERED
    if 1 < fitted.n_clusters < FEW_CLUSTERS:
        found = bootstrap_t(fitted.coefficients, errors, 0.0, fitted.n_clusters, draw(fitted), random)
        covariance = BOOTSTRAP
    else:
        both = zip(fitted.coefficients, errors, strict=True)
        found = [t_interval(float(beta), float(error), fitted.n_clusters) for beta, error in both]
    counts = {"n_prompts": fitted.n_clusters, "n_responses": len(outcome)}
    for term, interval in zip(terms, found, strict=True):
        detectable = effects.minimum_detectable(interval.std_error, fitted.n_clusters)
        # In rating points: there are no odds.
        yield row_of(name, term, part, covariance, interval) | counts | {"minimum_detectable": detectable}
    for term, reason in lost.items():
        yield row_of(name, term, part, status=reason) | counts
