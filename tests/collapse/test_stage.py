"""The forecasts of a whole run, beside the tables they are made from."""

import numpy as np
import pytest

from tests.runs import Finished

MEDIANS = {"mean_logprob": ("tokens", "n_tokens"), "logprob_per_byte": ("bytes", "n_bytes")}


def test_gamma_follows_from_the_estimates_and_the_median_length(finished: Finished):
    forecasts, comparisons, scores = (finished.table(name) for name in ("forecasts", "comparisons", "scores"))
    estimates = finished.table("estimates").query("term == 'typicality'")
    rows = forecasts[forecasts["gamma"].notna() & (forecasts["generation"] == 1)]
    assert {"pairs", "graded"} == set(rows["dataset"])
    keys = ["dataset", "base_model", "measure", "specification", "slice"]
    for _, row in rows.iterrows():
        (alpha,) = estimates[(estimates[keys] == row[keys]).all(axis=1)]["estimate"]
        length = 1.0
        if row["measure"] in MEDIANS:
            column, name = MEDIANS[row["measure"]]
            mine = comparisons[comparisons["dataset"] == row["dataset"]]
            ids = {*mine["response_a"], *mine["response_b"]}
            texts = scores[scores["conditional"] & scores["response_id"].isin(ids)].drop_duplicates("text_id")
            length = float(texts[name].median())
            assert row[column] == length
        assert row["alpha"] == alpha
        assert row["gamma"] == pytest.approx(1 + alpha / (row["beta"] * length))


def test_pairs_have_gamma_only_and_ratings_a_quality_term(finished: Finished):
    forecasts = finished.table("forecasts").query("slice == 'all'")
    graded = forecasts[(forecasts["dataset"] == "graded") & forecasts["effective_number"].notna()]
    assert {"typicality"} <= set(graded["candidates"])
    assert (graded["n_prompts"] <= 10).all() and (graded["effective_number"] <= graded["n_candidates"] + 1e-9).all()
    pairs = forecasts[(forecasts["dataset"] == "pairs") & forecasts["candidates"].notna()]
    few = pairs["status"].str.contains("no prompt has 3 or more candidates")
    assert (few | pairs["effective_number"].notna()).all()


def test_every_cell_and_measure_has_rows_and_none_is_silent(finished: Finished):
    forecasts = finished.table("forecasts")
    assert len(forecasts[["dataset", "measure"]].drop_duplicates()) == 8
    numbers = forecasts[["gamma", "effective_number"]].notna().any(axis=1)
    np.testing.assert_array_equal(numbers, forecasts["status"] == "ok")


def test_prompts_add_up_to_the_forecasts(finished: Finished):
    prompts, forecasts, comparisons = (
        finished.table(name) for name in ("prompt_forecasts", "forecasts", "comparisons")
    )
    keys = ["dataset", "base_model", "measure", "specification", "slice", "candidates"]
    assert set(prompts["prompt_id"]) <= set(comparisons["prompt_id"])
    assert not prompts.duplicated([*keys, "prompt_id"]).any()
    plain = forecasts.query("beta == 0.1 and generation == 1 and fresh_share == 0 and entropy_bonus == 0")
    whole = plain[plain["effective_number"].notna()].set_index(keys)
    found = prompts.groupby(keys)
    assert set(found.groups) == set(whole.index)
    for name in ("entropy", "effective_number", "mode_share"):
        np.testing.assert_allclose(found[name].mean().loc[whole.index], whole[name])
    assert (found.size().loc[whole.index] == whole["n_prompts"]).all()
