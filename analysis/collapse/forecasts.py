"""Rows of `forecasts` from one α and the candidates of its cell: over a grid of β, and over generations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis.collapse.candidates import FEWEST, Candidates
from analysis.collapse.generations import Regime, generations, half_life, until_mode
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
    length, median = SHARPENING[bias.measure].length, _median(bias, responses)
    told = {length: median} if length else {}
    for row in (*_gammas(bias, median), *_tilted(bias, responses, median)):
        yield {**row, **told}


def by_prompt(bias: Bias, responses: Candidates) -> Iterator[tuple[Row, dict[str, Array]]]:
    """The exact tilt at the headline β prompt by prompt, by what is rewarded; nothing where there is none.

    Parameters are those of `forecasts`.

    Yields
    ------
    tuple
        The columns of `prompt_forecasts` that are the same for all prompts, and those (G,) that are not; `prompts` are
        the codes of the candidates' prompts.
    """
    for tilt in tilts(bias, responses, _median(bias, responses)) if bias.status == "ok" else ():
        keys = {"measure": bias.measure, "specification": bias.specification, "slice": bias.slice}
        yield {**keys, "candidates": tilt.kind, "beta": HEADLINE_BETA}, tilt.by_prompt(HEADLINE_BETA)


def _median(bias: Bias, responses: Candidates) -> float | None:
    """Median length of the responses in what the measure divides by; None where it divides by nothing."""
    length = SHARPENING[bias.measure].length
    return responses.median(_LENGTHS[length]) if length else None


def _row(bias: Bias, beta: float, generation: int = 1, regime: tuple[float, float] = REGIMES[0], **more: Any) -> Row:
    keys = {"beta": beta, "generation": generation, "fresh_share": regime[0], "entropy_bonus": regime[1]}
    return {**bias.row, "candidates": None, **keys, **more}


def why_no_gamma(bias: Bias, beta: float, length: float | None) -> str:
    """Why the closed form gives no γ; empty where it does."""
    if SHARPENING[bias.measure].reason:
        return SHARPENING[bias.measure].reason
    value = gamma(bias.alpha, beta, bias.measure, length)
    if value <= 0:
        return f"γ would be {value:.3g}: no policy over texts of any length has π ∝ π_ref^γ for γ ≤ 0"
    return ""


def _gammas(bias: Bias, length: float | None) -> Iterator[Row]:
    once = [(beta, 1) for beta in BETAS]
    for beta, t in (*once, *((HEADLINE_BETA, t) for t in range(2, GENERATIONS + 1))):
        reason = why_no_gamma(bias, beta, length)
        if reason:
            yield _row(bias, beta, t, status=reason)
            continue
        low, value, high = (
            max(gamma(a, beta, bias.measure, length), 0.0) ** t for a in (bias.low, bias.alpha, bias.high)
        )
        yield _row(bias, beta, t, gamma=value, gamma_low=low, gamma_high=high)


def tilts(bias: Bias, responses: Candidates, length: float | None) -> "list[Tilt]":
    """What may be rewarded on prompts with three or more candidates: typicality and, where there are ratings, quality
    and both. Empty where no prompt has so many.
    """
    ratings = tuple(name for name in bias.quality if name in responses.ratings)
    rated = responses.known(bias.measure, ratings) if ratings else responses.known(bias.measure)
    if ratings and not len(rated):
        ratings, rated = (), responses.known(bias.measure)
    if not len(rated):
        return []
    nothing = np.zeros(len(rated))
    quality = sum((bias.quality[name] * rated.ratings[name] for name in ratings), nothing)
    kinds = (TYPICALITY, QUALITY, BOTH) if ratings else (TYPICALITY,)
    return [Tilt(bias, rated, kind, quality if kind != TYPICALITY else nothing, length) for kind in kinds]


def _tilted(bias: Bias, responses: Candidates, length: float | None) -> Iterator[Row]:
    found = tilts(bias, responses, length)
    if not found:
        reason = f"no prompt has {FEWEST} or more candidates"
        yield _row(bias, HEADLINE_BETA, candidates=TYPICALITY, status=reason)
    for tilt in found:
        for beta in BETAS:
            yield from tilt.rows(beta, GENERATIONS if beta == HEADLINE_BETA else 1, REGIMES[0])
        for regime in REGIMES[1:]:
            yield from tilt.rows(HEADLINE_BETA, GENERATIONS, regime)


@dataclass(frozen=True)
class Tilt:
    """The candidates tilted by what is rewarded (`kind`), with the quality term (n,) where that is part of it."""

    bias: Bias
    candidates: Candidates
    kind: str
    quality: Array
    length: float | None

    def rows(self, beta: float, n: int, regime: tuple[float, float]) -> Iterator[Row]:
        """Rows of generations 1 … n."""
        reason = why_no_gamma(self.bias, beta, self.length) if n > 1 and self.kind != QUALITY else ""
        # The first generation starts from equal weights, which are equal to any power: it needs no γ.
        known = n if not reason else int(regime == REGIMES[0])
        alphas = {self.bias.alpha, *self._alphas(regime)}
        paths = {alpha: self._path(alpha, beta, known, regime) for alpha in alphas} if known else {}
        pace = self._pace(paths) if known > 1 else {}
        for t in range(known):
            yield _row(self.bias, beta, t + 1, regime, candidates=self.kind, **self._numbers(paths, t, regime), **pace)
        for t in range(known, n):
            yield _row(self.bias, beta, t + 1, regime, candidates=self.kind, status=reason)

    def by_prompt(self, beta: float) -> dict[str, Array]:
        """What is left of each prompt's candidates (G,) after one training, by column of `prompt_forecasts`."""
        starts, alphas = self.candidates.starts, self._alphas(REGIMES[0])
        found = {alpha: self._path(alpha, beta, 1, REGIMES[0])[0] for alpha in {self.bias.alpha, *alphas}}
        now = found[self.bias.alpha]
        made = {
            "prompts": self.candidates.prompts[starts],
            "n_candidates": np.diff(np.r_[starts, len(self.candidates)]),
            "entropy": now.entropy,
            "effective_number": now.effective,
            "mode_share": now.mode,
        }
        for name, values in (("effective_number", "effective"), ("mode_share", "mode")) if alphas else ():
            all_ = np.stack([getattr(one, values) for one in found.values()])
            made |= {f"{name}_low": all_.min(0), f"{name}_high": all_.max(0)}
        return made

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
        # Below 0 there is no γ.
        power = max(gamma(alpha, beta, self.bias.measure, self.length), 0.0) if rewarded and n > 1 else 1.0
        made = generations(np.zeros(len(push)), push, starts, Regime(power, *regime), n)
        return [concentration(log_weights, starts) for log_weights in made]

    def _pace(self, paths: dict[float, list[Concentration]]) -> Row:
        """How soon half of the effective number that can be lost is lost, and the mode holds 95 %, over prompts."""
        sizes = np.diff(np.r_[self.candidates.starts, len(self.candidates)])
        row: Row = {}
        for name, reached, values, before in (
            ("half_life", half_life, "effective", sizes.mean()),
            ("until_mode", until_mode, "mode", (1 / sizes).mean()),
        ):
            found = {a: reached([before, *(getattr(c, values).mean() for c in path)]) for a, path in paths.items()}
            row[name] = found[self.bias.alpha]
            if self.kind != QUALITY:
                known = [t for t in found.values() if t is not None]
                row[f"{name}_low"] = min(known, default=None)
                row[f"{name}_high"] = max(known) if len(known) == len(found) else None
        return row

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
