"""Templates: what stands before the response, to the character."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.errors import CellError
from analysis.likelihood.templates import NAMED, check_template, render
from analysis.preferences.records import Message

ONE = (Message("user", "What is it?"),)
MANY = (
    Message("system", "Be brief."),
    Message("user", "What is {it}?"),
    Message("assistant", "A {prompt}."),
    Message("user", "{response}"),
)
CHAT = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<go>{% endif %}"
)
STRICT = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHAT


@pytest.mark.parametrize(
    ("template", "prompt", "expected"),
    [
        ("plain", ONE, "What is it?\n\n"),
        ("plain", MANY, "Be brief.\n\nWhat is {it}?\n\nA {prompt}.\n\n{response}\n\n"),
        ("dialogue", ONE, "\n\nHuman: What is it?\n\nAssistant: "),
        (
            "dialogue",
            MANY,
            "\n\nSystem: Be brief.\n\nHuman: What is {it}?\n\nAssistant: A {prompt}."
            "\n\nHuman: {response}\n\nAssistant: ",
        ),
        ("dialogue", (Message("tool", "42"),), "\n\nTool: 42\n\nAssistant: "),
        ("Q: {prompt}\nA:{response}", ONE, "Q: What is it?\nA:"),
        ("{prompt}{response}", MANY, "Be brief.\n\nWhat is {it}?\n\nA {prompt}.\n\n{response}"),
        ("{{{prompt}}} {{x}}{response}", ONE, "{What is it?} {x}"),
    ],
)
def test_render(template: str, prompt: tuple[Message, ...], expected: str) -> None:
    check_template(template)
    assert render(template, prompt) == expected


@given(text=st.text(), before=st.text(alphabet="{}ab\n"), between=st.text(alphabet="{}ab\n"))
def test_texts_with_braces_stay_as_they_are(text: str, before: str, between: str) -> None:
    def escaped(part: str) -> str:
        return part.replace("{", "{{").replace("}", "}}")

    template = f"{escaped(before)}{{prompt}}{escaped(between)}{{response}}"
    check_template(template)
    assert render(template, (Message("user", text),)) == f"{before}{text}{between}"


@pytest.mark.parametrize(
    "template",
    [
        *("", "Plain", "{prompt}", "{response}", "{response}{prompt}", "{prompt} {response} ", "{prompt} {response}."),
        *(
            "{prompt}{prompt}{response}",
            "{prompt} {answer} {response}",
            "{prompt!r}{response}",
            "{prompt:>9}{response}",
        ),
        *(
            "{prompt}{response!s}",
            "{prompt}{response:x}",
            "{}{response}",
            "{prompt[0]}{response}",
            "{prompt} {response",
        ),
        *("{0}{1}", "{prompt.x}{response}", "}{prompt}{response}"),
    ],
)
def test_what_is_not_a_template_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="is not a template") as error:
        check_template(template)
    for name in NAMED:
        assert name in str(error.value)


@pytest.mark.parametrize("template", ["{prompt}\n{response:}", "{prompt:}\n{response}"])
def test_what_is_accepted_can_be_rendered(template: str) -> None:
    """A format string is refused at the start of a run, or it works: never an error of Python in its middle."""
    try:
        check_template(template)
    except ValueError:
        return
    assert render(template, ONE) == "What is it?\n"


class TestChat:
    def test_the_tokenizers_own_with_its_generation_prompt(self, tokenizer: Callable[..., Any]) -> None:
        used = tokenizer(chat_template=CHAT)
        expected = "<system>Be brief.<user>What is {it}?<assistant>A {prompt}.<user>{response}<go>"
        assert render("chat", MANY, used) == expected

    def test_no_chat_template(self, tokenizer: Callable[..., Any]) -> None:
        with pytest.raises(CellError, match='choose template = "dialogue" or "plain"'):
            render("chat", ONE, tokenizer())

    def test_a_prompt_the_template_refuses(self, tokenizer: Callable[..., Any]) -> None:
        used = tokenizer(chat_template=STRICT)
        assert render("chat", ONE, used) == "<user>What is it?<go>"
        with pytest.raises(ValueError, match="System role not supported"):
            render("chat", MANY, used)

    def test_a_broken_template(self, tokenizer: Callable[..., Any]) -> None:
        with pytest.raises(ValueError, match=r"\S"):
            render("chat", ONE, tokenizer(chat_template="{% for m in messages %}"))

    def test_a_tokenizer_without_a_name(self) -> None:
        with pytest.raises(CellError, match="this base model"):
            render("chat", ONE, SimpleNamespace(chat_template=None))
