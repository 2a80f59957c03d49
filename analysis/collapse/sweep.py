"""A base model at several temperatures: entropy where the contexts stay, and all that sampling does beyond it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis.collapse.diversity.estimates import means
from analysis.collapse.diversity.metrics import METRICS, Measurer
from analysis.collapse.diversity.ngrams import Array
from analysis.collapse.drawing import Asked, Plan, draws_of, ready
from analysis.collapse.sampling import Drawn
from analysis.collapse.temperature import of_texts
from analysis.ids import content_id
from analysis.likelihood.encoding import Encoded
from analysis.likelihood.texts import BaseModel

RESPONSES, OWN = "responses", "own draws at T = 1"
ENTROPY, DRAWN, BEYOND, AT_1 = "entropy", "entropy_drawn", "entropy_beyond", "entropy_drawn_at_1"
LOGPROB, LENGTH, ENDED, EMPTY = "mean_logprob", "n_tokens", "ended", "empty"
CUT = "the prompt and the response together are longer than the context window"
QUANTITIES = {
    ENTROPY: ("nats per token", "mean next-token entropy along fixed contexts, exact from the logits"),
    DRAWN: ("nats per token", "the same along the model's own draws at this temperature"),
    BEYOND: ("nats per token", "entropy_drawn less entropy: what sampling does beyond the theorem"),
    AT_1: ("nats per token", "entropy at temperature 1 along these draws: how open the places are that they lead to"),
    LOGPROB: ("nats per token", "log-probability of the draws at temperature 1: how coherent the model finds them"),
    LENGTH: ("tokens", "length of a draw"),
    ENDED: ("share", "draws that the model ended by itself, within the longest length"),
    EMPTY: ("share", "draws without any text; they count for nothing of what is measured on texts"),
}
_UNITS = {"words": "words", "vendi": "draws", "distinct_k_cosine": "draws", "distinct_k_rouge_l": "draws"}
Row = dict[str, Any]


@dataclass(frozen=True)
class Sweep:
    """What was measured of G prompts at J temperatures.

    Attributes
    ----------
    plan, contexts
        What was asked for, and what the fixed contexts are: `responses` or the model's own draws.
    prompts
        The prompts, by hash.
    names
        The Q quantities.
    values
        (G, J, Q), a mean over the prompt's draws or a metric of them; NaN where there is none.
    draws
        By prompt and temperature.
    left_out
        How many prompts and responses were left out, by reason.
    """

    plan: Plan
    contexts: str
    prompts: tuple[Asked, ...]
    names: tuple[str, ...]
    values: Array
    draws: tuple[tuple[list[Drawn], ...], ...]
    encoder: str
    left_out: dict[str, int] = field(default_factory=dict)


def sweep(
    asked: Sequence[Asked],
    base_model: BaseModel,
    plan: Plan,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> Sweep:
    """Draw from a base model at every temperature, and measure.

    Every prompt and temperature has a generator of its own, which the seed decides, so that nothing depends on the
    order or number of either.

    Parameters
    ----------
    asked
        The prompts, each once.
    base_model, plan
        What is drawn from, and how.
    tick
        Called with the prompts done and the prompts there are.

    Raises
    ------
    StudyError
        If no prompt is left.
    """
    left_out: dict[str, int] = {}
    prompts = ready(asked, base_model, plan.n_tokens, left_out)
    given = any(one.responses for one in asked)
    rows, draws = [], []
    for k, (one, context) in enumerate(prompts):
        mine = [draws_of(one, context, t, base_model, plan) for t in plan.temperatures]
        fixed = _encoded(one, base_model, left_out) if given else _own(one, context, mine, base_model, plan)
        exact = of_texts(base_model.model, fixed, plan.temperatures).mean(0) if fixed else np.nan
        rows.append(np.column_stack([np.broadcast_to(exact, len(plan.temperatures)), [_told(x) for x in mine]]))
        draws.append(tuple(mine))
        tick(k + 1, len(prompts))
    measured, encoder = _texts(draws)
    own = np.array(rows)
    beyond = own[:, :, 1] - own[:, :, 0]
    values = np.concatenate([own[:, :, :2], beyond[:, :, None], own[:, :, 2:], measured], axis=2)
    names = (*QUANTITIES, *(name for name in METRICS if name != ENTROPY))
    known = tuple(one for one, _ in prompts)
    return Sweep(plan, RESPONSES if given else OWN, known, names, values, tuple(draws), encoder, left_out)


def _encoded(one: Asked, base_model: BaseModel, left_out: dict[str, int]) -> list[Encoded]:
    """The given responses as tokens."""
    prefix = base_model.prefix(one.prompt)
    found: list[Encoded] = []
    for made in base_model.reader.encoder.encode([prefix] * len(one.responses), list(one.responses)):
        if isinstance(made, str) or made.n_prompt_tokens_cut:
            reason = made if isinstance(made, str) else CUT
            left_out[reason] = left_out.get(reason, 0) + 1
        else:
            found.append(made)
    return found


def _own(
    one: Asked, context: tuple[int, ...], mine: Sequence[list[Drawn]], base_model: BaseModel, plan: Plan
) -> list[Encoded]:
    """The model's own draws at temperature 1 as tokens: those that were made, where it is one of the temperatures."""
    at_1 = next((d for t, d in zip(plan.temperatures, mine, strict=True) if t == 1), None)
    drawn = at_1 if at_1 is not None else draws_of(one, context, 1.0, base_model, plan)
    return [
        Encoded((*context, *d.ids), len(context), n_bytes=len(d.text.encode()), straddles=False, start_token="none")
        for d in drawn
    ]


