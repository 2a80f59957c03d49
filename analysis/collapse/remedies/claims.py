"""What only shows over several models: the gain against size, and what tuning left of a base model's diversity."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from analysis.collapse.diversity.estimates import FEWEST, Estimate
from analysis.collapse.remedies.estimates import Values, log_ratios, random_of, ratio
from analysis.collapse.remedies.measures import HEADLINE
from analysis.collapse.remedies.study import SampleStudy

Row = dict[str, Any]
ALL = "all models"
SLOPE = f"slope of log({HEADLINE} ratio) on log10(parameters)"
LEFT = f"{HEADLINE} left by tuning"


def size_rows(
    study: SampleStudy, pairs: Mapping[tuple[str, str], tuple[Values, Values]], parameters: Mapping[str, float]
) -> Iterator[Row]:
    """How the gain of each method over the baseline changes with the size of the model.

    The least-squares slope, over models, of the logarithm of the ratio on the logarithm of the parameters; the
    interval draws prompts anew, the same for all models: it says nothing of other models than these.

    Parameters
    ----------
    study
        The study.
    pairs
        By model and method the headline measure of the method and of the baseline, by prompt.
    parameters
        Of the models for which they are known.
    """
    models = [m.key for m in study.models if m.key in parameters]
    for method in study.methods:
        if method.name == study.baseline:
            continue
        there = [m for m in models if (m, method.name) in pairs]
        made, n = _slope(study, method.name, there, pairs, parameters)
        yield _row(study, ALL, method.name, "size", SLOPE, "log-ratio per tenfold parameters", made, Estimate(""), n)


def _slope(
    study: SampleStudy,
    method: str,
    models: list[str],
    pairs: Mapping[tuple[str, str], tuple[Values, Values]],
    parameters: Mapping[str, float],
) -> tuple[Estimate, int]:
    sizes = np.log10([parameters[m] for m in models])
    if len(set(sizes.tolist())) < 2:
        return Estimate("fewer than two models whose sizes are known and differ"), 0
    sides = [pairs[m, method] for m in models]
    shared = set.intersection(*(set(side) for pair in sides for side in pair))
    known = [p for p in sorted(shared) if all(np.isfinite(side[p]) for pair in sides for side in pair)]
    if len(known) < FEWEST:
        return Estimate(f"fewer than {FEWEST} prompts have a value under all of these models"), len(known)
    x, y = (np.array([[pair[k][p] for pair in sides] for p in known]) for k in (0, 1))
    if not ((x.mean(0) > 0).all() and (y.mean(0) > 0).all()):
        return Estimate("the mean of one model is not above zero"), len(known)
    centred = sizes - sizes.mean()
    weights = centred / (centred**2).sum()
    return log_ratios(x, y, random_of(study.seed, "size", method), weights)[0], len(known)


def tuning_rows(study: SampleStudy, baselines: Mapping[str, Values]) -> Iterator[Row]:
    """How much of its base model's diversity a tuned model has by the baseline method.

    Parameters
    ----------
    study
        The study, whose tuned models say which model they are tuned from.
    baselines
        By model the headline measure of the baseline, by prompt.
    """
    for model in study.models:
        if model.tuned_from is None:
            continue
        pair = baselines.get(model.key), baselines.get(model.tuned_from)
        made, n = Estimate("one of the two models gave nothing"), 0
        if pair[0] is not None and pair[1] is not None:
            made = ratio((pair[0], pair[1]), random_of(study.seed, "tuning", model.key))
            n = made.n
        yield _row(study, model.key, study.baseline, "tuning", LEFT, "", Estimate("", None), made, n)


def _row(
    study: SampleStudy, model: str, method: str, kind: str, measure: str, unit: str, own: Estimate, to: Estimate, n: int
) -> Row:
    return {
        "study": study.name,
        "model": model,
        "method": method,
        "kind": kind,
        "measure": measure,
        "unit": unit,
        "status": own.status or "it is a ratio",
        "estimate": own.value,
        "conf_low": own.low,
        "conf_high": own.high,
        "ratio": to.value,
        "ratio_low": to.low,
        "ratio_high": to.high,
        "ratio_status": to.status or "it is a slope",
        "n_prompts": n,
        "n_responses": 0,
    }
