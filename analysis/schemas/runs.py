"""The table of runs."""

import pyarrow as pa

from analysis.schemas.columns import (
    COUNT,
    PAIRS,
    PRECISION,
    REAL,
    STUDY,
    TEXT,
    TEXTS,
    TIME,
    Column,
    Table,
    optional,
)

RUNS = Table(
    "runs",
    "one run",
    (
        Column("run_id", TEXT, "time of the start and a random suffix"),
        STUDY,
        Column("started", TIME, "when it started"),
        Column("ended", TIME, "when it ended"),
        Column("state", TEXT, "completed, partial (some cell failed) or failed (every cell did)"),
        Column("code_version", TEXT, "version of typicality, with its git commit where known"),
        Column("packages", PAIRS, "versions of the packages that decide numbers"),
        Column("definition", TEXT, "the study as it was run, as JSON"),
        Column(
            "datasets",
            pa.list_(
                pa.struct(
                    [
                        ("dataset", TEXT),
                        ("location", TEXT),
                        ("revision", TEXT),
                        ("rater", TEXT),
                        ("rows", COUNT),
                        ("comparisons", COUNT),
                        ("prompts", COUNT),
                    ]
                )
            ),
            "what was read: Hub id or file, commit or SHA-256, rows and comparisons",
        ),
        Column(
            "base_models",
            pa.list_(
                pa.struct(
                    [
                        ("base_model", TEXT),
                        ("location", TEXT),
                        ("revision", TEXT),
                        ("dtype", TEXT),
                        ("parameters", COUNT),
                    ]
                )
            ),
            "what scored: Hub id or folder, commit or SHA-256, type, parameters",
        ),
        Column(
            "from_cache",
            TEXTS,
            "datasets and base models whose commit is the one in the local cache, because the Hub could not be asked",
        ),
        Column(
            "cells",
            pa.list_(
                pa.struct(
                    [
                        ("dataset", TEXT),
                        ("base_model", TEXT),
                        ("scoring_id", TEXT),
                        ("reference_id", TEXT),
                        ("responses", COUNT),
                        ("scored", COUNT),
                        ("scored_now", COUNT),
                        ("tokens_now", COUNT),
                        ("truncated", COUNT),
                        ("cut", COUNT),
                        ("straddling", COUNT),
                        ("memorised", COUNT),
                        ("precision", PRECISION),
                    ]
                )
            ),
            "what scoring gave: the scores' scoring_id, that of the float32 ones beside them (reference_id), and how "
            "many responses were asked for, scored, scored in this run (of tokens_now tokens with their prompts), "
            "truncated, cut themselves, straddle the boundary, or are memorised (50 tokens or more that the base model "
            "writes word for word at least once in 1,000 tries); precision, where the type is not float32: how "
            "far the likelihoods of a sample of n_responses are from those in float32 (mean and largest absolute "
            "deviation, in nats), and in how many of its n_comparisons the more typical response changes (n_turned)",
        ),
        Column("device", TEXT, "where the likelihoods were computed"),
        Column("dtype", TEXT, "floating-point types used"),
        Column(
            "stages",
            pa.list_(
                pa.struct(
                    [
                        ("stage", TEXT),
                        ("dataset", TEXT),
                        ("base_model", TEXT),
                        ("status", TEXT),
                        ("seconds", REAL),
                        ("detail", TEXT),
                    ]
                )
            ),
            "every stage with its time and outcome",
            "seconds",
        ),
        Column(
            "table_hashes",
            pa.list_(pa.struct([("table", TEXT), ("sha256", TEXT), ("rows", COUNT)])),
            "SHA-256 and rows of the study's tables this run wrote",
        ),
        optional(
            "scorings", TEXTS, "every scoring_id whose scores this run used, those in float32 for comparison among them"
        ),
        optional(
            "fingerprints",
            pa.list_(
                pa.struct([("stage", TEXT), ("dataset", TEXT), ("base_model", TEXT), ("part", TEXT), ("value", TEXT)])
            ),
            "what decided the result of every stage that came to one, part by part: a later run does a stage again "
            "where a part has changed",
        ),
    ),
)
