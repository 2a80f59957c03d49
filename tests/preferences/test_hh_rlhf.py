"""Transcripts of hh-rlhf: cut at their last role marker, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.preferences.hh_rlhf import parse_transcript, read
from analysis.preferences.records import EMPTY, EQUAL, PROMPTS_DIFFER, Excluded, Judgement, Message
from tests.preferences.made import parted, reasons


def transcript(*contents: str) -> str:
    return "".join(f"\n\n{('Human', 'Assistant')[i % 2]}: {c}" for i, c in enumerate(contents))


_CONTENT = st.text(max_size=30).filter(lambda t: "\n\nHuman:" not in t and "\n\nAssistant:" not in t)


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), _CONTENT), min_size=1, max_size=6))
def test_a_transcript_comes_apart_as_it_was_put_together(turns: list[tuple[str, str]]) -> None:
    roles = {"user": "Human", "assistant": "Assistant"}
    text = "".join(f"\n\n{roles[role]}: {content}" for role, content in turns)
    assert parse_transcript(text) == tuple(Message(*turn) for turn in turns)


@pytest.mark.parametrize("text", ["", "Human: q", "\n\nhuman: q", "x\n\nHuman: q\n\nAssistant: a", "\nHuman: q"])
def test_what_is_not_a_transcript(text: str) -> None:
    assert parse_transcript(text) is None


def test_only_the_space_of_the_format_is_taken_off() -> None:
    assert parse_transcript("\n\nHuman:  q \n\nAssistant:a\n") == (Message("user", " q "), Message("assistant", "a\n"))


def test_a_common_beginning_of_the_responses_stays_theirs() -> None:
    """A longest common prefix of characters would take it for the prompt."""
    rows = [{"chosen": transcript("q", "I think so."), "rejected": transcript("q", "I think not.")}]
    (made,) = read(rows, "test")
    assert isinstance(made, Judgement)
    assert (made.a.text, made.b.text, made.preference) == ("I think so.", "I think not.", "a")
    assert made.prompt == (Message("user", "q"),)
    assert made.context.split == "test"
    assert made.strength is None


def test_every_defect_is_counted_by_its_reason() -> None:
    good = transcript("q", "a", "r", "b")
    pairs = [
        (good, transcript("q", "a", "r", "c")),
        (good, transcript("q", "a", "s", "b")),
        (good, transcript("q", "b")),
        (good, transcript("q", "a", "r", " ")),
        (good, good),
        (good, transcript("q", "a", "r", "b and more")),
        (good, transcript("q", "a", "r")),
        (good, "no transcript"),
        (None, good),
    ]
    judgements, excluded = parted(read([{"chosen": c, "rejected": r} for c, r in pairs], "train"))
    assert [j.row for j in judgements] == ["row 0", "row 5"]
    assert reasons(excluded) == {
        ("row", PROMPTS_DIFFER): 2,
        ("row", EMPTY): 1,
        ("row", EQUAL): 1,
        ("row", "a conversation does not end with the assistant"): 1,
        ("row", "a transcript does not begin with Human or Assistant"): 2,
    }


def test_a_role_twice_running_is_kept() -> None:
    start = "\n\nHuman: q\n\nHuman: and?\n\nAssistant: "
    (made,) = read([{"chosen": f"{start}a", "rejected": f"{start}b"}], "test")
    assert not isinstance(made, Excluded)
    assert [m.role for m in made.prompt] == ["user", "user"]
