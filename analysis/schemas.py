"""Every table declared as data: its columns, their Arrow types, units and meanings.

`outputs/README.md`, the Arrow schemas on disk and the report's column notes are all made from these declarations.
"""

from dataclasses import dataclass

import pyarrow as pa

SCHEMA_VERSION = 1

TEXT = pa.string()
REAL = pa.float64()
COUNT = pa.int64()
FLAG = pa.bool_()
MESSAGES = pa.list_(pa.struct([("role", TEXT), ("content", TEXT)]))
RATINGS = pa.list_(pa.struct([("name", TEXT), ("value", REAL)]))
QUALITY = pa.list_(pa.struct([("name", TEXT), ("a", REAL), ("b", REAL)]))
PAIRS = pa.list_(pa.struct([("name", TEXT), ("value", TEXT)]))
TEXTS = pa.list_(TEXT)
PRECISION = pa.struct(
    [
        ("status", TEXT),
        ("n_responses", COUNT),
        ("mean", REAL),
        ("largest", REAL),
        ("n_comparisons", COUNT),
        ("n_turned", COUNT),
    ]
)
TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Column:
    """One column: its name, Arrow type, meaning, unit (empty where it has none), and whether it may be null."""

    name: str
    type: pa.DataType
    description: str
    unit: str = ""
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """One table: what a row is, its columns, and how many rows a reader must decode together."""

    name: str
    row: str
    columns: tuple[Column, ...]
    row_group: int = 65_536

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema, with a description and a unit on every field."""
        fields = [
            pa.field(c.name, c.type, c.nullable, {"description": c.description, "unit": c.unit}) for c in self.columns
        ]
        return pa.schema(fields, {"table": self.name, "row": self.row, "schema_version": str(SCHEMA_VERSION)})


def _optional(name: str, kind: pa.DataType, description: str, unit: str = "") -> Column:
    return Column(name, kind, description, unit, nullable=True)


_STUDY = Column("study", TEXT, "name of the study")
_DATASET = Column("dataset", TEXT, "label of the dataset, unique in its study")
_MODEL = Column("base_model", TEXT, "label of the base model, unique in its study")
_MEASURE = Column("measure", TEXT, "measure of typicality: mean_logprob, logprob_per_byte, sum_logprob or mean_pmi")
_RESPONSE = Column("response_id", TEXT, "hash of the prompt, the response and what the dataset says of it")
_TEXT = Column("text_id", TEXT, "hash of the prompt and the response alone: equal texts are scored once")
_SCORING = Column("scoring_id", TEXT, "hash of all that decides a score but the text; equal ids may be compared")
_CONDITIONAL = Column("conditional", FLAG, "true: log p(response | prompt); false: log p(response)")
_PROMPT = Column("prompt_id", TEXT, "hash of the prompt's messages")
_COMPARISON = Column("comparison_id", TEXT, "hash of the judgement; the same whichever response stands first")

RESPONSES = Table(
    "responses",
    "one response to one prompt, as one dataset records it",
    (
        _RESPONSE,
        _TEXT,
        _PROMPT,
        Column("prompt", MESSAGES, "the prompt as messages; plain text is one message of the user"),
        Column("response", TEXT, "the response's text"),
        _optional("source", TEXT, "which model or person wrote the response"),
        _optional("split", TEXT, "split of the dataset"),
        Column("ratings", RATINGS, "ratings of the response, each with its name", "the dataset's own scale"),
        _optional("language", TEXT, "language, where the dataset names it"),
        _optional("domain", TEXT, "domain, where the dataset names it"),
    ),
    # Rows are sorted by prompt and looked up by it, and their texts are long.
    row_group=2_048,
)

FEATURES = Table(
    "features",
    "one response's text statistics",
    (
        _RESPONSE,
        Column("features_version", COUNT, "version of the code that counts"),
        Column("n_words", COUNT, "runs of characters between white space", "words"),
        Column("n_chars", COUNT, "Unicode code points", "characters"),
        Column("n_bytes", COUNT, "length of the UTF-8 text", "bytes"),
        Column("n_lines", COUNT, "lines that are not blank", "lines"),
        Column("n_headers", COUNT, "Markdown headers", "headers"),
        Column("n_list_items", COUNT, "bulleted or numbered list items", "items"),
        Column("n_bold", COUNT, "spans in Markdown bold", "spans"),
        Column("n_code_blocks", COUNT, "fenced code blocks", "blocks"),
        Column("n_links", COUNT, "URLs", "links"),
        Column("n_emoji", COUNT, "emoji and pictographs", "signs"),
        Column("refusal", FLAG, "an apology or a refusal, by common English phrases, within the first 200 characters"),
        Column("repetition", REAL, "share of the runs of three words that stood in the text before", "share"),
    ),
)

SCORES = Table(
    "scores",
    "one response under one base model",
    (
        _RESPONSE,
        _TEXT,
        _PROMPT,
        _SCORING,
        Column("base_model", TEXT, "Hub id, or the folder's name, of the base model"),
        Column("revision", TEXT, "commit of the base model; for a folder, SHA-256 of its files"),
        Column("tokenizer", TEXT, "SHA-256 of the tokenizer"),
        Column("template", TEXT, "template that joined prompt and response"),
        _CONDITIONAL,
        Column("start_token", TEXT, "token before all text: bos, eos (where there is no BOS) or none"),
        _optional("context_window", COUNT, "longest text the base model was given", "tokens"),
        Column("long_responses", TEXT, "what was done to responses beyond the window: exclude or cut"),
        Column("dtype", TEXT, "floating-point type of weights and activations"),
        Column("backend", TEXT, "what computed the likelihood"),
        Column("device", TEXT, "where it was computed: cpu, cuda, …"),
        Column("scorer_version", COUNT, "version of the scoring code"),
        Column("sum_logprob", REAL, "log-likelihood of the response", "nats"),
        Column("n_tokens", COUNT, "tokens of the response that were scored", "tokens"),
        Column("n_bytes", COUNT, "UTF-8 bytes of the response that were scored", "bytes"),
        Column(
            "mean_entropy", REAL, "mean entropy of the next-token distributions along the response", "nats per token"
        ),
        Column("straddles", FLAG, "the response's first token begins in the prompt; it counts to the response"),
        Column("truncated", FLAG, "anything was cut, of the prompt or of the response"),
        Column("n_prompt_tokens", COUNT, "tokens of context before the response, the start token included", "tokens"),
        Column("n_prompt_tokens_cut", COUNT, "tokens cut from the prompt's left", "tokens"),
        Column("n_response_tokens_cut", COUNT, "tokens cut from the response's right", "tokens"),
    ),
)

TOKEN_LOGPROBS = Table(
    "token_logprobs",
    "one response under one base model, token by token; only of studies with token_logprobs = true",
    (
        _RESPONSE,
        _TEXT,
        _PROMPT,
        _SCORING,
        _CONDITIONAL,
        Column(
            "token_logprobs",
            pa.list_(pa.float32()),
            "log-probability of each token of the response given all before it; they add up to sum_logprob",
            "nats",
        ),
        Column(
            "token_ends",
            pa.list_(pa.int32()),
            "where each token ends in the response's text; tokens that share a character may end at the same place",
            "Unicode code points",
        ),
    ),
)

COMPARISONS = Table(
    "comparisons",
    "one judgement between two responses, in one study",
    (
        _STUDY,
        _DATASET,
        _PROMPT,
        _COMPARISON,
        Column(
            "response_a",
            TEXT,
            "response_id of one: the first in a row of pairs; of ratings and ranks, the one whose text sorts first",
        ),
        Column("response_b", TEXT, "response_id of the other"),
        Column("preference", TEXT, "which was preferred: a, b or tie"),
        _optional("strength", REAL, "how strongly, never negative", "the dataset's own scale"),
        Column("rater", TEXT, "who judged: human, ai, mixed or simulated"),
        _optional("annotator", TEXT, "which rater"),
        Column("order_known", FLAG, "a stood first when the raters saw the two"),
        _optional("split", TEXT, "split of the dataset"),
        _optional("language", TEXT, "language, where the dataset names it"),
        _optional("domain", TEXT, "domain, where the dataset names it"),
        _optional("source_a", TEXT, "which model or person wrote a"),
        _optional("source_b", TEXT, "which model or person wrote b"),
        Column("quality", QUALITY, "quality ratings of both, which controls may use", "the dataset's own scale"),
        _optional("flag", TEXT, "what the label says beyond the preference, such as both_bad of a tie"),
    ),
)

DIFFERENCES = Table(
    "differences",
    "one comparison under one base model and measure",
    (
        _STUDY,
        _DATASET,
        _COMPARISON,
        _PROMPT,
        _MODEL,
        _MEASURE,
        Column("difference", REAL, "the measure of a minus that of b", "nats (per token or byte, as the measure says)"),
        Column("typical", TEXT, "which response is more typical: a, b or tie"),
        _optional("agrees", FLAG, "the more typical response was preferred; null where either is a tie"),
    ),
)

ESTIMATES = Table(
    "estimates",
    "one coefficient of one specification",
    (
        _STUDY,
        Column("run_id", TEXT, "the run that made it"),
        _DATASET,
        _MODEL,
        _MEASURE,
        Column("specification", TEXT, "what was fitted: rate, rate_wilson, bt, bt_length, …"),
        Column("slice", TEXT, "which comparisons: all, equal_quality or column=value"),
        Column("term", TEXT, "typicality for the coefficient of interest, else the covariate's name"),
        Column("status", TEXT, "ok, or the reason why there is no number"),
        _optional(
            "estimate", REAL, "rate: a share between 0 and 1; else log-odds per unit of the term", "share; log-odds"
        ),
        _optional("std_error", REAL, "standard error", "as the estimate"),
        _optional("statistic", REAL, "t statistic against no bias (a rate of one half, a coefficient of zero)"),
        _optional("p_value", REAL, "two-sided p value of the statistic"),
        _optional("conf_low", REAL, "lower end of the 95 % interval", "as the estimate"),
        _optional("conf_high", REAL, "upper end of the 95 % interval", "as the estimate"),
        _optional("difference_sd", REAL, "√mean(Δ²) of the term over the comparisons used", "the term's unit"),
        _optional("odds_ratio_sd", REAL, "odds ratio for a difference of one difference_sd"),
        _optional(
            "probability_change",
            REAL,
            "change in probability from a difference of −1 to one of +1 difference_sd",
            "share",
        ),
        _optional(
            "marginal_effect", REAL, "average marginal effect on the probability", "probability per unit of the term"
        ),
        _optional("marginal_effect_std_error", REAL, "its standard error, by the delta method", "as marginal_effect"),
        _optional(
            "share_left",
            REAL,
            "marginal effect over that of bt on the same comparisons; null where that may be zero",
            "share",
        ),
        _optional("share_left_low", REAL, "lower end of its 95 % interval, by resampling prompts", "share"),
        _optional("share_left_high", REAL, "upper end of its 95 % interval", "share"),
        _optional(
            "adjusted_rate",
            REAL,
            "how often the more typical response is preferred, the other terms being equal",
            "share",
        ),
        _optional("adjusted_rate_low", REAL, "lower end of its 95 % interval", "share"),
        _optional("adjusted_rate_high", REAL, "upper end of its 95 % interval", "share"),
        _optional(
            "p_equivalence",
            REAL,
            "p value of two one-sided tests that the (adjusted) rate is within the study's margin of one half: small "
            "values say that there is no bias of that size",
        ),
        _optional("power", REAL, "probability of finding a rate that is off one half by the margin", "share"),
        _optional(
            "minimum_detectable", REAL, "smallest effect that is found with a probability of 80 %", "as the estimate"
        ),
        _optional(
            "p_holm", REAL, "p value adjusted over the study's cells (Holm): same specification, slice and measure"
        ),
        _optional("p_bh", REAL, "the same by Benjamini and Hochberg: false discovery rate"),
        _optional("mean_log_likelihood", REAL, "of the fitted model; −0.693 is that of a coin", "nats per comparison"),
        Column("n_comparisons", COUNT, "comparisons used", "comparisons"),
        Column("n_prompts", COUNT, "prompts they belong to: the clusters", "prompts"),
        Column("n_likelihood_ties", COUNT, "comparisons whose two responses are equally typical", "comparisons"),
        Column("covariance", TEXT, "how the standard error and the interval were made"),
    ),
)

EXCLUSIONS = Table(
    "exclusions",
    "one reason at one stage",
    (
        _STUDY,
        _DATASET,
        _optional("base_model", TEXT, "label of the base model, where the reason depends on it"),
        Column("stage", TEXT, "preferences, likelihood or regression"),
        Column("unit", TEXT, "what was left out: row, response or comparison"),
        Column("reason", TEXT, "why"),
        Column("n", COUNT, "how many", "the unit"),
        Column("examples", TEXTS, "up to five of them: rows of the dataset, or ids"),
    ),
)

FORECASTS = Table(
    "forecasts",
    "what training on a cell's labels would do, by the closed form, for one α, β and generation",
    (
        _STUDY,
        _DATASET,
        _MODEL,
        _MEASURE,
        Column("specification", TEXT, "where α comes from: bt, or the top rung of the ladder that has a number"),
        Column("slice", TEXT, "the comparisons that α was fitted to: all or equal_quality"),
        _optional(
            "candidates",
            TEXT,
            "null: γ by its formula; else the exact tilt of each prompt's measured candidates, by what is rewarded: "
            "typicality (w ∝ exp(α m / β)), quality (w ∝ exp(q / β), q the fitted effect of the ratings in the same "
            "specification) or both (w ∝ exp((q + α m) / β))",
        ),
        Column("status", TEXT, "ok, or the reason why there is no number"),
        _optional("alpha", REAL, "α as estimated", "log-odds per unit"),
        _optional("alpha_low", REAL, "lower end of its 95 % interval", "log-odds per unit"),
        _optional("alpha_high", REAL, "upper end of its 95 % interval", "log-odds per unit"),
        Column("unit", TEXT, "unit of the measure, which α is per"),
        Column("beta", REAL, "β: weight of the KL penalty against the base model", "log-odds per nat"),
        Column("formula", TEXT, "how γ follows from α, β and the length"),
        _optional("tokens", REAL, "median length of the cell's responses, where γ's formula takes it", "tokens"),
        _optional("bytes", REAL, "the same in UTF-8 bytes", "bytes"),
        Column(
            "generation",
            COUNT,
            "1: the base model is trained once; t: the model of generation t − 1 takes the base model's place, in the "
            "penalty and in what the raters find typical",
        ),
        Column("fresh_share", REAL, "share of data of generation 0 in what the next generation learns from", "share"),
        Column("entropy_bonus", REAL, "weight of the entropy in the objective, over β"),
        _optional("gamma", REAL, "γ: π ∝ π_ref^γ where quality is equal; γ^t after t generations"),
        _optional("gamma_low", REAL, "γ at the lower end of α's interval; 0 where it would be below"),
        _optional("gamma_high", REAL, "γ at the upper end"),
        _optional("n_prompts", COUNT, "prompts with three or more candidates", "prompts"),
        _optional("n_candidates", REAL, "mean number of candidates of a prompt: what is effective without training"),
        _optional("entropy", REAL, "mean over prompts of the entropy H of the candidates' weights", "nats"),
        _optional("effective_number", REAL, "mean over prompts of exp(H)", "responses"),
        _optional("effective_number_low", REAL, "the least of it over α's 95 % interval", "responses"),
        _optional("effective_number_high", REAL, "the greatest", "responses"),
        _optional("effective_number_p10", REAL, "exp(H) that a tenth of the prompts stay below", "responses"),
        _optional("effective_number_p90", REAL, "exp(H) that nine tenths of the prompts stay below", "responses"),
        _optional("mode_share", REAL, "mean over prompts of the largest weight", "share"),
        _optional("mode_share_low", REAL, "the least of it over α's 95 % interval", "share"),
        _optional("mode_share_high", REAL, "the greatest", "share"),
    ),
)

RUNS = Table(
    "runs",
    "one run",
    (
        Column("run_id", TEXT, "time of the start and a random suffix"),
        _STUDY,
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
                        ("precision", PRECISION),
                    ]
                )
            ),
            "what scoring gave: the scores' scoring_id, that of the float32 ones beside them (reference_id), and how "
            "many responses were asked for, scored, scored in this run (of tokens_now tokens with their prompts), "
            "truncated, cut themselves, or straddle the boundary; precision, where the type is not float32: how "
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
        _optional(
            "scorings", TEXTS, "every scoring_id whose scores this run used, those in float32 for comparison among them"
        ),
        _optional(
            "fingerprints",
            pa.list_(
                pa.struct([("stage", TEXT), ("dataset", TEXT), ("base_model", TEXT), ("part", TEXT), ("value", TEXT)])
            ),
            "what decided the result of every stage that came to one, part by part: a later run does a stage again "
            "where a part has changed",
        ),
    ),
)

TABLES = {
    t.name: t
    for t in (
        *(RESPONSES, FEATURES, SCORES, TOKEN_LOGPROBS, COMPARISONS, DIFFERENCES, ESTIMATES, FORECASTS),
        *(EXCLUSIONS, RUNS),
    )
}
