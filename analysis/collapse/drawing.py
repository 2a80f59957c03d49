"""Which prompts are drawn from, and their draws."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from analysis.collapse.sampling import Drawn, draw
from analysis.errors import CellError, StudyError, one_line
from analysis.ids import content_id
from analysis.likelihood.texts import BaseModel
from analysis.preferences.records import Prompt
from analysis.preferences.rows import prompt_id


@dataclass(frozen=True)
class Asked:
    """A prompt, and the responses along which entropy is taken, if any were given."""

    prompt: Prompt
    responses: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Hash of the prompt."""
        return prompt_id(self.prompt)


@dataclass(frozen=True)
class Plan:
    """What is drawn.

    Attributes
    ----------
    temperatures
        All above zero, rising.
    samples, n_tokens
        Draws a prompt at each temperature, and the longest of them in tokens.
    seed
        Decides the draws.
    """

    temperatures: tuple[float, ...]
    samples: int
    n_tokens: int
    seed: int = 0


def ready(
    asked: Sequence[Asked], base_model: BaseModel, n_tokens: int, left_out: dict[str, int]
) -> list[tuple[Asked, tuple[int, ...]]]:
    """The prompts that leave room for a draw, in the order of their hashes, with their tokens.

    Parameters
    ----------
    asked, base_model, n_tokens
        The prompts, what is drawn from, and the longest draw.
    left_out
        Prompts that are left out are counted here, by reason.

    Raises
    ------
    StudyError
        If none is left.
    """
    found = []
    for one in sorted(asked, key=lambda a: a.key):
        try:
            context = base_model.reader.encoder.context(base_model.prefix(one.prompt))
        except ValueError as error:
            context = f"the chat template refuses the prompt: {error}"
        if not isinstance(context, str) and base_model.window and len(context) + n_tokens > base_model.window:
            context = f"the prompt leaves no room for {n_tokens} tokens in the context window"
        if isinstance(context, str):
            left_out[context] = left_out.get(context, 0) + 1
        else:
            found.append((one, context))
    if not found:
        raise StudyError(f"no prompt can be drawn from: {next(iter(left_out), 'there is none')}")
    return found


def draws_of(one: Asked, context: Sequence[int], temperature: float, base_model: BaseModel, plan: Plan) -> list[Drawn]:
    """A prompt's draws at a temperature, by a generator of their own, which the seed decides: nothing depends on which
    other prompts and temperatures there are.

    Raises
    ------
    CellError
        If memory does not suffice, or the model gives no numbers.
    """
    seed = int(content_id("draw", str(plan.seed), one.key, repr(float(temperature))), 16) % 2**63
    random = torch.Generator(base_model.model.device).manual_seed(seed)
    model, tokenizer = base_model.model, base_model.tokenizer
    try:
        return draw(model, tokenizer, context, plan.samples, temperature, plan.n_tokens, random)
    except (RuntimeError, MemoryError) as error:
        raise CellError(
            f"base model {base_model.spec.key!r} cannot be drawn from: {one_line(error)}; fewer samples at a time, or "
            "shorter ones, need less memory"
        ) from error
