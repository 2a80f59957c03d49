"""The report's figures: what is drawn are the table's numbers; whatever is missing is said or left out."""

import itertools
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis import tables
from analysis.report import figures

LADDER = ("bt", "bt_length", "bt_style", "bt_quality", "bt_source", "bt_fluency")
OTHERS = ("rate", "placebo_labels", "placebo_prompts", "bt_prompts")
OF_ESTIMATES: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "forest": figures.forest,
    "ladder": figures.ladder,
    "dose_response": figures.dose_response,
    "specification_curve": figures.specification_curve,
    "placebos": figures.placebos,
    "shape": figures.shape,
}


def row(cell: int, specification: str, estimate: float, term: str = "typicality", **more: Any) -> dict[str, Any]:
    return {
        "dataset": f"dataset-{cell}",
        "base_model": "org/base",
        "measure": "mean_logprob",
        "slice": "all",
        "specification": specification,
        "term": term,
        "status": "ok",
        "estimate": estimate,
        "std_error": 0.05,
        "conf_low": estimate - 0.1,
        "conf_high": estimate + 0.1,
        "difference_sd": 0.8,
        "marginal_effect": estimate / 4,
        "marginal_effect_std_error": 0.01,
        "mean_log_likelihood": -0.68,
        "n_comparisons": 500,
        "n_prompts": 100,
        "covariance": "clustered",
        **more,
    }


def cell(k: int) -> list[dict[str, Any]]:
    """All that the figures show of one cell, every number its own."""
    rows = [row(k, name, 0.111 + 0.01 * j + 0.001 * k) for j, name in enumerate((*LADDER, *OTHERS))]
    rows += [row(k, "length_only", 0.3, "log_words"), row(k, "length_only", -0.1, "log_words_squared")]
    rows += [row(k, "unigram_only", 0.2, "unigram")]
    rows += [row(k, "surprisal_entropy", 0.4, "surprisal_entropy"), row(k, "spline", 0.5, p_linearity=0.0432)]
    rows += [row(k, "quadratic", 0.6)]
    for x in np.linspace(-4, -1, 20):
        name = f"curve at {x:.3f} against -2.5"
        rows += [row(k, "spline", 0.7 + 0.1 * x, name), row(k, "quadratic", 0.8 + 0.13 * x, name)]
    edges = np.linspace(0, 2, 11)
    bins = itertools.pairwise(edges)
    return rows + [row(k, "binned", 0.5 + low / 20, f"|difference| {low:.4g} to {high:.4g}") for low, high in bins]


