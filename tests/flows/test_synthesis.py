"""Datasets × base models put together by a run: complete, kept where nothing changed, and honest about what failed."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.outputs import Outputs
from analysis.study import load
from flows.refresh import refresh
from tests.interruption import perform
from tests.runs import GRADED, PAIRS, graded_rows, pair_rows, write_rows
from tests.tiny import tiny_model

STUDY = """
name = "several"
measures = ["mean_logprob"]
specifications = ["rate", "bt", "bt_length"]

[[base_models]]
name = "{first}"
label = "one"

[[base_models]]
name = "{second}"
label = "two"
"""


class Place:
    def __init__(self, folder: Path, models: tuple[Path, Path]) -> None:
        self.folder, self.outputs = folder, Outputs(folder / "outputs")
        write_rows(folder / "pairs.jsonl", [{**r, "topic": f"t{i % 2}"} for i, r in enumerate(pair_rows(160))])
        write_rows(folder / "more.jsonl", pair_rows(120, seed=7))
        write_rows(folder / "graded.jsonl", graded_rows(90))
        more = PAIRS.replace('"pairs"\npath = "pairs.jsonl"', '"more"\npath = "more.jsonl"').replace("human", "ai")
        text = STUDY.format(first=models[0], second=models[1]) + PAIRS + 'domain = "topic"\n' + more + GRADED
        self.file = folder / "several.toml"
        self.file.write_text(text, encoding="utf-8")

    def run(self, **options: Any) -> Any:
        return refresh(load(self.file), self.outputs, perform, **options)

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.outputs.root / name)


@pytest.fixture(scope="module")
def place(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    other = tiny_model(tmp_path_factory.mktemp("other") / "tiny", seed=5)
    made = Place(tmp_path_factory.mktemp("several"), (tiny, other))
    assert made.run().state == "completed"
    return made


def test_every_cell_is_in_it(place: Place) -> None:
    table = place.table("synthesis")
    whole = table[table["dataset"].isna() & (table["raters"] == "all")]
    assert set(whole["specification"]) == {"rate", "bt", "bt_length", "last_rung"}
    assert set(whole["status"]) == {"ok"}
    assert set(whole["n_cells"]) == {6}
    assert set(whole["n_base_models"]) == {2}
    cells = table[table["dataset"].notna() & (table["raters"] == "all") & (table["specification"] == "rate")]
    rates = place.table("estimates").query("specification == 'rate' and slice == 'all'")
    estimates = rates.set_index(["dataset", "base_model"])
    for row in cells.itertuples():
        rate = estimates.loc[(row.dataset, row.base_model)]
        assert 1 / (1 + np.exp(-row.estimate)) == pytest.approx(rate["estimate"])
        p = rate["estimate"]
        assert row.std_error * p * (1 - p) == pytest.approx(rate["std_error"], rel=1e-5)


def test_labels_apart(place: Place) -> None:
    table = place.table("synthesis")
    rate = table[table["dataset"].isna() & (table["specification"] == "rate")].set_index("raters")
    assert rate["status"]["human"].startswith("only one dataset, pairs, has a number")
    assert rate["status"]["ai"] == "ok"
    assert rate["status"]["human - ai"] == "fewer than two datasets with human labels have a number"


def test_agreement_and_heterogeneity(place: Place) -> None:
    agreement = place.table("agreement")
    assert list(agreement["dataset"].dropna()) == ["pairs", "more", "graded"]
    assert set(agreement["status"]) == {"ok"}
    assert agreement["n"].iloc[-1] == 3
    table = place.table("heterogeneity")
    tests = table[(table["kind"] == "equality") & (table["column"] == "domain")]
    assert set(tests[tests["dataset"] == "pairs"]["status"]) == {"ok"}
    assert set(tests[tests["dataset"] == "more"]["status"]) == {"the dataset has no domain"}


def test_the_report_has_both_chapters(place: Place) -> None:
    folder = place.outputs.root / "reports" / "several" / "latest"
    page, markdown = ((folder / name).read_text(encoding="utf-8") for name in ("index.html", "report.md"))
    sentence = "Across 3 datasets under 2 base models the more typical response is preferred in"
    # In the chapter; three datasets are too few to lead the report with their mean.
    assert page.count(sentence) == 1
    assert markdown.count(sentence) == 1
    assert 'id="synthesis"' in page and "## Synthesis" in markdown
    assert 'id="heterogeneity"' in page and "## Heterogeneity" in markdown
    assert (folder / "heterogeneity.svg").read_text(encoding="utf-8") in page
    assert "mean, all labels" in page


def test_where_nothing_changed_nothing_is_done(place: Place) -> None:
    before = (place.outputs.root / "synthesis" / "several.parquet").read_bytes()
    assert place.run().state == "unchanged"
    assert (place.outputs.root / "synthesis" / "several.parquet").read_bytes() == before


def test_a_failed_dataset_leaves_a_gap_that_is_counted(place: Place) -> None:
    (place.folder / "more.jsonl").write_text('{"question": "no other column"}\n', encoding="utf-8")
    assert place.run().state == "partial"
    table = place.table("synthesis")
    rate = table[table["dataset"].isna() & (table["specification"] == "rate") & (table["raters"] == "all")].iloc[0]
    assert [rate["status"], rate["n_cells"], rate["n_missing"], rate["n_datasets"]] == ["ok", 4, 2, 2]
    gap = place.table("heterogeneity").query("dataset == 'more'")
    assert gap["status"].str.contains("no column .first").all()
    assert gap["estimate"].isna().all()
    page = (place.outputs.root / "reports" / "several" / "latest" / "index.html").read_text(encoding="utf-8")
    assert "2 × 2, 2 cells without a number" in page
