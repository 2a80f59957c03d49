"""Rows of `generations` of one model → what each of its methods did, from diversity to cost and failures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import rankdata

from analysis.collapse.diversity.metrics import METRICS, Measurer
from analysis.collapse.diversity.sets import PER_INPUT, Group, Texts, contrast, sets
from analysis.collapse.diversity.similarity import cosines
from analysis.collapse.remedies.estimates import Array, Measured, Values, random_of
from analysis.collapse.remedies.known import coverage, ideal, kl, smoothed
from analysis.collapse.remedies.parsing import EMPTY, EMPTY_ANSWER, OK
from analysis.collapse.remedies.specs import Prompt
from analysis.collapse.remedies.study import SampleStudy

Row = dict[str, Any]
HEADLINE = "embedding_diversity"
EFFECTIVE, ABOVE = "effective_diversity", "share_above_bar"
# The bar, unless the study states one: what nine tenths of the baseline's responses reach.
BAR_QUANTILE = 0.1
LIKELIHOOD = "mean_logprob"
NO_RATIO = "a ratio of it means nothing"
IS_BASELINE = "it is the baseline"


@dataclass(frozen=True)
class Part:
    """What one method of a model gave.

    Attributes
    ----------
    method
        Its name.
    rows
        Its rows of `generations`, in their order.
    group
        Its usable responses by prompt, as indices of texts.
    """

    method: str
    rows: Sequence[Row]
    group: Group

    @property
    def usable(self) -> list[Row]:
        """Rows that hold a response."""
        return [row for row in self.rows if row["status"] == OK]


def parts(rows: Sequence[Row], methods: Sequence[str], first: int = 0) -> list[Part]:
    """The methods of a model.

    Parameters
    ----------
    rows
        Its rows of `generations`.
    methods
        Names, in the study's order.
    first
        Index of the first of its usable responses among the texts that a measurer has.
    """
    made: dict[str, tuple[list[Row], dict[str, list[int]]]] = {name: ([], {}) for name in methods}
    at = first
    for row in rows:
        kept, texts = made[row["method"]]
        kept.append(row)
        if row["status"] == OK:
            texts.setdefault(row["prompt_id"], []).append(at)
            at += 1
    return [Part(name, kept, _group(name, kept, texts)) for name, (kept, texts) in made.items()]


def _group(name: str, rows: Sequence[Row], texts: Mapping[str, list[int]]) -> Group:
    n_empty = sum(row["status"] in (EMPTY, EMPTY_ANSWER) for row in rows)
    n_failed = sum(row["status"] != OK for row in rows) - n_empty
    return Group(name, {prompt: tuple(found) for prompt, found in texts.items()}, n_empty, n_failed)


def measured(
    part: Part, base: Part, study: SampleStudy, measurer: Measurer, qualities: Array, bar: float | None
) -> Iterator[Measured]:
    """All measures of a method.

    Parameters
    ----------
    part, base
        The method and the baseline, of one model.
    study
        The study.
    measurer
        All texts.
    qualities
        (m,) quality of each text; NaN where there is none.
    bar
        What quality is held to; None where there is no quality.
    """
    yield from _diversity(part, base, study, measurer)
    yield from _quality(part, base, study, measurer, qualities, bar)
    yield from _distribution(part, base, study)
    yield from _accuracy(part, base, study)
    yield from _cost(part, base)
    yield from _failures(part, base)


def _diversity(part: Part, base: Part, study: SampleStudy, measurer: Measurer) -> Iterator[Measured]:
    own, prompts = sets(part.group, PER_INPUT, study.seed), _prompts(part.group)
    shared, *sides = _both(part.group, base.group, study.seed)
    own_values, one, other = (measurer.values(texts) for texts in (own.texts, *sides))
    for k, (name, _) in enumerate(measurer.columns):
        metric = METRICS[name]
        pair = (dict(zip(shared, one[:, k], strict=True)), dict(zip(shared, other[:, k], strict=True)))
        kind = "diversity" if metric.diverse else "quality"
        unit = {"words": "words", "entropy": "nats a token"}.get(name, "")
        yield Measured(kind, name, unit, dict(zip(prompts, own_values[:, k], strict=True)), pair, "", own.n_generations)


def _prompts(group: Group) -> list[str]:
    """The prompts of the group's sets, in their order."""
    return [p for p in sorted(group.texts) if len(group.texts[p]) > 1]