def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as the table holds them."""
    keys = {"study": "made", "run_id": "r", "n_likelihood_ties": 0}
    return tables.to_arrow("estimates", [keys | r for r in rows]).to_pandas()


def differences(n: int = 200, cells: int = 1) -> pd.DataFrame:
    random = np.random.default_rng(0)
    names = [f"dataset-{k}" for k in range(cells) for _ in range(n)]
    return pd.DataFrame(
        {
            "dataset": names,
            "base_model": "org/base",
            "measure": "mean_logprob",
            "difference": random.normal(size=n * cells),
            "agrees": np.where(random.random(n * cells) < 0.75, True, False),
        }
    )


def drawn(figure: Figure) -> set[float]:
    """Coordinates of all lines, to three decimals."""
    found = [v for axes in figure.axes for line in axes.lines for data in line.get_data() for v in np.atleast_1d(data)]
    return {round(float(v), 3) for v in found if np.isfinite(float(v))}


def words(figure: Figure) -> str:
    texts = ElementTree.fromstring(figures.svg(figure, "x")).iter("{http://www.w3.org/2000/svg}text")
    return " ".join("".join(t.itertext()) for t in texts)


def test_the_forest_holds_the_rate_and_both_alphas():
    found = drawn(figures.forest(table(cell(0))))
    made = {r["specification"]: r for r in cell(0)}
    for specification, scale in (("rate", 100), ("bt", 1), ("bt_source", 1)):
        for value in ("estimate", "conf_low", "conf_high"):
            assert round(scale * made[specification][value], 3) in found
    assert round(made["bt_fluency"]["estimate"], 3) not in found


def test_the_ladder_holds_the_marginal_effect_of_every_rung():
    found = drawn(figures.ladder(table(cell(0))))
    for made in cell(0)[: len(LADDER)]:
        assert round(100 * made["marginal_effect"], 3) in found


def test_bins_stand_at_their_rates():
    found = drawn(figures.dose_response(table(cell(0))))
    for made in cell(0)[-10:]:
        assert {round(100 * made[v], 3) for v in ("estimate", "conf_low", "conf_high")} <= found


def test_the_curve_is_in_log_odds_per_standard_deviation():
    found = drawn(figures.specification_curve(table(cell(0))))
    for made in cell(0)[: len(LADDER)]:
        assert round(0.8 * made["estimate"], 3) in found


def test_placebos_stand_beside_the_real_one_and_rivals_gain_over_a_coin():
    found = drawn(figures.placebos(table(cell(0))))
    made = {r["specification"]: r for r in cell(0)}
    for name in ("bt", "placebo_labels", "placebo_prompts"):
        assert round(made[name]["estimate"], 3) in found
    assert round(1000 * (np.log(2) - 0.68), 3) in found


def test_the_shape_holds_the_points_of_both_curves_and_the_line():
    figure = figures.shape(table(cell(0)))
    found = drawn(figure)
    for made in cell(0):
        if made["term"].startswith("curve"):
            assert {round(made["estimate"], 3), round(float(made["term"].split()[2]), 3)} <= found
    assert round(0.111 * (-4 + 2.5), 3) in found
    assert "straight line: p 0.043" in words(figure)


def test_the_distribution_says_how_often_the_preferred_one_is_more_typical():
    frame = differences()
    share = 100 * frame["agrees"].mean()
    assert f"{share:.1f} %" in words(figures.distribution(frame))


def test_ties_are_left_out_of_the_distribution():
    frame = differences()
    with_ties = pd.concat([frame, frame.assign(agrees=None)])
    assert words(figures.distribution(with_ties)) == words(figures.distribution(frame))


@pytest.mark.parametrize("name", OF_ESTIMATES)
@pytest.mark.parametrize("n", [1, 3, 20])
def test_any_number_of_cells(name: str, n: int):
    text = figures.svg(OF_ESTIMATES[name](table([r for k in range(n) for r in cell(k)])), "what it shows")
    root = ElementTree.fromstring(text)
    assert root.get("role") == "img" and root.get("aria-label") == "what it shows"
    shown = " ".join("".join(t.itertext()) for t in root.iter("{http://www.w3.org/2000/svg}text"))
    assert all(f"dataset-{k}" in shown for k in range(n))
    assert len(text.encode()) < 160_000


@pytest.mark.parametrize("name", OF_ESTIMATES)
def test_the_same_table_gives_the_same_bytes(name: str):
    frame = table(cell(0) + cell(1))
    first, second = (figures.svg(OF_ESTIMATES[name](frame.copy()), "x") for _ in "ab")
    assert first == second


def test_figures_share_a_page():
    """No style sheet, and no id of one is an id of another."""
    texts = [figures.svg(draw(table(cell(0))), name) for name, draw in OF_ESTIMATES.items()]
    assert not any("<style" in text for text in texts)
    ids = [found for text in texts for found in re.findall(r'\bid="([^"]+)"', text)]
    assert len(ids) == len(set(ids)) > 0


@pytest.mark.parametrize("name", OF_ESTIMATES)
def test_a_cell_without_numbers_does_not_stop_the_others(name: str):
    nothing = dict.fromkeys(("estimate", "std_error", "conf_low", "conf_high", "difference_sd", "marginal_effect"))
    failed = [r | nothing | {"status": "the dataset has no comparison"} for r in cell(1)]
    figure = OF_ESTIMATES[name](table(cell(0) + failed))
    assert "dataset-0" in words(figure)


@pytest.mark.parametrize("name", OF_ESTIMATES)
def test_nothing_to_draw_is_said(name: str):
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        OF_ESTIMATES[name](table(cell(0)).iloc[:0])


def test_no_difference_to_draw_is_said():
    with pytest.raises(ValueError, match="difference"):
        figures.distribution(differences().iloc[:0])


def test_names_are_no_markup_and_long_ones_are_cut():
    rows = [r | {"dataset": "<b>&" + "x" * 200} for r in cell(0)]
    for draw in OF_ESTIMATES.values():
        text = figures.svg(draw(table(rows)), "<i>")
        assert "<b>" not in text and "x" * 100 not in text and ElementTree.fromstring(text).get("aria-label") == "<i>"
