"""The specifications by name: what each fits, its formula and its source."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Specification:
    """A specification: its formula and source, in words for the report, and the covariates beside the measure."""

    title: str
    formula: str
    source: str
    covariates: tuple[str, ...] = ()


SPECIFICATIONS: dict[str, Specification] = {
    "rate": Specification(
        "typicality bias rate",
        "share of decided comparisons whose preferred response is the more typical one; likelihood ties count one half",
        "Zhang et al. 2025, arXiv 2510.01171, appendix E.2; the interval is clustered by prompt",
    ),
    "bt": Specification(
        "Bradley–Terry",
        "logit P(a preferred) = α (m_a − m_b), no intercept",
        "Bradley & Terry 1952",
    ),
    "bt_length": Specification(
        "Bradley–Terry with length",
        "logit P(a preferred) = α (m_a − m_b) + β₁ (ℓ_a − ℓ_b) + β₂ (ℓ_a² − ℓ_b²), ℓ = log(words / 100)",
        "Bradley & Terry 1952; curvature is on responses",
        ("log_words", "log_words_squared"),
    ),
}