def _both(one: Group, other: Group, seed: int) -> tuple[list[str], tuple[Texts, ...], tuple[Texts, ...]]:
    """Prompts of which both have two generations or more, and each one's sets of them, as large as the other's."""
    shared = [p for p in sorted(one.texts) if min(len(one.texts[p]), len(other.texts.get(p, ()))) > 1]
    # Groups that share no prompt would be compared set by set.
    found = contrast(one, other, PER_INPUT, seed) if shared else None
    return (shared, found.first.texts, found.second.texts) if found else (shared, (), ())


def _quality(
    part: Part, base: Part, study: SampleStudy, measurer: Measurer, qualities: Array, bar: float | None
) -> Iterator[Measured]:
    for column, unit in ((LIKELIHOOD, "nats a token"), ("judgement", "")):
        values = by_prompt(part.usable, column)
        if values or study.quality == ("judge" if column == "judgement" else column):
            pair = None if column == LIKELIHOOD else (values, by_prompt(base.usable, column))
            n = sum(row[column] is not None for row in part.usable)
            yield Measured("quality", column, unit, values, pair, NO_RATIO, n)
    if bar is None:
        return
    above, known = qualities >= bar, np.isfinite(qualities)
    # A response that has no quality is neither above the bar nor below it.
    mine, others = _only(part.group, known), _only(base.group, known)

    def share(group: Group) -> Values:
        return {p: float(above[list(texts)].mean()) for p, texts in group.texts.items()}

    n = mine.n_generations
    yield Measured("quality", ABOVE, "share", share(mine), (share(mine), share(others)), "", n)
    own = {p: effective(mine.texts[p], measurer, above) for p in _prompts(mine)}
    shared, *sides = _both(mine, others, study.seed)
    one, other = (
        {p: effective(texts, measurer, above) for p, texts in zip(shared, side, strict=True)} for side in sides
    )
    yield Measured("diversity", EFFECTIVE, "", own, (one, other), "", n)


def _only(group: Group, known: Any) -> Group:
    """A group's generations that are known, as a mask over all texts."""
    kept = {p: tuple(i for i in texts if known[i]) for p, texts in group.texts.items()}
    return replace(group, texts={p: texts for p, texts in kept.items() if texts})


def effective(texts: Sequence[int], measurer: Measurer, above: Any) -> float:
    """Mean over pairs of 1 − cosine, which counts only where both texts are above the bar (after arXiv 2504.12522)."""
    good = above[list(texts)].astype(float)
    k = len(texts)
    distances = 1 - cosines(measurer.encoded.vectors[list(texts)])
    return float((distances * np.outer(good, good))[np.triu_indices(k, 1)].mean())


