"""Templates: how a prompt and a response become the one text that is scored.

Every template ends with the response, so the text is `render(…) + response` and the response begins at the character
offset `len(render(…))`.
"""

import string
from typing import Any

from analysis.errors import CellError, one_line
from analysis.preferences.records import Prompt

NAMED = ("plain", "dialogue", "chat")
_ROLES = {"user": "Human", "assistant": "Assistant", "system": "System"}


def check_template(template: str) -> None:
    """Check a template's name or format string.

    Raises
    ------
    ValueError
        If it is neither a known name nor a string with {prompt} once and then {response}, once, at its end.
    """
    if template in NAMED:
        return
    allowed = f"allowed are {', '.join(NAMED)} and a format string with {{prompt}} that ends in {{response}}"
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{template!r} is not a template ({error}); {allowed}") from error
    fields = [(name, spec, conversion) for _, name, spec, conversion in parts if name is not None]
    if fields != [("prompt", "", None), ("response", "", None)] or not template.endswith("{response}"):
        raise ValueError(f"{template!r} is not a template; {allowed}")


def render(template: str, prompt: Prompt, tokenizer: Any = None) -> str:
    """The text before the response.

    `plain` joins the messages by blank lines, with no roles, and puts a blank line before the response. `dialogue` is
    the transcript of hh-rlhf: "\\n\\nHuman: … \\n\\nAssistant: ". `chat` is the tokenizer's own chat template with its
    generation prompt. A format string is filled with the messages as `plain` joins them.

    Raises
    ------
    CellError
        If `chat` is asked of a tokenizer that has no chat template.
    ValueError
        If the chat template refuses these messages (the text is the reason).
    """
    if template == "chat":
        return _chat(prompt, tokenizer)
    if template == "dialogue":
        turns = "".join(f"\n\n{_ROLES.get(m.role, m.role.capitalize())}: {m.content}" for m in prompt)
        return f"{turns}\n\nAssistant: "
    joined = "\n\n".join(m.content for m in prompt)
    form = "{prompt}\n\n{response}" if template == "plain" else template
    return form.removesuffix("{response}").format(prompt=joined)


def _chat(prompt: Prompt, tokenizer: Any) -> str:
    import jinja2

    if not getattr(tokenizer, "chat_template", None):
        raise CellError(
            f"the tokenizer of {getattr(tokenizer, 'name_or_path', 'this base model')} has no chat template; "
            'choose template = "dialogue" or "plain"'
        )
    turns = [m._asdict() for m in prompt]
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except (jinja2.TemplateError, ValueError, TypeError) as error:
        raise ValueError(one_line(error)) from error
