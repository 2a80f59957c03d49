"""Groups of generations → rows of `diversity`: means over sets, differences between groups, bootstrap intervals."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.collapse.diversity.metrics import LEAST_ROUGE, METRICS, Measurer
from analysis.collapse.diversity.ngrams import Array
from analysis.collapse.diversity.sets import PER_INPUT, SCOPES, TOGETHER, Contrast, Group, Sets, contrast, sets
from analysis.ids import content_id
from analysis.regression.bootstrap import Drawn, bootstrap_t
from analysis.regression.inference import NoEstimate

Row = dict[str, Any]
# Fewer sets than these tell next to nothing of how they vary.
FEWEST = 5
_NEVER = 1e-9
_DIGITS = 12


@dataclass(frozen=True)
class Estimate:
    """A mean over sets.

    Attributes
    ----------
    status
        `ok`, or why there is no number, or no interval beside the number.
    value, std_error, low, high
        The mean, its standard error and 95 % interval; None where there is none.
    n
        Sets that have a value.
    """

    status: str
    value: float | None = None
    std_error: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0


def rows(groups: Sequence[Group], measurer: Measurer, seed: int, tick: Callable[[], None] = lambda: None) -> list[Row]:
    """Rows of `diversity` without the keys of the study or file: every group by itself, then every two groups.

    Parameters
    ----------
    groups
        The groups; the first of two is the one that the other is taken from.
    measurer
        The texts that their indices point to.
    seed
        Decides which generations are measured across input, and the draws of the bootstrap.
    tick
        Called after each scope of each group and each two groups.
    """
    made: list[Row] = []
    for scope in SCOPES:
        for group in groups:
            made += _alone(group, scope, measurer, seed)
            tick()
    for scope in SCOPES:
        for first, second in combinations(groups, 2):
            made += _between(first, second, scope, measurer, seed)
            tick()
    return made


def _alone(group: Group, scope: str, measurer: Measurer, seed: int) -> Iterator[Row]:
    found = sets(group, scope, seed)
    values = measurer.values(found.texts)
    counts = {"n_empty": group.n_empty, "n_failed": group.n_failed, "n_single": group.n_single}
    spread = _spread(values)
    estimates = means(values, _random(seed, scope, group.name)) if len(found) else None
    for k, (metric, model) in enumerate(measurer.columns):
        one = estimates[k] if estimates else Estimate(_why_none(group, scope))
        keys = _keys(group.name, None, metric, model, scope, measurer, seed)
        yield {
            **keys, **_numbers(one), "spread": spread[k], **_sizes(found), **counts,
            "n_available": len(group.texts),
        }  # fmt: skip


def _between(first: Group, second: Group, scope: str, measurer: Measurer, seed: int) -> Iterator[Row]:
    found = contrast(first, second, scope, seed)
    one, other = (measurer.values(side.texts) for side in (found.first, found.second))
    estimates = _differences(found, one, other, _random(seed, scope, first.name, second.name))
    for k, (metric, model) in enumerate(measurer.columns):
        status = found.status if found.status != "ok" else _why_not_compared(scope)
        made = estimates[k] if estimates else Estimate(status)
        keys = _keys(first.name, second.name, metric, model, scope, measurer, seed)
        yield {**keys, **_numbers(made), **_sizes(found.first), "paired": found.paired}


def _differences(found: Contrast, one: Array, other: Array, random: np.random.Generator) -> list[Estimate] | None:
    if found.status != "ok" or not len(one) or not len(other):
        return None
    return means(one - other, random) if found.paired else apart(one, other, random)


def means(values: Array, random: np.random.Generator) -> list[Estimate]:
    """Means over sets with 95 % bootstrap-t intervals: sets are drawn with replacement, the same for all metrics.

    Parameters
    ----------
    values
        (n, m) of n sets by m metrics; NaN where a set has none.
    random
        Draws the sets.
    """
    return _estimates(values, np.zeros(len(values), bool), random)


def apart(first: Array, second: Array, random: np.random.Generator) -> list[Estimate]:
    """Differences of the means over sets of two groups that share none, (n, m) and (l, m), first less second."""
    side = np.r_[np.zeros(len(first), bool), np.ones(len(second), bool)]
    return _estimates(np.concatenate([first, second]), side, random)


def _estimates(values: Array, second: npt.NDArray[np.bool_], random: np.random.Generator) -> list[Estimate]:
    """Mean over the rows that are not `second`, less that over those that are, if any is."""
    known, both = np.isfinite(values), bool(second.any())
    seeds = random.integers(2**63, size=2)
    made = [_without(values[known[:, k], k], second[known[:, k]], both) for k in range(values.shape[1])]
    for columns in _together(values, [k for k, one in enumerate(made) if one.status == "ok"]):
        keep = known[:, columns[0]]
        for k, one in zip(columns, _drawn(values[keep][:, columns], second[keep], seeds), strict=True):
            made[k] = one
    return made


def _together(values: Array, columns: Sequence[int]) -> Iterator[list[int]]:
    """Columns that are drawn together, which is quick: those that all sets have, and that vary in every draw.

    A draw in which one of them did not vary would be lost to the others.
    """
    n = len(values)
    apart = [k for k in columns if not np.isfinite(values[:, k]).all() or (_commonest(values[:, k]) / n) ** n > _NEVER]
    if rest := [k for k in columns if k not in apart]:
        yield rest
    yield from ([k] for k in apart)


def _without(x: Array, second: npt.NDArray[np.bool_], both: bool) -> Estimate:
    """One metric's mean or difference before any interval, with why there can be none."""
    sides = [x[~second], x[second]] if both else [x]
    fewest = min(len(side) for side in sides)
    if not fewest:
        return Estimate("no set has a value")
    value = float(sides[0].mean()) - (float(sides[1].mean()) if both else 0.0)
    if fewest < FEWEST:
        return Estimate(f"no interval: fewer than {FEWEST} sets", value, n=len(x))
    others = max(len(side) - _commonest(side) for side in sides)
    if not others:
        return Estimate("no interval: all sets have the same value", value, n=len(x))
    if others < FEWEST:
        return Estimate(f"no interval: fewer than {FEWEST} sets differ from all others", value, n=len(x))
    return Estimate("ok", value, n=len(x))


