"""Caveats stand only where the run calls for them."""

from pathlib import Path

import pyarrow as pa
import pytest

from analysis.preferences.sample import OUTSIDE
from analysis.report.caveats import caveats
from analysis.report.content import Cell, Content
from analysis.study import parse

FACTS = {"precision": None, "scored": 200, "responses": 200, "truncated": 0, "cut": 0, "straddling": 0, "memorised": 0}


@pytest.mark.parametrize("ties", ["keep", None])
def test_a_slope_of_ratings_where_equal_ones_are_left_out(tmp_path: Path, ties: str | None) -> None:
    """It says how to bring them in, unless they are there."""
    data = [{"name": name, "ties": ties} if ties else {"name": name} for name in ("helpsteer", "helpsteer2")]
    study = parse({"name": "x", "base_models": [{"name": "org/base"}], "datasets": data}, tmp_path)
    run = {"from_cache": None, "datasets": [], "base_models": []}
    cells = [
        Cell(name, "org/base", "human", "ok", {"ratings": {"estimate": estimate}}, FACTS)
        for name, estimate in (("helpsteer", 0.3), ("helpsteer2", None))
    ]
    found = [c for c in caveats(Content(study, run, cells, [], [], [], [], pa.table({}))) if "ratings" in c]
    assert len(found) == (ties is None)
    assert all(c.startswith("helpsteer:") and 'ties = "keep"' in c for c in found)


@pytest.mark.parametrize("memorised", [0, 3])
def test_contamination_is_suspected_where_responses_are_memorised(tmp_path: Path, memorised: int) -> None:
    study = parse({"name": "x", "base_models": [{"name": "org/base"}], "datasets": [{"name": "shp"}]}, tmp_path)
    cell = Cell("shp", "org/base", "human", "ok", {}, FACTS | {"memorised": memorised})
    run = {"from_cache": None, "datasets": [], "base_models": []}
    found = [c for c in caveats(Content(study, run, [cell], [], [], [], [], pa.table({}))) if "contamination" in c]
    assert len(found) == bool(memorised)
    assert all("3 responses of 50 tokens or more (1.5 %)" in c for c in found)


@pytest.mark.parametrize(("n", "said"), [(17, True), (1, False)])
def test_rows_left_out_are_told_where_they_are_many(tmp_path: Path, n: int, said: bool) -> None:
    study = parse({"name": "x", "base_models": [{"name": "org/base"}], "datasets": [{"name": "shp"}]}, tmp_path)
    data = {"dataset": "shp", "rater": "human", "rows": 300}
    run = {"from_cache": None, "datasets": [data], "base_models": []}
    undeclared = {"dataset": "shp", "unit": "row", "reason": "the preference is '1'", "n": n}
    outside = undeclared | {"reason": f"{OUTSIDE} of 200 prompts", "n": 100}
    found = caveats(Content(study, run, [], [], [], [undeclared, outside], [], pa.table({})))
    assert any("17 of 300 rows (5.7 %) were left out" in c and "the preference is '1' (17)" in c for c in found) == said
    assert not any(OUTSIDE in c for c in found)
