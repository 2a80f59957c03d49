"""The chapter on diversity: its numbers are the table's, and what cannot be said has a reason."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import tables
from analysis.collapse.diversity.estimates import rows
from analysis.collapse.diversity.metrics import Measurer
from analysis.collapse.diversity.sets import Group
from analysis.report import figures
from analysis.report.diversity import chapter
from analysis.report.words import fixed
from tests.report.figures.test_figures import drawn, words

WORDS = np.array([f"w{k}" for k in range(80)])


def made(dataset: str = "mine", n: int = 150, k: int = 1, longer: int = 0) -> list[dict[str, Any]]:
    """Rows of a dataset whose chosen responses are of fewer words than the rejected."""
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS[:12], 8 + longer)) for _ in range(n * k)]
    texts += [" ".join(random.choice(WORDS, 8)) for _ in range(n * k)]
    sides = [
        Group(name, {f"p{i}": tuple(range(off + k * i, off + k * i + k)) for i in range(n)})
        for name, off in (("chosen", 0), ("rejected", n * k))
    ]
    measurer = Measurer.of(texts, entropies={"base": random.random(len(texts))})
    return [{"study": "made", "dataset": dataset, **row} for row in rows(sides, measurer, 0)]


def table(*parts: list[dict[str, Any]]) -> pd.DataFrame:
    return tables.to_arrow("diversity", [row for part in parts for row in part]).to_pandas()


def told(frame: pd.DataFrame) -> str:
    found = chapter(frame)
    assert found is not None
    return " ".join(said for _, sentences in found.datasets for said in sentences)


def test_both_sides_and_their_difference_are_told():
    frame = table(made())
    text = told(frame)
    assert "Across input, over 6 sets, the chosen responses are less diverse than the rejected by" in text
    assert "Per input nothing can be said: no prompt has two or more generations of both." in text
    row = frame.query("metric == 'vendi' and scope == 'across_input' and other_group == 'rejected'").iloc[0]
    assert (
        f"difference {fixed(row['estimate'], 3)} ({fixed(row['conf_low'], 3)} to {fixed(row['conf_high'], 3)})" in text
    )
    assert "Entropy under base: " in text
    assert "Mind the length" not in text
    assert "Mind the length: the chosen have 50 % more words (12.0 against 8.0)" in told(table(made(longer=4)))


def test_per_input_is_told_where_prompts_have_several():
    text = told(table(made(n=30, k=3)))
    assert "Per input, over 30 sets" in text
    assert "Across input nothing can be said: no interval: fewer than 5 sets (there is 1 set)." in text


def test_the_figure_holds_the_differences():
    frame = table(made(), made("other", k=2))
    found = drawn(figures.diversity(frame))
    rows = frame[frame["other_group"].notna() & frame["metric"].isin(["ead", "vendi"]) & frame["conf_low"].notna()]
    assert len(rows) == 6
    for column in ("estimate", "conf_low", "conf_high"):
        assert {round(float(v), 3) for v in rows[column]} <= found
    said = words(figures.diversity(frame))
    assert "chosen less rejected" in said and "more diverse: left" in said and "per input" in said


def test_what_has_no_number_is_said_in_the_figure():
    frame = table(made())
    gone = (frame["metric"] == "vendi") & frame["other_group"].notna()
    frame.loc[gone, ["estimate", "conf_low", "conf_high"]] = np.nan
    frame.loc[gone, "status"] = "no interval: all sets have the same value"
    assert "no number: all sets have the same value" in words(figures.diversity(frame))
    with pytest.raises(ValueError, match="no dataset has a difference"):
        figures.diversity(frame[gone])


def test_without_rows_there_is_no_chapter():
    assert chapter(table()) is None


def test_a_dataset_that_failed_has_its_reason():
    blank = [
        {**row, "status": "it is gone", "estimate": None, "conf_low": None, "conf_high": None, "n_sets": 0}
        for row in made(n=3)
    ]
    found = chapter(table(blank))
    assert found is not None
    assert found.lines == () and found.pictures == ()
    assert "nothing can be said: it is gone." in told(table(blank))
