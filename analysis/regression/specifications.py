"""The specifications by name: what each fits, its formula and its source."""

from dataclasses import dataclass

PAPER = "Zhang et al. 2025, arXiv 2510.01171"
_LOGIT = "logit P(a preferred) = α (m_a − m_b)"
_ZERO = "expected at zero, which one interval in twenty misses"

# The groups of covariates that the rungs of the ladder add, one after the other.
LENGTH = ("log_words", "log_words_squared")
STYLE = ("headers", "list_items", "bold", "code_blocks", "links", "emoji", "refusal", "repetition")
GROUPS = ("length", "style", "quality", "source", "fluency")


@dataclass(frozen=True)
class Specification:
    """A specification: its formula and source, in words for the report, and how it is fitted.

    Attributes
    ----------
    kind
        What fits it; the names of `analysis.regression.fitting`.
    groups
        Groups of covariates beside the measure. One that the dataset lacks is left out, and the row says so where it
        is the group that the specification is there for (the last one).
    by_prompt
        Whether every prompt weighs the same, not every comparison.
    needs_unconditional
        Whether log p(response) must be scored, too.
    needs_outcome
        Whether the rating that is the outcome must be known of each response.
    needs_orders
        Whether it takes only responses that their comparisons order completely.
    takes_ties
        Whether ties are fitted, too.
    """

    title: str
    formula: str
    source: str
    kind: str = "ladder"
    groups: tuple[str, ...] = ()
    by_prompt: bool = False
    needs_unconditional: bool = False
    needs_outcome: bool = False
    needs_orders: bool = False
    takes_ties: bool = False


def _rung(n: int, title: str, adds: str) -> Specification:
    return Specification(title, f"{_LOGIT} + {adds}; no intercept", "Bradley & Terry 1952", groups=GROUPS[:n])