def by_prompt(rows: Sequence[Row], column: str) -> dict[str, float]:
    """Mean of a column by prompt, over the rows that have it."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row[column] is not None:
            found.setdefault(row["prompt_id"], []).append(float(row[column]))
    return {prompt: float(np.mean(values)) for prompt, values in found.items()}


def _distribution(part: Part, base: Part, study: SampleStudy) -> Iterator[Measured]:
    asked = [p for p in study.prompts if p.answers]
    if not asked:
        return
    yield Measured("distribution", "on_list", "share", *_listed(part, base, asked), n_responses=len(part.usable))
    own, pair, n = _counted(part, base, asked, lambda shares, _: coverage(shares))
    yield Measured("distribution", "coverage", "share", own, pair, "", n)
    referenced = [p for p in asked if p.reference]
    if not referenced:
        return
    known = {p.id: smoothed(p.reference) for p in referenced}
    own, pair, n = _counted(part, base, referenced, lambda shares, prompt: kl(shares, known[prompt]))
    yield Measured("distribution", "kl", "nats", own, pair, "", n)
    limits = {
        p.id: ideal(known[p.id], sum(counts.values()), random_of(study.seed, "ideal", p.id))
        for p in referenced
        if (counts := _answers(part.usable, p))
    }
    for at, name, unit in ((0, "coverage_of_reference", "share"), (1, "kl_of_reference", "nats")):
        values = {prompt: found[at] for prompt, found in limits.items()}
        yield Measured("distribution", name, unit, values, None, NO_RATIO, n)
    stated = {
        p.id: kl(shares, known[p.id]) for p in referenced if (shares := stated_shares(part.usable, p)) is not None
    }
    if stated:
        counted = {p.id: kl(_shares(c, p), known[p.id]) for p in referenced if (c := _answers(base.usable, p))}
        yield Measured("distribution", "kl_stated", "nats", stated, (stated, counted), "", n)


def _listed(part: Part, base: Part, asked: Sequence[Prompt]) -> tuple[Values, tuple[Values, Values]]:
    ids = {p.id for p in asked}

    def share(rows: Sequence[Row]) -> Values:
        told = [{**row, "on_list": row["answer_status"] == OK} for row in rows if row["prompt_id"] in ids]
        return by_prompt(told, "on_list")

    own = share(part.usable)
    return own, (own, share(base.usable))


def _answers(rows: Sequence[Row], prompt: Prompt, most: int | None = None) -> dict[str, int]:
    """How often each answer of a prompt is given, by the first responses that give one."""
    given = [row["answer"] for row in rows if row["prompt_id"] == prompt.id and row["answer"] is not None]
    counts: dict[str, int] = {}
    for answer in given[:most]:
        counts[answer] = counts.get(answer, 0) + 1
    return counts


def _shares(counts: Mapping[str, float], prompt: Prompt) -> Array:
    found = np.array([counts.get(names[0], 0.0) for names in prompt.answers], float)
    made: Array = found / found.sum()
    return made


def _counted(
    part: Part, base: Part, asked: Sequence[Prompt], measure: Any
) -> tuple[Values, tuple[Values, Values], int]:
    """A measure of the shares of the answers; compared with the baseline on as many responses of each."""
    own: dict[str, float] = {}
    one: dict[str, float] = {}
    other: dict[str, float] = {}
    n = 0
    for prompt in asked:
        counts = [_answers(rows, prompt) for rows in (part.usable, base.usable)]
        sizes = [sum(found.values()) for found in counts]
        n += sizes[0]
        if sizes[0]:
            own[prompt.id] = measure(_shares(counts[0], prompt), prompt.id)
        if min(sizes):
            for side, rows in ((one, part.usable), (other, base.usable)):
                side[prompt.id] = measure(_shares(_answers(rows, prompt, min(sizes)), prompt), prompt.id)
    return own, (one, other), n


def stated_shares(rows: Sequence[Row], prompt: Prompt) -> Array | None:
    """What the probabilities say that answers state: the mean of each answer's, over their sum; None where none is."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["prompt_id"] == prompt.id and row["answer"] is not None and row["probability_stated"] is not None:
            found.setdefault(row["answer"], []).append(row["probability_stated"])
    means = {answer: float(np.mean(stated)) for answer, stated in found.items()}
    return _shares(means, prompt) if sum(means.values()) > 0 else None


def _accuracy(part: Part, base: Part, study: SampleStudy) -> Iterator[Measured]:
    if not any(p.correct for p in study.prompts):
        return
    own, reference = by_prompt(part.usable, "is_correct"), by_prompt(base.usable, "is_correct")
    n = sum(row["is_correct"] is not None for row in part.usable)
    yield Measured("accuracy", "accuracy", "share", own, (own, reference), "", n)
    likeliest = _likeliest([row for row in part.usable if row["is_correct"] is not None])
    if likeliest:
        top = by_prompt(likeliest, "is_correct")
        yield Measured("accuracy", "accuracy_likeliest", "share", top, (top, reference), "", len(likeliest))


