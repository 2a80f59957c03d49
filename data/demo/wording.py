"""The demo's prompts and responses: topics × question frames × registers, put together by a seeded generator.

The words themselves are in `topics.toml` and `registers.toml`. Nothing here knows of quality or preference.
"""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
PROMPTS_PER_TOPIC = 2
RESPONSES_PER_PROMPT = 4
WORDS = (15, 60)
_SHARE = {"openers": 0.6, "reasons": 0.55, "closers": 0.5}


@dataclass(frozen=True)
class Topic:
    """Clauses about one everyday matter."""

    goal: str
    thing: str
    why: str
    result: str
    tips: tuple[str, ...]


@dataclass(frozen=True)
class Register:
    """A way of writing: sentence frames, and swaps (regular expression, replacement) for what is put into them."""

    name: str
    openers: tuple[str, ...]
    two: tuple[str, ...]
    three: tuple[str, ...]
    reasons: tuple[str, ...]
    closers: tuple[str, ...]
    swaps: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Response:
    """A response's text and the name of the register it is written in."""

    text: str
    source: str


@dataclass(frozen=True)
class Item:
    """A prompt with its distinct responses."""

    prompt: str
    responses: tuple[Response, ...]


def items(rng: np.random.Generator) -> list[Item]:
    """All prompts with their responses: two prompts a topic, four responses a prompt.

    Each response draws its register independently of the others, so a prompt may have two of one register.
    """
    questions, registers = _registers()
    made = []
    for topic in _topics():
        for i in rng.permutation(len(questions))[:PROMPTS_PER_TOPIC]:
            prompt = _filled(questions[i], {"goal": topic.goal})
            made.append(Item(prompt, _responses(rng, topic, registers)))
    return made


def _responses(rng: np.random.Generator, topic: Topic, registers: Sequence[Register]) -> tuple[Response, ...]:
    """Distinct responses within the limits of length; a draft outside them is drawn again in the same register."""
    made: dict[str, Response] = {}
    while len(made) < RESPONSES_PER_PROMPT:
        register = _pick(rng, registers)
        text = _compose(rng, topic, register)
        while not WORDS[0] <= len(text.split()) <= WORDS[1] or text in made:
            text = _compose(rng, topic, register)
        made[text] = Response(text, register.name)
    return tuple(made.values())


def _compose(rng: np.random.Generator, topic: Topic, register: Register) -> str:
    """One draft: perhaps an opener, two or three of the tips in their order, perhaps a reason, perhaps a closer."""
    frames = _pick(rng, (register.two, register.three))
    n_tips = 2 if frames is register.two else 3
    chosen = sorted(rng.permutation(len(topic.tips))[:n_tips])
    clauses = {"goal": topic.goal, "thing": topic.thing, "why": topic.why, "result": topic.result}
    clauses |= dict(zip("abc", (topic.tips[i] for i in chosen), strict=False))
    slots = {name: _swapped(clause, register) for name, clause in clauses.items()}
    parts = [
        *_perhaps(rng, register.openers, _SHARE["openers"]),
        _pick(rng, frames),
        *_perhaps(rng, register.reasons, _SHARE["reasons"]),
        *_perhaps(rng, register.closers, _SHARE["closers"]),
    ]
    return _filled(" ".join(parts), slots)


def _filled(frame: str, slots: dict[str, str]) -> str:
    """The frame with its slots filled; `{Why}` is `{why}` with a capital, and no space stands round a line break."""
    capitals = {name.capitalize(): clause[:1].upper() + clause[1:] for name, clause in slots.items()}
    return re.sub(r" ?\n ?", "\n", frame.format(**slots, **capitals)).strip()


def _swapped(clause: str, register: Register) -> str:
    for pattern, replacement in register.swaps:
        clause = re.sub(pattern, replacement, clause)
    return clause


def _pick(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    return options[int(rng.integers(len(options)))]


def _perhaps(rng: np.random.Generator, options: Sequence[str], share: float) -> list[str]:
    return [_pick(rng, options)] if rng.random() < share else []


def _topics() -> list[Topic]:
    values = tomllib.loads((HERE / "topics.toml").read_text(encoding="utf-8"))
    return [Topic(**{**entry, "tips": tuple(entry["tips"])}) for entry in values["topics"]]


def _registers() -> tuple[list[str], list[Register]]:
    values = tomllib.loads((HERE / "registers.toml").read_text(encoding="utf-8"))
    return values["questions"], [Register(**_frozen(entry)) for entry in values["registers"]]


def _frozen(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with its lists made tuples."""
    lists = {k: tuple(tuple(x) if isinstance(x, list) else x for x in v) for k, v in entry.items() if k != "name"}
    return {"name": entry["name"], **lists}
