"""The table of estimates."""

from analysis.schemas.columns import (
    COUNT,
    DATASET,
    MEASURE,
    MODEL,
    REAL,
    STUDY,
    TEXT,
    Column,
    Table,
    optional,
)

ESTIMATES = Table(
    "estimates",
    "one coefficient of one specification",
    (
        STUDY,
        Column("run_id", TEXT, "the run that made it"),
        DATASET,
        MODEL,
        MEASURE,
        Column("specification", TEXT, "what was fitted: rate, rate_wilson, bt, bt_length, …"),
        Column("slice", TEXT, "which comparisons: all, equal_quality or column=value"),
        Column(
            "term",
            TEXT,
            "typicality for the coefficient of interest, else the covariate's name; of ordered also threshold s, the "
            "threshold below the level of strengths from s on, and of ties tie, log ν",
        ),
        Column("status", TEXT, "ok, or the reason why there is no number"),
        optional(
            "estimate",
            REAL,
            "rate: a share between 0 and 1; ratings: rating points per unit of the term; entropy_vuong: nats per "
            "comparison; else log-odds per unit of the term (a term `curve at x against y`: log-odds)",
            "share; rating points; nats; log-odds",
        ),
        optional("std_error", REAL, "standard error", "as the estimate"),
        optional(
            "statistic", REAL, "t statistic against no bias (a rate of one half, a coefficient of zero); of none else"
        ),
        optional("p_value", REAL, "two-sided p value of the statistic"),
        optional("conf_low", REAL, "lower end of the 95 % interval", "as the estimate"),
        optional("conf_high", REAL, "upper end of the 95 % interval", "as the estimate"),
        optional("difference_sd", REAL, "√mean(Δ²) of the term over the comparisons used", "the term's unit"),
        optional(
            "odds_ratio_sd",
            REAL,
            "odds ratio for a difference of one difference_sd; null where the estimate is no log-odds, and for "
            "the terms of a curve",
        ),
        optional(
            "probability_change",
            REAL,
            "change in the probability of being preferred from a difference of −1 to one of +1 difference_sd; null as "
            "odds_ratio_sd",
            "share",
        ),
        optional(
            "marginal_effect",
            REAL,
            "average marginal effect on the probability of being preferred, a tie counting one half; null where a "
            "specification is fitted to responses",
            "probability per unit of the term",
        ),
        optional("marginal_effect_std_error", REAL, "its standard error, by the delta method", "as marginal_effect"),
        optional(
            "share_left",
            REAL,
            "marginal effect over that of bt on the same comparisons; null where that may be zero",
            "share",
        ),
        optional("share_left_low", REAL, "lower end of its 95 % interval, by resampling prompts", "share"),
        optional("share_left_high", REAL, "upper end of its 95 % interval", "share"),
        optional(
            "adjusted_rate",
            REAL,
            "how often the more typical response is preferred, the other terms being equal",
            "share",
        ),
        optional("adjusted_rate_low", REAL, "lower end of its 95 % interval", "share"),
        optional("adjusted_rate_high", REAL, "upper end of its 95 % interval", "share"),
        optional(
            "p_equivalence",
            REAL,
            "p value of two one-sided tests that the (adjusted) rate is within the study's margin of one half: small "
            "values say that there is no bias of that size",
        ),
        optional("power", REAL, "probability of finding a rate that is off one half by the margin", "share"),
        optional(
            "minimum_detectable", REAL, "smallest effect that is found with a probability of 80 %", "as the estimate"
        ),
        optional(
            "p_holm", REAL, "p value adjusted over the study's cells (Holm): same specification, slice and measure"
        ),
        optional("p_bh", REAL, "the same by Benjamini and Hochberg: false discovery rate"),
        optional(
            "p_linearity", REAL, "quadratic and spline: p value of the Wald test that the curve is a straight line"
        ),
        optional(
            "mean_log_likelihood",
            REAL,
            "of the fitted model; −0.693 is that of a coin. paper_ordered: per response; conditional and rank_ordered: "
            "per set of responses",
            "nats per comparison",
        ),
        Column("n_comparisons", COUNT, "comparisons used", "comparisons"),
        Column("n_prompts", COUNT, "prompts they belong to: the clusters", "prompts"),
        optional("n_responses", COUNT, "responses used, where a specification is fitted to responses", "responses"),
        Column("n_likelihood_ties", COUNT, "comparisons whose two responses are equally typical", "comparisons"),
        Column("covariance", TEXT, "how the standard error and the interval were made"),
    ),
)