def _likeliest(rows: Sequence[Row]) -> list[Row]:
    """Of every answer the response that it says is most probable, the first one of several."""
    best: dict[tuple[str, int, int], Row] = {}
    for row in rows:
        if row["probability_stated"] is not None:
            key = row["prompt_id"], row["sample"], row["turn"]
            if key not in best or row["probability_stated"] > best[key]["probability_stated"]:
                best[key] = row
    return list(best.values())


def _cost(part: Part, base: Part) -> Iterator[Measured]:
    for name, unit, columns in (
        ("tokens", "tokens a response", ("n_prompt_tokens", "n_completion_tokens")),
        ("requests", "requests a response", ()),
    ):
        own = _spent(part.rows, columns)
        status = "" if own else "the backend does not say how many tokens it read and wrote"
        n = len(part.usable)
        yield Measured("cost", name, unit, own, (own, _spent(base.rows, columns)), "", n, status)


def _spent(rows: Sequence[Row], columns: Sequence[str]) -> dict[str, float]:
    """Tokens of all requests (or the requests themselves) over usable responses, by prompt."""
    spent: dict[str, dict[tuple[int, int], float | None]] = {}
    usable: dict[str, int] = {}
    for row in rows:
        prompt = row["prompt_id"]
        usable[prompt] = usable.get(prompt, 0) + (row["status"] == OK)
        if row["request_id"] is not None:
            told = [row[name] for name in columns]
            cost = None if None in told else float(sum(told)) if columns else 1.0
            spent.setdefault(prompt, {})[row["sample"], row["turn"]] = cost
    # A sum without some of its parts would be too small.
    known = {p: [*found.values()] for p, found in spent.items() if None not in found.values()}
    return {p: sum(c for c in costs if c is not None) / usable[p] for p, costs in known.items() if usable[p]}


def _failures(part: Part, base: Part) -> Iterator[Measured]:
    def share(rows: Sequence[Row], status: str | None = None) -> Values:
        told = [{**row, "failed": row["status"] != OK if status is None else row["status"] == status} for row in rows]
        return by_prompt(told, "failed")

    own = share(part.rows)
    n_failed = sum(row["status"] != OK for row in part.rows)
    yield Measured("failures", "failed", "share", own, (own, share(base.rows)), "", n_failed)
    for reason in sorted({row["status"] for row in part.rows} - {OK}):
        n = sum(row["status"] == reason for row in part.rows)
        yield Measured("failures", f"response: {reason}", "share", share(part.rows, reason), None, NO_RATIO, n)
    asked = [row for row in part.usable if row["probability_status"] is not None]
    for reason in sorted({row["probability_status"] for row in asked} - {OK}):
        told = [{**row, "failed": row["probability_status"] == reason} for row in asked]
        n = sum(row["failed"] for row in told)
        yield Measured("failures", f"probability: {reason}", "share", by_prompt(told, "failed"), None, NO_RATIO, n)
    ranks = {p: found for p, rows in _grouped(asked).items() if (found := _agreement(rows)) is not None}
    if ranks:
        yield Measured("quality", "calibration", "rank correlation", ranks, None, NO_RATIO, len(asked))


def _grouped(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["prompt_id"], []).append(row)
    return found


def _agreement(rows: Sequence[Row]) -> float | None:
    """Spearman's correlation of the stated probabilities of a prompt with the base model's log-likelihoods."""
    told = [(r["probability_stated"], r["sum_logprob"]) for r in rows]
    known = np.array([pair for pair in told if None not in pair], float)
    if len(known) < 3 or (np.ptp(known, axis=0) == 0).any():
        return None
    ranks = np.array([rankdata(column) for column in known.T])
    return float(np.corrcoef(ranks)[0, 1])
