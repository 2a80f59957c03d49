"""Texts that belong to no study under a base model: read, or scored, by the same rules as a study's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from analysis.errors import CellError, StudyError, one_line
from analysis.likelihood.backends.transformers import reader_of
from analysis.likelihood.encoding import Encoded, LongResponses
from analysis.likelihood.model import Located, load, locate, window_of
from analysis.likelihood.request import Reader
from analysis.likelihood.scoring import NOT_FINITE
from analysis.likelihood.templates import check_template, render
from analysis.preferences.records import Prompt
from analysis.study import BaseModelSpec

if TYPE_CHECKING:
    from analysis.likelihood.forward import Likelihood
    from analysis.likelihood.scorer import Scorer

# What makes scores comparable, in the words in which a difference is told.
DECIDES = {
    "base_model": "base model",
    "revision": "revision of the base model",
    "tokenizer": "tokenizer",
    "template": "template",
    "context_window": "context window",
    "long_responses": "treatment of long responses",
    "dtype": "dtype",
    "backend": "backend",
    "scorer_version": "version of the scorer",
}


@dataclass(frozen=True)
class Rules:
    """How texts are read, as a study would say it."""

    template: str = "plain"
    long_responses: LongResponses = "exclude"
    token_logprobs: bool = False
    needs_unconditional: bool = False


class Scored(NamedTuple):
    """The likelihood of a response, and whether anything was cut, of its prompt or of itself."""

    likelihood: "Likelihood"
    truncated: bool


@dataclass(frozen=True)
class BaseModel:
    """A base model with its tokenizer and template, its weights loaded.

    Attributes
    ----------
    spec, located
        What was asked for, and where it was found.
    rules
        How prompts and responses are joined.
    reader
        Its encoder and tokenizer.
    constant
        All that decides a score but the text, with its hash, as columns of `scores`.
    window
        The longest text that it reads, in tokens; None where that is not known.
    model
        The model of `transformers`.
    """

    spec: BaseModelSpec
    located: Located
    rules: Rules
    reader: Reader
    constant: dict[str, Any]
    window: int | None
    model: Any

    @classmethod
    def of(cls, spec: BaseModelSpec, template: str) -> "BaseModel":
        """Find and load it.

        Raises
        ------
        StudyError
            If the template is none.
        CellError
            If it cannot be had, or cannot read this template.
        """
        try:
            check_template(template)
        except ValueError as error:
            raise StudyError(str(error)) from error
        rules, located = Rules(template), locate(spec)
        reader, constant = reader_of(spec, rules, located)
        window = window_of(located, spec.context_window)
        return cls(spec, located, rules, reader, constant, window, load(located, spec))

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        return self.reader.tokenizer

    @cached_property
    def _scorer(self) -> "Scorer":
        from analysis.likelihood.scorer import Scorer

        try:
            return Scorer(self.model, self.spec.batch_tokens)
        except (RuntimeError, MemoryError) as error:
            told = f"base model {self.spec.key!r} cannot be run on {self.model.device}: {one_line(error)}"
            raise CellError(told) from error

    def prefix(self, prompt: Prompt) -> str:
        """The text before a response.

        Raises
        ------
        ValueError
            If the chat template refuses the prompt.
        """
        return render(self.rules.template, prompt, self.tokenizer)

    def score(
        self,
        texts: Sequence[tuple[Prompt, str]],
        tick: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[Scored | str]:
        """Likelihoods of responses to prompts, by the scorer that studies use; where there is none, the reason.

        Equal texts are scored once. The model is changed for speed: draw from it before.

        Parameters
        ----------
        texts
            Prompts and responses.
        tick
            Called with the tokens read and the tokens there are.
        """
        unique = sorted(set(texts))
        found: dict[tuple[Prompt, str], Scored | str] = {}
        encoded = []
        for text, made in zip(unique, self._encoded(unique), strict=True):
            if isinstance(made, str):
                found[text] = made
            else:
                encoded.append((text, made))
        if encoded:
            scorer, ready = self._scorer, [made for _, made in encoded]
            batches = scorer.batches(ready)
            total, done = sum(batch.n_tokens for batch in batches), 0
            for batch, scored in zip(batches, scorer.score_all(ready, batches), strict=True):
                found |= {encoded[i][0]: _scored(ready[i], made) for i, made in scored}
                done += batch.n_tokens
                tick(done, total)
        return [found[text] for text in texts]

    def _encoded(self, texts: Sequence[tuple[Prompt, str]]) -> list[Encoded | str]:
        """Tokens of texts, or why one cannot be scored."""
        prefixes: list[str | None] = []
        refused: dict[int, str] = {}
        for k, (prompt, _) in enumerate(texts):
            try:
                prefixes.append(self.prefix(prompt))
            except ValueError as error:
                refused[k] = f"the chat template refuses the prompt: {error}"
                prefixes.append(None)
        known = [(p, r) for p, (_, r) in zip(prefixes, texts, strict=True) if p is not None]
        made = iter(self.reader.encoder.encode([p for p, _ in known], [r for _, r in known]))
        return [refused[k] if k in refused else next(made) for k in range(len(texts))]


def _scored(text: Encoded, made: "Likelihood") -> Scored | str:
    if made.mean_entropy is None or not np.isfinite([made.sum_logprob, made.mean_entropy]).all():
        return NOT_FINITE
    return Scored(made, text.n_prompt_tokens_cut + text.n_response_tokens_cut > 0)


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What makes two sets of scores incomparable, in words; empty where they are made in the same way.

    Parameters
    ----------
    before, now
        `BaseModel.constant` of both.
    """
    return [
        f"{word} {_short(before.get(name))}, not {_short(now.get(name))}"
        for name, word in DECIDES.items()
        if before.get(name) != now.get(name)
    ]


def _short(value: Any) -> str:
    text = "unknown" if value is None else str(value)
    # A commit or a SHA-256 is told apart by its beginning.
    return text[:12] if len(text) in (40, 64) and set(text) <= set("0123456789abcdef") else text
