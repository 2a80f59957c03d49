"""What changed, in the report's words."""

from dataclasses import replace

import pytest

from analysis.report.changes import Change, Changes, Key, Move, Side, SourceChange
from analysis.report.told import MOST, told

KEY = Key("data", "base", "mean_logprob", "all", "bt", "typicality")
SIDES = (Side("r1", "made", "", "completed"), Side("r2", "made", "", "completed"))
SAME = Changes(*SIDES, (), (), (), (), (), ())


def move(before: float | None, after: float | None, key: Key = KEY, status: str = "ok") -> Move:
    difference = None if before is None or after is None else after - before
    errors = None if difference is None else difference / 0.1
    return Move(key, before, after, difference, 0.1, errors, "ok", status, 100, 100)


def test_nothing():
    found = told(replace(SAME, estimates=(move(0.5, 0.5),)))
    assert found.nothing and found.lines == () and found.moves == ()


def test_an_estimate_that_moved():
    found = told(replace(SAME, estimates=(move(0.5, 0.25),)))
    assert found.moves == (("data", "base", "mean_logprob", "all", "bt", "0.5000", "0.2500", "−0.2500", "−2.50"),)
    assert not found.nothing and len(found.columns) == len(found.moves[0])


@pytest.mark.parametrize("other", [{"term": "log_words"}, {"specification": "placebo_labels"}])
def test_controls_and_placebos_are_left_to_the_command(other: dict[str, str]):
    assert told(replace(SAME, estimates=(move(0.5, 0.25, replace(KEY, **other)),))).moves == ()


def test_a_number_that_is_gone_says_why():
    found = told(replace(SAME, estimates=(move(0.5, None, status="all are ties"),)))
    assert found.lines == ("data under base, bt (all): ok before, all are ties now",)


def test_data_settings_and_code():
    source = SourceChange(
        "dataset", "data", "re-pulled", (Change("revision", "abc", "def"), Change("rows", 1000, 1200))
    )
    made = replace(SAME, sources=(source,), settings=(Change("seed", 0, 1), Change("template", None, "plain")))
    assert told(made).lines == (
        "dataset data: re-pulled: revision: abc → def; rows: 1,000 → 1,200",
        "seed: 0 → 1",
        "template: none → plain",
    )


@pytest.mark.parametrize(
    ("after", "told_as"),
    [
        (["bt", "spline"], "specifications: added spline; removed rate"),
        (["bt", "rate", "spline", "ties"], "specifications: added spline and ties"),
        (["bt", "rate"], "specifications: in another order"),
    ],
)
def test_of_lists_of_names_what_they_gained_and_lost(after: list[str], told_as: str):
    made = replace(SAME, settings=(Change("specifications", ["rate", "bt"], after),))
    assert told(made).lines == (told_as,)


def test_only_the_largest_moves_are_shown_and_the_rest_is_counted():
    keys = [replace(KEY, dataset=f"d{k}") for k in range(MOST + 5)]
    found = told(replace(SAME, estimates=tuple(move(0.5, 0.6, key) for key in keys), new=(KEY,)))
    assert len(found.moves) == MOST
    assert found.lines == (
        "1 estimate new",
        f"{MOST + 5} estimates of typicality moved; those that moved most are below",
    )
