"""Specifications of graded evidence: a part of a cell, with its ties → rows of `estimates`."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from analysis.regression import davidson, effects, symmetric
from analysis.regression.bootstrap import FEW_CLUSTERS, TOO_FEW
from analysis.regression.inference import CLUSTERED, Array, NoEstimate, t_interval
from analysis.regression.levels import Expected, GradedFit, signed_levels
from analysis.regression.part import TYPICALITY, Part
from analysis.regression.rows import Row, row_of

TIE = "tie"
NO_STRENGTH = "the dataset does not say how strong a preference is"
NO_TIES = 'no comparison is a tie (of ratings and ranks, ties = "keep" keeps them)'
EQUALLY_STRONG = "all preferences are equally strong, so this is bt"


def ordered_rows(name: str, part: Part) -> Iterator[Row]:
    """Rows of the ordered logit on the signed strength: typicality, and the thresholds above zero.

    Decided comparisons without a strength are left out.

    Raises
    ------
    NoEstimate
        If the strengths are not known, are all the same, or cannot be fitted; or prompts are few.
    """
    if not np.isfinite(part.cell.signed_strength[part.at]).any():
        raise NoEstimate(NO_STRENGTH)
    part = part.with_ties().narrowed(np.isfinite(part.cell.signed_strength))
    levels, lows = signed_levels(part.cell.signed_strength[part.at])
    has_zero = bool((levels == 0).any())
    if not levels.any():
        raise NoEstimate("every strength is 0")
    if len(lows) == 1 and not has_zero:
        raise NoEstimate(EQUALLY_STRONG)
    _enough(part)
    fitted = symmetric.fit(levels, part.delta[:, None], part.clusters)
    terms = [f"threshold {low:g}" for low in lows[len(lows) - len(fitted.levels) :]]
    inner = float(fitted.levels[0]) if has_zero else None
    yield from _rows(name, part, fitted, partial(symmetric.expected, threshold=inner), terms)


def ties_rows(name: str, part: Part) -> Iterator[Row]:
    """Rows of Davidson's model: typicality, and `tie`, which is log ν.

    Raises
    ------
    NoEstimate
        If no comparison is a tie, the judgements cannot be fitted, or prompts are few.
    """
    part = part.with_ties()
    if part.sign.all():
        raise NoEstimate(NO_TIES)
    _enough(part)
    fitted = davidson.fit(part.sign, part.delta[:, None], part.clusters)
    yield from _rows(name, part, fitted, partial(davidson.expected, log_nu=float(fitted.levels[0])), [TIE])


def _enough(part: Part) -> None:
    if 1 < part.n_prompts < FEW_CLUSTERS:
        raise NoEstimate(TOO_FEW)


def _rows(
    name: str, part: Part, fitted: GradedFit, expected: Callable[[Array], Expected], terms: Sequence[str]
) -> Iterator[Row]:
    """A row for typicality with its effect sizes, and one for each parameter of the levels."""
    errors, beta, delta = np.sqrt(np.diag(fitted.covariance)), float(fitted.coefficients[0]), part.delta
    found = t_interval(beta, float(errors[0]), fitted.n_clusters)
    sd, at = effects.spread(delta), expected(beta * delta)
    bends = [float(np.mean(at.bend * delta)), *([] if at.by_tie is None else [float(np.mean(at.by_tie))])]
    influence = fitted.influence[:, : len(bends)]
    marginal = effects.mean_slope(beta, at.slope, np.array(bends), 0, influence, part.clusters)
    below, above = expected(np.array([-beta * sd, beta * sd])).score
    model = {"mean_log_likelihood": fitted.mean_log_likelihood}
    yield (
        row_of(name, TYPICALITY, part, CLUSTERED, found, delta)
        | model
        | {
            "odds_ratio_sd": effects.odds_ratio_per_sd(beta, sd),
            "probability_change": float(above - below),
            "marginal_effect": marginal.estimate,
            "marginal_effect_std_error": marginal.std_error,
            "minimum_detectable": effects.minimum_detectable(found.std_error, fitted.n_clusters),
        }
    )
    for term, value, error in zip(terms, fitted.levels, errors[1:], strict=True):
        interval = t_interval(float(value), float(error), fitted.n_clusters)
        # At zero they are nothing that a test would ask for.
        yield row_of(name, term, part, CLUSTERED, interval) | model | {"statistic": None, "p_value": None}
