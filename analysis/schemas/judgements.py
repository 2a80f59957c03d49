"""Tables of comparisons, and of what was left out."""

from analysis.schemas.columns import (
    COMPARISON,
    COUNT,
    DATASET,
    FLAG,
    MEASURE,
    MODEL,
    PROMPT,
    QUALITY,
    REAL,
    STUDY,
    TEXT,
    TEXTS,
    Column,
    Table,
    optional,
)

COMPARISONS = Table(
    "comparisons",
    "one judgement between two responses, in one study",
    (
        STUDY,
        DATASET,
        PROMPT,
        COMPARISON,
        Column(
            "response_a",
            TEXT,
            "response_id of one: the first in a row of pairs; of ratings and ranks, the one whose text sorts first",
        ),
        Column("response_b", TEXT, "response_id of the other"),
        Column("preference", TEXT, "which was preferred: a, b or tie"),
        optional("strength", REAL, "how strongly, never negative", "the dataset's own scale"),
        Column("rater", TEXT, "who judged: human, ai, mixed or simulated"),
        optional("annotator", TEXT, "which rater"),
        Column("order_known", FLAG, "a stood first when the raters saw the two"),
        optional("split", TEXT, "split of the dataset"),
        optional("language", TEXT, "language, where the dataset names it"),
        optional("domain", TEXT, "domain, where the dataset names it"),
        optional("source_a", TEXT, "which model or person wrote a"),
        optional("source_b", TEXT, "which model or person wrote b"),
        Column("quality", QUALITY, "quality ratings of both, which controls may use", "the dataset's own scale"),
        optional("flag", TEXT, "what the label says beyond the preference, such as both_bad of a tie"),
    ),
)

DIFFERENCES = Table(
    "differences",
    "one comparison under one base model and measure",
    (
        STUDY,
        DATASET,
        COMPARISON,
        PROMPT,
        MODEL,
        MEASURE,
        Column("difference", REAL, "the measure of a minus that of b", "nats (per token or byte, as the measure says)"),
        Column("typical", TEXT, "which response is more typical: a, b or tie"),
        optional("agrees", FLAG, "the more typical response was preferred; null where either is a tie"),
    ),
)

EXCLUSIONS = Table(
    "exclusions",
    "one reason at one stage",
    (
        STUDY,
        DATASET,
        optional("base_model", TEXT, "label of the base model, where the reason depends on it"),
        Column("stage", TEXT, "preferences, likelihood or regression"),
        Column("unit", TEXT, "what was left out: row, response or comparison"),
        Column("reason", TEXT, "why"),
        Column("n", COUNT, "how many", "the unit"),
        Column("examples", TEXTS, "up to five of them: rows of the dataset, or ids"),
    ),
)
