"""`typicality inspect`: what is in a dataset, shown before anything is scored."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from analysis.errors import StudyError, TypicalityError
from analysis.outputs import Outputs
from analysis.preferences.catalogue import Entry, entries, entry
from analysis.preferences.spec import CatalogueDataset, OwnDataset, limited
from analysis.preferences.stage import Fetched, fetch
from analysis.preferences.summary import Example, Summary, summarise
from analysis.report.words import count, fixed, number, percent, share
from analysis.study import load
from flows import progress
from flows.listing import about, block, emit
from flows.parameters import built_in, study_file

SHOWN = 8
CUT = 400


@dataclass(frozen=True)
class Inspected:
    """One dataset, what it gave and what is in it."""

    spec: CatalogueDataset | OwnDataset
    fetched: Fetched
    summary: Summary

    @property
    def entry(self) -> Entry | None:
        """The catalogue's entry, for a dataset of the catalogue."""
        return entry(self.spec.name) if isinstance(self.spec, CatalogueDataset) else None

    @property
    def published(self) -> tuple[int, int] | None:
        """Pairs of unequal outcome and of equal quality in the literature, for just these data; None elsewhere."""
        spec, found = self.spec, self.entry
        if not isinstance(spec, CatalogueDataset) or found is None:
            return None
        as_there = spec.limit is None and spec.outcome in (None, found.default_outcome)
        same = as_there and spec.quality in (None, found.quality) and spec.ties != "keep"
        return found.published.get(spec.split or found.default_split) if same else None

    def as_json(self) -> dict[str, Any]:
        """Everything, for a program."""
        return {"dataset": asdict(self.fetched), "summary": asdict(self.summary), "published": self.published}


def specs_of(name: str, options: Mapping[str, Any], limit: int | None, datasets: tuple[str, ...]) -> tuple[Any, ...]:
    """What to inspect: a dataset of the catalogue with its options, or the datasets of a study.

    Raises
    ------
    StudyError
        If there is no such thing, or the options do not belong to it.
    """
    given = {key: value for key, value in options.items() if value}
    if name in entries():
        if datasets:
            raise StudyError("--dataset chooses among the datasets of a study; leave it out")
        spec = CatalogueDataset(name=name, **given)
        spec.check()
        return (spec if limit is None else limited(spec, limit),)
    if name not in built_in():
        _study_or_stop(name)
    if given:
        key = next(iter(given))
        raise StudyError(f"--{key} is for datasets of the catalogue; {name} is a study: set {key} in its file")
    return load(study_file(name)).narrowed(datasets, (), limit).datasets


def _study_or_stop(name: str) -> None:
    """Make sure that a name, which is not in the catalogue, is a study file.

    Raises
    ------
    StudyError
        If it is not; the message says what it may have been meant for.
    """
    path = Path(name)
    if path.suffix == ".toml" and not path.is_file():
        raise StudyError(f"there is no study file {name}")
    if not path.is_file():
        entry(name)
    if path.suffix != ".toml":
        raise StudyError(f"{name} is data, not a study: declare its columns in a study file (TOML) and inspect that")


def inspect(spec: CatalogueDataset | OwnDataset) -> Inspected:
    """Read a dataset into a temporary folder and summarise it.

    Raises
    ------
    TypicalityError
        If it cannot be had or is not as declared.
    """
    with tempfile.TemporaryDirectory(prefix="typicality-") as folder:
        outputs = Outputs(Path(folder))
        work = outputs.work("inspect")
        with progress.stage(f"read {spec.key}", unit="rows") as tick:
            fetched = fetch(spec, "inspect", 0, outputs, work, tick)
        return Inspected(spec, fetched, summarise(fetched, outputs, work))


def inspect_all(
    name: str, options: Mapping[str, Any], limit: int | None, datasets: tuple[str, ...], as_json: bool
) -> bool:
    """Inspect and print one dataset after the other; a failure of one leaves the others alone.

    Returns
    -------
    bool
        Whether all could be read.

    Raises
    ------
    StudyError
        If nothing could be started.
    """
    console, done = Console(highlight=False), True
    made = []
    for spec in specs_of(name, options, limit, datasets):
        try:
            found = inspect(spec)
        except TypicalityError as error:
            progress.console.print(f"typicality: {error}", markup=False)
            done = False
            continue
        made.append(found.as_json())
        if not as_json:
            emit(console, *shown(found))
    if as_json:
        console.print_json(json.dumps(made))
    return done


def shown(found: Inspected) -> Iterator[RenderableType]:
    """What was found, to be printed."""
    yield Text(f"{found.spec.key}  ", style="bold") + Text(_origin(found), style="dim")
    yield from _blocks(found)
    yield ""


