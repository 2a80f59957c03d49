"""Generations under a base model against a baseline: which requests' entropy dropped, and the verdict on each group."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis.collapse.baseline import BY_PROMPT, Baseline, Level, known_mean, levels, mean
from analysis.collapse.diversity.metrics import Measurer
from analysis.collapse.diversity.ngrams import REPETITION_N, Array, grams, repetition
from analysis.collapse.diversity.sets import PER_INPUT, Group, sets
from analysis.collapse.drawing import Asked, Plan, draws_of, ready
from analysis.collapse.monitor import Measured, Verdict, drop, dropped, verdict
from analysis.collapse.requests import Request
from analysis.likelihood.texts import BaseModel
from analysis.preferences.rows import prompt_id

Row = dict[str, Any]
# What each sign is read from: the value, what it is compared with, and how it varies over prompts.
_READ = {
    "entropy": ("entropy", "baseline_entropy", None),
    "self_bleu": ("self_bleu", None, "self_bleu_spread"),
    "cluster_dominance": ("dominance", None, None),
    "repetition": ("repetition", "baseline_repetition", None),
}


@dataclass(frozen=True)
class Scored:
    """Generations (n) with what was measured of each.

    Attributes
    ----------
    requests
        The generations.
    prompts
        (n,) hashes of their prompts.
    entropies
        (n,) mean next-token entropy along each under the base model, in nats; NaN where there is none.
    repetitions
        (n,) share of its 4-grams that stood in it before; NaN where it has none.
    tokens
        (n,) tokens of each; 0 where it has no entropy.
    truncated
        (n,) whether anything was cut to fit the context window.
    reasons
        (n,) why there is no entropy; `ok` where there is one.
    """

    requests: Sequence[Request]
    prompts: Sequence[str]
    entropies: Array
    repetitions: Array
    tokens: Sequence[int]
    truncated: Sequence[bool]
    reasons: Sequence[str]
    measurer: Measurer

    def levels(self, which: Sequence[int] | None = None) -> dict[str, Level]:
        """What the generations (or some of them) are at, by prompt."""
        at = np.arange(len(self.prompts)) if which is None else np.array(which, np.intp)
        return levels([self.prompts[k] for k in at], self.entropies[at], self.repetitions[at])


@dataclass(frozen=True)
class Watched:
    """What was found of one group.

    Attributes
    ----------
    name
        The group.
    measured, verdict
        What the signs are read from, and what they say.
    n_requests, n_compared, n_flagged
        Usable generations, those with a baseline for their entropy, and those that lie too far below it.
    n_other_prompts
        Of those compared, how many only with the mean of other prompts.
    n_shared
        Prompts that the baseline has, too; where there is one, entropy and repetition are compared on these alone.
    n_empty, n_failed, n_truncated, unscored
        Generations without text, those marked as failed, those of which a part was cut to fit the context window, and
        those without an entropy, by reason.
    rows
        Rows of `monitor`, without the keys of the file.
    """

    name: str
    measured: Measured
    verdict: Verdict
    n_requests: int
    n_compared: int
    n_flagged: int
    n_other_prompts: int
    n_shared: int
    n_empty: int
    n_failed: int
    n_truncated: int
    unscored: dict[str, int] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()

    def signs(self) -> list[Row]:
        """Rows of `signs`, without the keys of the file."""
        made = []
        for sign in self.verdict.signs:
            value, base, spread = (None if n is None else getattr(self.measured, n) for n in _READ[sign.name])
            made.append(
                {
                    "group": self.name,
                    "sign": sign.name,
                    "there": sign.there,
                    "told": sign.told,
                    "value": value,
                    "baseline_value": base,
                    "spread": spread,
                    "verdict": self.verdict.words,
                    "n_requests": self.n_requests,
                    "n_flagged": self.n_flagged if self.n_compared else None,
                }
            )
        return made


def score(
    requests: Sequence[Request], base_model: BaseModel, tick: Callable[[int, int], None] = lambda done, total: None
) -> Scored:
    """Measure generations: their entropies under a base model, by the scorer of studies, and their repetition."""
    found = base_model.score([(r.prompt, r.text) for r in requests], tick)
    entropies = np.array([np.nan if isinstance(one, str) else one.likelihood.mean_entropy for one in found], float)
    measurer = Measurer.of([r.text for r in requests])
    return Scored(
        requests,
        [prompt_id(r.prompt) for r in requests],
        entropies,
        repetition(grams(measurer.corpus.texts, REPETITION_N)[REPETITION_N - 1]),
        [0 if isinstance(one, str) else len(one.likelihood.token_logprobs) for one in found],
        [not isinstance(one, str) and one.truncated for one in found],
        [one if isinstance(one, str) else "ok" for one in found],
        measurer,
    )


def drawn(requests: Sequence[Request], base_model: BaseModel, n: int, n_tokens: int, seed: int) -> list[Request]:
    """The base model's own samples at temperature 1 for the prompts of some requests: n each, those without text left
    out.

    Raises
    ------
    StudyError
        If no prompt leaves room for a sample.
    """
    asked = [Asked(prompt) for prompt in dict.fromkeys(r.prompt for r in requests)]
    plan = Plan((1.0,), n, n_tokens, seed)
    return [
        Request(f"sample {k + 1}", one.prompt, d.text)
        for one, context in ready(asked, base_model, n_tokens, {})
        for k, d in enumerate(draws_of(one, context, 1.0, base_model, plan))
        if d.text.strip()
    ]


def watch(group: Group, scored: Scored, against: Baseline | None) -> Watched:
    """Compare one group of generations with a baseline.

    Parameters
    ----------
    group
        Its generations, as indices into `scored`.
    scored
        What was measured.
    against
        The baseline; without one, entropy and repetition are no signs.
    """
    which = sorted(k for indices in group.texts.values() for k in indices)
    expected = [against.entropy_for(scored.prompts[k]) if against else (None, None) for k in which]
    base = np.array([np.nan if value is None else value for value, _ in expected], float)
    entropies = scored.entropies[np.array(which, np.intp)]
    drops, flags = drop(entropies, base), dropped(entropies, base)
    known = np.isfinite(drops)
    rows = tuple(
        _row(scored, k, group.name, expected[i], drops[i] if known[i] else None, bool(flags[i]) if known[i] else None)
        for i, k in enumerate(which)
    )
    measured, n_shared = _measured(group, which, scored, against)
    return Watched(
        name=group.name,
        measured=measured,
        verdict=verdict(measured),
        n_requests=len(which),
        n_compared=int(known.sum()),
        n_flagged=int(flags[known].sum()),
        n_other_prompts=sum(bool(known[i]) and source != BY_PROMPT for i, (_, source) in enumerate(expected)),
        n_shared=n_shared,
        n_empty=group.n_empty,
        n_failed=group.n_failed,
        n_truncated=sum(scored.truncated[k] for k in which),
        unscored=dict(Counter(scored.reasons[k] for k in which if scored.reasons[k] != "ok")),
        rows=rows,
    )


def _row(
    scored: Scored, k: int, group: str, expected: tuple[float | None, str | None], drop: Any, flagged: bool | None
) -> Row:
    ok = scored.reasons[k] == "ok"
    repeated = scored.repetitions[k]
    return {
        "group": group,
        "request": scored.requests[k].name,
        "prompt_id": scored.prompts[k],
        "status": scored.reasons[k],
        "n_tokens": scored.tokens[k] if ok else None,
        "truncated": scored.truncated[k] if ok else None,
        "entropy": float(scored.entropies[k]) if ok else None,
        "baseline_entropy": expected[0],
        "baseline_of": expected[1],
        "drop": None if drop is None else float(drop),
        "flagged": flagged,
        "repetition": float(repeated) if np.isfinite(repeated) else None,
    }


def _measured(group: Group, which: Sequence[int], scored: Scored, against: Baseline | None) -> tuple[Measured, int]:
    """What the signs are read from, and on how many prompts entropy and repetition are compared with their own."""
    own, base = scored.levels(which), against.prompts if against else {}
    shared = sorted(own.keys() & base.keys())

    def both(name: str) -> list[str] | None:
        """The shared prompts that both have a value of, so that means are of the same ones; None: none is shared."""
        return [p for p in shared if None not in (getattr(own[p], name), getattr(base[p], name))] if shared else None

    per_prompt = scored.measurer.values(sets(group, PER_INPUT, 0).texts)
    names = [name for name, _ in scored.measurer.columns]
    bleu, dominant = (per_prompt[:, names.index(name)] for name in ("self_bleu", "cluster_dominance"))
    return Measured(
        entropy=mean(own, "entropy", both("entropy")),
        baseline_entropy=mean(base, "entropy", both("entropy")),
        self_bleu=known_mean(bleu),
        self_bleu_spread=float(bleu.std(ddof=1)) if len(bleu) > 1 else None,
        dominance=known_mean(dominant),
        repetition=mean(own, "repetition", both("repetition")),
        baseline_repetition=mean(base, "repetition", both("repetition")),
    ), len(shared)
