"""The first stage: a dataset → `responses`, `features`, `comparisons`, `exclusions`.

What is read is grouped by prompt, on disk where there is much of it; then every group becomes rows of the tables. So
memory stays bounded, and neither the order of rows nor the size of the groups decides anything.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from analysis import tables
from analysis.errors import CellError
from analysis.exclusions import Tally
from analysis.hub import Origin
from analysis.outputs import Outputs
from analysis.preferences.buckets import Buckets
from analysis.preferences.records import (
    EMPTY_RESPONSE,
    NO_PROMPT,
    Excluded,
    Graded,
    Judgement,
    Unit,
    pairs_within,
)
from analysis.preferences.rows import Shared, comparison_rows, prompt_id
from analysis.preferences.sample import Sample
from analysis.preferences.sources import Source, open_source, origin_of
from analysis.preferences.spec import CatalogueDataset, OwnDataset

Kept = Judgement | Graded
_OBJECT_BYTES = 600


@dataclass(frozen=True)
class Fetched:
    """What a dataset gave: where it came from, its commit or SHA-256, and how much of it there is."""

    dataset: str
    location: str
    revision: str
    from_cache: bool
    rater: str
    n_rows: int
    n_comparisons: int
    n_prompts: int


def fetch(
    spec: CatalogueDataset | OwnDataset,
    study: str,
    seed: int,
    outputs: Outputs,
    work: Path,
    tick: Callable[[int], None] = lambda n: None,
    origin: Origin | None = None,
) -> Fetched:
    """Read a dataset; write its responses and features to the shared tables, its comparisons to the run's folder.

    Parameters
    ----------
    spec
        The dataset, as the study declares it.
    study, seed
        The study's name, and the seed that decides the sample of prompts where there is a limit.
    outputs, work
        The output folder, and the run's folder of unpublished tables.
    tick
        Called with the number of rows read so far.
    origin
        What the dataset's revision stands for, where that is known already.

    Raises
    ------
    CellError
        If the dataset cannot be had, is not as declared, or holds no comparison.
    """
    source = open_source(spec, origin or origin_of(spec), tick)
    tally = Tally(study, spec.key, "preferences")
    sample = Sample(spec.limit, seed)
    n_comparisons = n_prompts = 0
    keys = {"study": study, "dataset": spec.key, "rater": source.rater, "order_known": source.order_known}
    path = work / "comparisons" / f"{spec.key}.parquet"
    with Buckets[Kept](work / "grouped" / spec.key) as buckets:
        _group(source, sample, tally, buckets)
        with Shared(outputs, work) as shared, tables.writer(path, "comparisons") as add:
            for held in buckets:
                judgements = list(_judgements(held, source, sample, tally))
                if judgements:
                    add(tables.to_arrow("comparisons", comparison_rows(judgements, keys, shared)))
                    n_comparisons += len(judgements)
                    n_prompts += len({key for key, _ in judgements})
            if not n_comparisons:
                raise CellError(f"dataset {spec.key!r} holds no comparison: {tally.summary() or 'it is empty'}")
    tables.write(work / "exclusions" / f"preferences-{spec.key}.parquet", "exclusions", tally.rows())
    return Fetched(
        spec.key,
        source.location,
        source.revision,
        source.from_cache,
        source.rater,
        source.rows.n,
        n_comparisons,
        n_prompts,
    )


def _group(source: Source, sample: Sample, tally: Tally, buckets: Buckets[Kept]) -> None:
    """Read everything that may be needed into the buckets; count the rest."""
    key_of = lru_cache(maxsize=1024)(prompt_id)
    for item in source.items:
        kept = _usable(item)
        if isinstance(kept, Excluded):
            tally.add(kept.unit, kept.reason, kept.row, kept.n)
            continue
        key = key_of(kept.prompt)
        if not sample.admits(key):
            tally.add(_unit(kept), sample.reason, kept.row)
            continue
        buckets.add(key, kept, _OBJECT_BYTES + sum(map(len, _texts(kept))))


def _unit(item: Kept) -> Unit:
    return "row" if isinstance(item, Judgement) else "response"


def _usable(item: Kept | Excluded) -> Kept | Excluded:
    """The item, or why it cannot be used, such as lone surrogates in its text, which no file can store."""
    if isinstance(item, Excluded):
        return item
    try:
        for text in _texts(item):
            text.encode()
    except UnicodeEncodeError:
        return Excluded(_unit(item), "the text is not valid Unicode", item.row)
    if isinstance(item, Graded) and not any(m.content.strip() for m in item.prompt):
        return Excluded(_unit(item), NO_PROMPT, item.row)
    if isinstance(item, Graded) and math.isnan(item.outcome):
        return Excluded(_unit(item), "the outcome is not a number", item.row)
    return item


def _texts(item: Kept) -> Iterator[str]:
    """Everything in it that is stored as text."""
    for message in item.prompt:
        yield from message
    for side in (item.a, item.b) if isinstance(item, Judgement) else (item.response,):
        yield side.text
        yield from (text for text in (side.source, *(side.context or ())) if text is not None)
    yield from (text for text in item.context if text is not None)


def _judgements(
    held: Iterable[tuple[str, Kept]], source: Source, sample: Sample, tally: Tally
) -> Iterator[tuple[str, Judgement]]:
    """The judgements of one bucket, with their prompts' ids; graded responses become pairs within their prompt."""
    graded: dict[tuple[str, str | None], list[Graded]] = {}
    for key, item in held:
        if not sample.holds(key):
            tally.add(_unit(item), sample.reason, item.row)
        elif isinstance(item, Judgement):
            yield key, item
        else:
            graded.setdefault((key, item.group), []).append(item)
    for (key, _), responses in graded.items():
        # Counted here, where it is known what is in the sample; one that stands alone is counted as that.
        for response in responses if len(responses) > 1 else ():
            if not response.response.text.strip():
                tally.add("response", EMPTY_RESPONSE, response.row)
        for pair in pairs_within(responses, source.ties, source.strengths):
            if isinstance(pair, Excluded):
                tally.add(pair.unit, pair.reason, pair.row, pair.n)
            else:
                yield key, pair
