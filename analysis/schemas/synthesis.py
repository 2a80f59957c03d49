"""Tables of what estimates have in common: over the values of a column, over datasets and base models."""

import pyarrow as pa

from analysis.schemas.columns import (
    COUNT,
    DATASET,
    MEASURE,
    MODEL,
    PROMPT,
    REAL,
    STUDY,
    TEXT,
    Column,
    Table,
    optional,
)

# The rungs of the control ladder that decide verdicts, of which influences are kept.
INFLUENTIAL = ("bt", "bt_length", "bt_style", "bt_quality", "bt_source")
SCALES = {
    "logit_rate": "log-odds of the rate",
    "log_odds": "α, log-odds per unit of the measure",
    "log_odds_sd": "α · √mean(Δ²): the log of the odds ratio per SD",
    "logit_adjusted_rate": "log-odds of the adjusted rate",
}
_SMALL = pa.float32()
_STATUS = Column("status", TEXT, "ok, or the reason why there is no number")

HETEROGENEITY = Table(
    "heterogeneity",
    "α of a cell in the comparisons with one value of a column, or the test that α is the same in all of them",
    (
        STUDY,
        DATASET,
        MODEL,
        MEASURE,
        Column(
            "specification",
            TEXT,
            "bt (raw), or under the headline measure the last rung of the ladder that the cell has: one fit with an α "
            "for every value, and the controls in common",
        ),
        Column(
            "column",
            TEXT,
            "source (the two that wrote the responses), same_source (same, different), domain, language, split, rater, "
            "annotator, or disagreement (whether all judgements of a pair of responses agree)",
        ),
        Column("kind", TEXT, "value, other (the rarer values together), missing (in none of them) or equality"),
        optional("value", TEXT, "the value, where the row is of one"),
        _STATUS,
        optional("n_values", COUNT, "how many values the row is about", "values"),
        optional("estimate", REAL, "α; of equality the mean of the α, as random effects have it", "log-odds per unit"),
        optional("std_error", REAL, "standard error, clustered by prompt", "as the estimate"),
        optional("conf_low", REAL, "lower end of the 95 % interval", "as the estimate"),
        optional("conf_high", REAL, "upper end of the 95 % interval", "as the estimate"),
        optional("shrunken", REAL, "α drawn towards their mean, as far as its error is large", "as the estimate"),
        optional(
            "shrunken_low", REAL, "lower end of its 95 % interval; takes the variance as known", "as the estimate"
        ),
        optional("shrunken_high", REAL, "upper end", "as the estimate"),
        optional("tau", REAL, "of equality: the SD of the α between values, by REML", "as the estimate"),
        optional("statistic", REAL, "of equality: F of Wald's test, corrected for few prompts (CR2, Welch)"),
        optional("df_1", REAL, "its degrees of freedom: values less one"),
        optional("df_2", REAL, "its degrees of freedom in the denominator"),
        optional("p_value", REAL, "its p value"),
        optional("p_holm", REAL, "the same adjusted over the columns of the cell, measure and specification (Holm)"),
        Column("n_comparisons", COUNT, "comparisons", "comparisons"),
        Column("n_prompts", COUNT, "prompts they belong to", "prompts"),
    ),
)

INFLUENCES = Table(
    "influences",
    "what one prompt adds to the estimates of one cell, to first order; squares sum to the squared standard error",
    (
        STUDY,
        DATASET,
        MODEL,
        MEASURE,
        PROMPT,
        optional("rate__logit_rate", _SMALL, f"influence on the {SCALES['logit_rate']}", "log-odds"),
        *(
            optional(f"{name}__{scale}", _SMALL, f"influence on {SCALES[scale].removesuffix(' of the measure')}", unit)
            for name in INFLUENTIAL
            for scale, unit in (
                ("log_odds", "log-odds per unit of the measure"),
                ("log_odds_sd", "log-odds"),
                ("logit_adjusted_rate", "log-odds"),
            )
        ),
    ),
)

