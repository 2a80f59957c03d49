"""Generation after generation: a model trained on its own sharpened output sharpens again.

Each generation maximises E[r + α log π_t / T] − β KL(π ‖ π_t) + τ H(π), the raters finding typical what the model of
the generation before, π_t, finds likely. Its optimum is π_{t+1} ∝ (π_t^γ · exp(r / β))^{1 / (1 + τ/β)}. With a share f
of fresh data the next model learns from (1 − f) π_{t+1} + f π_0 (as Ferbach et al. 2024, arXiv 2407.09499, mix them).

In log-odds ℓ, where nothing else is at work: ℓ_t = γ^t ℓ_0. With a push s added each generation (its specialisation)
ℓ_t = γ^t ℓ_0 + s (γ^t − 1) / (γ − 1). An entropy bonus divides both γ and s by 1 + τ/β, and where κ = γ / (1 + τ/β) is
below 1, ℓ settles at s / (1 + τ/β − γ). From ℓ_0 = 0 and with s = α m / β = (γ − 1) T m, all of these rise with γ, and
so with α: (γ − 1) Σ_j κ^j is −1 plus powers of γ with positive factors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.collapse.tilt import Array, Starts, normalised

MODE = 0.95
EXAMPLE = (0.7, 1.297)


@dataclass(frozen=True)
class Regime:
    """What each generation does.

    Attributes
    ----------
    gamma
        The power to which it raises the policy before it.
    fresh_share
        Share of data of generation 0 in what the next one learns from, 0 … 1.
    entropy_bonus
        τ / β: weight of the entropy in the objective, in those of the KL penalty; never negative.
    """

    gamma: float
    fresh_share: float = 0.0
    entropy_bonus: float = 0.0


def generations(log_weights: Array, push: Array, starts: Starts, regime: Regime, n: int) -> Iterator[Array]:
    """The normalised log weights of generations 1 … n.

    Parameters
    ----------
    log_weights
        (m,) of generation 0, those that compete (a prompt's candidates) beside each other.
    push
        (m,) what each generation adds to the log weights, its specialisation: its reward over β.
    starts
        (G,) where each group of competitors begins.
    regime, n
        What each generation does, and how many.
    """
    first = now = normalised(log_weights, starts)
    for _ in range(n):
        now = normalised((regime.gamma * now + push) / (1 + regime.entropy_bonus), starts)
        if regime.fresh_share:
            f = regime.fresh_share
            now = np.logaddexp(np.log1p(-f) + now, np.log(f) + first) if f < 1 else first
        yield now


def shares(share: float, regime: Regime, n: int, specialisation: float = 0.0) -> list[float]:
    """Share of the more likely of two responses in generations 0 … n: 70 : 30 becomes 75 : 25 at γ = 1.297.

    `specialisation` is what each generation adds to its log-odds: how much more it is rewarded, over β.
    """
    start = np.log(np.array([share, 1 - share]))
    made = generations(start, np.array([specialisation, 0.0]), np.zeros(1, np.intp), regime, n)
    return [share, *(float(np.exp(log_weights[0])) for log_weights in made)]


def half_life(effective: Sequence[float]) -> int | None:
    """The first generation in which half of what can be lost is lost: N_t − 1 is at most half of N_0 − 1.

    N is the effective number in generations 0, 1, …, and 1 the least it can be; None where that does not come to pass.
    """
    return _first(value - 1 <= (effective[0] - 1) / 2 for value in effective)


def until_mode(modes: Sequence[float]) -> int | None:
    """The first generation in which the mode holds 95 %; None where none does. `modes`: its share in 0, 1, …."""
    return _first(value >= MODE for value in modes)


def _first(reached: Iterator[bool]) -> int | None:
    return next((t for t, yes in enumerate(reached) if yes), None)
