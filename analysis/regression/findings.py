"""What a fit of responses finds, as the rows of `estimates` are made of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis.regression import bradley_terry, effects
from analysis.regression.bootstrap import FEW_CLUSTERS
from analysis.regression.inference import CLUSTERED, Array, Interval, NoEstimate, t_interval
from analysis.regression.part import TYPICALITY, Part

CONSTANT = "it is the same for all responses of every prompt"
COLLINEAR = "it is collinear with the terms before it within the prompts"
TOO_FEW = f"there are fewer than {FEW_CLUSTERS} prompts, too few for the errors of this model"


@dataclass(frozen=True)
class Finding:
    """One term of a fit: its interval, or the reason why there is none.

    Attributes
    ----------
    part
        The comparisons that it rests on.
    covariance
        How the interval was made.
    delta
        (n,) differences of the term over the comparisons, where the estimate is of differences.
    numbers
        Further columns of `estimates`.
    """

    term: str
    part: Part
    interval: Interval | None = None
    covariance: str = CLUSTERED
    delta: Array | None = None
    status: str = "ok"
    numbers: Mapping[str, Any] = field(default_factory=dict)


def usable_terms(columns: Mapping[str, Array]) -> tuple[list[str], dict[str, str]]:
    """The terms that can be had, typicality first, and the reasons of those that cannot.

    Parameters
    ----------
    columns
        (n,) arrays by name, less their means within the prompts.

    Raises
    ------
    NoEstimate
        If typicality is constant, or collinear with the other terms.
    """
    # Typicality comes last here: what it shares with the others is theirs.
    names = [*(name for name in columns if name != TYPICALITY), TYPICALITY]
    lost = {}
    for j, reason in bradley_terry.usable([columns[name] for name in names]).items():
        lost[names[j]] = CONSTANT if reason == bradley_terry.CONSTANT else COLLINEAR
    if TYPICALITY in lost:
        raise NoEstimate(f"typicality has no effect of its own: {lost[TYPICALITY]}")
    return [TYPICALITY, *(name for name in names[:-1] if name not in lost)], lost


def logit_findings(
    part: Part, terms: Sequence[str], fitted: Any, deltas: Mapping[str, Array], numbers: Mapping[str, Any]
) -> Iterator[Finding]:
    """Findings of a fitted logit (`coefficients`, `covariance`, `n_clusters`), with what its log-odds mean."""
    for j, (term, error) in enumerate(zip(terms, np.sqrt(np.diag(fitted.covariance)), strict=True)):
        found = t_interval(float(fitted.coefficients[j]), float(error), fitted.n_clusters)
        sd = effects.spread(deltas[term])
        sizes = {
            "odds_ratio_sd": effects.odds_ratio_per_sd(found.estimate, sd),
            "probability_change": effects.probability_change(found.estimate, sd),
            "minimum_detectable": effects.minimum_detectable(found.std_error, fitted.n_clusters),
        }
        yield Finding(term, part, found, delta=deltas[term], numbers={**numbers, **sizes})