SYNTHESIS = Table(
    "synthesis",
    "what the cells of a study have in common on one scale, or one cell in it",
    (
        STUDY,
        MEASURE,
        Column(
            "specification",
            TEXT,
            "rate, a rung of the ladder (of the cells that have it), or last_rung: the last one that each cell has",
        ),
        Column("scale", TEXT, "; ".join(f"{name}: {words}" for name, words in SCALES.items())),
        Column(
            "raters",
            TEXT,
            "all; human, ai, mixed or simulated labels alone; or human - ai: their difference. Simulated labels are in "
            "all only where a study has no others",
        ),
        optional("dataset", TEXT, "null: the synthesis; else the cell's dataset"),
        optional("base_model", TEXT, "null: the synthesis; else the cell's base model"),
        _STATUS,
        optional("controls", TEXT, "of a cell: the rung that its estimate is from"),
        optional("estimate", REAL, "the mean over datasets; of a cell its own estimate", "log-odds, as scale says"),
        optional("std_error", REAL, "cluster-robust standard error (CR2); of a cell its own", "as the estimate"),
        optional("df", REAL, "Satterthwaite's degrees of freedom; below 4 the interval is a rough one"),
        optional("p_value", REAL, "two-sided p value against zero, which is no bias"),
        optional("conf_low", REAL, "lower end of the 95 % interval", "as the estimate"),
        optional("conf_high", REAL, "upper end of the 95 % interval", "as the estimate"),
        optional(
            "prediction_low",
            REAL,
            "lower end of the interval in which 95 % of new datasets under a new base model are expected; null for "
            "fewer than three datasets",
            "as the estimate",
        ),
        optional("prediction_high", REAL, "upper end", "as the estimate"),
        optional("shrunken", REAL, "of a cell: its estimate drawn towards the mean", "as the estimate"),
        optional(
            "shrunken_low", REAL, "lower end of its 95 % interval; takes the variances as known", "as the estimate"
        ),
        optional("shrunken_high", REAL, "upper end", "as the estimate"),
        optional("tau_dataset", REAL, "SD of the true values between datasets, by REML", "as the estimate"),
        optional(
            "tau_base_model",
            REAL,
            "SD between base models within a dataset; null where no dataset has several",
            "as the estimate",
        ),
        optional("i2_dataset", REAL, "I²: share of the variance that is between datasets", "share"),
        optional("i2_base_model", REAL, "I²: share that is between base models within a dataset", "share"),
        optional("q", REAL, "Cochran's Q: are all cells the same, but for sampling?"),
        optional("q_df", COUNT, "its degrees of freedom"),
        optional("q_p_value", REAL, "its p value, by χ²"),
        Column("n_cells", COUNT, "cells with a number", "cells"),
        Column("n_missing", COUNT, "cells without one, which are left out", "cells"),
        Column("n_datasets", COUNT, "datasets they are of", "datasets"),
        Column("n_clusters", COUNT, "bodies of data: datasets that share prompts count as one", "clusters"),
        Column("n_base_models", COUNT, "base models", "base models"),
    ),
)

AGREEMENT = Table(
    "agreement",
    "how far the base models of a study agree: on the comparisons of a dataset, or on the order of the datasets",
    (
        STUDY,
        MEASURE,
        optional("dataset", TEXT, "the dataset whose comparisons are ordered; null: the datasets are, by α per SD"),
        _STATUS,
        Column("n_base_models", COUNT, "base models", "base models"),
        Column("n", COUNT, "comparisons that all of them have, or datasets", "comparisons or datasets"),
        optional("kendall_w", REAL, "Kendall's W: 1 where all order them alike"),
        optional("spearman", REAL, "mean of Spearman's ρ over pairs of base models"),
        optional("spearman_least", REAL, "the least of them"),
        optional(
            "same_side",
            REAL,
            "of comparisons: how often two base models find the same response more typical, mean over pairs; ties in "
            "either count one half",
            "share",
        ),
    ),
)
