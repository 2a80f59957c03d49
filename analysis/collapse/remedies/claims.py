"""What only shows over several models: the gain against size, and what tuning left beside what was forecast."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from analysis.collapse.diversity.estimates import FEWEST, Estimate
from analysis.collapse.forecasts import BOTH, HEADLINE_BETA
from analysis.collapse.remedies.estimates import Values, log_ratios, random_of, ratio
from analysis.collapse.remedies.measures import HEADLINE
from analysis.collapse.remedies.study import SampleStudy
from analysis.regression.part import TYPICALITY

Row = dict[str, Any]
ALL = "all models"
SLOPE = f"slope of log({HEADLINE} ratio) on log10(parameters)"
# Vendi's score is an effective number of generations, as exp(H) is one of candidates in forecasts.
LEFT = (HEADLINE, "vendi")


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


def tuning_rows(study: SampleStudy, baselines: Mapping[tuple[str, str], Values]) -> Iterator[Row]:
    """How much of its base model's diversity a tuned model has by the baseline method.

    Parameters
    ----------
    study
        The study, whose tuned models say which model they are tuned from.
    baselines
        By model and measure the baseline's values, by prompt.
    """
    for model in study.models:
        for measure in LEFT if model.tuned_from is not None else ():
            pair = baselines.get((model.key, measure)), baselines.get((model.tuned_from or "", measure))
            made = Estimate("one of the two models gave nothing")
            if pair[0] is not None and pair[1] is not None:
                made = ratio((pair[0], pair[1]), random_of(study.seed, "tuning", model.key, measure))
            name = f"{measure} left by tuning, measured"
            yield _row(study, model.key, study.baseline, "tuning", name, "", Estimate(""), made, made.n)


def forecast_rows(study: SampleStudy, forecasts: Sequence[Row]) -> Iterator[Row]:
    """What was forecast of training on labels, beside every tuned model: the share of candidates effectively left.

    Of each dataset and base model the top rung's forecast at the headline β, rewarding typicality and quality where the
    quality is modelled, else typicality.

    Parameters
    ----------
    study
        The study.
    forecasts
        Rows of `forecasts` of the study of labels that it names.
    """
    plain = [
        row
        for row in forecasts
        if (row["beta"], row["generation"], row["fresh_share"], row["entropy_bonus"]) == (HEADLINE_BETA, 1, 0, 0)
        and (row["slice"], row["status"]) == ("all", "ok")
        and row["candidates"] in (BOTH, TYPICALITY)
    ]
    measures = list(dict.fromkeys(row["measure"] for row in plain))
    top: dict[tuple[str, str], Row] = {}
    for row in plain:
        if row["measure"] == measures[0]:
            key = row["dataset"], row["base_model"]
            better = key not in top or row["specification"] != top[key]["specification"] or row["candidates"] == BOTH
            top |= {key: row} if better else {}
    for model in study.models:
        for (dataset, base_model), row in top.items() if model.tuned_from is not None else ():
            left = [
                None if row[name] is None else row[name] / row["n_candidates"]
                for name in ("effective_number", "effective_number_low", "effective_number_high")
            ]
            told = Estimate("ok", left[0], None, left[1], left[2], row["n_prompts"])
            name = f"effective number left, forecast from {dataset} under {base_model} at β = {HEADLINE_BETA:g}"
            yield _row(study, model.key, study.baseline, "forecast", name, "", Estimate(""), told, told.n)


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
