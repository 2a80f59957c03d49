"""Random-effects meta-analysis of estimates whose errors are known and may be correlated: free functions on arrays.

y = X β + Σ_l Z_l u_l + e, u_l ~ N(0, σ²_l I), e ~ N(0, V) with V known. Variances by restricted maximum likelihood.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from analysis.regression.inference import Array, Codes, NoEstimate

_STARTS = (1.0, 0.05)
_SAME = 1 - 1e-9
# Condition number of the correlations of errors: beyond it what is inverted is rounding.
_SINGULAR = 1e10


@dataclass(frozen=True)
class Multilevel:
    """A fitted model of k estimates, p coefficients and L levels of random intercepts.

    Attributes
    ----------
    y, design, errors
        (k,) the estimates, (k, p) X and (k, k) V, as they were given.
    variances
        (L,) σ², outermost level first.
    effects
        (k, k) Σ_l σ²_l Z_l Z_l′.
    coefficients, covariance
        (p,) β and its model-based covariance (p, p).
    weights
        (k, k) the inverse of V + effects.
    log_likelihood
        Restricted, up to a constant.
    """

    y: Array
    design: Array
    errors: Array
    variances: Array
    effects: Array
    coefficients: Array
    covariance: Array
    weights: Array
    log_likelihood: float

    @property
    def residuals(self) -> Array:
        """(k,) y less what the coefficients say."""
        return self.y - self.design @ self.coefficients


def fit(y: Array, errors: Array, design: Array, levels: Sequence[Codes]) -> Multilevel:
    """Fit by restricted maximum likelihood (as `metafor::rma.mv`; Konstantopoulos 2011).

    Parameters
    ----------
    y, errors
        (k,) estimates and the (k, k) covariance of their errors.
    design
        (k, p) covariates, the constant among them.
    levels
        For each level of random intercepts, outermost first, the (k,) codes of its units.

    Raises
    ------
    NoEstimate
        If two estimates have the same error, the errors are not more than the prompts they come from, or no maximum is
        found.
    """
    spread = np.sqrt(np.diag(errors))
    if not np.all(np.isfinite(errors)) or not np.all(spread > 0):
        raise NoEstimate("an estimate has no standard error")
    correlations = errors / np.outer(spread, spread)
    if (np.abs(np.tril(correlations, -1)) > _SAME).any():
        raise NoEstimate(
            "two estimates have the very same error, as those of one base model or dataset under two names would"
        )
    if np.linalg.cond(correlations) > _SINGULAR:
        raise NoEstimate("a dataset has too few prompts for so many estimates: their errors cannot be told apart")
    shared = [(codes[:, None] == codes[None, :]).astype(float) for codes in levels]
    # In units of a typical error, so that one tolerance fits all scales.
    unit = float(np.median(spread))
    # The restricted likelihood sees nothing of what the design explains, which may be large beside the errors.
    beside = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    scaled = _Restricted(beside / unit, errors / unit**2, design, shared)
    found = scaled.maximise() if levels else np.zeros(0)
    effects: Array = unit**2 * sum((v * z for v, z in zip(found, shared, strict=True)), 0.0 * errors)
    weights = _inverse(errors + effects)
    covariance = _inverse(design.T @ weights @ design)
    coefficients: Array = covariance @ (design.T @ (weights @ y))
    return Multilevel(
        y, design, errors, unit**2 * found, effects, coefficients, covariance, weights, scaled.log_likelihood(found)
    )


def _inverse(matrix: Array) -> Array:
    return np.asarray(np.linalg.inv(matrix), np.float64)


@dataclass(frozen=True)
class _Restricted:
    """The restricted likelihood as a function of the variances."""

    y: Array
    errors: Array
    design: Array
    shared: Sequence[Array]

    def _parts(self, variances: Array) -> tuple[float, Array, Array]:
        """The log-likelihood, P = W − W X (X′ W X)⁻¹ X′ W, and P y."""
        total = self.errors + sum((v * z for v, z in zip(variances, self.shared, strict=True)), 0 * self.errors)
        root = np.linalg.cholesky(total)
        inverse = np.linalg.inv(root)
        weights = inverse.T @ inverse
        across = weights @ self.design
        bread = self.design.T @ across
        projector = weights - across @ np.linalg.solve(bread, across.T)
        left = projector @ self.y
        value = -np.log(np.diag(root)).sum() - 0.5 * np.linalg.slogdet(bread)[1] - 0.5 * float(self.y @ left)
        return float(value), projector, left

    def log_likelihood(self, variances: Array) -> float:
        return self._parts(variances)[0]

    def loss(self, variances: Array) -> tuple[float, Array]:
        """The negative log-likelihood with its gradient."""
        value, projector, left = self._parts(variances)
        gradient = [0.5 * (np.sum(projector * z) - left @ z @ left) for z in self.shared]
        return -value, np.array(gradient)

    def maximise(self) -> Array:
        """The variances, none of them negative.

        Raises
        ------
        NoEstimate
            If no start leads to a maximum.
        """
        n = len(self.shared)
        found = []
        for start in _STARTS:
            made = optimize.minimize(
                self.loss, np.full(n, start), jac=True, method="L-BFGS-B", bounds=[(0, None)] * n,
                options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 500},
            )  # fmt: skip
            polished = self._polished(made.x)
            value, gradient = self.loss(polished)
            settled = np.all(np.where(polished > 0, np.abs(gradient), np.maximum(-gradient, 0)) < 1e-5)
            if np.isfinite(value) and settled:
                found.append((value, *polished))
        if not found:
            raise NoEstimate("the variance between the estimates could not be found")
        return np.array(min(found)[1:])

    def _polished(self, variances: Array) -> Array:
        """A few steps of Fisher's scoring on the variances that are not at zero."""
        for _ in range(8):
            value, projector, left = self._parts(variances)
            free = [k for k in range(len(variances)) if variances[k] > 1e-8]
            if not free:
                return np.zeros_like(variances)
            products = [projector @ self.shared[k] for k in free]
            score = np.array(
                [0.5 * (left @ self.shared[k] @ left - np.trace(m)) for k, m in zip(free, products, strict=True)]
            )
            information = 0.5 * np.array([[np.sum(a * b.T) for b in products] for a in products])
            step = np.zeros_like(variances)
            step[free] = np.linalg.lstsq(information, score, rcond=None)[0]
            trial = np.where(variances > 1e-8, np.maximum(variances + step, 0.0), 0.0)
            if not self.log_likelihood(trial) >= value:
                break
            if np.max(np.abs(trial - variances)) < 1e-12 * (1 + np.max(variances)):
                return trial
            variances = trial
        return np.where(variances > 1e-8, variances, 0.0)


