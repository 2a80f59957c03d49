"""Does α differ between kinds of comparisons?

One fit with an α for each value of a column, a test that they are equal, and each α drawn towards their mean as far as
its error is large.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import stats

from analysis.regression import bradley_terry, multilevel
from analysis.regression.cell import Mask
from analysis.regression.columns import COLUMNS, ONE_VALUE, values
from analysis.regression.fitting import Fitter
from analysis.regression.inference import Array, Codes, NoEstimate, holm, t_interval
from analysis.regression.part import TYPICALITY, Part
from analysis.regression.terms import Terms, mask_of
from analysis.schemas.synthesis import INFLUENTIAL

Row = dict[str, Any]
MOST_VALUES = 10
FEWEST_PROMPTS = 30
CERTAIN = "its preferences are perfectly predicted, so no estimate is finite"
RAW = "bt"
_LEAST = 1e-6


@dataclass(frozen=True)
class Slopes:
    """An α for each of V values, from one fit.

    Attributes
    ----------
    estimates, covariance
        (V,) and their covariance (V × V), clustered by prompt as that of all estimates is.
    adjusted
        The same with each prompt's influence over √(1 − h), h its share of the value's information: the first-order
        correction for few prompts, which CR2 is (Bell & McCaffrey 2002).
    n_prompts, effective
        (V,) prompts that each rests on, and how many they are worth: 1 / Σ h².
    """

    estimates: Array
    covariance: Array
    adjusted: Array
    n_prompts: Codes
    effective: Array


@dataclass(frozen=True)
class Equality:
    """A test that all α are equal: F with its degrees of freedom and p value."""

    statistic: float
    df_1: float
    df_2: float

    @property
    def p_value(self) -> float:
        """Of larger values of F."""
        return float(stats.f.sf(self.statistic, self.df_1, self.df_2))


def slopes(part: Part, group: Codes, controls: Terms) -> Slopes:
    """Fit logit P(a preferred) = α_v Δ + controls (of which there may be none), v the value of the comparison.

    The covariance is the clustered sandwich; each α has the correction of its own prompts, √(G_v/(G_v−1)), so that
    without controls the errors are those of separate fits.

    Parameters
    ----------
    part
        The comparisons (n).
    group
        (n,) codes 0 … V−1 of their values.
    controls
        Terms that all values have in common; those that are constant or collinear are left out.

    Raises
    ------
    NoEstimate
        If the fit fails, or the controls leave a value no α of its own.
    """
    n_values = int(group.max()) + 1
    estimates, influence, p = (_together if controls else _apart)(part, group, n_values, controls)
    n_prompts = np.array([len(np.unique(part.clusters[group == v])) for v in range(n_values)])
    each = influence * np.sqrt(n_prompts / np.maximum(n_prompts - 1, 1))
    information = np.zeros((part.n_prompts, n_values))
    np.add.at(information, (part.clusters, group), p * (1 - p) * part.delta**2)
    share = information / information.sum(0)
    adjusted = influence / np.sqrt(np.maximum(1 - share, _LEAST))
    return Slopes(estimates, each.T @ each, adjusted.T @ adjusted, n_prompts, 1 / np.sum(share**2, axis=0))


def _together(part: Part, group: Codes, n_values: int, controls: Terms) -> tuple[Array, Array, Array]:
    """One fit with the controls: α (V,), the influence of prompts (G, V), and P(a preferred) (n,)."""
    own = [np.where(group == v, part.delta, 0.0) for v in range(n_values)]
    kept = [x for _, x in controls]
    try:
        fitted = bradley_terry.fit(part.preferred_a, np.column_stack([*own, *kept]), part.clusters)
    except NoEstimate:
        # Finding out which cannot be had takes longer than a fit, and most often all can.
        lost = bradley_terry.usable([*kept, *own])
        if any(j >= len(kept) for j in lost):
            raise NoEstimate("typicality has no effect of its own beside the controls in some of the values") from None
        kept = [x for j, x in enumerate(kept) if j not in lost]
        fitted = bradley_terry.fit(part.preferred_a, np.column_stack([*own, *kept]), part.clusters)
    return fitted.coefficients[:n_values], fitted.influence[:, :n_values], fitted.probabilities


def _apart(part: Part, group: Codes, n_values: int, controls: Terms) -> tuple[Array, Array, Array]:
    """The same without controls, when the values have no coefficient in common and each can be fitted alone."""
    estimates, influence, p = np.zeros(n_values), np.zeros((part.n_prompts, n_values)), np.zeros(len(group))
    for v in range(n_values):
        inside = group == v
        prompts, clusters = np.unique(part.clusters[inside], return_inverse=True)
        fitted = bradley_terry.fit(part.preferred_a[inside], part.delta[inside, None], clusters)
        estimates[v], p[inside] = fitted.coefficients[0], fitted.probabilities
        influence[prompts, v] = fitted.influence[:, 0]
    return estimates, influence, p


def equality(found: Slopes) -> Equality:
    """Wald's test that all α are equal, with Welch's correction for the number of prompts that each is worth.

    Without it the test rejects too often where a value has few prompts (Welch 1951; for α that share prompts the
    statistic takes their covariance in, and the correction is as if they did not).

    Raises
    ------
    NoEstimate
        If the covariance of the differences is singular.
    """
    n = len(found.estimates)
    contrasts = np.column_stack([-np.ones(n - 1), np.eye(n - 1)])
    among = contrasts @ found.adjusted @ contrasts.T
    scale = np.sqrt(np.diag(among))
    if (
        not np.all(scale > 0)
        or not np.all(found.effective > 1)
        or np.linalg.cond(among / np.outer(scale, scale)) > 1e10
    ):
        raise NoEstimate("the α of the values cannot be told apart")
    difference = contrasts @ found.estimates
    wald = float(difference @ np.linalg.solve(among, difference))
    weights = 1 / np.diag(found.adjusted)
    few = float(np.sum((1 - weights / weights.sum()) ** 2 / (found.effective - 1)))
    return Equality(wald / (n - 1) / (1 + 2 * (n - 2) / (n**2 - 1) * few), n - 1, (n**2 - 1) / (3 * few))


@dataclass(frozen=True)
class _Grouped:
    """A part's comparisons (n) by their values.

    Names of the values that have an α of their own; (n,) codes of them, the rarer values last as one, −1: none; how
    many rarer values there are; and where the values are whose preferences are perfectly predicted.
    """

    names: tuple[str, ...]
    group: Codes
    n_other: int
    certain: dict[str, Mask]


def rows(fitter: Fitter, measured: Sequence[Row], controlled: bool = True) -> Iterator[Row]:
    """Rows of `heterogeneity` of one measure, without the cell's keys.

    Parameters
    ----------
    fitter
        Of all comparisons of the cell.
    measured
        The measure's rows of `estimates` in all comparisons.
    controlled
        Whether to compare the α of the last rung, too.
    """
    ok = {r["specification"] for r in measured if r["term"] == TYPICALITY and r["status"] == "ok"}
    rungs = [name for name in INFLUENTIAL if name in ok]
    if not rungs:
        reason = next((r["status"] for r in measured if r["specification"] in INFLUENTIAL), "no α was asked for")
        yield from without_number(reason)
        return
    for name in dict.fromkeys((*(rung for rung in rungs if rung == RAW), *(rungs[-1:] if controlled else ()))):
        part, controls, _ = fitter.controls(name)
        lost = bradley_terry.usable([x for _, x in controls])
        controls = [control for j, control in enumerate(controls) if j not in lost]
        made = [list(_of_column(part, controls, column)) for column in COLUMNS]
        tests = [row for found in made for row in found if row["kind"] == "equality" and row["status"] == "ok"]
        for row, p in zip(tests, holm(np.array([row["p_value"] for row in tests])), strict=True):
            row["p_holm"] = float(max(p, row["p_value"]))
        for row in (row for found in made for row in found):
            yield {"specification": name, **row}


def without_number(reason: str) -> Iterator[Row]:
    """Rows that say why there is nothing to compare."""
    for column in COLUMNS:
        yield {"specification": RAW, "column": column, "kind": "equality", "status": reason} | _counts()


def _counts(part: Part | None = None, chosen: Mask | None = None) -> Row:
    """How many comparisons of a part, and of how many prompts."""
    if part is None or chosen is None:
        return {"n_comparisons": 0, "n_prompts": 0}
    return {"n_comparisons": int(chosen.sum()), "n_prompts": len(np.unique(part.clusters[chosen]))}


def _of_column(part: Part, controls: Terms, column: str) -> Iterator[Row]:
    """The rows of one column: its values, what is in none of them, and the test."""
    try:
        grouped = _grouped(part, values(part.cell, column).take(pa.array(part.at)))
    except NoEstimate as error:
        every = np.ones(len(part.at), bool)
        yield {"column": column, "kind": "equality", "status": str(error)} | _counts(part, every)
        return
    chosen = grouped.group >= 0
    narrowed = part.narrowed(mask_of(part, chosen))
    for row in _fitted(narrowed, grouped, [(n, x[chosen]) for n, x in controls]):
        yield {"column": column, **row}
    for value, inside in grouped.certain.items():
        yield {"column": column, "kind": "value", "value": value, "status": CERTAIN} | _counts(part, inside)
    left = ~np.logical_or.reduce([chosen, *grouped.certain.values()])
    if left.any():
        reason = f"they have no value, or rare ones that have fewer than {FEWEST_PROMPTS} prompts together"
        yield {"column": column, "kind": "missing", "status": reason} | _counts(part, left)


def _grouped(part: Part, texts: pa.Array) -> _Grouped:
    """The values that have prompts enough, the most frequent first; the rarer ones together.

    Raises
    ------
    NoEstimate
        If fewer than two are left.
    """
    known = texts.is_valid().to_numpy(zero_copy_only=False)
    encoded = texts.dictionary_encode()
    names = [str(name) for name in encoded.dictionary.to_pylist()]
    if len(names) == 1:
        raise NoEstimate(ONE_VALUE)
    number = encoded.indices.fill_null(-1).to_numpy().astype(np.intp)
    size = np.bincount(number[known], minlength=len(names))
    pairs = np.unique(number[known] * part.n_prompts + part.clusters[known])
    prompts = np.bincount(pairs // part.n_prompts, minlength=len(names))
    order = sorted(np.flatnonzero(size).tolist(), key=lambda k: (-size[k], names[k]))
    side = np.where(part.preferred_a, part.delta, -part.delta)
    enough: list[int] = []
    certain: dict[str, Mask] = {}
    for k in order:
        if prompts[k] < FEWEST_PROMPTS:
            continue
        inside = side[number == k]
        if inside.min() >= 0 or inside.max() <= 0:
            certain[names[k]] = number == k
        else:
            enough.append(k)
    group = np.full(len(part.at), -1)
    for place, k in enumerate(enough[:MOST_VALUES]):
        group[number == k] = place
    kept = [names[k] for k in enough[:MOST_VALUES]]
    n_other = _lump(group, number, [k for k in order if names[k] not in (*kept, *certain)], part, side, len(kept))
    if len(kept) + (n_other > 0) < 2:
        raise NoEstimate(f"fewer than two of its {len(names)} values have {FEWEST_PROMPTS} prompts and a finite α")
    return _Grouped(tuple(kept), group, n_other, certain)


def _lump(group: Codes, number: Codes, rare: Sequence[int], part: Part, side: Array, place: int) -> int:
    """Make one group of the rarer values where they have prompts enough together; how many values that are."""
    inside = np.isin(number, rare)
    among = side[inside]
    if len(np.unique(part.clusters[inside])) < FEWEST_PROMPTS or among.min() >= 0 or among.max() <= 0:
        return 0
    group[inside] = place
    return len(rare)


def _fitted(part: Part, grouped: _Grouped, controls: Terms) -> Iterator[Row]:
    group = grouped.group[grouped.group >= 0]
    every = np.ones(len(group), bool)
    test = {"kind": "equality", "n_values": len(grouped.names) + grouped.n_other}
    try:
        found = slopes(part, group, controls)
        tested = equality(found)
        n = len(found.estimates)
        mean = multilevel.fit(found.estimates, found.covariance, np.ones((n, 1)), [np.arange(n)])
    except NoEstimate as error:
        yield {**test, "status": str(error)} | _counts(part, every)
        return
    shrunken, spread = multilevel.predictions(mean)
    half = float(stats.norm.ppf(0.975)) * spread
    for v in range(n):
        named = v < len(grouped.names)
        own = t_interval(float(found.estimates[v]), float(np.sqrt(found.covariance[v, v])), int(found.n_prompts[v]))
        yield {
            "kind": "value" if named else "other",
            "value": grouped.names[v] if named else None,
            "status": "ok",
            "n_values": 1 if named else grouped.n_other,
            "estimate": own.estimate,
            "std_error": own.std_error,
            "conf_low": own.low,
            "conf_high": own.high,
            "shrunken": float(shrunken[v]),
            "shrunken_low": float(shrunken[v] - half[v]),
            "shrunken_high": float(shrunken[v] + half[v]),
        } | _counts(part, group == v)
    centre = t_interval(float(mean.coefficients[0]), float(np.sqrt(mean.covariance[0, 0])), n)
    yield {
        **test,
        "status": "ok",
        "estimate": centre.estimate,
        "std_error": centre.std_error,
        "conf_low": centre.low,
        "conf_high": centre.high,
        "tau": float(np.sqrt(mean.variances[0])),
        "statistic": tested.statistic,
        "df_1": tested.df_1,
        "df_2": tested.df_2,
        "p_value": tested.p_value,
    } | _counts(part, every)
