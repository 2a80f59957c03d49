"""Tables of remedies: what models were asked and answered, the responses in it, and what was measured of them."""

from analysis.schemas.columns import COUNT, FLAG, PAIRS, REAL, STUDY, TEXT, TEXTS, TIME, Column, Table, optional

MODEL = Column("model", TEXT, "label of the model that was asked, unique in its study")
METHOD = Column("method", TEXT, "name of the method, unique in its study")

ANSWERS = Table(
    "answers",
    "one request to a model and its answer, both as they came",
    (
        Column("request_id", TEXT, "hash of all that was sent: the same request is never asked twice"),
        Column("backend", TEXT, "chat (an OpenAI-compatible endpoint) or transformers (this machine)"),
        Column("model", TEXT, "the model's name, as the backend knows it"),
        Column("request", TEXT, "all that decides the answer, as JSON; never a key"),
        Column("answer", TEXT, "the answer, as JSON"),
    ),
    row_group=4_096,
)

GENERATIONS = Table(
    "generations",
    "one response that a model was asked for by a method, or the reason why there is none",
    (
        STUDY,
        MODEL,
        METHOD,
        Column("prompt_id", TEXT, "hash of the prompt's text"),
        Column("prompt", TEXT, "the prompt, without the method's instruction"),
        optional("request_id", TEXT, "hash of all that was sent, as in answers; null where it was not asked"),
        Column("sample", COUNT, "number of the conversation, from 0; one request each, unless the method has turns"),
        Column("turn", COUNT, "turn of the conversation, from 0"),
        Column("index", COUNT, "place of the response in its answer, from 0"),
        Column("status", TEXT, "ok, or why there is no response"),
        optional("response", TEXT, "the response; null where there is none"),
        optional("probability_raw", TEXT, "the verbalized probability, as it was written"),
        optional("probability_stated", REAL, "the same as a share of one", "share"),
        optional("probability", REAL, "the same over the sum of its answer's", "share"),
        optional("probability_status", TEXT, "ok, or why there is none; null where none was asked for"),
        optional("form", TEXT, "how the answer was written: json, tagged, numbered or text"),
        optional("finish_reason", TEXT, "why the model stopped, as the backend says"),
        optional("n_prompt_tokens", COUNT, "tokens read for the request; the same on all of its rows", "tokens"),
        optional("n_completion_tokens", COUNT, "tokens written for the request; likewise", "tokens"),
        optional("seed", COUNT, "seed that was sent with the request"),
        optional("entropy", REAL, "mean entropy of the distributions it was drawn from", "nats a token"),
        optional("answer", TEXT, "which of the prompt's answers it gives"),
        optional("answer_status", TEXT, "ok, or why it gives none; null where the prompt lists no answers"),
        optional("is_correct", FLAG, "whether it gives the prompt's right answer, where the prompt has one"),
        optional("mean_logprob", REAL, "mean log-likelihood under the study's base model", "nats a token"),
        optional("sum_logprob", REAL, "its log-likelihood, of all tokens together", "nats"),
        optional("logprob_status", TEXT, "ok, or why there is none; null where the study has no base model"),
        optional("scoring_id", TEXT, "hash of all that decides mean_logprob but the text"),
        optional("judgement", REAL, "the judge's score"),
        optional("judgement_status", TEXT, "ok, or why there is none; null where the study has no judge"),
    ),
)

REMEDIES = Table(
    "remedies",
    "one measure of a method under a model, over prompts, and its ratio to the baseline method",
    (
        STUDY,
        MODEL,
        METHOD,
        Column(
            "kind",
            TEXT,
            "diversity, quality, distribution, accuracy, cost, failures; over models size, tuning and forecast",
        ),
        Column("measure", TEXT, "what is measured"),
        Column("unit", TEXT, "its unit; empty where it has none"),
        Column("status", TEXT, "ok, or why there is no number, or no interval beside it"),
        optional("estimate", REAL, "mean over prompts; of size the slope that the measure names"),
        optional("conf_low", REAL, "lower end of its 95 % interval, by bootstrap-t over prompts"),
        optional("conf_high", REAL, "upper end"),
        optional(
            "ratio",
            REAL,
            "mean over that of the baseline, on the prompts and set sizes that both have; of tuning over that of the "
            "model it was tuned from; of forecast the share that is left by the forecast",
        ),
        optional("ratio_low", REAL, "lower end of its 95 % interval, by bootstrap-t of the logarithm over prompts"),
        optional("ratio_high", REAL, "upper end"),
        Column("ratio_status", TEXT, "ok, or why there is no ratio, or no interval beside it"),
        Column("n_prompts", COUNT, "prompts that have a value", "prompts"),
        Column("n_responses", COUNT, "responses that went into it", "responses"),
    ),
)

SAMPLINGS = Table(
    "samplings",
    "the latest run of one study of remedies",
    (
        STUDY,
        Column("run_id", TEXT, "time and four random bytes"),
        Column("started", TIME, "when it began"),
        Column("ended", TIME, "when its tables were written"),
        Column("state", TEXT, "completed, partial (some model failed) or failed (all did)"),
        Column("code_version", TEXT, "version of typicality, with the commit where it is a source tree"),
        Column("packages", PAIRS, "versions of the packages it rests on"),
        Column("definition", TEXT, "the study, as JSON"),
        Column("models", PAIRS, "what each model was: commit or SHA-256, and device; or its endpoint"),
        Column("parameters", PAIRS, "parameters of each model, where they are known"),
        Column("failures", TEXTS, "what failed, a sentence each"),
        optional("bar", REAL, "the bar that quality was held to"),
        Column("n_requests", COUNT, "requests of the study", "requests"),
        Column("n_asked", COUNT, "requests asked in this run; the answers of the others were there", "requests"),
    ),
)
