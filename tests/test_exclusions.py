"""What is left out is counted by reason, with a few examples."""

from analysis.exclusions import EXAMPLES, Tally
from analysis.tables import to_arrow


def test_counts_and_examples():
    tally = Tally("study", "data", "preferences")
    for i in range(20):
        tally.add("row", "a response is empty", f"row {i}")
    tally.add("comparison", "the two outcomes are equal", "rows 1 and 2", n=30)
    rows = tally.rows()
    assert [(r["unit"], r["reason"], r["n"]) for r in rows] == [
        ("comparison", "the two outcomes are equal", 30),
        ("row", "a response is empty", 20),
    ]
    assert rows[1]["examples"] == [f"row {i}" for i in range(EXAMPLES)]
    assert tally.summary() == "30 × comparison: the two outcomes are equal; 20 × row: a response is empty"
    assert to_arrow("exclusions", rows).num_rows == 2
