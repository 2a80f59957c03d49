"""Tables of what was measured of a base model's draws, and of generations that are watched."""

from analysis.schemas.columns import (
    COUNT,
    FLAG,
    PROMPT,
    REAL,
    SCORING,
    TEXT,
    Column,
    Table,
    optional,
)

_FILE = (
    Column("name", TEXT, "name of the measurement: that of the file, unless another was given"),
    Column("file", TEXT, "name of the file that was read"),
    Column("file_sha256", TEXT, "SHA-256 of it"),
    Column("base_model", TEXT, "Hub id, or the folder's name, of the base model"),
    Column("revision", TEXT, "commit of the base model; for a folder, SHA-256 of its files"),
    Column("template", TEXT, "template that joined prompt and response"),
    Column("dtype", TEXT, "floating-point type of weights and activations"),
)

TEMPERATURE = Table(
    "temperature",
    "one quantity of a base model at one temperature, mean over prompts, or its change from the temperature before",
    (
        *_FILE,
        Column("contexts", TEXT, "what the fixed contexts are: responses of the file, or own draws at T = 1"),
        Column("seed", COUNT, "what decides the draws"),
        Column("samples", COUNT, "draws of a prompt at each temperature", "draws"),
        Column("max_tokens", COUNT, "longest draw", "tokens"),
        Column("temperature", REAL, "T: the next token is drawn from p ∝ exp(logits / T), the whole vocabulary"),
        optional(
            "other_temperature", REAL, "null: at the temperature alone; else the estimate is less that at this one"
        ),
        Column(
            "quantity",
            TEXT,
            "entropy (exact, fixed contexts: rises with T, a theorem), entropy_drawn (along the draws at T), "
            "entropy_beyond (their difference: what sampling does), entropy_drawn_at_1 (at T = 1 along the same "
            "draws), mean_logprob (of the draws at T = 1), n_tokens, ended, empty, or a metric of diversity, as in the "
            "table diversity, of a prompt's draws",
        ),
        Column("unit", TEXT, "unit of the quantity; empty where it has none"),
        optional("encoder", TEXT, "what made the embeddings, where the quantity needs some"),
        Column("status", TEXT, "ok, or the reason why there is no number, or no interval beside one"),
        optional("estimate", REAL, "mean over prompts", "the quantity's own"),
        optional("std_error", REAL, "standard error of it", "the quantity's own"),
        optional("conf_low", REAL, "lower end of the 95 % interval: bootstrap-t, prompts drawn anew"),
        optional("conf_high", REAL, "upper end"),
        Column("n_prompts", COUNT, "prompts that have a value", "prompts"),
    ),
)

MONITOR = Table(
    "monitor",
    "one generation that is watched, under one base model",
    (
        *_FILE,
        SCORING,
        Column("group", TEXT, "its group in the file; all, where it has none"),
        Column("request", TEXT, "name of its request: as the file says, else its row"),
        PROMPT,
        Column("status", TEXT, "ok, or the reason why there is no entropy"),
        optional("n_tokens", COUNT, "tokens of the generation", "tokens"),
        optional("truncated", FLAG, "a part of the prompt was cut, from its left, to fit the context window"),
        optional("entropy", REAL, "mean next-token entropy along the generation", "nats per token"),
        optional("baseline_entropy", REAL, "the entropy it is compared with", "nats per token"),
        optional(
            "baseline_of",
            TEXT,
            "prompt: of the baseline's generations for the same prompt; all: mean over the baseline's prompts, because "
            "it does not have this one",
        ),
        optional("drop", REAL, "1 − entropy / baseline_entropy", "share"),
        optional("flagged", FLAG, "the drop is more than 30 %"),
        optional("repetition", REAL, "share of its 4-grams (of words) that stood in it before", "share"),
    ),
)

SIGNS = Table(
    "signs",
    "one sign of collapse in one group of generations, with the verdict on the group",
    (
        *_FILE,
        optional("baseline", TEXT, "what the baseline was made of; null where there was none"),
        Column("group", TEXT, "the group"),
        Column("sign", TEXT, "entropy, self_bleu, cluster_dominance or repetition"),
        optional("there", FLAG, "whether the sign is there; null where it cannot be looked for"),
        Column("told", TEXT, "what it was read from, with its threshold"),
        optional(
            "value",
            REAL,
            "what it was read from: mean over prompts of the entropy (nats a token), of Self-BLEU, of the share of the "
            "largest cluster, of the share of 4-grams that repeat; entropy and repetition over the prompts that the "
            "baseline has, too, where there are any",
        ),
        optional("baseline_value", REAL, "the same of the baseline, for entropy and repetition"),
        optional("spread", REAL, "standard deviation over prompts, for Self-BLEU"),
        Column(
            "verdict",
            TEXT,
            "on the group: collapsed (two or more signs are there), narrowing (one is), no sign of collapse (two or "
            "more could be looked for, and none is there) or cannot tell",
        ),
        Column("n_requests", COUNT, "usable generations of the group", "generations"),
        optional("n_flagged", COUNT, "of them, those whose entropy lies more than 30 % below the baseline's"),
    ),
)
