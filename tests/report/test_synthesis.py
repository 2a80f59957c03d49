"""The chapters on synthesis and heterogeneity: their numbers are the tables', and what is missing has its reason."""

import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import tables
from analysis.regression import heterogeneity as estimated
from analysis.regression.fitting import Fitter
from analysis.report import figures
from analysis.report.heterogeneity import chapter as differing
from analysis.report.synthesis import chapter, sentence
from tests.regression.made import MARGIN, MEASURE, joined, part_of
from tests.regression.test_synthesis import Made
from tests.report.figures.test_figures import cell, drawn, table, words

KEYS = {"study": "made", "measure": MEASURE}


def synthesis(made: Made) -> pd.DataFrame:
    return tables.to_arrow("synthesis", [{**KEYS, **row} for row in made.rows()]).to_pandas()


def agreement(**row: Any) -> pd.DataFrame:
    numbers = {"kendall_w": 0.9, "spearman": 0.8, "spearman_least": 0.7, "same_side": 0.75}
    rows = [
        {**KEYS, "dataset": "d0", "status": "ok", "n_base_models": 2, "n": 1234, **numbers, **row},
        {**KEYS, "dataset": None, "status": "fewer than 3 datasets have …", "n_base_models": 2, "n": 2},
    ]
    return tables.to_arrow("agreement", rows).to_pandas()


def percent(log_odds: float) -> str:
    return f"{100 / (1 + math.exp(-log_odds)):.1f}"


RATERS = ["human", "ai", "human", "ai", "ai", "human"]


def test_the_mean_is_told_as_a_share() -> None:
    made = Made(RATERS)
    row = made.one()
    told = sentence(synthesis(made), MEASURE)
    assert (
        f"Across 6 datasets under 2 base models the more typical response is preferred in {percent(row['estimate'])} %"
        in told
    )
    assert f"95 % interval {percent(row['conf_low'])} to {percent(row['conf_high'])} %" in told
    assert f"between {percent(row['prediction_low'])} and {percent(row['prediction_high'])} %" in told
    top = made.one("last_rung", "logit_adjusted_rate")
    assert f"hold equal it would be {percent(top['estimate'])} %" in told


def test_the_chapter_holds_every_synthesis_and_cell() -> None:
    found = chapter(synthesis(Made(RATERS)), agreement(), MEASURE)
    assert found is not None
    assert {line[0] for line in found.lines} == {"all", "human", "AI", "human against AI"}
    assert len(found.cells) == 4 * 12
    assert any("By human labels alone" in said for said in found.sentences)
    assert any("Human against AI labels: the odds" in said for said in found.sentences)
    assert found.agreement[0][:4] == ("comparisons of d0", "2", "1,234", "0.90")
    assert found.gaps == ("Agreement of base models on the order of datasets: fewer than 3 datasets have ….",)


def test_one_dataset_gets_one_line() -> None:
    found = chapter(synthesis(Made(["human"])), agreement(), MEASURE)
    assert found is not None
    assert found.lines == ()
    assert found.gaps[0] == "No synthesis: only one dataset, d0, has a number: a synthesis needs two or more."
    assert len(found.gaps) == 2
    assert sentence(synthesis(Made(["human"])), MEASURE) == ""


def test_few_datasets_are_told() -> None:
    few = chapter(synthesis(Made(["human"] * 3)), agreement(), MEASURE)
    assert few is not None and any("rough ones" in said for said in few.sentences)
    # Of three datasets a mean is nothing to lead a report with.
    assert sentence(synthesis(Made(["human"] * 3)), MEASURE) == ""
    assert "rough ones" not in sentence(synthesis(Made(["human"] * 9)), MEASURE)


def test_without_rows_there_is_no_chapter() -> None:
    nothing = {name: tables.table(name).schema.empty_table().to_pandas() for name in ("synthesis", "agreement")}
    assert chapter(nothing["synthesis"], nothing["agreement"], MEASURE) is None
    assert differing(tables.table("heterogeneity").schema.empty_table().to_pandas(), MEASURE) is None


def test_the_forest_has_a_diamond_for_each_mean() -> None:
    made = Made(RATERS)
    figure = figures.forest(table(cell(0)), synthesis=synthesis(made))
    shapes = [p.get_xy() for axes in figure.axes for p in axes.patches]
    # The rate, and α raw and with controls, of all, human and AI labels.
    assert len(shapes) == 9
    row = made.one()
    ends = sorted(round(float(x), 6) for x in (shapes[0][:, 0].min(), shapes[0][:, 0].max()))
    assert ends == sorted(round(100 / (1 + math.exp(-row[name])), 6) for name in ("conf_low", "conf_high"))
    assert round(100 / (1 + math.exp(-row["prediction_low"])), 3) in drawn(figure)
    assert "mean, AI labels" in words(figure)


def test_the_forest_without_a_synthesis_is_as_it_was() -> None:
    plain = figures.svg(figures.forest(table(cell(0))), "x")
    assert figures.svg(figures.forest(table(cell(0)), synthesis=synthesis(Made(["human"]))), "x") == plain


@pytest.fixture(scope="module")
def heterogeneity() -> pd.DataFrame:
    frame = joined(2000, 400, alpha=0.0)
    random = np.random.default_rng(5)
    difference = (frame["mean_logprob_a"] - frame["mean_logprob_b"]).to_numpy()
    slope = np.where(frame["language"] == "en", 1.0, 0.2)
    labels = np.where(random.random(len(frame)) < 1 / (1 + np.exp(-slope * difference)), "a", "b")
    fitter = Fitter(part_of(frame.assign(preference=labels)), MARGIN, random)
    keys = {**KEYS, "dataset": "mine", "base_model": "base"}
    rows = [{**keys, **row} for row in estimated.rows(fitter, [*fitter.rows("bt"), *fitter.rows("bt_length")])]
    return tables.to_arrow("heterogeneity", rows).to_pandas()


def test_what_differs_is_told_with_its_ends(heterogeneity: pd.DataFrame) -> None:
    found = differing(heterogeneity, MEASURE)
    assert found is not None
    said = next(s for s in found.sentences if "language" in s)
    assert re.search(r"from 0\.\d\d \(.*\) in “de” to \d\.\d\d \(.*\) in “en”", said)
    assert {line[2] for line in found.tests} == {
        *("source of the two responses", "whether the sources are the same", "language", "annotator"),
    }
    assert {line[3] for line in found.tests} == {"bt", "bt_length"}
    assert any("one value in all: rater" in gap for gap in found.gaps)
    assert any(re.search("not in the data: .*domain", gap) for gap in found.gaps)


def test_the_figure_holds_both_kinds_of_alpha(heterogeneity: pd.DataFrame) -> None:
    figure = figures.heterogeneity(heterogeneity)
    rows = heterogeneity.query("kind == 'value' and specification == 'bt' and status == 'ok'")
    shown = drawn(figure)
    for column in ("estimate", "conf_low", "conf_high", "shrunken", "shrunken_low", "shrunken_high"):
        assert {round(v, 3) for v in rows[column]} <= shown
    text = words(figure)
    assert "same source" in text and "x and y" in text
    with pytest.raises(ValueError, match="no column has an α for two values"):
        figures.heterogeneity(heterogeneity[heterogeneity["kind"] != "equality"])
