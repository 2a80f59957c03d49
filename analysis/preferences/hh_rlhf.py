"""Anthropic/hh-rlhf: pairs of whole transcripts, chosen and rejected."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from analysis.preferences.catalogue import Entry
from analysis.preferences.records import Context, Excluded, Judgement, Message, Prompt, transcript_pair

_TURN = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def parse_transcript(text: str) -> Prompt | None:
    """A transcript as messages, or None where it does not begin with a role.

    The one space after each role's colon is part of the format and is taken off; everything else stays as it is.
    """
    parts = _TURN.split(text)
    if parts[0] != "" or len(parts) < 3:
        return None
    turns = zip(parts[1::2], parts[2::2], strict=True)
    return tuple(Message(_ROLES[role], content.removeprefix(" ")) for role, content in turns)


def read(rows: Iterable[Mapping[str, Any]], split: str) -> Iterator[Judgement | Excluded]:
    """Judgements of hh-rlhf; both transcripts are cut at their last role marker."""
    for i, row in enumerate(rows):
        where = f"row {i}"
        chosen, rejected = parse_transcript(row["chosen"] or ""), parse_transcript(row["rejected"] or "")
        if chosen is None or rejected is None:
            yield Excluded("row", "a transcript does not begin with Human or Assistant", where)
        else:
            yield transcript_pair(where, chosen, rejected, context=Context(split=split))


ENTRY = Entry(
    name="hh-rlhf",
    hub="Anthropic/hh-rlhf",
    shape="pairs",
    labels="chosen, rejected",
    rater="human",
    licence="MIT",
    size="160,800 train, 8,552 test in four parts",
    citation="Bai et al. 2022, arXiv 2204.05862",
    parts=("harmless-base", "helpful-base", "helpful-online", "helpful-rejection-sampled"),
    splits=("train", "test"),
    files=("{part}/{split}.jsonl.gz",),
    columns={"chosen": "text", "rejected": "text"},
    read=read,
    defects=(
        "a few rows have differing prompts or an empty response; they are left out, counted",
        "some conversations repeat a role in two turns running",
    ),
)
