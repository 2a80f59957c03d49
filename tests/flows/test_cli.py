"""The command: exit statuses, one sentence for every mistake, and results that last."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from tests.runs import GRADED, HOSTILE, PAIRS, Finished, pair_rows, run_command, write_rows, write_study

TABLES = (
    "responses",
    "features",
    "scores",
    "comparisons",
    "differences",
    "estimates",
    "forecasts",
    "prompt_forecasts",
    "diversity",
    "heterogeneity",
    "influences",
    "synthesis",
    "agreement",
    "exclusions",
    "runs",
)


def one_sentence(text: str) -> bool:
    """Whether an error is one line of the command's own, with no traceback."""
    lines = [line for line in text.splitlines() if line.startswith("typicality: ")]
    return len(lines) == 1 and "Traceback" not in text


def test_a_run_ends_with_its_headline_and_its_report(finished: Finished):
    assert finished.status == 0, finished.err
    headline, *cells, where = finished.out.strip().splitlines()
    assert [line.partition(":")[0].strip() for line in cells[:2]] == ["pairs under tiny", "graded under tiny"]
    assert all(re.search(r": [a-z ±0-9]+; \d", line) for line in cells[:2])
    assert "% of comparisons prefer the more typical response" in headline
    report = Path(where.removeprefix("Report: "))
    assert report.is_file()
    assert report.parent.name == "latest"
    assert headline in (report.parent / "report.md").read_text(encoding="utf-8").replace("\\", "")
    for stage in ("fetch pairs", "score pairs × tiny", "fit graded × tiny"):
        assert f"✓ {stage}" in finished.err
    for name in TABLES:
        assert len(finished.table(name)) > 0


def test_every_row_is_accounted_for(finished: Finished):
    kept = (finished.table("comparisons")["dataset"] == "pairs").sum()
    left_out = finished.table("exclusions").query("dataset == 'pairs' and stage == 'preferences' and unit == 'row'")
    assert kept + left_out["n"].sum() == len(pair_rows())
    assert set(left_out["reason"]) == {
        "a response is empty",
        "the two responses are equal",
        f"the preference is {HOSTILE!r}, which the study does not declare",
    }


def test_differences_agree_with_the_comparisons_and_scores(finished: Finished):
    made = finished.table("differences").merge(
        finished.table("comparisons"), on=["study", "dataset", "comparison_id", "prompt_id"], validate="many_to_one"
    )
    scores = finished.table("scores").query("conditional").set_index("response_id")
    mean = scores["sum_logprob"] / scores["n_tokens"]
    rows = made[made["measure"] == "mean_logprob"]
    expected = mean.loc[rows["response_a"]].to_numpy() - mean.loc[rows["response_b"]].to_numpy()
    assert (rows["difference"].to_numpy() == expected).all()
    decided = rows[(rows["preference"] != "tie") & (rows["typical"] != "tie")]
    assert ((decided["typical"] == decided["preference"]) == decided["agrees"].astype(bool)).all()
    assert rows.loc[rows["preference"] == "tie", "agrees"].isna().all()


def test_the_same_run_again_scores_nothing_and_changes_no_number(finished: Finished, tiny: Path):
    before = finished.table("estimates").drop(columns="run_id")
    scores = finished.table("scores")
    latest = (finished.outputs.root / "reports" / "made" / "latest").resolve()
    study = finished.folder / "made.toml"
    nothing = run_command(finished.folder, "run", str(study), "--outputs", str(finished.outputs.root))
    assert nothing.status == 0
    assert nothing.out.startswith(f"Nothing changed since run {latest.name}, so nothing was done.")
    assert finished.table("runs")["run_id"].nunique() == 1
    again = run_command(finished.folder, "run", str(study), "--outputs", str(finished.outputs.root), "--force")
    assert again.status == 0
    assert "all stored already" in again.err
    pd.testing.assert_frame_equal(finished.table("estimates").drop(columns="run_id"), before, check_exact=True)
    assert len(finished.table("scores")) == len(scores)
    assert finished.table("runs")["run_id"].nunique() == 2
    assert latest.is_dir()
    assert (finished.outputs.root / "reports" / "made" / "latest").resolve() != latest


def test_exchanging_a_and_b_of_every_row_changes_no_number(finished: Finished, tiny: Path, tmp_path: Path):
    study = write_study(tmp_path, tiny)
    swapped = {"1": "2", "2": "1"}
    write_rows(
        tmp_path / "pairs.jsonl",
        [
            {**r, "first": r["second"], "second": r["first"], "best": swapped.get(r["best"], r["best"])}
            for r in reversed(pair_rows())
        ],
    )
    other = run_command(tmp_path, "run", str(study), "--outputs", str(tmp_path / "outputs"))
    assert other.status == 0
    found, before = (
        # The paper's regression has an intercept, which is that order.
        made.table("estimates").query("specification != 'paper'").drop(columns=["run_id"])
        for made in (other, finished)
    )
    pd.testing.assert_frame_equal(found, before, check_exact=True)
    assert set(other.table("comparisons")["comparison_id"]) == set(finished.table("comparisons")["comparison_id"])


