"""A text that an endpoint echoed, token by token → the tokens of the response in it.

What a token covers is found by spelling the text with the tokens, not taken from `text_offset`: servers count the start
token's name in it, though it stands in no text, and render tokens that end within a character each in a way of their
own (as nothing, with the whole character at the last one; as U+FFFD; as `bytes:\\xf0\\x9f`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from analysis.likelihood.encoding import NO_TOKENS

MOST_HEADS = 4
MISSPELLED = "the endpoint's tokens do not spell the text, so the response's cannot be told"
LOOSE_BOUNDARY = "the endpoint does not tell apart the tokens around the beginning of the response"
NO_CONTEXT = "the response stands at the beginning of the text, where an endpoint gives no likelihood"
REPLACEMENT = "\ufffd"
_BYTES = re.compile(r"bytes:((?:\\x[0-9a-f]{2})+)|<0x([0-9A-F]{2})>")


@dataclass(frozen=True, slots=True)
class Sent:
    """A text to score: all before the response, and the response."""

    prefix: str
    response: str

    @property
    def text(self) -> str:
        """As it is sent."""
        return self.prefix + self.response


@dataclass(frozen=True, slots=True)
class Span:
    """The response's tokens among those of an echoed text, all from `start` on; described as by `Encoded`."""

    start: int
    n_tokens: int
    n_bytes: int
    straddles: bool
    start_token: str
    ends: tuple[int, ...]
    n_prompt_tokens_cut: int = 0
    n_response_tokens_cut: int = 0


@dataclass(frozen=True, slots=True)
class _Piece:
    """The bytes that a token covers; of several tokens in a row the same, and loose, if only their sum is known."""

    start: int
    end: int
    loose: bool = False


class _Uncertain(Exception):
    """There is more than one way to spell a text."""


def locate(sent: Sent, tokens: Sequence[str], ends: bool) -> Span | str:
    """Find the response's tokens, by the rule of the local encoder: all that end after its beginning.

    Parameters
    ----------
    sent
        The text.
    tokens
        Of all of it, as the endpoint renders them; some that are in no text may stand before.
    ends
        Whether to say where the response's tokens end.

    Returns
    -------
    Span or str
        The response's tokens, or the reason why they cannot be told.
    """
    data, boundary = sent.text.encode(), len(sent.prefix.encode())
    n_heads = 0
    try:
        while (pieces := _spell(data, tokens[n_heads:])) is None:
            if n_heads == MOST_HEADS or not tokens[n_heads:] or _unknown(tokens[n_heads]):
                return MISSPELLED
            n_heads += 1
    except _Uncertain:
        return MISSPELLED
    first = next((i for i, piece in enumerate(pieces) if piece.end > boundary), None)
    if first is None:
        return NO_TOKENS
    if pieces[first].loose and pieces[first].start < boundary:
        return LOOSE_BOUNDARY
    if n_heads + first == 0:
        return NO_CONTEXT
    return Span(
        start=n_heads + first,
        n_tokens=len(pieces) - first,
        n_bytes=len(data) - boundary,
        straddles=pieces[first].start < boundary,
        start_token="other" if n_heads else "none",
        ends=_characters(data, boundary, [piece.end for piece in pieces[first:]]) if ends else (),
    )


def _characters(data: bytes, boundary: int, ends: Sequence[int]) -> tuple[int, ...]:
    """Ends in characters from the boundary on; a character of which only a part is covered counts whole."""
    # A byte begins a character unless its two highest bits are 10.
    count, counts = 0, [0]
    for byte in data[boundary:]:
        count += byte & 0xC0 != 0x80
        counts.append(count)
    return tuple(counts[end - boundary] for end in ends)


def _spell(data: bytes, tokens: Sequence[str]) -> list[_Piece] | None:
    """What each token covers of the bytes; None where they do not spell them; raises `_Uncertain` from `_loose`."""
    pieces: list[_Piece] = []
    at = k = 0
    while k < len(tokens):
        known = _known(data, tokens[k], at)
        if known:
            pieces.append(_Piece(at, at + known))
            at += known
            k += 1
            continue
        run = k
        while run < len(tokens) and _unknown(tokens[run]):
            run += 1
        found = _loose(data, tokens[k:run], tokens[run] if run < len(tokens) else None, at) if run > k else None
        if found is None:
            return None
        n, end = found
        pieces += [_Piece(at, end, loose=n > 1)] * n
        at, k = end, k + n
    return pieces if at == len(data) else None


def _known(data: bytes, token: str, at: int) -> int:
    """How many bytes a token covers where they are what it says; 0 where they are not, or it does not say."""
    if _unknown(token):
        return 0
    shown = [token, token.replace("▁", " ")]
    if at == 0:
        # Some tokenizers put a space before a text.
        shown += [text[1:] for text in shown if text[:1] in ("▁", " ")]
    told = _BYTES.fullmatch(token)
    meant = [bytes.fromhex((told[1] or told[2]).replace("\\x", ""))] if told else []
    pieces = [*(text.encode("utf-8", "surrogatepass") for text in shown), *meant]
    return next((len(piece) for piece in pieces if piece and data.startswith(piece, at)), 0)


def _unknown(token: str) -> bool:
    """Whether a token does not say what it covers, because it ends within a character (or is U+FFFD itself)."""
    return not token or REPLACEMENT in token


def _loose(data: bytes, run: Sequence[str], following: str | None, at: int) -> tuple[int, int] | None:
    """How many tokens a run of unknown ones takes in, and where what they cover ends; None where that is nowhere.

    Empty tokens belong to the character that the token after them holds; the others end where that token begins.

    Raises
    ------
    _Uncertain
        If that may be at several places.
    """
    if not any(run):
        known = _known(data, following, at) if following is not None else 0
        return (len(run) + 1, at + known) if known else None
    if not all(run):
        raise _Uncertain
    matches = re.compile(_form(run)).fullmatch
    furthest = min(len(data), at + 4 * sum(map(len, run)))
    found = [
        end
        for end in range(at + 1, furthest + 1)
        if (end == len(data) if following is None else _known(data, following, end)) and matches(data, at, end)
    ]
    if len(found) > 1:
        raise _Uncertain
    return (len(run), found[0]) if found else None


def _form(run: Sequence[str]) -> bytes:
    """A pattern of the bytes that a run of unknown tokens may stand for: U+FFFD for one to three of a character."""
    parts: list[bytes] = []
    for sign, same in groupby("".join(run)):
        n = len(list(same))
        if sign == REPLACEMENT:
            parts.append(b"[\x80-\xff]{%d,%d}" % (n, 3 * n))
        else:
            parts.append(re.escape(sign.encode("utf-8", "surrogatepass")) * n)
    return b"".join(parts)
