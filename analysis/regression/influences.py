"""What each prompt adds to a cell's estimates, on the scales of the synthesis: how estimates that share prompts covary.

Estimates of one dataset under several base models come from the same labels. The covariance of two estimates is the sum
over prompts of the product of their influences (the sandwich across equations), so nothing has to be assumed of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis import tables
from analysis.regression import effects
from analysis.regression.bradley_terry import Fit
from analysis.regression.inference import Array, Codes, NoEstimate, cluster_sums
from analysis.regression.part import Part
from analysis.schemas.synthesis import INFLUENTIAL

RATE, LOGIT_RATE = "rate", "logit_rate"
LOG_ODDS, LOG_ODDS_SD, ADJUSTED = "log_odds", "log_odds_sd", "logit_adjusted_rate"


def scaled(row: Mapping[str, Any], scale: str) -> float:
    """The number of a row of `estimates` on a scale of the synthesis.

    Raises
    ------
    NoEstimate
        If the row has none, or a share that has no log-odds.
    """
    if row["status"] != "ok":
        raise NoEstimate(str(row["status"]))
    if scale == LOG_ODDS:
        return float(row["estimate"])
    if scale == LOG_ODDS_SD:
        return float(row["estimate"] * row["difference_sd"])
    share = row["estimate"] if scale == LOGIT_RATE else row["adjusted_rate"]
    if not 0 < share < 1:
        raise NoEstimate("the rate is 0 or 1, so its log-odds are not finite")
    return float(np.log(share) - np.log1p(-share))


def of_rate(part: Part) -> Array:
    """(G,) influence of the prompts on the log-odds of the rate."""
    mean = float(part.wins.mean())
    sums = cluster_sums((part.wins - mean)[:, None], part.clusters)[:, 0]
    return _corrected(sums / len(part.at) / (mean * (1 - mean)))


def of_rung(part: Part, fitted: Fit) -> dict[str, Array]:
    """(G,) influence of the prompts on α, on α per SD, and on the log-odds of the adjusted rate.

    Parameters
    ----------
    part, fitted
        What a rung of the ladder was fitted to, and the fit; typicality comes first.
    """
    alpha, own = float(fitted.coefficients[0]), fitted.influence[:, 0]
    sd = effects.spread(part.delta)
    # The SD is estimated, too: √mean(Δ²) moves by (Δ² − SD²) / 2 SD n.
    spread = cluster_sums((part.delta**2 - sd**2)[:, None], part.clusters)[:, 0] / (2 * sd * len(part.at))
    rate = effects.adjusted_rate(fitted, part.delta, 0, part.clusters)
    made = {
        LOG_ODDS: own,
        LOG_ODDS_SD: sd * own + alpha * spread,
        ADJUSTED: rate.influence / (rate.estimate * (1 - rate.estimate)),
    }
    return {scale: _corrected(influence) for scale, influence in made.items()}


def _corrected(influence: Array) -> Array:
    """Times √(G/(G−1)), so that squares sum to the clustered variance."""
    n = len(influence)
    made: Array = influence * np.sqrt(n / max(n - 1, 1))
    return made


@dataclass
class Influences:
    """The influences on a cell's estimates under one measure, over all of its decided comparisons (`part`)."""

    part: Part
    found: dict[str, tuple[Codes, Array]] = field(default_factory=dict)

    def note(self, name: str, part: Part, fitted: Fit) -> None:
        """Add those on what a rung of the ladder gave."""
        if name in INFLUENTIAL:
            self.found |= {f"{name}__{scale}": (_prompts(part), x) for scale, x in of_rung(part, fitted).items()}

    def table(self, keys: Mapping[str, str]) -> pa.Table:
        """Rows of `influences`, with the keys of the cell and the measure."""
        part = self.part
        here = _prompts(part)
        columns: dict[str, Any] = {key: pa.repeat(pa.scalar(value), len(here)) for key, value in keys.items()}
        columns["prompt_id"] = pc.unique(part.cell.column("prompt_id")).take(pa.array(here))
        if len(here) and 0 < part.wins.mean() < 1:
            self.found[f"{RATE}__{LOGIT_RATE}"] = here, of_rate(part)
        for name, (prompts, influence) in self.found.items():
            values = np.full(len(here), np.nan)
            values[np.searchsorted(here, prompts)] = influence
            columns[name] = pa.array(values, from_pandas=True)
        schema = tables.table("influences").schema
        empty = pa.nulls(len(here))
        return pa.table({name: columns.get(name, empty) for name in schema.names}).cast(schema)


def _prompts(part: Part) -> Codes:
    """Codes of a part's prompts in its cell, in the order of its clusters."""
    return np.unique(part.cell.prompts[part.at])
