"""The terms of a fit: which controls can be had, which decide comparisons by themselves, and what placebos draw."""

from collections.abc import Sequence

import numpy as np

from analysis.regression import bradley_terry
from analysis.regression.bradley_terry import Fit
from analysis.regression.cell import Mask
from analysis.regression.inference import Array, Codes, NoEstimate
from analysis.regression.part import TYPICALITY, Part

Terms = list[tuple[str, Array]]


def without_certain(part: Part, groups: Sequence[str]) -> tuple[Part, dict[str, str]]:
    """The comparisons without those that a control decides, and these controls with the reason.

    A control that favours the preferred response wherever it differs has no finite coefficient. As it grows, those
    comparisons are predicted perfectly and say nothing of the rest: the others are fitted without them.

    Raises
    ------
    NoEstimate
        If no comparison is left.
    """
    lost: dict[str, str] = {}
    while True:
        sign = np.where(part.preferred_a, 1.0, -1.0)
        candidates = ((name, x) for group in groups for name, x in part.covariates(group) if name not in lost)
        certain = next(
            ((n, x) for n, x in candidates if x.any() and ((sign * x).min() >= 0 or (sign * x).max() <= 0)), None
        )
        if certain is None:
            return part, lost
        name, x = certain
        lost[name] = f"it decides the {np.count_nonzero(x):,} comparisons in which it differs, which are left out"
        part = part.narrowed(mask_of(part, x == 0))
        if not len(part.at):
            raise NoEstimate("the controls predict the preferences perfectly")


def fit_terms(part: Part, controls: Terms, weights: Array | None) -> tuple[Fit, Terms, dict[str, str]]:
    """Fit typicality beside controls; controls that are constant or collinear are left out, with the reason.

    Raises
    ------
    NoEstimate
        If typicality itself is constant or collinear with the controls, or the fit fails.
    """
    # Typicality comes last here: what it shares with the controls is theirs.
    reasons = bradley_terry.usable([*(x for _, x in controls), part.delta])
    if len(controls) in reasons:
        raise NoEstimate(f"typicality has no effect of its own: {reasons[len(controls)]}")
    kept = [control for j, control in enumerate(controls) if j not in reasons]
    lost = {controls[j][0]: reason for j, reason in reasons.items()}
    terms = [(TYPICALITY, part.delta), *kept]
    fitted = bradley_terry.fit(part.preferred_a, np.column_stack([x for _, x in terms]), part.clusters, weights)
    return fitted, terms, lost


def another_prompt(clusters: Codes, random: np.random.Generator) -> Codes:
    """For each comparison, one of another prompt: (n,) indices, each comparison of the others equally likely."""
    n = len(clusters)
    order = np.argsort(clusters, kind="stable")
    first = np.searchsorted(clusters[order], clusters)
    size = np.bincount(clusters)[clusters]
    drawn = random.integers(0, n - size)
    made: Codes = order[np.where(drawn < first, drawn, drawn + size)]
    return made


def mask_of(part: Part, rows: Mask) -> Mask:
    """A mask over the cell (n,) of some of a part's comparisons."""
    found = np.zeros(len(part.cell), bool)
    found[part.at[rows]] = True
    return found