def test_one_failing_dataset_leaves_the_other(prefect_server: None, tiny: Path, tmp_path: Path):
    study = write_study(tmp_path, tiny, PAIRS.replace('"best"', '"winner"') + GRADED)
    made = run_command(tmp_path, "run", str(study), "--outputs", str(tmp_path / "outputs"))
    assert made.status == 1
    assert one_sentence(made.err)
    assert "has no column 'winner'; it has question, first, second, best" in made.err
    estimates = made.table("estimates")
    assert (estimates.loc[estimates["dataset"] == "graded", "status"] == "ok").any()
    gap = estimates[estimates["dataset"] == "pairs"]
    assert len(gap) > 0
    assert gap["estimate"].isna().all()
    assert gap["status"].str.contains("winner").all()
    assert made.table("runs")["state"].tolist() == ["partial"]
    html = (made.outputs.root / "reports/made/latest/index.html").read_text(encoding="utf-8")
    assert "What failed" in html
    # Among what failed, and among the stages: not in every table that has a gap.
    assert html.count("has no column") == 2


def test_a_run_of_which_all_failed_keeps_earlier_tables(prefect_server: None, tiny: Path, tmp_path: Path):
    study = write_study(tmp_path, tiny, GRADED)
    arguments = ("run", str(study), "--outputs", str(tmp_path / "outputs"))
    good = run_command(tmp_path, *arguments)
    before = good.table("estimates")
    latest = (good.outputs.root / "reports/made/latest").resolve()
    (tmp_path / "graded.jsonl").write_text("{broken\n", encoding="utf-8")
    bad = run_command(tmp_path, *arguments)
    assert (good.status, bad.status) == (0, 1)
    assert "line 1: not valid JSON" in bad.err
    assert bad.out.startswith("No estimate: ")
    pd.testing.assert_frame_equal(bad.table("estimates"), before)
    assert (good.outputs.root / "reports/made/latest").resolve() == latest
    assert sorted(bad.table("runs")["state"]) == ["completed", "failed"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "nowhere"], "there is no study 'nowhere'"),
        (["run", "made.toml", "--dataset", "pear"], "study 'made' has no dataset 'pear'; it has pairs, graded"),
        (["run", "made.toml", "--base-model", "big"], "has no base model 'big'"),
        (["run", "made.toml", "--limit", "0"], "--limit is 0; it must be 1 or more"),
        (["run", "made.toml", "--limit", "many"], "'many' is not a valid integer"),
        (["run", "made.toml", "--fast"], "No such option"),
        (["run", "bad.toml"], "seeds: is not a key here; did you mean seed?"),
        (["run", "made.toml", "--outputs", "made.toml/outputs"], "cannot make the output folder"),
        (["report", "made"], "holds no run of study 'made'"),
        (["fly"], "No such command 'fly'"),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    arguments: list[str], told: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, tiny)
    write_study(tmp_path, tiny, more="seeds = 3").rename(tmp_path / "bad.toml")
    write_study(tmp_path, tiny)
    made = run_command(tmp_path, *arguments)
    assert made.status == 2
    assert told in made.err
    assert one_sentence(made.err)
    assert not (tmp_path / "outputs" / "runs").exists()


def test_limit_and_dataset_narrow_a_run(prefect_server: None, tiny: Path, tmp_path: Path):
    study = write_study(tmp_path, tiny)
    outputs = str(tmp_path / "outputs")
    made = run_command(tmp_path, "run", str(study), "--outputs", outputs, "--dataset", "pairs", "--limit", "7")
    assert made.status == 0
    comparisons = made.table("comparisons")
    assert set(comparisons["dataset"]) == {"pairs"}
    assert comparisons["prompt_id"].nunique() == 7
    exclusions = made.table("exclusions").query("stage == 'preferences'")
    assert "outside the sample of 7 prompts" in set(exclusions["reason"])
    assert len(comparisons) + exclusions["n"].sum() == len(pair_rows())


def test_the_report_can_be_rendered_again(finished: Finished):
    page = finished.outputs.root / "reports/made/latest/index.html"
    before = page.read_bytes()
    made = run_command(finished.folder, "report", "made", "--outputs", str(finished.outputs.root))
    assert made.status == 0
    assert page.read_bytes() == before


def test_no_server_where_one_is_configured(prefect_server: None, tiny: Path, tmp_path: Path):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    study = write_study(tmp_path, tiny, GRADED)
    with temporary_settings(updates={PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        made = run_command(tmp_path, "run", str(study), "--outputs", str(tmp_path / "outputs"))
    assert made.status == 0
    assert "no Prefect server answers at http://127.0.0.1:9/api; running without it" in made.err


def test_the_definition_that_is_recorded_can_be_run(finished: Finished):
    from analysis.study import Study

    definition = json.loads(finished.table("runs")["definition"].iloc[0])
    assert Study.model_validate(definition).name == "made"
