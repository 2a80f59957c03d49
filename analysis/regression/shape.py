"""The shape of the effect: curves of the measure on responses, f(m_a) − f(m_b), and a rival of another shape."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.regression import bradley_terry
from analysis.regression.bootstrap import BOOTSTRAP, FEW_CLUSTERS, TOO_FEW, bootstrap_t, draw_mean
from analysis.regression.bradley_terry import Fit
from analysis.regression.cell import Mask
from analysis.regression.inference import CLUSTERED, Array, Codes, NoEstimate, clustered_mean, t_interval
from analysis.regression.part import TYPICALITY, Part
from analysis.regression.rows import Row, row_of
from analysis.regression.terms import Terms

# Harrell 2015, table 2.3: where to put four knots.
KNOTS = (0.05, 0.35, 0.65, 0.95)
RIVAL = "surprisal_entropy"
CURVE = "curve"
# Where the curve is shown: between these quantiles of the responses, in even steps, against the median.
_SHOWN, _STEPS = (0.01, 0.5, 0.99), 20


@dataclass(frozen=True)
class Curve:
    """A curve f = Σ_j β_j b_j of the measure.

    Attributes
    ----------
    basis
        Gives b of values (n,), as (n, k); the first one is the value itself, about a centre.
    terms
        The names and the (n,) differences b(a) − b(b) of the comparisons.
    values
        (2n,) values of both responses of every comparison.
    """

    basis: Callable[[Array], Array]
    terms: Terms
    values: Array


def quadratic(part: Part) -> Curve:
    """A parabola: m and m², about the mean of all responses compared."""
    values = _values(part)
    # A sum of sums, so that exchanging a and b changes no bit.
    centre = float((values[: len(part.at)] + values[len(part.at) :]).mean() / 2)
    return _curve(part, values, lambda m: np.column_stack([m - centre, (m - centre) ** 2]), ("squared",))


def spline(part: Part) -> Curve:
    """A restricted cubic spline: linear beyond the outer two of its four knots.

    Raises
    ------
    NoEstimate
        If the measure has too few values for knots that differ.
    """
    values = _values(part)
    # Values that occur, so that copies of the rows move no knot.
    knots = np.quantile(values, KNOTS, method="inverted_cdf")
    if not np.all(np.diff(knots) > 1e-9 * np.ptp(values)):
        raise NoEstimate(f"the measure has too few different values for a curve with {len(KNOTS)} knots")
    names = tuple(f"spline_{j + 1}" for j in range(len(KNOTS) - 2))
    return _curve(part, values, lambda m: restricted_cubic(m, knots), names)


def restricted_cubic(x: Array, knots: Array) -> Array:
    """Basis of a restricted cubic spline with k knots t: (n, k−1), the first column x − t₁.

    The others, for j = 1 … k−2, are linear beyond the outer knots: [(x − t_j)₊³ − (x − t_{k−1})₊³ (t_k − t_j) /
    (t_k − t_{k−1}) + (x − t_k)₊³ (t_{k−1} − t_j) / (t_k − t_{k−1})] / (t_k − t₁)² (Harrell 2015, § 2.4.5;
    `Hmisc::rcspline.eval`).
    """
    last, before = knots[-1], knots[-2]
    cubes = np.maximum(x[:, None] - knots, 0.0) ** 3
    first, second = (last - knots[:-2]) / (last - before), (before - knots[:-2]) / (last - before)
    bent = (cubes[:, :-2] - cubes[:, -2:-1] * first + cubes[:, -1:] * second) / (last - knots[0]) ** 2
    return np.column_stack([x - knots[0], bent])


def linearity(fitted: Fit) -> float | None:
    """P value of the Wald test that all terms but the first are zero: F with q and G − 1 degrees of freedom.

    None where prompts are few: its errors are those of many.
    """
    if fitted.n_clusters < FEW_CLUSTERS:
        return None
    beta, covariance = fitted.coefficients[1:], fitted.covariance[1:, 1:]
    statistic = float(beta @ np.linalg.solve(covariance, beta)) / len(beta)
    return float(stats.f.sf(statistic, len(beta), fitted.n_clusters - 1))


def curve_rows(name: str, part: Part, curve: Curve, fitted: Fit) -> Iterator[Row]:
    """Rows of the curve at steps of the measure: log-odds that such a response is preferred to one at the median."""
    if fitted.n_clusters < FEW_CLUSTERS:
        yield row_of(name, CURVE, part, status=TOO_FEW)
        return
    low, middle, high = map(float, np.quantile(curve.values, _SHOWN, method="inverted_cdf"))
    # To a thousandth or so of the range, so that the terms say exactly where the curve is.
    decimals = 3 - int(np.floor(np.log10(high - low))) if high > low else 0
    middle = round(middle, decimals)
    steps = sorted({round(float(x), decimals) for x in np.linspace(low, high, _STEPS)} - {middle})
    contrasts = curve.basis(np.array(steps)) - curve.basis(np.array([middle]))
    errors = np.sqrt(np.einsum("si,ij,sj->s", contrasts, fitted.covariance, contrasts))
    for x, estimate, error in zip(steps, contrasts @ fitted.coefficients, errors, strict=True):
        found = t_interval(float(estimate), float(error), fitted.n_clusters)
        yield row_of(name, f"{CURVE} at {x:.12g} against {middle:.12g}", part, CLUSTERED, found)


def vuong_rows(name: str, part: Part, random: np.random.Generator) -> Iterator[Row]:
    """Row of which of the two the data prefer: the measure or the distance of surprisal from entropy, each alone.

    The mean difference of the comparisons' log-likelihoods, clustered by prompt (Vuong 1989, for models that are not
    nested; both have one coefficient). Above zero the measure is preferred.

    Raises
    ------
    NoEstimate
        If a model cannot be fitted, or both say the same of every comparison.
    """
    part = part.narrowed(part.known(RIVAL))
    gains = [log_likelihoods(part.preferred_a, x, part.clusters) for x in (part.delta, part.difference(RIVAL))]
    difference = gains[0] - gains[1]
    if not np.abs(difference).max() > 1e-9:
        raise NoEstimate("both models say the same of every comparison")
    found, covariance = clustered_mean(difference, part.clusters, 0.0), CLUSTERED
    if part.n_prompts < FEW_CLUSTERS:
        both, draw = (
            (np.array([found.estimate]), np.array([found.std_error])),
            draw_mean(difference, part.clusters, None),
        )
        (found,), covariance = bootstrap_t(*both, 0.0, part.n_prompts, draw, random), BOOTSTRAP
    yield row_of(name, TYPICALITY, part, covariance, found)


def log_likelihoods(preferred_a: Mask, delta: Array, clusters: Codes) -> Array:
    """(n,) log-likelihood of each comparison under Bradley–Terry on one covariate, in nats."""
    fitted = bradley_terry.fit(preferred_a, delta[:, None], clusters)
    logits = np.where(preferred_a, 1.0, -1.0) * delta * fitted.coefficients[0]
    made: Array = -np.logaddexp(0, -logits)
    return made


def _values(part: Part) -> Array:
    values = part.cell.values[part.measure]
    return np.concatenate([values[part.cell.a[part.at]], values[part.cell.b[part.at]]])


def _curve(part: Part, values: Array, basis: Callable[[Array], Array], names: tuple[str, ...]) -> Curve:
    n = len(part.at)
    bent = basis(values[:n])[:, 1:] - basis(values[n:])[:, 1:]
    terms = [(TYPICALITY, part.delta), *((f"{TYPICALITY}_{name}", x) for name, x in zip(names, bent.T, strict=True))]
    return Curve(basis, terms, values)