def _commonest(x: Array) -> int:
    """How many of the values are the commonest one, up to rounding."""
    scale = max(1.0, float(np.abs(x).max()))
    return int(np.unique(np.round(x / scale, _DIGITS), return_counts=True)[1].max())


def _drawn(x: Array, second: npt.NDArray[np.bool_], seeds: npt.NDArray[np.int64]) -> list[Estimate]:
    """Bootstrap-t of (n, m) values, none missing."""
    weights = [(~second).astype(float), second.astype(float)] if second.any() else [np.ones(len(x))]
    centres = [x[w > 0].mean(0) for w in weights]
    value = centres[0] - centres[1] if len(weights) > 1 else centres[0]

    def draw(counts: Array) -> Drawn:
        found, variance = np.zeros((len(counts), x.shape[1])), np.zeros((len(counts), x.shape[1]))
        for sign, w, centre in zip((1.0, -1.0), weights, centres, strict=False):
            n = (counts @ w)[:, None]
            off = (x - centre) * w[:, None]
            with np.errstate(divide="ignore", invalid="ignore"):
                mean = counts @ off / n
                variance += (counts @ off**2 / n - mean**2) / (n - 1)
            found += sign * (centre + mean)
        # What is left of the variance of a constant is rounding.
        return found, np.sqrt(np.where(variance > (10.0**-_DIGITS * scale) ** 2, variance, 0.0))

    scale = np.maximum(1.0, np.abs(x).max(0))
    _, errors = draw(np.ones((1, len(x))))
    try:
        made = bootstrap_t(value, errors[0], 0.0, len(x), draw, np.random.default_rng(seeds))
    except NoEstimate as reason:
        return [Estimate(f"no interval: {reason}", float(one), n=len(x)) for one in value]
    return [Estimate("ok", i.estimate, i.std_error, i.low, i.high, len(x)) for i in made]


def _random(*parts: object) -> np.random.Generator:
    return np.random.default_rng(int(content_id("diversity", *map(str, parts)), 16))


def _spread(values: Array) -> list[float | None]:
    """Standard deviation over sets of each metric; None where fewer than two have a value."""
    known = [column[np.isfinite(column)] for column in values.T]
    return [float(x.std(ddof=1)) if len(x) > 1 else None for x in known]


def _why_none(group: Group, scope: str) -> str:
    if not group.texts:
        return "there is no usable generation"
    if scope == PER_INPUT:
        return "no prompt has two or more generations"
    return f"there are fewer than {TOGETHER} prompts"


def _why_not_compared(scope: str) -> str:
    if scope == PER_INPUT:
        return "no prompt has two or more generations of both"
    return f"fewer than {TOGETHER} prompts have generations of both"


def _keys(
    group: str, other: str | None, metric: str, model: str | None, scope: str, measurer: Measurer, seed: int
) -> Row:
    encoded = measurer.encoded
    rules = {
        "cluster_dominance": f"average linkage, cosine ≥ {encoded.least:g}",
        "distinct_k_cosine": f"average linkage, cosine ≥ {encoded.least:g}",
        "distinct_k_rouge_l": f"chains of ROUGE-L F1 ≥ {LEAST_ROUGE:g}",
    }
    return {
        "base_model": model,
        "group": group,
        "other_group": other,
        "scope": scope,
        "metric": metric,
        "encoder": encoded.name if METRICS[metric].encoded else None,
        "rule": rules.get(metric),
        "seed": seed,
    }


def _numbers(one: Estimate) -> Row:
    return {
        "status": one.status,
        "estimate": one.value,
        "std_error": one.std_error,
        "conf_low": one.low,
        "conf_high": one.high,
        "n_sets": one.n,
    }


def _sizes(found: Sets) -> Row:
    size = found.n_generations / len(found) if len(found) else None
    return {"n_prompts": found.n_prompts, "n_generations": found.n_generations, "set_size": size}
