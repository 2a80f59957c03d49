"""From α to γ: the power to which training on the labels raises the base policy.

Labels that reward q + α · m, m the measure of typicality, train `max E[r] − β KL(π ‖ π_ref)` to
π ∝ π_ref · exp((q + α m) / β) (Zhang et al. 2025, arXiv 2510.01171, § 3). Where q is equal and m is log π_ref over a
length T, that is π ∝ π_ref^γ with γ = 1 + α / (β T): exactly where responses have that length. α is in log-odds per
unit of the measure and β in those of the reward, which are log-odds too.
"""

from dataclasses import dataclass

TOKENS, BYTES = "tokens", "bytes"


@dataclass(frozen=True)
class Sharpening:
    """What α under one measure says of γ.

    Attributes
    ----------
    formula
        In words for tables and the report.
    length
        What the measure divides log π_ref by: `tokens`, `bytes`, or nothing.
    reason
        Why there is no γ; empty where there is one.
    """

    formula: str
    length: str = ""
    reason: str = ""


# p(y) is raised to 1 − γ at the same time: the answer moves towards what the prompt asks for (the shape of
# classifier-free guidance, Sanchez et al. 2023, arXiv 2306.17806), so calling γ a power of π_ref would be wrong.
SHARPENING = {
    "mean_logprob": Sharpening("γ = 1 + α / (β · tokens)", TOKENS),
    "logprob_per_byte": Sharpening("γ = 1 + α / (β · bytes)", BYTES),
    "sum_logprob": Sharpening("γ = 1 + α / β"),
    "mean_pmi": Sharpening(
        "π ∝ π_ref(y | x)^(1 + s) · p(y)^(−s), s = α / (β · tokens)",
        TOKENS,
        "mean_pmi sharpens log π_ref(y | x) − log p(y): the trained policy is no power of the base policy",
    ),
}


def gamma(alpha: float, beta: float, measure: str, length: float | None = None) -> float:
    """γ = 1 + α / (β T); it rises with α, so the ends of α's interval give those of γ's.

    Parameters
    ----------
    alpha
        Log-odds per unit of the measure.
    beta
        Weight of the KL penalty, above zero.
    measure
        What α is per: a name of `SHARPENING`.
    length
        T, in what the measure divides log π_ref by (tokens or bytes); None for the sum, which divides by nothing.

    Raises
    ------
    ValueError
        If there is no γ under the measure, or its α needs a length and none is given, or the other way round: α / β
        alone, with an α per token, would be wrong by a factor of the length.
    """
    of = SHARPENING[measure]
    if of.reason:
        raise ValueError(of.reason)
    if of.length and length is None:
        raise ValueError(f"α of {measure} is of a mean over {of.length}: γ needs a length in {of.length}, {of.formula}")
    if not of.length and length is not None:
        raise ValueError(f"α of {measure} is of whole responses: γ takes no length, {of.formula}")
    return 1 + alpha / (beta * (1.0 if length is None else length))
