"""The text statistics: exact counts on texts where a person can count, and what holds for every text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import tables
from analysis.preferences.features import VERSION, features

MARKDOWN = """# Title
Some **bold words** and __more__, see https://example.org/a?b=c.

- one
* two
  + three
1. four
12) five

```python
# a comment, not a header? It is one to a counter of lines.
x = 1
```
"""


def test_markdown_is_counted() -> None:
    found = features(MARKDOWN)
    assert found["n_bold"] == 2
    assert found["n_links"] == 1
    assert found["n_list_items"] == 5
    assert found["n_code_blocks"] == 1
    assert found["n_lines"] == 11
    assert found["n_headers"] in (1, 2)


@pytest.mark.parametrize(
    ("text", "name", "n"),
    [
        ("one two\tthree\nfour", "n_words", 4),
        ("  \n ", "n_words", 0),
        ("né", "n_chars", 2),
        ("né", "n_bytes", 3),
        ("a\n\n \nb", "n_lines", 2),
        ("#hashtag", "n_headers", 0),
        ("####### seven", "n_headers", 0),
        ("   ### three", "n_headers", 1),
        ("a # b", "n_headers", 0),
        ("-no space", "n_list_items", 0),
        ("1999. A year", "n_list_items", 0),
        ("2 * 3 * 4", "n_list_items", 0),
        ("** not bold **", "n_bold", 0),
        ("**a\nb**", "n_bold", 0),
        ("```\nopen to the end", "n_code_blocks", 1),
        ("~~~\nx\n~~~\ny\n```\nz\n```", "n_code_blocks", 2),
        ("http://a and https://b", "n_links", 2),
        ("ftp://a", "n_links", 0),
        ("fine 🌞, sad 😢, flag 🇫🇷", "n_emoji", 4),  # a flag is two signs
        ("check ✔, heart ❤️", "n_emoji", 2),
        ("naïve café, 12 € → ½ — “quoted” 日本", "n_emoji", 0),
        ("I'm sorry, but no.", "refusal", True),
        ("I’m so sorry.", "refusal", True),
        ("As an AI language model, I cannot say.", "refusal", True),
        ("I can’t help with that.", "refusal", True),
        ("Sure! I can help.", "refusal", False),
        ("He said he was sorry. " + "x" * 300 + " I cannot", "refusal", False),
        ("a b c", "repetition", 0.0),
        ("a b", "repetition", 0.0),
        ("a b c A B C a b c", "repetition", 4 / 7),  # seven runs of three words, of which three are different
        ("no no no no", "repetition", 0.5),
    ],
)
def test_a_count_that_can_be_made_by_hand(text: str, name: str, n: float) -> None:
    assert features(text)[name] == n


@given(st.text())
def test_what_holds_for_every_text(text: str) -> None:
    found = features(text)
    assert found["features_version"] == VERSION
    assert found["n_chars"] == len(text) <= found["n_bytes"] <= 4 * len(text)
    assert (found["n_words"] > 0) == bool(text.strip())
    assert all(n >= 0 for n in found.values())
    assert features(text + text)["n_chars"] == 2 * found["n_chars"]


def test_the_counts_are_the_columns_of_the_table() -> None:
    assert {"response_id", *features("x")} == {c.name for c in tables.table("features").columns}


def test_a_lone_surrogate_does_not_stop_the_counting() -> None:
    assert features("a\ud800")["n_chars"] == 2
