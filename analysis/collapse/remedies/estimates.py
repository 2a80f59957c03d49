"""Means over prompts and ratios of two of them, with bootstrap intervals."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from analysis.collapse.diversity.estimates import FEWEST, Estimate, means
from analysis.ids import content_id
from analysis.regression.bootstrap import Drawn, bootstrap_t
from analysis.regression.inference import NoEstimate

Array = npt.NDArray[np.float64]
Values = Mapping[str, float]


@dataclass(frozen=True)
class Measured:
    """One measure of a method.

    Attributes
    ----------
    kind, measure, unit
        As in the table `remedies`.
    values
        By prompt; NaN where there is none.
    pair
        The same measure of the method and of the baseline, on equal footing (sets of one size); None where a ratio
        means nothing, which `why_no_ratio` then tells.
    n_responses
        Responses that went into it.
    status
        Why there is no value at all; empty where there may be.
    """

    kind: str
    measure: str
    unit: str
    values: Values
    pair: tuple[Values, Values] | None = None
    why_no_ratio: str = ""
    n_responses: int = 0
    status: str = ""


def random_of(seed: int, *parts: str) -> np.random.Generator:
    """A generator that depends on the seed and on what is drawn for."""
    return np.random.default_rng(int(content_id("remedies", str(seed), *parts), 16))


def mean(values: Values, random: np.random.Generator) -> Estimate:
    """Mean over prompts with its 95 % bootstrap-t interval."""
    known = np.array([values[p] for p in sorted(values) if np.isfinite(values[p])])
    if not len(known):
        return Estimate("no prompt has a value")
    return means(known[:, None], random)[0]


def ratio(pair: tuple[Values, Values], random: np.random.Generator) -> Estimate:
    """Mean over prompts over that of the baseline, on the prompts that have both.

    The interval is a bootstrap-t of the logarithm; its standard error is that of mean(x / x̄ − y / ȳ).
    """
    x, y = paired(*pair)
    if not len(x):
        return Estimate("no prompt has a value of both")
    if not (x.mean() > 0 and y.mean() > 0):
        return Estimate("the mean of one of the two is not above zero", n=len(x))
    value = float(x.mean() / y.mean())
    if len(x) < FEWEST:
        return Estimate(f"no interval: fewer than {FEWEST} prompts", value, n=len(x))
    return _exponential(log_ratios(x[:, None], y[:, None], random)[0])


def paired(one: Values, other: Values) -> tuple[Array, Array]:
    """The values of the prompts that have both, in the order of the prompts' ids."""
    shared = [p for p in sorted(one.keys() & other.keys()) if np.isfinite(one[p]) and np.isfinite(other[p])]
    return np.array([one[p] for p in shared]), np.array([other[p] for p in shared])


def log_ratios(x: Array, y: Array, random: np.random.Generator, weights: Array | None = None) -> list[Estimate]:
    """Logarithms of ratios of means, or one weighted sum of them, with bootstrap-t intervals over prompts.

    Parameters
    ----------
    x, y
        (n, m): n prompts, m ratios.
    random
        Draws the prompts.
    weights
        (m,) of the sum; each ratio by itself where there are none.
    """
    w = np.eye(x.shape[1]) if weights is None else weights[:, None]
    value = np.log(x.mean(0) / y.mean(0)) @ w
    off = (x / x.mean(0) - y / y.mean(0)) @ w
    n = len(x)
    if (np.ptp(off, axis=0) <= 1e-12).any():
        return [Estimate("no interval: it is the same for all prompts", float(v), n=n) for v in value]

    def draw(counts: Array) -> Drawn:
        total = counts.sum(1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean_x, mean_y = counts @ x / total, counts @ y / total
            found = np.log(mean_x / mean_y) @ w
            errors = np.empty_like(found)
            for k, (a, b) in enumerate(zip(mean_x, mean_y, strict=True)):
                part = (x / a - y / b) @ w
                errors[k] = np.sqrt(counts[k] @ part**2 / (total[k] * (total[k] - 1)))
        return found, errors

    error = np.sqrt((off**2).sum(0) / (n * (n - 1)))
    try:
        made = bootstrap_t(value, error, 0.0, n, draw, random)
    except NoEstimate as reason:
        return [Estimate(f"no interval: {reason}", float(v), n=n) for v in value]
    return [Estimate("ok", i.estimate, i.std_error, i.low, i.high, n) for i in made]


def _exponential(one: Estimate) -> Estimate:
    """The ratio of a logarithm; so few prompts may vary so much that its interval has no end."""
    with np.errstate(over="ignore"):
        value, low, high = (None if v is None else float(np.exp(v)) for v in (one.value, one.low, one.high))
    if high is not None and not (np.isfinite(high) and low):
        return Estimate("no interval: too few prompts to bound it", value, n=one.n)
    return replace(one, value=value, std_error=None, low=low, high=high)
