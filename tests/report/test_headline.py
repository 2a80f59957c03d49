"""The headline: one sentence, numbers first, for one cell, many, none."""

from dataclasses import replace
from typing import Any

import pytest

from analysis import tables
from analysis.report.content import Cell, Content, Planted
from analysis.report.headline import headline
from analysis.study import parse

STUDY = {
    "name": "made",
    "base_models": [{"name": "org/base"}],
    "datasets": [{"name": "hh-rlhf", "part": "harmless-base"}],
}


def row(estimate: float | None, low: float | None = None, high: float | None = None, n: int = 1234) -> dict[str, Any]:
    return {"estimate": estimate, "conf_low": low, "conf_high": high, "n_comparisons": n, "n_prompts": n}


def cell(name: str, rate: dict[str, Any]) -> Cell:
    return Cell(name, "base", "human", "ok", {"rate": rate}, {})


@pytest.fixture
def content(tmp_path) -> Content:
    return Content(parse(STUDY, tmp_path), {}, [], [], [], [], [], tables.table("estimates").schema.empty_table())


def test_one_cell(content: Content):
    text = headline(replace(content, cells=[cell("ours", row(0.5432, 0.51, 0.57))]))
    assert text == (
        "54.3 % of 1,234 comparisons of ours prefer the response that base finds more typical "
        "(95 % interval 51.0 to 57.0 %; 50 % is no bias)."
    )


def test_many_cells_count_on_which_side_of_one_half_their_intervals_lie(content: Content):
    rates = [row(0.6, 0.55, 0.65), row(0.5, 0.45, 0.55), row(0.4, 0.35, 0.45), row(None)]
    text = headline(replace(content, cells=[cell(f"d{i}", r) for i, r in enumerate(rates)]))
    assert text == (
        "40.0 to 60.0 % of comparisons prefer the more typical response, over 3 cells (50 % is no bias): the 95 % "
        "interval lies above one half in 1, below it in 1, and includes it in 1. 1 further cell has no estimate."
    )


def test_no_cell(content: Content):
    none = replace(cell("ours", row(None)), status="it has no comparison")
    assert headline(replace(content, cells=[none])) == "No estimate: it has no comparison."
    several = headline(replace(content, cells=[none, none]))
    assert several == "No estimate in any of 2 cells; the first: it has no comparison."


@pytest.mark.parametrize(("low", "high", "where"), [(0.8, 1.2, "inside"), (0.6, 0.9, "outside")])
def test_a_planted_value_stands_beside_the_recovered_one(content: Content, low: float, high: float, where: str):
    planted = Planted("ours", "base", 1.0, "equal_quality", row(0.85, low, high))
    text = headline(replace(content, cells=[cell("ours", row(0.6, 0.5, 0.7))], planted=[planted]))
    assert "the planted α is 1.00, and Bradley–Terry gives 0.85" in text
    assert f"the planted value lies {where} the interval" in text