def _told(drawn: Sequence[Drawn]) -> list[float]:
    """Means over a prompt's draws, as QUANTITIES names them after the exact entropy, without what is taken of two."""
    columns = ("entropy", "entropy_at_1", "logprob", "n_tokens", "ended")
    blank = [not d.text.strip() for d in drawn]
    return [*(float(np.mean([getattr(d, name) for d in drawn])) for name in columns), float(np.mean(blank))]


def _texts(draws: Sequence[tuple[list[Drawn], ...]]) -> tuple[Array, str]:
    """(G, J, metrics) of the draws that have text, and the encoder; NaN where none has."""
    texts: list[str] = []
    sets: list[tuple[int, ...]] = []
    for drawn in (one for mine in draws for one in mine):
        written = [d.text for d in drawn if d.text.strip()]
        sets.append(tuple(range(len(texts), len(texts) + len(written))))
        texts += written
    measurer = Measurer.of(texts)
    values = np.full((len(sets), len(measurer.columns)), np.nan)
    known = [k for k, one in enumerate(sets) if one]
    values[known] = measurer.values([sets[k] for k in known])
    return values.reshape(len(draws), len(draws[0]), -1), measurer.encoded.name


def unit(name: str) -> str:
    """Unit of a quantity; empty where it has none."""
    return QUANTITIES[name][0] if name in QUANTITIES else _UNITS.get(name, "")


def definition(name: str) -> str:
    """What a quantity is."""
    return QUANTITIES[name][1] if name in QUANTITIES else METRICS[name].definition


def rows(found: Sweep) -> list[Row]:
    """Rows of `temperature` without the keys of the file and the base model: each temperature, and each less the one
    before it.
    """
    temperatures, made = found.plan.temperatures, []
    for j, temperature in enumerate(temperatures):
        made += _rows(found, found.values[:, j], temperature)
    for j in range(1, len(temperatures)):
        made += _rows(found, found.values[:, j] - found.values[:, j - 1], temperatures[j], temperatures[j - 1])
    return made


def _rows(found: Sweep, values: Array, temperature: float, other: float | None = None) -> list[Row]:
    parts = "temperature", str(found.plan.seed), repr(temperature), repr(other)
    estimates = means(values, np.random.default_rng(int(content_id(*parts), 16)))
    keys = {
        "contexts": found.contexts,
        "seed": found.plan.seed,
        "samples": found.plan.samples,
        "max_tokens": found.plan.n_tokens,
        "temperature": temperature,
        "other_temperature": other,
    }
    return [
        {
            **keys,
            "quantity": name,
            "unit": unit(name),
            "encoder": found.encoder if name in METRICS and METRICS[name].encoded else None,
            "status": one.status,
            "estimate": one.value,
            "std_error": one.std_error,
            "conf_low": one.low,
            "conf_high": one.high,
            "n_prompts": one.n,
        }
        for name, one in zip(found.names, estimates, strict=True)
    ]
