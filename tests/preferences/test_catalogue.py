"""The catalogue's entries, and the check of what was found against what was expected."""

from typing import Any

import pytest
from datasets import Features, List, Value

from analysis.errors import CellError, StudyError
from analysis.preferences.catalogue import Entry, check_columns, entries, entry

TURN = {"role": Value("string"), "content": Value("string")}
FEATURES = Features(
    {
        "text": Value("string"),
        "long": Value("large_string"),
        "whole": Value("int64"),
        "real": Value("float32"),
        "flag": Value("bool"),
        "turns": List(TURN),
        "texts": List(Value("string")),
        "turn": TURN,
        "contents": List({"content": Value("string")}),
    }
)


@pytest.mark.parametrize("found", entries().values(), ids=entries())
def test_an_entry_says_all_that_a_person_asks(found: Entry) -> None:
    assert entry(found.name) is found
    assert found.hub.count("/") == 1
    assert found.shape in ("pairs", "graded", "ranked")
    assert found.rater in ("human", "ai", "mixed")
    assert found.default_split in found.splits
    assert set(found.columns.values()) <= {"text", "number", "messages"}
    assert all((found.labels, found.licence, found.size, found.citation))


@pytest.mark.parametrize("name", ["hh_rlhf", "hh-rhlf", "HH-RLHF", "", "nothing like it"])
def test_an_unknown_name_is_one_sentence(name: str) -> None:
    with pytest.raises(StudyError, match="is not in the catalogue") as caught:
        entry(name)
    assert "hh-rlhf" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "kinds"),
    [
        ("text", {"text"}),
        ("long", {"text"}),
        ("whole", {"number"}),
        ("real", {"number"}),
        ("flag", set()),
        ("turns", {"messages"}),
        ("texts", set()),
        ("turn", set()),
        ("contents", set()),
    ],
)
def test_a_column_is_of_one_kind(column: str, kinds: set[str]) -> None:
    for kind in ("text", "number", "messages"):
        if kind in kinds:
            check_columns({column: kind}, FEATURES, "the data")
        else:
            with pytest.raises(CellError, match=f"the data: column '{column}' should hold {kind}") as caught:
                check_columns({column: kind}, FEATURES, "the data")
            assert "\n" not in str(caught.value)


def test_the_old_way_to_write_a_list_of_messages_is_understood() -> None:
    features: Any = {"turns": [TURN]}
    check_columns({"turns": "messages"}, features, "the data")


def test_a_missing_column_lists_those_found() -> None:
    with pytest.raises(CellError, match="the data has no column 'chosen'; it has text, long, whole"):
        check_columns({"text": "text", "chosen": "text"}, FEATURES, "the data")
