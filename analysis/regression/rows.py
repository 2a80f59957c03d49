"""Rows of `estimates`, as every kind of specification makes them."""

from typing import Any

from analysis.regression import effects
from analysis.regression.inference import CLUSTERED, Array, Interval
from analysis.regression.part import Part

Row = dict[str, Any]


def row_of(
    specification: str,
    term: str,
    part: Part,
    covariance: str = CLUSTERED,
    interval: Interval | None = None,
    delta: Array | None = None,
    status: str = "ok",
) -> Row:
    """A row of `estimates` without the cell's keys."""
    numbers = {} if interval is None else {
        "estimate": interval.estimate,
        "std_error": interval.std_error,
        "statistic": interval.statistic,
        "p_value": interval.p_value,
        "conf_low": interval.low,
        "conf_high": interval.high,
    }  # fmt: skip
    return {
        "specification": specification,
        "term": term,
        "status": status,
        **numbers,
        "difference_sd": None if delta is None else effects.spread(delta),
        "n_comparisons": len(part.at),
        "n_prompts": part.n_prompts,
        "n_likelihood_ties": int((part.delta == 0).sum()),
        "covariance": covariance,
    }