def _origin(found: Inspected) -> str:
    fetched = found.fetched
    cached = ", from the local cache" if fetched.from_cache else ""
    return f"{fetched.location} at {fetched.revision[:12]}{cached}; raters: {fetched.rater}"


def _blocks(found: Inspected) -> Iterator[RenderableType]:
    summary, told = found.summary, found.entry
    if told is not None:
        yield block("What it is", about(told))
    yield block("\nWhat is in it", _sizes(summary))
    yield block("\nLabels", _labels(found))
    for name, counts in summary.counts.items():
        if len(counts) > 1:
            unit = "responses" if name == "source" else "comparisons"
            yield block(f"\n{name.capitalize()} ({len(counts):,} of them; {unit})", _top(counts))
    yield block("\nLeft out", _left_out(summary))
    for i, example in enumerate(summary.examples, 1):
        yield block(f"\nExample {i}", _example(example))


def _sizes(summary: Summary) -> Iterator[tuple[str, str]]:
    yield "rows read", f"{summary.rows:,}"
    yield "prompts", f"{summary.prompts:,}"
    if summary.several_turns or summary.system:
        yield "", f"{summary.several_turns:,} of several messages, {summary.system:,} with a system message"
    yield "responses", f"{summary.responses:,}"
    few = summary.responses_a_prompt if len(summary.responses_a_prompt) <= SHOWN else {}
    if few:
        yield "a prompt", ", ".join(f"{k} ({count(n, 'prompt')})" for k, n in few.items())
    else:
        yield "a prompt", f"{min(summary.responses_a_prompt)} to {max(summary.responses_a_prompt)}"
    yield "comparisons", f"{summary.comparisons:,}"
    for name, counts in summary.counts.items():
        if len(counts) == 1:
            yield name, f"{next(iter(counts))} only"


def _labels(found: Inspected) -> Iterator[tuple[str, str]]:
    summary = found.summary
    counts = {what: summary.preferences.get(what, 0) for what in ("a", "b", "tie")}
    for what in ("a", "b"):
        yield f"{what} preferred", f"{counts[what]:,} ({share(counts[what], summary.comparisons)})"
    yield "ties", f"{counts['tie']:,} ({share(counts['tie'], summary.comparisons)})"
    yield from _arithmetic(found)
    if summary.lengths:
        longer, equal = percent(summary.lengths.longer), percent(summary.lengths.equal)
        yield "longer preferred", f"{longer} % of decided comparisons; equally long: {equal} %"
        words = f"mean {fixed(summary.lengths.mean, 1)}, median {fixed(summary.lengths.median, 1)}"
        yield "preferred − other", f"{words} words"
    if summary.without_strength:
        yield "strength 0", f"{count(summary.without_strength, 'decided comparison')}: a label without a difference"
    if summary.strengths_are_quantiles:
        low, *middle, high = (number(v) for v in summary.strengths.values())
        yield "strength", f"{low} to {high}; quartiles {', '.join(middle)}"
    elif summary.strengths:
        yield "strength", ", ".join(f"{number(v)} ({int(n):,})" for v, n in summary.strengths.items())


def _arithmetic(found: Inspected) -> Iterator[tuple[str, str]]:
    """The decided comparisons and those of equal quality, beside the literature's where it counted the same data."""
    summary, published = found.summary, found.published or (None, None)

    def beside(theirs: int | None) -> str:
        return "" if theirs is None else f"; the literature counts {theirs:,}"

    yield "decided", f"{summary.decided:,}{beside(published[0])}"
    if summary.quality:
        rated = "" if summary.rated == summary.decided else f" of {summary.rated:,} that are rated"
        yield "equal quality", f"{summary.equal_quality:,}{rated} ({', '.join(summary.quality)}){beside(published[1])}"


def _top(counts: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    total = sum(counts.values())
    for name, n in list(counts.items())[:SHOWN]:
        yield name, f"{n:,} ({share(n, total)})"
    if len(counts) > SHOWN:
        yield "…", f"{len(counts) - SHOWN:,} more"


def _left_out(summary: Summary) -> Iterator[tuple[str, str]]:
    for row in summary.excluded:
        yield f"{row['n']:,} × {row['unit']}", row["reason"]
    if not summary.excluded:
        yield "nothing", ""


def _example(example: Example) -> Iterator[tuple[str, str]]:
    for role, content in example.prompt:
        yield role, _cut(content)
    first, second = ("a (tie)", "b (tie)") if example.preference == "tie" else ("preferred", "other")
    yield first, _cut(example.preferred)
    yield second, _cut(example.other)
    if example.strength is not None:
        yield "strength", number(example.strength)


def _cut(text: str) -> str:
    return text if len(text) <= CUT else f"{text[:CUT]} … ({len(text):,} characters)"
