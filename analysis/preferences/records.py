"""What every dataset is read into, and the checks that all of them share."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Literal, NamedTuple

Preference = Literal["a", "b", "tie"]


class Message(NamedTuple):
    """One turn of a conversation."""

    role: str
    content: str


Prompt = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Response:
    """One response, with what the dataset says of it; `context` where it is the response's own, not the judgement's."""

    text: str
    source: str | None = None
    ratings: tuple[tuple[str, float], ...] = ()
    context: "Context | None" = None


class Context(NamedTuple):
    """What holds for both responses of a judgement."""

    split: str | None = None
    language: str | None = None
    domain: str | None = None
    annotator: str | None = None


NOTHING_SAID = Context()


@dataclass(frozen=True, slots=True)
class Judgement:
    """One judgement between two responses to a prompt. `row` names where it stands in the dataset."""

    row: str
    prompt: Prompt
    a: Response
    b: Response
    preference: Preference
    strength: float | None = None
    context: Context = NOTHING_SAID
    quality: tuple[tuple[str, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Excluded:
    """Something left out: what it is, why, and where it stands."""

    unit: Literal["row", "response", "comparison"]
    reason: str
    row: str
    n: int = 1


EMPTY = "a response is empty"
EQUAL = "the two responses are equal"
PROMPTS_DIFFER = "the prompts of the two responses differ"
NO_PROMPT = "the prompt is empty"
EQUAL_OUTCOME = "the two outcomes are equal"


def text_prompt(text: str) -> Prompt:
    """Plain text as a prompt: one message of the user."""
    return (Message("user", text),)


def checked_pair(judgement: Judgement) -> Judgement | Excluded:
    """The judgement of a row, or why it cannot be one: an empty response, two equal ones, no prompt."""
    if not any(m.content.strip() for m in judgement.prompt):
        return Excluded("row", NO_PROMPT, judgement.row)
    if not judgement.a.text.strip() or not judgement.b.text.strip():
        return Excluded("row", EMPTY, judgement.row)
    if judgement.a.text == judgement.b.text:
        return Excluded("row", EQUAL, judgement.row)
    return judgement


@dataclass(frozen=True, slots=True)
class Graded:
    """One response with the number that orders it against the others of its prompt (higher is better)."""

    row: str
    response: Response
    outcome: float
    context: Context = NOTHING_SAID
    quality: Mapping[str, float] = field(default_factory=dict)


def pairs_within(
    prompt: Prompt, responses: Sequence[Graded], ties: Literal["drop", "keep"], strengths: bool
) -> Iterator[Judgement | Excluded]:
    """Every pair of responses to one prompt, preferred by outcome.

    Parameters
    ----------
    prompt, responses
        The prompt and its responses.
    ties
        What to do with pairs of equal outcome: leave them out, counted, or keep them as ties.
    strengths
        Whether the difference in outcome is a strength (ratings) or only an order (ranks).
    """
    # Sorted, so that the order of rows decides nothing.
    for x, y in combinations(sorted(responses, key=lambda r: r.response.text), 2):
        where = f"{x.row} and {y.row}"
        if x.outcome == y.outcome and ties == "drop":
            yield Excluded("comparison", EQUAL_OUTCOME, where)
        elif not x.response.text.strip() or not y.response.text.strip():
            yield Excluded("comparison", EMPTY, where)
        elif x.response.text == y.response.text:
            yield Excluded("comparison", EQUAL, where)
        else:
            yield Judgement(
                row=where,
                prompt=prompt,
                a=replace(x.response, context=x.context),
                b=replace(y.response, context=y.context),
                preference="tie" if x.outcome == y.outcome else "a" if x.outcome > y.outcome else "b",
                strength=abs(x.outcome - y.outcome) if strengths else None,
                context=_shared(x.context, y.context),
                quality=tuple((name, x.quality[name], y.quality[name]) for name in x.quality),
            )


def _shared(x: Context, y: Context) -> Context:
    """What is the same for both."""
    return Context(*(a if a == b else None for a, b in zip(x, y, strict=True)))


def messages(value: Any) -> Prompt | None:
    """A list of `{role, content}` as messages, or None where it is not one."""
    if not isinstance(value, (list, tuple)) or not value:
        return None
    turns = []
    for turn in value:
        if not isinstance(turn, Mapping) or not isinstance(turn.get("role"), str):
            return None
        if not isinstance(turn.get("content"), str):
            return None
        turns.append(Message(turn["role"], turn["content"]))
    return tuple(turns)


def transcript_pair(
    row: str,
    chosen: Prompt | None,
    rejected: Prompt | None,
    **details: Any,
) -> Judgement | Excluded:
    """A judgement from two conversations that must share all but their last, assistant's, message."""
    if chosen is None or rejected is None:
        return Excluded("row", "a conversation is not a list of messages", row)
    if chosen[-1].role != "assistant" or rejected[-1].role != "assistant":
        return Excluded("row", "a conversation does not end with the assistant", row)
    if chosen[:-1] != rejected[:-1]:
        return Excluded("row", PROMPTS_DIFFER, row)
    sides: tuple[dict[str, Any], dict[str, Any]] = details.pop("sides", ({}, {}))
    a, b = Response(chosen[-1].content, **sides[0]), Response(rejected[-1].content, **sides[1])
    return checked_pair(Judgement(row, chosen[:-1], a, b, "a", **details))
