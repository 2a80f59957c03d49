"""The chapter on forecasts: its numbers are the table's, its units are said, and whatever is missing has a reason."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import tables
from analysis.collapse.candidates import Candidates
from analysis.collapse.forecasts import Bias, forecasts
from analysis.report import figures
from analysis.report.content import records
from analysis.report.forecast import FEWEST_PROMPTS, PACE, chapter, sentence, telling
from tests.report.figures.test_figures import drawn

MEASURE = "mean_logprob"
CELL = ("mine", "base")


def rows(bias: Bias, k: int = 4, cell: tuple[str, str] = CELL) -> list[dict[str, Any]]:
    """Rows of one α over twenty prompts of k candidates."""
    random = np.random.default_rng(0)
    n = 20 * k
    names = (MEASURE, "mean_pmi", "sum_logprob", "logprob_per_byte")
    values = {name: random.normal(-3, 0.3, n) for name in names}
    lengths = {"n_tokens": np.full(n, 50.0), "n_bytes": np.full(n, 200.0)}
    responses = Candidates(
        np.repeat(np.arange(20), k), values | lengths, {"good": random.integers(0, 3, n).astype(float)}
    )
    keys = {"study": "made", "dataset": cell[0], "base_model": cell[1], "unit": "nats per token"}
    return [{**keys, **row} for row in forecasts(bias, responses)]


def bias(alpha: float = 0.8, half: float = 0.3, measure: str = MEASURE, **quality: float) -> Bias:
    return Bias(measure, "bt_quality", "all", "ok", alpha, alpha - half, alpha + half, quality)


def table(*made: list[dict[str, Any]]) -> pd.DataFrame:
    return tables.to_arrow("forecasts", [row for part in made for row in part]).to_pandas()


def told(frame: pd.DataFrame) -> str:
    found = chapter(frame, MEASURE)
    assert found is not None
    return " ".join(said for _, sentences in found.cells for said in sentences)


def test_gamma_is_told_with_its_formula_length_and_unit():
    text = told(table(rows(bias(good=1.0))))
    assert "γ = 1 + α / (β · tokens) = 1 + 0.8000 / (0.1 · 50) = 1.160 (1.100 to 1.220)" in text
    assert "α is 0.8000 (0.5000 to 1.1000) log-odds per nat per token" in text
    assert "Not 1 + α / β" in text
    assert re.search(r"9\.0", text) is None


def test_no_length_enters_where_alpha_is_of_the_whole_response():
    frame = table(rows(bias(0.01, 0.002, "sum_logprob")))
    found = chapter(frame, "sum_logprob")
    assert found is not None
    text = " ".join(found.cells[0][1])
    assert "γ = 1 + α / β = 1 + 0.0100 / 0.1 = 1.100" in text and "Not 1 + α / β" not in text


def test_what_typicality_costs_beyond_quality():
    frame = table(rows(bias(good=1.0)))
    once = frame.query("beta == 0.1 and generation == 1 and fresh_share == 0 and entropy_bonus == 0")
    left = once.set_index("candidates")["effective_number"]
    cost = left["quality"] - left["both"]
    assert f"typicality {'costs' if cost > 0 else 'gives back'} {abs(cost):.2f} effective responses" in told(frame)
    assert "beyond quality" not in told(table(rows(bias())))


def test_the_pace_is_that_of_the_table():
    frame = table(
        rows(bias(good=1.0)), rows(bias(0.01, 0.001), cell=("slow", "base")), rows(bias(), 2, ("pairs", "base"))
    )
    found = chapter(frame, MEASURE)
    assert found is not None and all(len(line) == len(PACE) for line in found.pace)
    lines = {line[:3]: line[3:] for line in found.pace}
    assert len(lines) == 4 + 3
    again = frame.query("candidates == 'typicality' and generation == 10 and fresh_share == 0 and entropy_bonus == 0")
    row = again[again["dataset"] == CELL[0]]
    expected = []
    for name in ("half_life", "until_mode"):
        value, low, high = (row[f"{name}{end}"].item() for end in ("", "_low", "_high"))
        expected.append(f"{value:.0f}" if low == high else f"{value:.0f} ({low:.0f} to {high:.0f})")
    assert lines[(*CELL, "trained again and again")] == tuple(expected)
    assert lines["slow", "base", "trained again and again"] == ("more than 10", "more than 10")
    assert (*CELL, "rewarded for quality, too") in lines
    assert "each has its row in the table prompt_forecasts" in told(frame)


def test_labels_that_reward_the_untypical_are_told_so():
    text = told(table(rows(bias(-0.8))))
    assert "γ = 1 + α / (β · tokens) = 1 − 0.8000 / (0.1 · 50) = 0.840" in text
    assert "rewarding the untypical alone leaves" in text


def test_the_sentence_of_the_answer():
    made = records(table(rows(bias())))
    said = sentence(made, *CELL, MEASURE)
    assert "γ = 1.16 (1.10 to 1.22) at the median length of 50 tokens" in said and "not a training run" in said
    assert "may be zero" not in said
    assert "may be zero" in sentence(records(table(rows(bias(0.1)))), *CELL, MEASURE)
    assert sentence(made, "other", "base", MEASURE) == sentence([], *CELL, MEASURE) == ""


def test_pairs_are_told_gamma_and_why_no_more():
    frame = table(rows(bias(), k=2))
    found = chapter(frame, MEASURE)
    assert found is not None and found.pictures == ()
    assert "no prompt has 3 or more candidates; so there is γ only" in told(frame)
    assert any("no effective number, because no prompt has" in gap for gap in found.gaps)
    assert "γ = 1.16" in sentence(records(frame), *CELL, MEASURE)


def test_pmi_has_a_reason_in_place_of_gamma():
    frame = table(rows(bias(measure="mean_pmi")))
    found = chapter(frame, "mean_pmi")
    assert found is not None
    assert "There is no γ: mean_pmi sharpens" in " ".join(found.cells[0][1])
    assert found.gaps == (f"mean_pmi: no γ, because {frame['status'][0]}.",)
    assert [p.name for p in found.pictures] == ["forecast-beta"]


def test_a_cell_without_alpha_has_its_reason_and_stops_no_other():
    failed = rows(Bias(MEASURE, "bt", "all", "no comparison is decided"), cell=("other", "base"))
    frame = table(rows(bias()), failed)
    found = chapter(frame, MEASURE)
    assert found is not None
    assert ("other under base", ("No forecast: no comparison is decided.",)) in found.cells
    assert len(found.pictures) == 2 and len(found.lines) == 2


def test_without_forecasts_there_is_no_chapter():
    assert chapter(table([]), MEASURE) is None


@pytest.mark.parametrize("draw", [figures.narrowing, figures.generations])
def test_figures_hold_the_numbers(draw: Any):
    frame = table(rows(bias(good=1.0)), rows(bias(), k=2, cell=("pairs", "base")))
    plain = frame.query("fresh_share == 0 and entropy_bonus == 0 and generation == 1 and candidates.notna()")
    again = frame.query("candidates == 'typicality' and beta == 0.1")
    shown = (plain if draw is figures.narrowing else again)["effective_number"].dropna()
    assert len(shown) > 20
    assert {round(x, 3) for x in shown} <= drawn(draw(frame))
    # The chapter says why the pairs have none.
    assert len(draw(frame).axes) == 1


def test_averages_over_a_few_prompts_are_not_told():
    frame = table(rows(bias()))
    few = frame.assign(n_prompts=frame["n_prompts"].where(frame["candidates"].isna(), FEWEST_PROMPTS - 1))
    made = telling(few)
    tilted = made["candidates"].notna()
    assert made.loc[tilted, "effective_number"].isna().all()
    assert set(made.loc[tilted, "status"]) == {"only 4 prompts have 3 or more candidates"}
    pd.testing.assert_frame_equal(made[~tilted], few[~tilted], check_dtype=False)
    pd.testing.assert_frame_equal(telling(frame), frame, check_dtype=False)
    found = chapter(made, MEASURE)
    assert found is not None and not found.pictures


@pytest.mark.parametrize("draw", [figures.narrowing, figures.generations])
def test_nothing_to_draw_is_said(draw: Any):
    with pytest.raises(ValueError, match="nothing to draw"):
        draw(table([]))
    with pytest.raises(ValueError, match="three or more candidates"):
        draw(table(rows(bias(), k=2)))
    with pytest.raises(ValueError, match="there are: mean_logprob"):
        draw(table(rows(bias())), "other")


def test_the_line_over_generations_is_of_one_beta():
    """Ten generations and the start, each once."""
    (axes,) = figures.generations(table(rows(bias()))).axes
    assert [len(line.get_xdata()) for line in axes.lines if line.get_linestyle() == "-"] == [11, 11, 11]
