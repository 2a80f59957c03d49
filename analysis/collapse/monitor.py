"""Four signs of collapse in a set of generations, in one verdict by stated thresholds.

The signs and thresholds are field practice: entropy of next-token distributions against a baseline, Self-BLEU (a high
mean with a small spread), the share of the largest cluster, and n-grams that repeat within a generation.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ENTROPY_DROP = 0.30
SELF_BLEU, SELF_BLEU_SPREAD = 0.95, 0.02
DOMINANCE = 0.80
REPETITION_RISE = 0.10

COLLAPSED, NARROWING, NO_SIGN, CANNOT_TELL = "collapsed", "narrowing", "no sign of collapse", "cannot tell"
RULES = {
    COLLAPSED: "two or more of the signs are there",
    NARROWING: "one sign is there",
    NO_SIGN: "two or more signs could be looked for, and none is there",
    CANNOT_TELL: "none is there, but fewer than two could be looked for",
}


@dataclass(frozen=True)
class Measured:
    """What the signs are read from; None where it is not known.

    Attributes
    ----------
    entropy, baseline_entropy
        Mean next-token entropy along the generations, in nats, and that of the baseline.
    self_bleu, self_bleu_spread
        Mean over prompts, and standard deviation.
    dominance
        Share of generations in the largest cluster of their prompt, mean over prompts.
    repetition, baseline_repetition
        Share of a generation's n-grams that stood in it before, and that of the baseline.
    """

    entropy: float | None = None
    baseline_entropy: float | None = None
    self_bleu: float | None = None
    self_bleu_spread: float | None = None
    dominance: float | None = None
    repetition: float | None = None
    baseline_repetition: float | None = None


@dataclass(frozen=True)
class Sign:
    """One sign: whether it is there (None where it cannot be looked for), and what it was read from, in words."""

    name: str
    there: bool | None
    told: str


@dataclass(frozen=True)
class Verdict:
    """What the signs say together: one of `RULES`."""

    words: str
    signs: tuple[Sign, ...]


def drop(entropy: npt.ArrayLike, baseline: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """By what share entropy lies below a baseline, request by request; NaN where either is missing or nothing can drop.

    Parameters
    ----------
    entropy, baseline
        In nats, of the same shape or one number.
    """
    below = np.asarray(baseline, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: npt.NDArray[np.float64] = np.where(below > 0, 1 - np.asarray(entropy, float) / below, np.nan)
    return found


def dropped(entropy: npt.ArrayLike, baseline: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which requests' entropy lies more than `ENTROPY_DROP` below the baseline."""
    return drop(entropy, baseline) > ENTROPY_DROP


def verdict(measured: Measured) -> Verdict:
    """The verdict on a set of generations, by `RULES`."""
    signs = tuple(_signs(measured))
    n_there = sum(bool(sign.there) for sign in signs)
    n_known = sum(sign.there is not None for sign in signs)
    words = (COLLAPSED if n_there > 1 else NARROWING) if n_there else NO_SIGN if n_known > 1 else CANNOT_TELL
    return Verdict(words, signs)


def _signs(m: Measured) -> Iterator[Sign]:
    if m.entropy is None or not m.baseline_entropy:
        yield Sign("entropy", None, "no entropy, or none of a baseline")
    else:
        share = float(drop(m.entropy, m.baseline_entropy))
        side = "below" if share >= 0 else "above"
        told = f"{m.entropy:.2f} nats a token, {_percent(abs(share))} {side} the baseline's {m.baseline_entropy:.2f}"
        yield Sign("entropy", share > ENTROPY_DROP, f"{told} (sign: more than {_percent(ENTROPY_DROP)} below)")
    if m.self_bleu is None or m.self_bleu_spread is None:
        yield Sign("self_bleu", None, "no Self-BLEU of several prompts")
    else:
        there = m.self_bleu > SELF_BLEU and m.self_bleu_spread < SELF_BLEU_SPREAD
        told = f"{m.self_bleu:.2f}, spread {m.self_bleu_spread:.3f}"
        yield Sign("self_bleu", there, f"{told} (sign: above {SELF_BLEU}, spread below {SELF_BLEU_SPREAD})")
    if m.dominance is None:
        yield Sign("cluster_dominance", None, "no clusters")
    else:
        told = f"{_percent(m.dominance)} in the largest cluster (sign: above {_percent(DOMINANCE)})"
        yield Sign("cluster_dominance", m.dominance > DOMINANCE, told)
    if m.repetition is None or m.baseline_repetition is None:
        yield Sign("repetition", None, "no repetition, or none of a baseline")
    else:
        rise = m.repetition - m.baseline_repetition
        told = f"{_percent(m.repetition)} of 4-grams repeat, of the baseline's {_percent(m.baseline_repetition)}"
        yield Sign("repetition", rise > REPETITION_RISE, f"{told} (sign: {100 * REPETITION_RISE:.0f} points more)")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
