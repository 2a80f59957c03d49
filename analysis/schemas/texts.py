"""Tables that are addressed by content and shared by all studies: texts, their statistics, their likelihoods."""

import pyarrow as pa

from analysis.schemas.columns import (
    CONDITIONAL,
    COUNT,
    FLAG,
    MESSAGES,
    PROMPT,
    RATINGS,
    REAL,
    RESPONSE,
    SCORING,
    TEXT,
    TEXT_ID,
    Column,
    Table,
    optional,
)

RESPONSES = Table(
    "responses",
    "one response to one prompt, as one dataset records it",
    (
        RESPONSE,
        TEXT_ID,
        PROMPT,
        Column("prompt", MESSAGES, "the prompt as messages; plain text is one message of the user"),
        Column("response", TEXT, "the response's text"),
        optional("source", TEXT, "which model or person wrote the response"),
        optional("split", TEXT, "split of the dataset"),
        Column("ratings", RATINGS, "ratings of the response, each with its name", "the dataset's own scale"),
        optional("language", TEXT, "language, where the dataset names it"),
        optional("domain", TEXT, "domain, where the dataset names it"),
    ),
    # Rows are sorted by prompt and looked up by it, and their texts are long.
    row_group=2_048,
)

FEATURES = Table(
    "features",
    "one response's text statistics",
    (
        RESPONSE,
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
        RESPONSE,
        TEXT_ID,
        PROMPT,
        SCORING,
        Column("base_model", TEXT, "Hub id, or the folder's name, of the base model"),
        Column(
            "revision",
            TEXT,
            "commit of the base model; for a folder, SHA-256 of its files; of an endpoint, what it says or unknown",
        ),
        Column("tokenizer", TEXT, "SHA-256 of the tokenizer; endpoint where an endpoint tokenised"),
        Column("template", TEXT, "template that joined prompt and response"),
        CONDITIONAL,
        Column("start_token", TEXT, "token before all text: bos, eos (where there is no BOS), other or none"),
        optional("context_window", COUNT, "longest text the base model was given", "tokens"),
        Column("long_responses", TEXT, "what was done to responses beyond the window: exclude or cut"),
        Column("dtype", TEXT, "floating-point type of weights and activations; unknown where an endpoint computed"),
        Column("backend", TEXT, "what computed the likelihood"),
        Column("device", TEXT, "where it was computed: cpu, cuda, …, or the endpoint's URL"),
        Column("scorer_version", COUNT, "version of the scoring code"),
        Column("sum_logprob", REAL, "log-likelihood of the response", "nats"),
        Column("n_tokens", COUNT, "tokens of the response that were scored", "tokens"),
        Column("n_bytes", COUNT, "UTF-8 bytes of the response that were scored", "bytes"),
        optional(
            "mean_entropy",
            REAL,
            "mean entropy of the next-token distributions along the response; null where an endpoint computed",
            "nats per token",
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
        RESPONSE,
        TEXT_ID,
        PROMPT,
        SCORING,
        CONDITIONAL,
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