SPECIFICATIONS: dict[str, Specification] = {
    "rate": Specification(
        "typicality bias rate",
        "share of decided comparisons whose preferred response is the more typical one; likelihood ties count one half",
        f"{PAPER}, appendix E.2; the interval is clustered by prompt",
        "rate",
    ),
    "rate_prompts": Specification(
        "typicality bias rate, every prompt weighing the same",
        "mean over prompts of the rate within the prompt",
        "the same with weights",
        "rate",
        by_prompt=True,
    ),
    "bt": Specification("Bradley–Terry", f"{_LOGIT}, no intercept", "Bradley & Terry 1952"),
    "bt_prompts": Specification(
        "Bradley–Terry, every prompt weighing the same",
        f"{_LOGIT}, no intercept; a comparison weighs 1 / comparisons of its prompt",
        "Bradley & Terry 1952",
        by_prompt=True,
    ),
    "bt_length": _rung(1, "Bradley–Terry with length", "β₁ (ℓ_a − ℓ_b) + β₂ (ℓ_a² − ℓ_b²), ℓ = log(words / 100)"),
    "bt_style": _rung(
        2,
        "… and style",
        "length + headers, list items, bold, code blocks, links and emoji (each log(1 + count)), refusal, repetition",
    ),
    "bt_quality": _rung(3, "… and quality", "length + style + the dataset's quality ratings"),
    "bt_source": _rung(4, "… and source", "length + style + quality + a fixed effect of each source"),
    "bt_fluency": Specification(
        "… and fluency",
        f"{_LOGIT} + length + style + quality + source + the measure without the prompt, from log p(response); no "
        "intercept. It splits typicality into its parts: verdicts stop at the rung before",
        "Bradley & Terry 1952",
        groups=GROUPS,
        needs_unconditional=True,
    ),
    "bt_annotators": Specification(
        "Bradley–Terry, clustered by prompt and annotator",
        f"{_LOGIT}, no intercept; errors clustered both ways",
        "Cameron, Gelbach & Miller 2011",
        "annotators",
    ),
    "quadratic": Specification(
        "Bradley–Terry with curvature",
        f"{_LOGIT} + β (m_a² − m_b²), m about the mean of all responses compared; no intercept",
        "Bradley & Terry 1952; curvature is on responses",
        "quadratic",
    ),
    "spline": Specification(
        "Bradley–Terry with a spline",
        "logit P(a preferred) = f(m_a) − f(m_b), f a restricted cubic spline with knots at the quantiles .05, .35, .65 "
        "and .95 of the responses compared. Its rows are the terms of f (typicality: the slope below the first knot), "
        "and f at steps of the measure less f at the median",
        "Harrell 2015, § 2.4; linearity by a Wald test",
        "spline",
    ),
    "binned": Specification(
        "rate by the size of the difference",
        "the rate within each tenth of |m_a − m_b|",
        "dose–response; intervals clustered by prompt",
        "binned",
    ),
    "paper": Specification(
        "the paper's own regression",
        f"{_LOGIT} + quality + intercept, in the dataset's order of a and b; the intercept absorbs that order",
        f"{PAPER}, appendix E.1",
        "paper",
    ),
    "paper_ordered": Specification(
        "the paper's ordered model",
        "logit P(rating ≤ level) = θ_level − α m − quality, on the responses compared, pooled over prompts: what "
        "prompts differ in counts, too",
        f"McCullagh 1980; {PAPER}, public code",
        "paper_ordered",
        needs_outcome=True,
    ),
    "ratings": Specification(
        "rating by typicality within the prompt",
        "rating = level of the prompt + α m + quality, on the responses compared, judged ties among them; α is in "
        "rating points per unit of the measure. Prompts whose responses all have one rating are there only where the "
        'dataset keeps ties (ties = "keep"); else α is that of the others',
        "least squares within prompts (fixed effects)",
        "ratings",
        needs_outcome=True,
        takes_ties=True,
    ),
    "conditional": Specification(
        "conditional logit of the best response",
        "P(i is the best of its prompt) = exp(α m_i + quality) / Σ_j exp(α m_j + quality), where the comparisons order "
        "all responses, more than two in some prompt; where k are tied for the best, these k against all sets of k, so "
        "that α is the log-odds of being among the best rather than another",
        "McFadden 1974; Chamberlain 1980",
        "conditional",
        needs_orders=True,
    ),
    "rank_ordered": Specification(
        "rank-ordered logit",
        "the same for the best response, then for the best of the others, and so on down the order; ties by Efron's "
        "rule, as long as they are few",
        "Plackett 1975; Beggs, Cardell & Hausman 1981; Efron 1977",
        "rank_ordered",
        needs_orders=True,
    ),
    "ordered": Specification(
        "ordered logit on the strength of preference",
        "logit P(s ≤ level) = θ_level − α (m_a − m_b), s the strength, above 0 where a is preferred, 0 of a tie or "
        "where the dataset says 0; θ symmetric about zero, so that position has no effect. Up to ten sizes of strength "
        "are levels; more are put into ten bins of about equal numbers. Where a dataset leaves ties out, of the others",
        "McCullagh 1980; symmetric2 of Christensen's R package ordinal",
        "ordered",
        takes_ties=True,
    ),
    "ties": Specification(
        "Bradley–Terry with ties",
        "P(a preferred) : P(tie) : P(b preferred) = exp(d/2) : ν : exp(−d/2), d = α (m_a − m_b); the term tie is log ν",
        "Davidson 1970",
        "ties",
        takes_ties=True,
    ),
    "leave_one_source_out": Specification(
        "Bradley–Terry without each source in turn",
        f"{_LOGIT}, no intercept, on the comparisons of the slice source!=value",
        "sensitivity",
        "leave_one_source_out",
    ),
    "placebo_labels": Specification(
        "placebo: labels",
        f"{_LOGIT}, the labels of each prompt flipped together by a fair coin; {_ZERO}",
        "placebo",
        "placebo_labels",
    ),
    "placebo_prompts": Specification(
        "placebo: prompts",
        f"{_LOGIT}, the difference taken from a comparison of another prompt, with a random sign; {_ZERO}",
        "placebo",
        "placebo_prompts",
    ),
    "length_only": Specification(
        "rival: length alone",
        "logit P(a preferred) = β₁ (ℓ_a − ℓ_b) + β₂ (ℓ_a² − ℓ_b²), no intercept",
        "Bradley & Terry 1952",
        "rival",
        groups=("length",),
    ),
    "unigram_only": Specification(
        "rival: frequency of words alone",
        "logit P(a preferred) = β (u_a − u_b), u the mean log frequency of the words in the dataset's other prompts",
        "Bradley & Terry 1952",
        "rival",
        groups=("unigram",),
    ),
    "surprisal_entropy": Specification(
        "rival: distance of surprisal from entropy alone",
        "logit P(a preferred) = β (e_a − e_b), e = −|surprisal − entropy|, both means over the response's tokens",
        "Bradley & Terry 1952; Meister et al. 2023, arXiv 2202.00666 (locally typical)",
        "rival",
        groups=("surprisal_entropy",),
    ),
    "entropy_beside": Specification(
        "Bradley–Terry beside that rival",
        f"{_LOGIT} + β (e_a − e_b), no intercept",
        "the same",
        groups=("surprisal_entropy",),
    ),
    "entropy_vuong": Specification(
        "typicality or that rival: which the labels prefer",
        "mean over comparisons of the log-likelihood of Bradley–Terry on m alone less that on e alone, in nats; above "
        "zero the labels prefer m",
        "Vuong 1989; clustered by prompt",
        "vuong",
    ),
}

DEFAULT = tuple(name for name, s in SPECIFICATIONS.items() if not s.needs_unconditional)
LADDER = tuple(f"bt{rung}" for rung in ("", *(f"_{group}" for group in GROUPS)))
