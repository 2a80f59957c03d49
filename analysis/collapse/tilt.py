"""The exact tilt of measured candidates: every candidate of a prompt starts with the same weight, then w ∝ exp(s).

For a reward r, s = r / β, and what is left of k candidates is exp(H), H the entropy of w: k at s = 0, near 1 where one
candidate takes all. Candidates are no draws from the base policy, and the likelihoods of whole responses lie tens of
nats apart: weights ∝ π_ref^γ would fall on one of them at γ = 1 already, and say nothing of training.

For s = a · m, dH/da = −a Var_w(m), and d log(max w)/da = max m − E_w(m) for a > 0 (min m for a < 0): the effective
number never rises, and the share of the mode never falls, as |a| grows. Over an interval of a their extremes are at its
ends, or at zero where it holds zero.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Starts = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Concentration:
    """How each prompt's weights are spread, (G,) each: entropy in nats, exp(entropy), largest weight."""

    entropy: Array
    effective: Array
    mode: Array


@dataclass(frozen=True)
class Range:
    """The least and the greatest mean over prompts of the effective number and of the mode's share."""

    effective: tuple[float, float]
    mode: tuple[float, float]


def normalised(log_weights: Array, starts: Starts) -> Array:
    """Logarithms of weights that add up to one within each prompt.

    Parameters
    ----------
    log_weights
        (n,) of the candidates, those of a prompt beside each other.
    starts
        (G,) where each prompt's first candidate stands.
    """
    sizes = np.diff(np.r_[starts, len(log_weights)])
    shifted = log_weights - np.repeat(np.maximum.reduceat(log_weights, starts), sizes)
    total = np.log(np.add.reduceat(np.exp(shifted), starts))
    made: Array = shifted - np.repeat(total, sizes)
    return made


def concentration(log_weights: Array, starts: Starts) -> Concentration:
    """Entropy, effective number and share of the mode of each prompt's candidates, from normalised log weights."""
    w = np.exp(log_weights)
    # Rounding may leave a little less than nothing where one candidate holds all.
    entropy = np.maximum(-np.add.reduceat(w * log_weights, starts), 0.0)
    return Concentration(entropy, np.exp(entropy), np.maximum.reduceat(w, starts))


def over(alphas: Iterable[float], evaluate: Callable[[float], Concentration]) -> Range:
    """The range of the means over prompts at some values of α.

    With `ends` this is exact for a tilt by α · m alone; for anything else take `grid`.
    """
    found = [evaluate(alpha) for alpha in alphas]
    effective, mode = ([float(getattr(c, name).mean()) for c in found] for name in ("effective", "mode"))
    return Range((min(effective), max(effective)), (min(mode), max(mode)))


def ends(low: float, high: float) -> Array:
    """The ends of an interval of α, and zero where it holds zero."""
    return np.array([low, high, *([0.0] if low < 0 < high else [])])


def grid(low: float, high: float, n: int) -> Array:
    """`n` values of α across its interval, its ends among them, and zero where it holds zero."""
    made: Array = np.r_[np.linspace(low, high, n), ends(low, high)[2:]]
    return made
