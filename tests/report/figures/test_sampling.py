"""The figure of entropy and draws against temperature holds the table's numbers."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import tables
from analysis.report import figures
from analysis.report.figures.sampling import _ENTROPIES, _PANELS
from tests.report.figures.test_figures import drawn, words

KEYS = dict.fromkeys(("file", "file_sha256", "revision", "template", "dtype", "contexts", "unit"), "x")
KEYS |= {"seed": 0, "samples": 2, "max_tokens": 4, "n_prompts": 9, "name": "made", "base_model": "base"}
TEMPERATURES = (0.5, 1.0, 2.0)


def frame(missing: str = "", **more: Any) -> pd.DataFrame:
    rows = [
        {
            **KEYS, "temperature": t, "other_temperature": None, "quantity": name, "status": "ok",
            "estimate": 0.111 * k + t, "conf_low": 0.111 * k + t - 0.05, "conf_high": 0.111 * k + t + 0.05, **more,
        }
        for k, name in enumerate((*_ENTROPIES, *_PANELS))
        for t in TEMPERATURES
    ]  # fmt: skip
    gap = {"status": "no set has a value", "estimate": None, "conf_low": None, "conf_high": None}
    rows = [row | gap if row["quantity"] == missing else row for row in rows]
    step = {**rows[0], "other_temperature": 0.1, "estimate": 77.7}
    return tables.to_arrow("temperature", [*rows, step]).to_pandas()


def test_every_estimate_is_drawn():
    made = figures.temperature(frame())
    shown = drawn(made)
    assert {round(0.111 * k + t, 3) for k in range(8) for t in TEMPERATURES} <= shown
    assert 77.7 not in shown
    assert all(title in words(made) for title in ("along own draws", "fixed contexts, exact", *_PANELS.values()))
    assert figures.svg(made, "t") == figures.svg(figures.temperature(frame()), "t")


def test_what_is_missing_is_said():
    made = figures.temperature(frame(missing="vendi"))
    assert "no set has a value" in " ".join(words(made).split())
    with pytest.raises(ValueError, match="nothing to draw"):
        figures.temperature(frame().iloc[:0])
    with pytest.raises(ValueError, match=r"several measurements \(made under base, other under base\)"):
        figures.temperature(pd.concat([frame(), frame(name="other")]))
    with pytest.raises(ValueError, match="no quantity has a number"):
        figures.temperature(frame(estimate=np.nan))
