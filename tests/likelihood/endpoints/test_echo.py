"""Which tokens of an echoed text are the response's, however an endpoint renders them."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.likelihood.encoding import NO_TOKENS
from analysis.likelihood.endpoints.echo import LOOSE_BOUNDARY, MISSPELLED, NO_CONTEXT, REPLACEMENT, Sent, Span, locate


def found(prefix: str, response: str, *tokens: str) -> Span | str:
    return locate(Sent(prefix, response), tokens, ends=True)


def test_the_start_token_stands_in_no_text() -> None:
    assert found("Hi ", "you", "<s>", "Hi", " ", "you") == Span(3, 1, 3, False, "other", (3,))
    assert found("Hi ", "you", "[gMASK]", "<sop>", "Hi", " ", "you") == Span(4, 1, 3, False, "other", (3,))
    # One that is written in the text is of the text.
    assert found("<s>Hi ", "you", "<s>", "Hi", " ", "you") == Span(3, 1, 3, False, "none", (3,))
    assert found("<s>Hi ", "you", "<s>", "<s>", "Hi", " ", "you") == Span(4, 1, 3, False, "other", (3,))


def test_a_token_across_the_boundary_counts_to_the_response() -> None:
    assert found("Hi ", "you all", "Hi", " you", " all") == Span(1, 2, 7, True, "none", (3, 7))


def test_a_response_without_context() -> None:
    assert found("", "you all", "you", " all") == NO_CONTEXT
    assert found("", "you all", "<s>", "you", " all") == Span(1, 2, 7, False, "other", (3, 7))
    assert found("Hi", "you", "Hiyou") == NO_CONTEXT


def test_no_response() -> None:
    assert found("Hi", "", "<s>", "Hi") == NO_TOKENS


@pytest.mark.parametrize(
    "tokens",
    [
        ("", "", "", "🌊"),
        (REPLACEMENT,) * 4,
        ("bytes:\\xf0\\x9f", "bytes:\\x8c", "bytes:\\x8a"),
        ("<0xF0>", "<0x9F>", "<0x8C>", "<0x8A>"),
    ],
)
def test_a_character_of_several_tokens(tokens: tuple[str, ...]) -> None:
    n = len(tokens)
    before = found("🌊", "is", "<s>", *tokens, "is")
    assert before == Span(1 + n, 1, 2, False, "other", (2,))
    assert found("The ", "🌊 is", "The", " ", *tokens, " is") == Span(2, n + 1, 7, False, "none", (1,) * n + (4,))


def test_a_boundary_within_tokens_that_are_not_told_apart() -> None:
    assert found("🌊", "🌞.", "<s>", *(REPLACEMENT,) * 7, ".") == LOOSE_BOUNDARY
    # Two ways to divide what is the same.
    assert found("🌊🌊", "🌊🌊.", "<s>", *(REPLACEMENT,) * 4, "🌊", *(REPLACEMENT,) * 4, ".") == MISSPELLED
    # Each by itself can be.
    assert found("🌊", "🌞.", "<s>", "", "", "🌊", "", "🌞", ".") == Span(4, 3, 5, False, "other", (1, 1, 2))


def test_spaces_of_sentencepiece() -> None:
    assert found("Hi ", "you all", "<s>", "▁Hi", "▁you", "▁all") == Span(2, 2, 7, True, "other", (3, 7))


@pytest.mark.parametrize(
    "tokens",
    [
        (),
        ("Hi ",),
        ("Hi ", "you", "!"),
        ("Hi ", "me"),
        ("a", "b", "c", "d", "e", "Hi ", "you"),
        ("Hi ", "you", ""),
        ("", "Hi you", REPLACEMENT),
        (REPLACEMENT, "you"),
    ],
)
def test_tokens_that_spell_another_text(tokens: tuple[str, ...]) -> None:
    assert found("Hi ", "you", *tokens) == MISSPELLED


TEXTS = st.text(alphabet="ab é🌊🌞" + REPLACEMENT, max_size=8)


@settings(deadline=None, max_examples=300)
@given(prefix=TEXTS, response=TEXTS.filter(bool), cuts=st.sets(st.integers(1, 60)), head=st.booleans(), style=st.data())
def test_any_cut_of_any_text(prefix: str, response: str, cuts: set[int], head: bool, style: st.DataObject) -> None:
    """Tokens are cut anywhere in the bytes; what is found is exactly the response's, or is said not to be known."""
    data, boundary = (prefix + response).encode(), len(prefix.encode())
    at = [0, *sorted(c for c in cuts if c < len(data)), len(data)]
    pieces = [data[a:b] for a, b in pairwise(at)]
    shown = style.draw(st.sampled_from([_bytes, _replaced, _completed]))
    made = found(prefix, response, *["<s>"] * head, *shown(pieces))
    first = head + next(i for i, end in enumerate(at[1:]) if end > boundary)
    if isinstance(made, Span):
        assert (made.start, made.n_tokens) == (first, len(pieces) + head - first)
        assert made.straddles == (at[first - head] < boundary)
        assert made.n_bytes == len(response.encode()) and made.ends[-1] == len(response)
    elif made == NO_CONTEXT:
        assert first == 0
    else:
        assert made in (LOOSE_BOUNDARY, MISSPELLED)
        assert shown is not _bytes or REPLACEMENT in prefix + response


def _bytes(pieces: list[bytes]) -> list[str]:
    shown = []
    for piece in pieces:
        try:
            shown.append(piece.decode())
        except UnicodeDecodeError:
            shown.append("bytes:" + "".join(f"\\x{byte:02x}" for byte in piece))
    return shown


def _replaced(pieces: list[bytes]) -> list[str]:
    return [piece.decode(errors="replace") for piece in pieces]


def _completed(pieces: list[bytes]) -> list[str]:
    """A character with the token that completes it."""
    shown, pending = [], b""
    for piece in pieces:
        pending += piece
        try:
            shown.append(pending.decode())
            pending = b""
        except UnicodeDecodeError:
            shown.append("")
    return shown


def test_a_replacement_character_of_the_text_itself() -> None:
    assert found("\ufffd", "you", "<s>", "\ufffd", "you") == Span(2, 1, 3, False, "other", (3,))
    assert found("Hi ", "\ufffd.", "Hi", " ", "\ufffd", ".") == Span(2, 2, 4, False, "none", (1, 2))
    # Whether a part of it or all is meant is not told where several stand in a row.
    assert found("\ufffd", "\ufffd.", "<s>", "\ufffd", "\ufffd", ".") == LOOSE_BOUNDARY
    assert found("\ufffd", "🌊.", "<s>", "\ufffd", "", "", "🌊", ".") == MISSPELLED
