"""Rows of `forecasts` from one α and the candidates of its cell: over a grid of β, and over generations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis.collapse.candidates import FEWEST, Candidates
from analysis.collapse.generations import Regime, generations
from analysis.collapse.sharpening import BYTES, SHARPENING, TOKENS, gamma
from analysis.collapse.tilt import Array, Concentration, concentration, ends, grid, over
from analysis.regression.part import TYPICALITY
from analysis.regression.specifications import LADDER, SPECIFICATIONS

Row = dict[str, Any]
BETAS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
HEADLINE_BETA = 0.1
GENERATIONS = 10
# What resists narrowing, beside plain repetition: (share of fresh data, weight of the entropy over β).
REGIMES = ((0.0, 0.0), (0.1, 0.0), (0.0, 1.0))
# Where α's effect need not be monotone, it is evaluated at this many values across its interval.
VALUES = 17
SLICES = ("all", "equal_quality")
# Fluency splits typicality into its parts, so that its coefficient is no longer all of it.
RUNGS = tuple(name for name in LADDER if not SPECIFICATIONS[name].needs_unconditional)
QUALITY, BOTH = "quality", "both"
_LENGTHS = {TOKENS: "n_tokens", BYTES: "n_bytes"}


@dataclass(frozen=True)
class Bias:
    """An estimated α with its interval, and the effects of the quality ratings fitted beside it.

    `status` is `ok`, or why there is no α, which is NaN then.
    """

    measure: str
    specification: str
    slice: str
    status: str
    alpha: float = np.nan
    low: float = np.nan
    high: float = np.nan
    quality: dict[str, float] = field(default_factory=dict)

    @property
    def row(self) -> Row:
        """Its columns."""
        numbers = {"alpha": self.alpha, "alpha_low": self.low, "alpha_high": self.high} if self.status == "ok" else {}
        keys = {"measure": self.measure, "specification": self.specification, "slice": self.slice}
        return {**keys, "status": self.status, "formula": SHARPENING[self.measure].formula, **numbers}


def chosen(estimates: Sequence[Row], measure: str) -> Iterator[Bias]:
    """Bradley–Terry and the top rung of the ladder that has a number, in all comparisons and where quality is equal.

    Parameters
    ----------
    estimates
        The cell's rows of `estimates` under one measure.
    measure
        Its name.
    """
    for name in SLICES:
        rows = [e for e in estimates if e["slice"] == name and e["specification"] in RUNGS]
        found = {e["specification"]: e for e in rows if e["term"] == TYPICALITY}
        numbers = [rung for rung in RUNGS if rung in found and found[rung]["status"] == "ok"]
        if not numbers and (found or name == SLICES[0]):
            rung, row = next(iter(found.items()), ("bt", {"status": "no rung of the ladder was asked for"}))
            yield Bias(measure, rung, name, row["status"])
        for rung in dict.fromkeys((*(n for n in numbers if n == "bt"), *numbers[-1:])):
            others = {e["term"]: e["estimate"] for e in rows if e["specification"] == rung and e["status"] == "ok"}
            low, high = found[rung]["conf_low"], found[rung]["conf_high"]
            yield Bias(measure, rung, name, "ok", others.pop(TYPICALITY), low, high, others)


def no_forecast(bias: Bias) -> Iterator[Row]:
    """One row that says why there is no α."""
    yield _row(bias, HEADLINE_BETA)


def forecasts(bias: Bias, responses: Candidates) -> Iterator[Row]:
    """Rows of `forecasts` of one α, without the cell's keys.

    Parameters
    ----------
    bias
        α, and what was fitted beside it.
    responses
        The responses of the cell, with the measures and lengths.
    """
    if bias.status != "ok":
        yield from no_forecast(bias)
        return
    length = SHARPENING[bias.measure].length
    median = responses.median(_LENGTHS[length]) if length else 1.0
    told = {length: median} if length else {}
    for row in (*_gammas(bias, median), *_tilts(bias, responses, median)):
        yield {**row, **told}


def _row(bias: Bias, beta: float, generation: int = 1, regime: tuple[float, float] = REGIMES[0], **more: Any) -> Row:
    keys = {"beta": beta, "generation": generation, "fresh_share": regime[0], "entropy_bonus": regime[1]}
    return {**bias.row, "candidates": None, **keys, **more}


def why_no_gamma(bias: Bias, beta: float, length: float) -> str:
    """Why the closed form gives no γ; empty where it does."""
    value = gamma(bias.alpha, beta, length)
    if SHARPENING[bias.measure].reason:
        return SHARPENING[bias.measure].reason
    if value <= 0:
        return f"γ would be {value:.3g}: no policy over texts of any length has π ∝ π_ref^γ for γ ≤ 0"
    return ""


def _gammas(bias: Bias, length: float) -> Iterator[Row]:
    once = [(beta, 1) for beta in BETAS]
    for beta, t in (*once, *((HEADLINE_BETA, t) for t in range(2, GENERATIONS + 1))):
        reason = why_no_gamma(bias, beta, length)
        if reason:
            yield _row(bias, beta, t, status=reason)
            continue
        low, value, high = (max(gamma(a, beta, length), 0.0) ** t for a in (bias.low, bias.alpha, bias.high))
        yield _row(bias, beta, t, gamma=value, gamma_low=low, gamma_high=high)


def _tilts(bias: Bias, responses: Candidates, length: float) -> Iterator[Row]:
    ratings = tuple(name for name in bias.quality if name in responses.ratings)
    rated = responses.known(bias.measure, ratings) if ratings else responses.known(bias.measure)
    if ratings and not len(rated):
        ratings, rated = (), responses.known(bias.measure)
    if not len(rated):
        reason = f"no prompt has {FEWEST} or more candidates"
        yield _row(bias, HEADLINE_BETA, candidates=TYPICALITY, status=reason)
        return
    quality = sum((bias.quality[name] * rated.ratings[name] for name in ratings), np.zeros(len(rated)))
    for kind in (TYPICALITY, QUALITY, BOTH) if ratings else (TYPICALITY,):
        tilt = Tilt(bias, rated, kind, quality if kind != TYPICALITY else np.zeros(len(rated)), length)
        for beta in BETAS:
            yield from tilt.rows(beta, 1, REGIMES[0])
        for regime in REGIMES:
            yield from tilt.rows(HEADLINE_BETA, GENERATIONS, regime, first=1 if regime == REGIMES[0] else 0)


@dataclass(frozen=True)
class Tilt:
    """The candidates tilted by what is rewarded (`kind`), with the quality term (n,) where that is part of it."""

    bias: Bias
    candidates: Candidates
    kind: str
    quality: Array
    length: float

    def rows(self, beta: float, n: int, regime: tuple[float, float], first: int = 0) -> Iterator[Row]:
        """Rows of generations `first` + 1 … n."""
        reason = why_no_gamma(self.bias, beta, self.length) if n > 1 and self.kind != QUALITY else ""
        if reason:
            for t in range(first, n):
                yield _row(self.bias, beta, t + 1, regime, candidates=self.kind, status=reason)
            return
        paths = {alpha: self._path(alpha, beta, n, regime) for alpha in {self.bias.alpha, *self._alphas(regime)}}
        for t in range(first, n):
            yield _row(self.bias, beta, t + 1, regime, candidates=self.kind, **self._numbers(paths, t, regime))

    def _alphas(self, regime: tuple[float, float]) -> list[float]:
        """The values of α that tell the range over its interval."""
        if self.kind == QUALITY:
            return []
        low, high = self.bias.low, self.bias.high
        monotone = self.kind == TYPICALITY and not regime[0]
        return [float(a) for a in (ends(low, high) if monotone else grid(low, high, VALUES))]

    def _path(self, alpha: float, beta: float, n: int, regime: tuple[float, float]) -> list[Concentration]:
        """The concentration in generations 1 … n, from equal weights."""
        starts, rewarded = self.candidates.starts, self.kind != QUALITY
        push = self.quality / beta
        if rewarded:
            push = push + alpha / beta * self.candidates.values[self.bias.measure]
        # Of one generation γ says nothing, because equal weights to any power are equal. Below 0 there is none.
        power = max(gamma(alpha, beta, self.length), 0.0) if rewarded and n > 1 else 1.0
        made = generations(np.zeros(len(push)), push, starts, Regime(power, *regime), n)
        return [concentration(log_weights, starts) for log_weights in made]

    def _numbers(self, paths: dict[float, list[Concentration]], t: int, regime: tuple[float, float]) -> Row:
        found = paths[self.bias.alpha][t]
        tenths = np.quantile(found.effective, [0.1, 0.9])
        row = {
            "n_prompts": len(self.candidates.starts),
            "n_candidates": len(self.candidates) / len(self.candidates.starts),
            "entropy": float(found.entropy.mean()),
            "effective_number": float(found.effective.mean()),
            "effective_number_p10": float(tenths[0]),
            "effective_number_p90": float(tenths[1]),
            "mode_share": float(found.mode.mean()),
        }
        alphas = self._alphas(regime)
        if not alphas:
            return row
        ranges = over([*alphas, self.bias.alpha], lambda alpha: paths[alpha][t])
        row |= dict(zip(("effective_number_low", "effective_number_high"), ranges.effective, strict=True))
        return row | dict(zip(("mode_share_low", "mode_share_high"), ranges.mode, strict=True))
