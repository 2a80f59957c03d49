"""Tables of what training on the labels would do."""

from analysis.schemas.columns import (
    COUNT,
    DATASET,
    FLAG,
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

FORECASTS = Table(
    "forecasts",
    "what training on a cell's labels would do, by the closed form, for one α, β and generation",
    (
        STUDY,
        DATASET,
        MODEL,
        MEASURE,
        Column("specification", TEXT, "where α comes from: bt, or the top rung of the ladder that has a number"),
        Column("slice", TEXT, "the comparisons that α was fitted to: all or equal_quality"),
        optional(
            "candidates",
            TEXT,
            "null: γ by its formula; else the exact tilt of each prompt's measured candidates, by what is rewarded: "
            "typicality (w ∝ exp(α m / β)), quality (w ∝ exp(q / β), q the fitted effect of the ratings in the same "
            "specification) or both (w ∝ exp((q + α m) / β))",
        ),
        Column("status", TEXT, "ok, or the reason why there is no number"),
        optional("alpha", REAL, "α as estimated", "log-odds per unit"),
        optional("alpha_low", REAL, "lower end of its 95 % interval", "log-odds per unit"),
        optional("alpha_high", REAL, "upper end of its 95 % interval", "log-odds per unit"),
        Column("unit", TEXT, "unit of the measure, which α is per"),
        Column("beta", REAL, "β: weight of the KL penalty against the base model", "log-odds per nat"),
        Column("formula", TEXT, "how γ follows from α, β and the length"),
        optional("tokens", REAL, "median length of the cell's responses, where γ's formula takes it", "tokens"),
        optional("bytes", REAL, "the same in UTF-8 bytes", "bytes"),
        Column(
            "generation",
            COUNT,
            "1: the base model is trained once; t: the model of generation t − 1 takes the base model's place, in the "
            "penalty and in what the raters find typical",
        ),
        Column("fresh_share", REAL, "share of data of generation 0 in what the next generation learns from", "share"),
        Column("entropy_bonus", REAL, "weight of the entropy in the objective, over β"),
        optional("gamma", REAL, "γ: π ∝ π_ref^γ where quality is equal; γ^t after t generations"),
        optional("gamma_low", REAL, "γ at the lower end of α's interval; 0 where it would be below"),
        optional("gamma_high", REAL, "γ at the upper end"),
        optional("n_prompts", COUNT, "prompts with three or more candidates", "prompts"),
        optional("n_candidates", REAL, "mean number of candidates of a prompt: what is effective without training"),
        optional("entropy", REAL, "mean over prompts of the entropy H of the candidates' weights", "nats"),
        optional("effective_number", REAL, "mean over prompts of exp(H)", "responses"),
        optional("effective_number_low", REAL, "the least of it over α's 95 % interval", "responses"),
        optional("effective_number_high", REAL, "the greatest", "responses"),
        optional("effective_number_p10", REAL, "exp(H) that a tenth of the prompts stay below", "responses"),
        optional("effective_number_p90", REAL, "exp(H) that nine tenths of the prompts stay below", "responses"),
        optional("mode_share", REAL, "mean over prompts of the largest weight", "share"),
        optional("mode_share_low", REAL, "the least of it over α's 95 % interval", "share"),
        optional("mode_share_high", REAL, "the greatest", "share"),
        optional(
            "half_life",
            COUNT,
            "over generations: the first in which half of the effective number that can be lost, down to one response, "
            "is lost; null where none of the ten is",
            "generations",
        ),
        optional("half_life_low", COUNT, "the soonest over α's 95 % interval", "generations"),
        optional("half_life_high", COUNT, "the latest; null where it is not within ten", "generations"),
        optional(
            "until_mode",
            COUNT,
            "over generations: the first in which the mode holds 95 %, averaged over prompts; null where none of the "
            "ten is",
            "generations",
        ),
        optional("until_mode_low", COUNT, "the soonest over α's 95 % interval", "generations"),
        optional("until_mode_high", COUNT, "the latest; null where it is not within ten", "generations"),
    ),
)

PROMPT_FORECASTS = Table(
    "prompt_forecasts",
    "what training on a cell's labels would leave of one prompt's measured candidates, three or more, at β = 0.1",
    (
        STUDY,
        DATASET,
        MODEL,
        PROMPT,
        MEASURE,
        Column("specification", TEXT, "where α comes from, as in forecasts"),
        Column("slice", TEXT, "the comparisons that α was fitted to"),
        Column("candidates", TEXT, "what is rewarded: typicality, quality or both, as in forecasts"),
        Column("beta", REAL, "β: weight of the KL penalty against the base model", "log-odds per nat"),
        Column("n_candidates", COUNT, "candidates of the prompt: what is effective without training", "responses"),
        Column("entropy", REAL, "entropy H of their weights", "nats"),
        Column("effective_number", REAL, "exp(H)", "responses"),
        optional("effective_number_low", REAL, "the least of it over α's 95 % interval", "responses"),
        optional("effective_number_high", REAL, "the greatest", "responses"),
        Column("mode_share", REAL, "the largest weight", "share"),
        optional("mode_share_low", REAL, "the least of it over α's 95 % interval", "share"),
        optional("mode_share_high", REAL, "the greatest", "share"),
    ),
)

DIVERSITY = Table(
    "diversity",
    "one metric of diversity of one group of generations, or its difference between two groups",
    (
        optional("study", TEXT, "name of the study; null for a file"),
        optional("dataset", TEXT, "label of the dataset, unique in its study; null for a file"),
        optional("file", TEXT, "name of the file that typicality diversity read; null for a dataset of a study"),
        optional("file_sha256", TEXT, "SHA-256 of the file"),
        optional("base_model", TEXT, "label of the base model whose entropy it is; null for all metrics of text"),
        Column(
            "group",
            TEXT,
            "the file's groups (a model, a method, a temperature); all, where it has none; of a dataset chosen: a "
            "prompt's responses that won more comparisons than they lost, and rejected: those that lost more",
        ),
        optional("other_group", TEXT, "null: of the group alone; else the estimate is of the group less this one"),
        Column(
            "scope",
            TEXT,
            "per_input: a set is the generations of one prompt that has two or more (at most the first 2,000); "
            "across_input: a set is one generation of each of 25 prompts, which the seed draws (of at most 5,000 "
            "prompts); estimates are means over sets",
        ),
        Column(
            "metric",
            TEXT,
            "words, distinct_1, distinct_2, distinct_3, ead, self_bleu, rouge_l_diversity, embedding_diversity, vendi, "
            "cluster_dominance, distinct_k_cosine, distinct_k_rouge_l, repetition or entropy",
        ),
        optional("encoder", TEXT, "what made the embeddings (with its commit), where the metric needs some"),
        optional("rule", TEXT, "when generations count as the same, where the metric depends on it"),
        Column("seed", COUNT, "what draws generations, sets and the bootstrap's samples of sets"),
        Column("status", TEXT, "ok, or the reason why there is no number, or no interval beside one"),
        optional("estimate", REAL, "mean over sets; of two groups the difference", "the metric's own"),
        optional("std_error", REAL, "standard error of it", "the metric's own"),
        optional("conf_low", REAL, "lower end of the 95 % interval: bootstrap-t, sets of prompts drawn anew"),
        optional("conf_high", REAL, "upper end"),
        optional("spread", REAL, "standard deviation over sets, of one group"),
        Column("n_sets", COUNT, "sets that have a value", "sets"),
        optional("set_size", REAL, "mean number of generations in a set", "generations"),
        Column("n_prompts", COUNT, "prompts in the sets", "prompts"),
        Column("n_generations", COUNT, "generations in the sets, of the group", "generations"),
        optional("n_available", COUNT, "prompts that the group has usable generations of", "prompts"),
        optional("n_empty", COUNT, "generations of the group without any text, which count for nothing else"),
        optional("n_failed", COUNT, "generations of the group that are marked as failed, which count for nothing else"),
        optional("n_single", COUNT, "prompts of the group with a single usable generation", "prompts"),
        optional(
            "paired",
            FLAG,
            "of two groups: compared on the prompts that both have, as many generations of one as of the other (the "
            "first ones); false where they share no prompt",
        ),
    ),
)