@dataclass(frozen=True)
class Robust:
    """A coefficient or contrast with its cluster-robust standard error and Satterthwaite's degrees of freedom."""

    estimate: float
    std_error: float
    df: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """By Student's t."""
        half = float(stats.t.ppf(0.5 + level / 2, self.df)) * self.std_error
        return self.estimate - half, self.estimate + half

    @property
    def p_value(self) -> float:
        """Two-sided, against zero."""
        return float(2 * stats.t.sf(abs(self.estimate / self.std_error), self.df))


def robust(fitted: Multilevel, clusters: Codes, contrast: Array) -> Robust:
    """Robust variance CR2 of a contrast of coefficients (Pustejovsky & Tipton 2018; as `clubSandwich::coef_test`).

    Right where the random effects are specified wrongly, too, as long as clusters are independent; the working model is
    that of the fit.

    Parameters
    ----------
    fitted
        The model.
    clusters
        (k,) codes 0 … of independent clusters.
    contrast
        (p,) weights of the coefficients.

    Raises
    ------
    NoEstimate
        If a coefficient rests on one cluster alone, so that there is no error to estimate.
    """
    total, bread, x = fitted.errors + fitted.effects, fitted.covariance, fitted.design
    leftover = np.eye(len(x)) - x @ bread @ x.T @ fitted.weights
    pulls = []
    for cluster in range(int(clusters.max()) + 1):
        at = np.flatnonzero(clusters == cluster)
        root = np.linalg.cholesky(total[np.ix_(at, at)]).T
        rest = total[np.ix_(at, at)] - x[at] @ bread @ x[at].T
        adjust = root.T @ _inverse_root(root @ rest @ root.T) @ root
        own = np.linalg.inv(total[np.ix_(at, at)]) @ x[at] @ bread @ contrast
        pulls.append(adjust.T @ own @ leftover[at])
    rows = np.array(pulls)
    estimate = float(contrast @ fitted.coefficients)
    variance = float(np.sum((rows @ fitted.y) ** 2))
    expected = rows @ total @ rows.T
    df = float(np.trace(expected) ** 2 / np.sum(expected**2)) if np.any(expected) else 0.0
    if not variance > 0 or not df > 0.5:
        raise NoEstimate("it rests on one dataset alone, so there is no error to estimate")
    return Robust(estimate, float(np.sqrt(variance)), df)


def _inverse_root(matrix: Array) -> Array:
    """B^(−1/2) of a symmetric matrix, with zero where its eigenvalues are."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    kept = values > 1e-10 * max(float(values.max()), 1e-300)
    roots = np.where(kept, 1 / np.sqrt(np.where(kept, values, 1.0)), 0.0)
    made: Array = (vectors * roots) @ vectors.T
    return made


def heterogeneity(y: Array, errors: Array, design: Array) -> tuple[float, int, float]:
    """Cochran's Q_E = y′ P y with its degrees of freedom and p value, P that of the model without random effects."""
    weights = np.linalg.inv(errors)
    across = weights @ design
    projector = weights - across @ np.linalg.solve(design.T @ across, across.T)
    q, df = float(y @ projector @ y), len(y) - design.shape[1]
    return q, df, float(stats.chi2.sf(q, df))


def shares(fitted: Multilevel) -> Array:
    """I² of each level (L,): σ²_l over all of the variance, the typical one of errors (k−p) / tr P among it.

    Higgins & Thompson 2002; with levels Nakagawa & Santos 2012.
    """
    weights = np.linalg.inv(fitted.errors)
    across = weights @ fitted.design
    projector = weights - across @ np.linalg.solve(fitted.design.T @ across, across.T)
    typical = (len(fitted.y) - fitted.design.shape[1]) / float(np.trace(projector))
    made: Array = fitted.variances / (fitted.variances.sum() + typical)
    return made


def predictions(fitted: Multilevel) -> tuple[Array, Array]:
    """Each estimate shrunken towards what the model says of it, and its standard error: two (k,) arrays.

    The best linear unbiased prediction of its true value and the root of that one's error, the coefficients' own among
    it; the variances count as known (Henderson 1975; as `metafor::blup`).
    """
    pull = fitted.effects @ fitted.weights
    means = fitted.design @ fitted.coefficients
    rest = fitted.design - pull @ fitted.design
    variance = fitted.effects - pull @ fitted.effects + rest @ fitted.covariance @ rest.T
    return means + pull @ fitted.residuals, np.sqrt(np.maximum(np.diag(variance), 0.0))
