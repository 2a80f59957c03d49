"""Verbalized distributions: every form is read to the letter, and whatever is broken is a failure with its reason."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.collapse.remedies import parsing
from analysis.collapse.remedies.parsing import OK, parse_list, parse_text
from tests.chat_stand_in import BROKEN, WHOLE, as_json

# Texts that a model may write in a list; what a form itself is made of cannot stand in its texts.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters='<>[]{}()"\\\n\r|*:=%', exclude_categories=["C", "Z"]))
SENTENCES = st.lists(TEXTS.filter(lambda t: t.strip("-–—.,;") == t and t), min_size=1, max_size=5).map(" ".join)
SHARES = st.floats(0.001, 1).map(lambda p: round(p, 4))
LISTS = st.lists(st.tuples(SENTENCES, SHARES), min_size=2, max_size=6)
REASONS = {value for name, value in vars(parsing).items() if name.isupper() and isinstance(value, str)}


@pytest.mark.parametrize("form", WHOLE)
@given(pairs=LISTS)
@settings(max_examples=40, deadline=None)
def test_what_was_written_is_read(form, pairs):
    parsed = parse_list(form(pairs), "stop", len(pairs), "fraction")
    assert parsed.status == OK
    assert [item.text for item in parsed.items] == [text for text, _ in pairs]
    assert [item.probability for item in parsed.items] == pytest.approx([p for _, p in pairs], abs=1e-6)
    assert all(item.probability_status == OK and item.raw for item in parsed.items)
    normalised = parsing.normalised(parsed.items)
    assert sum(p for p in normalised if p is not None) == pytest.approx(1)


@given(answer=st.text(max_size=200), k=st.integers(1, 5), finish=st.sampled_from(["stop", "length", None]))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_or_refused_but_never_an_empty_response(answer, k, finish):
    holds(parse_list(answer, finish, k, "fraction"), k)


@given(pairs=LISTS, at=st.floats(0, 1), junk=st.text(max_size=5), form=st.sampled_from(WHOLE))
@settings(max_examples=200, deadline=None)
def test_a_damaged_answer_is_read_or_refused_but_never_an_empty_response(pairs, at, junk, form):
    whole = form(pairs)
    cut = int(at * len(whole))
    parsed = parse_list(whole[:cut] + junk + whole[cut + len(junk) :], "stop", len(pairs), "fraction")
    holds(parsed, len(pairs))


@given(pairs=LISTS, at=st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_json_that_is_cut_gives_nothing(pairs, at):
    whole = as_json(pairs)
    parsed = parse_list(whole[: -min(at, len(whole) - 1)], "length", len(pairs), "fraction")
    assert parsed == parsing.Parsed(parsing.CUT)


def holds(parsed, k):
    assert parsed.status in REASONS
    assert (len(parsed.items) == k) == (parsed.status == OK)
    for item in parsed.items:
        assert item.status in REASONS
        assert (item.text is not None and bool(item.text.strip())) == (item.status == OK)
        assert (item.probability is not None) == (item.probability_status == OK)
        assert item.probability is None or 0 <= item.probability <= 1


def test_every_way_of_breaking_is_told_apart():
    pairs = [("red", 0.5), ("green", 0.3), ("blue", 0.2)]
    found = {name: parse_list(form(pairs), "stop", 3, "fraction") for name, form in BROKEN.items()}
    assert found["cut"].status == parsing.BROKEN_JSON
    assert found["empty"].status == parsing.EMPTY_ANSWER
    assert found["prose"].status == parsing.NO_LIST
    assert [i.status for i in found["short"].items] == [OK, OK, parsing.MISSING]
    assert [i.probability_status for i in found["out of range"].items] == [parsing.OUT_OF_RANGE, OK, OK]
    assert {i.probability_status for i in found["no number"].items} == {parsing.NO_NUMBER}
    assert [i.status for i in found["blank"].items] == [parsing.EMPTY, OK, OK]


@pytest.mark.parametrize(
    ("raw", "unit", "share", "status"),
    [
        (0.25, "fraction", 0.25, OK),
        ("0.25", "fraction", 0.25, OK),
        ("1/4", "fraction", 0.25, OK),
        ("25%", "fraction", 0.25, OK),
        ("25 per cent", "fraction", 0.25, OK),
        ("~25 %", "percent", 0.25, OK),
        (25, "percent", 0.25, OK),
        (0.25, "percent", 0.0025, OK),
        # What is neither a share nor says that it is a percentage is not guessed at.
        (25, "fraction", None, parsing.OUT_OF_RANGE),
        (-0.1, "fraction", None, parsing.OUT_OF_RANGE),
        ("101%", "percent", None, parsing.OUT_OF_RANGE),
        ("0,25", "fraction", None, parsing.NO_NUMBER),
        ("1/0", "fraction", None, parsing.NO_NUMBER),
        ("likely", "fraction", None, parsing.NO_NUMBER),
        (True, "fraction", None, parsing.NO_NUMBER),
        ([0.2], "fraction", None, parsing.NO_NUMBER),
        (None, "fraction", None, parsing.NO_PROBABILITY),
    ],
)
def test_probabilities(raw, unit, share, status):
    answer = json.dumps({"responses": [{"text": "a", "probability": raw}, {"text": "b", "probability": "10%"}]})
    item = parse_list(answer, "stop", 2, unit).items[0]
    assert item.status == OK
    assert (item.probability, item.probability_status) == (pytest.approx(share) if share else share, status)


def test_half_a_surrogate_pair_is_no_response():
    answer = '[{"text": "a \\ud83d", "probability": "\\ud83d"}, {"text": "\\ud83d\\ude00", "probability": 0.5}]'
    broken, whole = parse_list(answer, "stop", 2, "fraction").items
    assert (broken.text, broken.status, broken.raw) == (None, parsing.NO_UNICODE, '"\\ud83d"')
    assert (whole.text, whole.status) == ("\U0001f600", OK)
    assert parse_text("a \ud83d", "stop").status == parsing.NO_UNICODE


def test_no_number_at_all_is_no_distribution():
    item = parse_list(as_json([("a", 0), ("b", 0)]), "stop", 2, "fraction").items[0]
    assert (item.probability, item.probability_status) == (None, parsing.NO_SUM)


def test_more_than_asked_for_is_cut_and_prose_around_it_is_no_matter():
    answer = f"As you [see] in {{this}} case:\n{as_json([('a', 0.1), ('b', 0.1), ('c', 0.1)])}\nGood luck!"
    assert [i.text for i in parse_list(answer, "stop", 2, "fraction").items] == ["a", "b"]


def test_a_list_inside_a_response_is_not_the_list():
    parsed = parse_list('1. He wrote ["red"] on it\n2. She wrote nothing', "stop", 2, None)
    assert [i.text for i in parsed.items] == ['He wrote ["red"] on it', "She wrote nothing"]


@pytest.mark.parametrize(
    ("answer", "finish", "status"),
    [
        ("Paris.", "stop", OK),
        ("Paris and", "length", OK),
        (" \n", "stop", parsing.EMPTY_ANSWER),
        ("", "content_filter", parsing.FILTERED),
        ("", "refusal", parsing.REFUSED),
    ],
)
def test_a_direct_answer(answer, finish, status):
    parsed = parse_text(answer, finish)
    assert parsed.status == status
    assert [i.text for i in parsed.items] == ([answer.strip()] if status == OK else [])
