"""What a model wrote → its responses with their probabilities, or the reason why they cannot be told.

A list of responses may come as JSON (fenced, or with words around it, or one object a line), as tagged text
(<response><text>…</text><probability>…</probability></response>), or as a numbered list. Nothing is repaired by
guessing: what is broken, cut off or missing is a failure with its reason, and never a response.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from analysis.collapse.remedies.methods import Unit

OK = "ok"
EMPTY_ANSWER = "the answer is empty"
CUT = "the answer is cut at the longest length"
FILTERED = "the endpoint's filter withheld the answer"
REFUSED = "the model refused"
NO_LIST = "no list of responses in the answer"
BROKEN_JSON = "the JSON in the answer is broken"
BROKEN_TAGS = "the tags in the answer are broken"
MISSING = "fewer responses than asked for"
EMPTY = "the response is empty"
NO_TEXT = "the response has no text"
NO_UNICODE = "the text is not valid Unicode"
# Of probabilities.
NO_PROBABILITY = "no probability"
NO_NUMBER = "the probability is no number"
OUT_OF_RANGE = "the probability is out of range"
NO_SUM = "the probabilities of the answer sum to zero"

_TEXT_KEYS = ("text", "response", "content", "answer")
_PROBABILITY_KEYS = ("probability", "confidence", "prob", "likelihood")
_FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)```", re.S)
_TAGGED = re.compile(r"<response\b[^>]*>(.*?)</response>", re.S | re.I)
_OPEN_TAG = re.compile(r"<response\b", re.I)
_NUMBERED = re.compile(r"^[ \t]*(?:\*\*)?(\d{1,3})[.):](?:\*\*)?[ \t]+", re.M)
_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_VALUE = re.compile(rf"({_NUMBER})\s*(?:/\s*({_NUMBER})|(%|per\s?cent\b))?", re.I)
_KEYS = "|".join(_PROBABILITY_KEYS)
_BEFORE = r"[\s–—|,;:-]*"
_TRAILING = re.compile(
    rf"{_BEFORE}[(\[{{]?\s*\**(?:{_KEYS}|p)\**\s*[:=]\s*\**\s*(?P<named>[^\s)\]}}*][^)\]}}\n*]*?)\**\s*[)\]}}]?\s*\.?\s*$"
    rf"|{_BEFORE}[(\[]\s*(?:(?:{_KEYS})\s+)?(?P<bare>{_NUMBER}\s*%?)\s*[)\]]\s*\.?\s*$"
    rf"|\s*[–—|:-]\s*(?P<percent>{_NUMBER}\s*%)\s*\.?\s*$",
    re.I,
)
# What opens a value that is meant as JSON; prose has brackets and braces, too.
_OPENING = re.compile(r'[{\[](?=\s*["{\[])')


@dataclass(frozen=True)
class Item:
    """One response of an answer.

    Attributes
    ----------
    text
        As it was written; None where there is none.
    status
        `ok`, or why this counts as no response.
    raw
        The probability as it was written, as text; None where there is none.
    probability
        The same as a share of one; None where it is none.
    probability_status
        `ok`, or why there is none; empty where none was asked for.
    """

    text: str | None
    status: str = OK
    raw: str | None = None
    probability: float | None = None
    probability_status: str = ""


@dataclass(frozen=True)
class Parsed:
    """An answer: its responses, and how it was written (`json`, `tagged`, `numbered`, `text`; empty if not at all).

    `status` is `ok`, or why it holds no response that can be told; there are no items then.
    """

    status: str
    form: str = ""
    items: tuple[Item, ...] = ()


def parse_text(answer: str, finish: str | None) -> Parsed:
    """An answer that is one response, as direct prompting gives; one that was cut counts, because any cut may be."""
    if why := _withheld(answer, finish):
        return Parsed(why)
    return Parsed(OK, "text", (Item(answer.strip()),)) if _is_unicode(answer) else Parsed(NO_UNICODE)


def parse_list(answer: str, finish: str | None, k: int, unit: Unit | None) -> Parsed:
    """An answer that is a list of responses.

    Parameters
    ----------
    answer, finish
        What the model wrote, and why it stopped, as the endpoint says.
    k
        How many were asked for: of more, the first k count; for each that is missing there is an item that says so.
    unit
        What probabilities were asked for in; None where they were not asked for.
    """
    if why := _withheld(answer, finish):
        return Parsed(why)
    form, found = _read(answer)
    if found is None:
        return Parsed(CUT if finish == "length" else form)
    items = [_item(text, raw, unit) for text, raw in found[:k]]
    items += [Item(None, CUT if finish == "length" else MISSING)] * (k - len(items))
    return Parsed(OK, form, tuple(_summing(items, unit)))


def _withheld(answer: str, finish: str | None) -> str:
    """Why there is nothing to read; empty where there is."""
    if finish == "content_filter":
        return FILTERED
    if finish == "refusal":
        return REFUSED
    return "" if answer.strip() else EMPTY_ANSWER


Pair = tuple[Any, Any]


def _read(answer: str) -> tuple[str, list[Pair] | None]:
    """The form of a list and its texts with their probabilities; no list with the reason in place of the form."""
    for part in (*_FENCE.findall(answer), answer):
        if found := _from_json(part):
            return "json", found
    if tagged := _TAGGED.findall(answer):
        return "tagged", [_from_tag(one) for one in tagged]
    if _OPEN_TAG.search(answer):
        return BROKEN_TAGS, None
    # Broken JSON may well hold lines that look like a numbered list.
    if _is_broken(answer):
        return BROKEN_JSON, None
    if numbered := _numbered(answer):
        return "numbered", numbered
    return NO_LIST, None


def _from_json(text: str) -> list[Pair] | None:
    """The responses of the first JSON value that is a list of them, or of all objects that are one each."""
    singles: list[Pair] = []
    for value in _values(text):
        if isinstance(value, list) and not text.strip().startswith("["):
            # A response may hold a list; only one that the answer begins with is the answer.
            continue
        if (found := _listed(value)) is not None:
            return found
        if isinstance(value, dict) and _has(value, _TEXT_KEYS):
            singles.append(_pair(value))
    return singles or None


def _values(text: str) -> Iterator[Any]:
    """Every JSON object or array that stands in a text, outermost ones only, up to the first that is broken."""
    decoder, at = json.JSONDecoder(), 0
    while (begin := _OPENING.search(text, at)) is not None:
        try:
            value, at = decoder.raw_decode(text, begin.start())
        except (ValueError, RecursionError):
            return
        yield value


def _is_broken(text: str) -> bool:
    """Whether something in a text is meant as JSON and is none."""
    decoder, at = json.JSONDecoder(), 0
    while (begin := _OPENING.search(text, at)) is not None:
        try:
            _, at = decoder.raw_decode(text, begin.start())
        except (ValueError, RecursionError):
            return True
    return False


def _listed(value: Any) -> list[Pair] | None:
    if isinstance(value, dict):
        inner = next((value[key] for key in ("responses", "answers", "list") if key in value), None)
        return _listed(inner) if isinstance(inner, list) else None
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(one, str) for one in value):
        return [(one, None) for one in value]
    if all(isinstance(one, dict) for one in value) and any(_has(one, _TEXT_KEYS) for one in value):
        return [_pair(one) for one in value]
    return None


def _has(value: dict[str, Any], keys: tuple[str, ...]) -> bool:
    return any(key in value for key in keys)


def _pair(value: dict[str, Any]) -> Pair:
    text = next((value[key] for key in _TEXT_KEYS if key in value), None)
    return text, next((value[key] for key in _PROBABILITY_KEYS if key in value), None)


def _from_tag(inner: str) -> Pair:
    def within(names: tuple[str, ...]) -> str | None:
        found = re.search(rf"<({'|'.join(names)})\b[^>]*>(.*?)</\1>", inner, re.S | re.I)
        return found[2].strip() if found else None

    text = within(_TEXT_KEYS)
    return inner.strip() if text is None and "<" not in inner else text, within(_PROBABILITY_KEYS)


def _numbered(answer: str) -> list[Pair] | None:
    """A list that counts 1, 2, 3 …, each entry with its probability at its end, if it has one."""
    marks = list(_NUMBERED.finditer(answer))
    kept: list[re.Match[str]] = []
    for mark in marks:
        if int(mark[1]) == len(kept) + 1:
            kept.append(mark)
    if len(kept) < 2:
        return None
    ends = [*(mark.start() for mark in kept[1:]), len(answer)]
    return [_split(answer[mark.end() : end].strip()) for mark, end in zip(kept, ends, strict=True)]


def _split(entry: str) -> Pair:
    found = _TRAILING.search(entry)
    if found is None:
        return entry, None
    raw = found["named"] or found["bare"] or found["percent"]
    return entry[: found.start()].strip(), raw.strip()


def _item(text: Any, raw: Any, unit: Unit | None) -> Item:
    value, status = _probability(raw, unit) if unit is not None else (None, "")
    told = None if raw is None else raw if isinstance(raw, str) and _is_unicode(raw) else json.dumps(raw)
    if not isinstance(text, str):
        return Item(None, NO_TEXT, told, value, status)
    if not _is_unicode(text):
        return Item(None, NO_UNICODE, told, value, status)
    if not text.strip():
        return Item(None, EMPTY, told, value, status)
    return Item(text.strip(), OK, told, value, status)


def _is_unicode(text: str) -> bool:
    """Whether a file can store a text: half of a surrogate pair, as JSON may hold it, is none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _probability(raw: Any, unit: Unit) -> tuple[float | None, str]:
    """A probability as a share of one, or why it is none."""
    if raw is None:
        return None, NO_PROBABILITY
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return None, NO_NUMBER
    value, is_percent = _number(raw)
    if value is None or math.isnan(value):
        return None, NO_NUMBER
    share = value / 100 if is_percent or (is_percent is None and unit == "percent") else value
    return (share, OK) if 0 <= share <= 1 else (None, OUT_OF_RANGE)


def _number(raw: float | str) -> tuple[float | None, bool | None]:
    """A number, and whether it says by itself that it is a percentage (None: it does not say)."""
    if not isinstance(raw, str):
        try:
            return float(raw), None
        except OverflowError:
            return math.inf, None
    found = _VALUE.fullmatch(raw.strip().strip("*~≈ "))
    if found is None:
        return None, None
    value = float(found[1])
    if found[2] is not None:
        below = float(found[2])
        return (value / below if below else None), False
    return value, True if found[3] else None


def _summing(items: list[Item], unit: Unit | None) -> list[Item]:
    """The items; where all probabilities are zero none says anything."""
    known = [item.probability for item in items if item.status == OK and item.probability is not None]
    if unit is None or not known or sum(known) > 0:
        return items
    return [
        Item(item.text, item.status, item.raw, None, NO_SUM) if item.probability is not None else item for item in items
    ]


def normalised(items: tuple[Item, ...]) -> list[float | None]:
    """The probabilities of an answer's responses, divided by their sum."""
    known = [item.probability if item.status == OK else None for item in items]
    total = sum(value for value in known if value is not None)
    return [None if value is None or not total else value / total for value in known]
