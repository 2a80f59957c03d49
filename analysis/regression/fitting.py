"""What fits each kind of specification: a part of a cell → rows of `estimates` (without the cell's keys)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from analysis.regression import bradley_terry, effects, graded, ordered
from analysis.regression.bootstrap import BOOTSTRAP, FEW_CLUSTERS, TOO_FEW, bootstrap_t, draw_logit, draw_mean
from analysis.regression.bradley_terry import Fit
from analysis.regression.cell import codes
from analysis.regression.choice import conditional_rows, rank_ordered_rows
from analysis.regression.effects import Effect
from analysis.regression.inference import (
    CLUSTERED,
    WILSON,
    Array,
    Interval,
    NoEstimate,
    clustered_mean,
    t_interval,
    two_way,
    wilson,
)
from analysis.regression.part import TYPICALITY, Part
from analysis.regression.rows import Row, row_of
from analysis.regression.shape import Curve, curve_rows, linearity, quadratic, spline, vuong_rows
from analysis.regression.specifications import SPECIFICATIONS, Specification
from analysis.regression.terms import Terms, another_prompt, fit_terms, mask_of, without_certain
from analysis.regression.within import ratings_rows

# What fits responses, or takes random numbers.
_RESPONSES: dict[str, Callable[[str, Part, np.random.Generator], Iterator[Row]]] = {
    "ratings": ratings_rows,
    "conditional": conditional_rows,
    "rank_ordered": rank_ordered_rows,
    "vuong": vuong_rows,
}
_CURVES: dict[str, Callable[[Part], Curve]] = {"quadratic": quadratic, "spline": spline}
TWO_WAY = "clustered by prompt and by annotator (two-way sandwich, each × G/(G−1)), t with min(G)−1 degrees of freedom"
BINS = 10
_SIZES = ("odds_ratio_sd", "probability_change", "marginal_effect", "marginal_effect_std_error")
Note = Callable[[str, Part, Fit], None]


def unnoted(name: str, part: Part, fitted: Fit) -> None:
    """Take no notice of a fit."""


@dataclass
class Fitter:
    """Fits specifications to one part.

    Parameters
    ----------
    part
        What to fit to.
    margin
        What counts as no bias: rates within this distance of one half.
    random
        For placebos and resampling.
    note
        Called with what each rung of the ladder was fitted to, and the fit.
    """

    part: Part
    margin: float
    random: np.random.Generator
    note: Note = unnoted
    _raw: dict[int, tuple[Fit, Effect]] = field(default_factory=dict)

    def rows(self, name: str, reason: str | None = None) -> list[Row]:
        """Rows of one specification; where it has no number (for the `reason` given, say), one row with the reason."""
        specification = SPECIFICATIONS[name]
        fits: dict[str, Callable[[str, Specification], Iterator[Row]]] = {
            "rate": self._rate,
            "ladder": self._ladder,
            "rival": self._rival,
            "annotators": self._annotators,
            **dict.fromkeys(_CURVES, self._curve),
            **dict.fromkeys(_RESPONSES, self._responses),
            "binned": self._binned,
            "placebo_labels": self._placebo_labels,
            "placebo_prompts": self._placebo_prompts,
            "paper": self._paper,
            "paper_ordered": self._paper_ordered,
            "ordered": lambda name, _: graded.ordered_rows(name, self.part),
            "ties": lambda name, _: graded.ties_rows(name, self.part),
        }
        try:
            if reason is not None:
                raise NoEstimate(reason)
            if not len(self.part.at):
                raise NoEstimate("no comparison is decided")
            return list(fits[specification.kind](name, specification))
        except NoEstimate as error:
            return [row_of(name, TYPICALITY, self.part, status=str(error))]

    def _rate(self, name: str, specification: Specification) -> Iterator[Row]:
        part = self.part
        weights = part.prompt_weights if specification.by_prompt else None
        try:
            yield self._rate_row(name, part, *self._mean(part, weights))
        except NoEstimate as error:
            yield row_of(name, TYPICALITY, part, status=str(error))
        if not specification.by_prompt:
            yield row_of(
                "rate_wilson", TYPICALITY, part, WILSON, wilson(float(part.wins.sum()), len(part.wins)), part.delta
            )

    def _mean(self, part: Part, weights: Array | None = None) -> tuple[Interval, str]:
        """The rate with its interval, within 0 and 1, and how that was made."""
        found, covariance = clustered_mean(part.wins, part.clusters, 0.5, weights), CLUSTERED
        if part.n_prompts < FEW_CLUSTERS:
            estimate, error = np.array([found.estimate]), np.array([found.std_error])
            draw = draw_mean(part.wins, part.clusters, weights)
            (found,), covariance = bootstrap_t(estimate, error, 0.5, part.n_prompts, draw, self.random), BOOTSTRAP
        return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0)), covariance

    def _rate_row(self, name: str, part: Part, found: Interval, covariance: str) -> Row:
        row = row_of(name, TYPICALITY, part, covariance, found, part.delta)
        detectable = effects.minimum_detectable(found.std_error, part.n_prompts)
        return row | self._tests(found.estimate, found.std_error, part.n_prompts) | {"minimum_detectable": detectable}

    def _tests(self, rate: float, std_error: float, n_prompts: int) -> Row:
        """Equivalence of a rate with one half, power, and what can be detected."""
        return {
            "p_equivalence": effects.equivalence(rate, std_error, n_prompts, self.margin),
            "power": effects.power(self.margin, std_error, n_prompts),
        }

    def controls(self, name: str) -> tuple[Part, Terms, dict[str, str]]:
        """What a rung of the ladder is fitted to: the comparisons, the controls, and those that cannot be had, and why.

        Raises
        ------
        NoEstimate
            If the dataset lacks what the rung is there for, or no comparison is left.
        """
        part, groups = self._with_groups(SPECIFICATIONS[name])
        part, certain = without_certain(part, groups)
        return part, [(n, x) for group in groups for n, x in part.covariates(group) if n not in certain], certain

    def _ladder(self, name: str, specification: Specification) -> Iterator[Row]:
        part, controls, certain = self.controls(name)
        weights = part.prompt_weights if specification.by_prompt else None
        fitted, terms, lost = fit_terms(part, controls, weights)
        if specification.groups:
            own = [term for term, _ in part.covariates(specification.groups[-1])]
            if own and all(term in lost for term in own):
                raise NoEstimate(
                    f"nothing of {specification.groups[-1]} differs between the responses, so that it adds nothing"
                )
        self.note(name, part, fitted)
        lost |= certain
        first, *others = self._term_rows(name, part, fitted, terms, weights)
        yield {**first, **self._effects(part, fitted, terms, controls)}
        yield from others
        for term, reason in lost.items():
            yield row_of(name, term, part, status=reason)

    def _with_groups(self, specification: Specification) -> tuple[Part, list[str]]:
        """The comparisons that have the groups' covariates; the last must be there, others are left out if not."""
        part, groups = self.part, []
        for group in specification.groups:
            try:
                part = part.narrowed(part.known(group))
                groups.append(group)
            except NoEstimate:
                if group == specification.groups[-1]:
                    raise
        return part, groups

    def _term_rows(
        self, name: str, part: Part, fitted: Fit, terms: Terms, weights: Array | None = None
    ) -> Iterator[Row]:
        """A row for each term, with its interval and effect sizes."""
        errors, columns = np.sqrt(np.diag(fitted.covariance)), [x for _, x in terms]
        if 1 < fitted.n_clusters < FEW_CLUSTERS:
            draw = draw_logit(fitted.preferred_a, np.column_stack(columns), part.clusters, weights, fitted.coefficients)
            found = bootstrap_t(fitted.coefficients, errors, 0.0, fitted.n_clusters, draw, self.random)
            covariance = BOOTSTRAP
        else:
            both = zip(fitted.coefficients, errors, strict=True)
            found = [t_interval(float(beta), float(error), fitted.n_clusters) for beta, error in both]
            covariance = CLUSTERED
        for j, (term, delta) in enumerate(terms):
            sd = effects.spread(delta)
            marginal = effects.average_marginal_effect(fitted, columns, j, part.clusters)
            yield row_of(name, term, part, covariance, found[j], delta) | {
                "odds_ratio_sd": effects.odds_ratio_per_sd(found[j].estimate, sd),
                "probability_change": effects.probability_change(found[j].estimate, sd),
                "marginal_effect": marginal.estimate,
                "marginal_effect_std_error": marginal.std_error,
                "minimum_detectable": effects.minimum_detectable(found[j].std_error, fitted.n_clusters),
                "mean_log_likelihood": fitted.mean_log_likelihood,
            }

    def _effects(self, part: Part, fitted: Fit, terms: Terms, controls: Terms) -> Row:
        """What only typicality has: the adjusted rate with its tests, and the share of the raw effect that is left."""
        rate = effects.adjusted_rate(fitted, part.delta, 0, part.clusters)
        interval = rate.interval(0.5)
        row = {
            "adjusted_rate": rate.estimate,
            "adjusted_rate_low": max(interval.low, 0.0),
            "adjusted_rate_high": min(interval.high, 1.0),
            **self._tests(rate.estimate, rate.std_error, part.n_prompts),
        }
        if controls:
            marginal = effects.average_marginal_effect(fitted, [x for _, x in terms], 0, part.clusters)
            left = effects.share_left(marginal, self._raw_effect(part), self.random)
            if left is not None:
                row |= dict(zip(("share_left", "share_left_low", "share_left_high"), left, strict=True))
        return row

    def _raw_effect(self, part: Part) -> Effect:
        """The marginal effect without controls on the same comparisons."""
        key = len(part.at)
        if key not in self._raw:
            fitted = bradley_terry.fit(part.preferred_a, part.delta[:, None], part.clusters)
            self._raw[key] = (fitted, effects.average_marginal_effect(fitted, [part.delta], 0, part.clusters))
        return self._raw[key][1]

    def _rival(self, name: str, specification: Specification) -> Iterator[Row]:
        part, groups = self._with_groups(specification)
        terms = [(n, x) for group in groups for n, x in part.covariates(group)]
        fitted = bradley_terry.fit(part.preferred_a, np.column_stack([x for _, x in terms]), part.clusters)
        yield from self._term_rows(name, part, fitted, terms)

    def _curve(self, name: str, specification: Specification) -> Iterator[Row]:
        part, curve = self.part, _CURVES[specification.kind](self.part)
        fitted = bradley_terry.fit(part.preferred_a, np.column_stack([x for _, x in curve.terms]), part.clusters)
        for row in self._term_rows(name, part, fitted, curve.terms):
            # No term of a curve changes while the others stay, so that none has an effect of its own.
            straight = {"p_linearity": linearity(fitted)} if row["term"] == TYPICALITY else {}
            yield {**row, **dict.fromkeys(_SIZES), **straight}
        yield from curve_rows(name, part, curve, fitted)

    def _responses(self, name: str, specification: Specification) -> Iterator[Row]:
        yield from _RESPONSES[specification.kind](name, self.part, self.random)

    def _binned(self, name: str, specification: Specification) -> Iterator[Row]:
        part, size = self.part, np.abs(self.part.delta)
        # Values that occur, so that copies of the rows move no edge.
        edges = np.unique(np.quantile(size, np.linspace(0, 1, BINS + 1), method="inverted_cdf"))
        which = np.clip(np.searchsorted(edges, size, side="right") - 1, 0, max(len(edges) - 2, 0))
        for k in range(max(len(edges) - 1, 1)):
            rows = which == k
            term = f"|difference| {edges[k]:.4g} to {edges[min(k + 1, len(edges) - 1)]:.4g}"
            inside = part.narrowed(mask_of(part, rows))
            try:
                found, covariance = self._mean(inside)
                yield row_of(name, term, inside, covariance, found, inside.delta)
            except NoEstimate as error:
                yield row_of(name, term, inside, status=str(error))

    def _annotators(self, name: str, specification: Specification) -> Iterator[Row]:
        part = self.part
        column = part.cell.column("annotator")
        if column.null_count == len(column):
            raise NoEstimate("the dataset does not say who judged")
        part = part.narrowed(column.is_valid().to_numpy())
        # Numbered within the part: what is not fitted changes no bit.
        annotators = codes(column.take(part.at))
        if len(annotators) and not annotators.any():
            raise NoEstimate("all comparisons were judged by one annotator, so there is no error to estimate")
        fitted = bradley_terry.fit(part.preferred_a, part.delta[:, None], part.clusters)
        covariance, fewest = two_way(
            lambda clusters: (
                bradley_terry.fit(part.preferred_a, part.delta[:, None], clusters, start=fitted.coefficients).covariance
            ),
            part.clusters,
            annotators,
        )
        if fewest > 1 and not covariance[0, 0] > 0:
            raise NoEstimate("the two-way variance is not positive, as may happen where prompts or annotators are few")
        interval = t_interval(float(fitted.coefficients[0]), float(np.sqrt(max(covariance[0, 0], 0.0))), fewest)
        yield row_of(name, TYPICALITY, part, TWO_WAY, interval, part.delta)

    def _paper(self, name: str, specification: Specification) -> Iterator[Row]:
        part = self.part.with_quality()
        controls = list(part.covariates("quality"))
        # As the dataset's rows stand, which is what the intercept is about.
        turn = part.cell.turn[part.at]
        columns = [(TYPICALITY, part.delta), *controls]
        lost = bradley_terry.usable([x for _, x in columns])
        kept = [column for j, column in enumerate(columns) if j not in lost]
        terms = [*((term, turn * x) for term, x in kept), ("intercept", np.ones(len(turn)))]
        outcome = part.preferred_a == (turn > 0)
        fitted = bradley_terry.fit(outcome, np.column_stack([x for _, x in terms]), part.clusters)
        yield from self._term_rows(name, part, fitted, terms)
        for j, reason in lost.items():
            yield row_of(name, columns[j][0], part, status=reason)

    def _paper_ordered(self, name: str, specification: Specification) -> Iterator[Row]:
        part = self.part.with_quality()
        responses = part.responses()
        if responses is None:
            raise NoEstimate("the responses have no rating that is the outcome")
        outcome, columns, clusters = responses
        if 1 < clusters.max() + 1 < FEW_CLUSTERS:
            raise NoEstimate(TOO_FEW)
        lost = {
            term: "it is the same for all responses"
            for term, x in columns.items()
            if term != TYPICALITY and not np.ptp(x)
        }
        terms = [term for term in columns if term not in lost]
        fitted = ordered.fit(outcome, np.column_stack([columns[term] for term in terms]), clusters)
        for term, beta, error in zip(terms, fitted.coefficients, np.sqrt(np.diag(fitted.covariance)), strict=True):
            found = t_interval(float(beta), float(error), fitted.n_clusters)
            # Of responses, not of differences.
            yield row_of(name, term, part, CLUSTERED, found) | {"mean_log_likelihood": fitted.mean_log_likelihood}
        for term, reason in lost.items():
            yield row_of(name, term, part, status=reason)

    def _placebo_labels(self, name: str, specification: Specification) -> Iterator[Row]:
        part = self.part
        flipped = (self.random.random(part.n_prompts) < 0.5)[part.clusters]
        yield self._placebo(name, part.preferred_a ^ flipped, part.delta)

    def _placebo_prompts(self, name: str, specification: Specification) -> Iterator[Row]:
        part = self.part
        if part.n_prompts < 2:
            raise NoEstimate("all comparisons belong to one prompt")
        source = another_prompt(part.clusters, self.random)
        sign = np.where(self.random.random(len(source)) < 0.5, 1.0, -1.0)
        yield self._placebo(name, part.preferred_a, part.delta[source] * sign)

    def _placebo(self, name: str, preferred_a: Any, delta: Array) -> Row:
        fitted = bradley_terry.fit(preferred_a, delta[:, None], self.part.clusters)
        return next(self._term_rows(name, self.part, fitted, [(TYPICALITY, delta)]))
