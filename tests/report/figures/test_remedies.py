"""Figures of remedies: what is drawn are the table's numbers, and the same table gives the same picture."""

import numpy as np
import pandas as pd
import pytest

from analysis.report.figures import svg
from analysis.report.figures.remedies import Axis, frontier, recovery, sweep

METHODS = {"direct": "#1f2937", "vs": "#D55E00", "hot": "#0072B2"}
X, Y = Axis("mean_logprob", "quality"), Axis("embedding_diversity", "diversity")


def rows(models=("a", "b"), measures=("mean_logprob", "embedding_diversity", "kl", "coverage", "kl_of_reference")):
    random = np.random.default_rng(0)
    made = []
    for model in models:
        for method in METHODS:
            for measure in measures:
                value = float(random.uniform(0.2, 0.9))
                keys = {"study": "s", "model": model, "method": method, "measure": measure, "status": "ok"}
                made.append({**keys, "estimate": value, "conf_low": value - 0.1, "conf_high": value + 0.1})
    return pd.DataFrame(made)


def drawn(figure):
    """All coordinates of all lines."""
    return {
        round(float(v), 6)
        for axes in figure.axes
        for line in axes.lines
        for v in (*np.ravel(line.get_xdata()), *np.ravel(line.get_ydata()))
        if np.isfinite(v)
    }


def values(frame, measure, scale=1.0):
    return {round(scale * v, 6) for v in frame[frame["measure"] == measure]["estimate"]}


def test_the_frontier_shows_every_method_under_every_model():
    frame = rows()
    figure = frontier(frame, METHODS, X, Y)
    assert values(frame, X.measure) | values(frame, Y.measure) <= drawn(figure)
    assert len(figure.axes) == 2
    assert [t.get_text() for t in figure.legends[0].get_texts()] == list(METHODS)


def test_the_line_joins_what_nothing_beats():
    frame = rows(("a",))
    points = {(m, k): e for m, k, e in frame[["method", "measure", "estimate"]].itertuples(index=False)}
    best = [
        m
        for m in METHODS
        if not any(all(points[o, axis.measure] > points[m, axis.measure] for axis in (X, Y)) for o in METHODS)
    ]
    line = frontier(frame, METHODS, X, Y).axes[0].lines[0]
    assert {round(float(v), 9) for v in line.get_xdata()} == {round(points[m, X.measure], 9) for m in best}


def test_a_sweep_is_in_the_order_of_the_setting():
    frame = rows(("a",))
    figure = sweep(frame, {"hot": 2.0, "direct": 1.0, "vs": 0.5}, [X, Y], "temperature")
    assert list(figure.axes[0].lines[0].get_xdata()) == [0.5, 1.0, 2.0]


def test_recovery_shows_what_the_reference_itself_would_give():
    frame = rows()
    shown = drawn(recovery(frame))
    assert values(frame, "kl") | values(frame, "kl_of_reference") | values(frame, "coverage", 100) <= shown


@pytest.mark.parametrize(
    "draw", [recovery, lambda f: frontier(f, METHODS, X, Y), lambda f: sweep(f, {"vs": 1}, [X], "T")]
)
def test_the_same_table_gives_the_same_picture_and_an_empty_one_is_refused(draw):
    frame = rows()
    assert svg(draw(frame), "title") == svg(draw(frame), "title")
    with pytest.raises(ValueError, match="no "):
        draw(frame.assign(estimate=np.nan))
    with pytest.raises(ValueError, match="nothing to draw"):
        draw(frame.iloc[:0])


def test_what_has_no_interval_stands_alone():
    frame = rows(("a",)).assign(conf_low=np.nan, conf_high=np.nan)
    assert values(frame, X.measure) <= drawn(frontier(frame, METHODS, X, Y))
