"""Numbers and texts as the report shows them."""

import math

import pytest

from analysis.report import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.567, "0.57"),
        (-0.567, "−0.57"),
        (0, "0.00"),
        (12.3456, "12.35"),
        (0.00123, "0.0012"),
        (-0.0000004, "−4.0e−07"),
        (None, "—"),
        (math.nan, "—"),
    ],
)
def test_fixed_never_rounds_a_number_to_nothing(value: float | None, text: str):
    assert words.fixed(value) == text


def test_p_values_are_bounded_below():
    assert words.p_value(1e-9) == "< 0.001"
    assert words.p_value(0.0421) == "0.042"


def test_shares_of_nothing_are_missing():
    assert words.share(0, 0) == "—"
    assert words.share(1, 8) == "12.5 %"


def test_counts_have_plurals():
    assert words.count(1, "cell") == "1 cell"
    assert words.count(1200, "cell") == "1,200 cells"


def test_durations_are_readable():
    assert [words.seconds(s) for s in (3.21, 100, 7200)] == ["3.2 s", "1.7 min", "2.0 h"]


@pytest.mark.parametrize("text", ["a|b", "<b>", "`x`", "[a](b)", "*x*", "line\nbreak", "a\\|b", "&lt;"])
def test_markdown_shows_text_as_it_is(text: str):
    shown = words.markdown(text)
    assert "\n" not in shown
    assert "<" not in shown
    plain = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    out, escaped = [], False
    for character in plain:
        if character == "\\" and not escaped:
            escaped = True
            continue
        out.append(character)
        escaped = False
    assert "".join(out) == " ".join(text.split())
