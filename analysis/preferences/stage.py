"""The first stage: a dataset → `responses`, `features`, `comparisons`, `exclusions`."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow.dataset as ds

from analysis import hub, tables
from analysis.errors import CellError, one_line
from analysis.exclusions import Tally
from analysis.ids import content_id, file_sha256
from analysis.outputs import Outputs
from analysis.preferences import own
from analysis.preferences.catalogue import check_columns, entry
from analysis.preferences.features import VERSION, features
from analysis.preferences.files import rows_of, with_columns
from analysis.preferences.records import Excluded, Judgement, Prompt, Response
from analysis.preferences.spec import CatalogueDataset, OwnDataset

Row = Mapping[str, Any]
Unit = Literal["row", "comparison"]
Items = Iterator[Judgement | Excluded]


@dataclass(frozen=True)
class Fetched:
    """What a dataset gave: where it came from, its commit or SHA-256, and how much of it there is."""

    dataset: str
    location: str
    revision: str
    rater: str
    n_rows: int
    n_comparisons: int
    n_prompts: int


class _Counted:
    """Rows, with a count of how many went by."""

    def __init__(self, rows: Iterable[Row], tick: Callable[[int], None]) -> None:
        self.rows, self.n, self.tick = rows, 0, tick

    def __iter__(self) -> Iterator[Row]:
        for row in self.rows:
            self.n += 1
            if self.n % 1000 == 0:
                self.tick(self.n)
            yield row
        self.tick(self.n)


@dataclass(frozen=True)
class _Source:
    location: str
    revision: str
    rater: str
    rows: _Counted
    items: Items


def fetch(
    spec: CatalogueDataset | OwnDataset,
    study: str,
    seed: int,
    outputs: Outputs,
    work: Path,
    tick: Callable[[int], None] = lambda n: None,
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

    Raises
    ------
    CellError
        If the dataset cannot be had, is not as declared, or holds no comparison.
    """
    source = _open_own(spec, tick) if isinstance(spec, OwnDataset) else _open_catalogue(spec, tick)
    tally = Tally(study, spec.key, "preferences")
    unit: Unit = "row" if not isinstance(spec, OwnDataset) or spec.shape == "pairs" else "comparison"
    judgements: list[Judgement] = []
    for item in source.items:
        kept = _storable(item, unit)
        if isinstance(kept, Excluded):
            tally.add(kept.unit, kept.reason, kept.row, kept.n)
        else:
            judgements.append(kept)
    if spec.limit is not None:
        judgements = _sample(judgements, spec.limit, seed, unit, tally)
    if not judgements:
        raise CellError(f"dataset {spec.key!r} holds no comparison: {tally.summary() or 'it is empty'}")
    _write(judgements, spec, source.rater, study, outputs, work)
    tables.write(work / "exclusions" / f"preferences-{spec.key}.parquet", "exclusions", tally.rows())
    prompts = {j.prompt for j in judgements}
    return Fetched(
        spec.key, source.location, source.revision, source.rater, source.rows.n, len(judgements), len(prompts)
    )


def _open_own(spec: OwnDataset, tick: Callable[[int], None]) -> _Source:
    if spec.path is not None:
        path = Path(spec.path)
        where, location = f"dataset {spec.key!r} ({path.name})", path.name
        try:
            raw, revision = rows_of(path), file_sha256(path)
        except OSError as error:
            raise CellError(f"cannot read {path}: {one_line(error)}") from error
    else:
        name = str(spec.hub)
        where, location = f"dataset {spec.key!r} ({name})", name
        revision = hub.resolve("dataset", name, spec.revision)
        raw = iter(hub.load_split(name, revision, spec.load_split, spec.config, spec.data_dir))
    rows = _Counted(with_columns(raw, own.columns(spec), where), tick)
    return _Source(location, revision, spec.rater, rows, own.read(rows, spec))


def _open_catalogue(spec: CatalogueDataset, tick: Callable[[int], None]) -> _Source:
    found = entry(spec.name)
    commit = hub.resolve("dataset", found.hub, spec.revision)
    split = spec.split or found.default_split
    files = [pattern.format(part=spec.part, split=split) for pattern in found.files]
    data = hub.load_files(found.hub, commit, files)
    check_columns(found.columns, data.features, f"dataset {spec.key!r} ({found.hub})")
    rows = _Counted(data.select_columns(list(found.columns)), tick)
    return _Source(found.hub, commit, found.rater, rows, found.read(rows, split))


def _storable(item: Judgement | Excluded, unit: Unit) -> Judgement | Excluded:
    """The item, or its exclusion where its text holds lone surrogates, which no file can store."""
    if isinstance(item, Judgement):
        try:
            for text in _texts(item):
                text.encode()
        except UnicodeEncodeError:
            return Excluded(unit, "the text is not valid Unicode", item.row)
    return item


def _texts(item: Judgement) -> Iterator[str]:
    """Everything in a judgement that is stored as text."""
    for message in item.prompt:
        yield from message
    for side in (item.a, item.b):
        yield side.text
        told = (side.source, *(side.context or ()))
        yield from (text for text in told if text is not None)
    yield from (text for text in item.context if text is not None)


def _sample(judgements: list[Judgement], limit: int, seed: int, unit: str, tally: Tally) -> list[Judgement]:
    """Only the judgements of `limit` prompts, chosen by hash: the same ones on every machine and in every order."""
    prompts = {j.prompt: content_id(str(seed), prompt_id(j.prompt)) for j in judgements}
    kept = set(sorted(prompts, key=prompts.__getitem__)[:limit])
    out = []
    for judgement in judgements:
        if judgement.prompt in kept:
            out.append(judgement)
        else:
            tally.add(unit, f"outside the sample of {limit:,} prompts", judgement.row)
    return out


def prompt_id(prompt: Prompt) -> str:
    """Hash of a prompt's messages."""
    return content_id(*(part for message in prompt for part in message))


def _response_row(prompt: Prompt, key: str, response: Response, judgement: Judgement) -> dict[str, Any]:
    context = response.context or judgement.context
    told = (response.source, context.split, context.language, context.domain)
    ratings = [f"{name}={value!r}" for name, value in response.ratings]
    text_id = content_id(key, response.text)
    return {
        "response_id": content_id(text_id, *("" if t is None else f"={t}" for t in told), *ratings),
        "text_id": text_id,
        "prompt_id": key,
        "prompt": [m._asdict() for m in prompt],
        "response": response.text,
        "source": response.source,
        "split": context.split,
        "ratings": [{"name": n, "value": v} for n, v in response.ratings],
        "language": context.language,
        "domain": context.domain,
    }


def _write(
    judgements: list[Judgement],
    spec: CatalogueDataset | OwnDataset,
    rater: str,
    study: str,
    outputs: Outputs,
    work: Path,
) -> None:
    order_known = isinstance(spec, OwnDataset) and spec.order_known
    keys: dict[Prompt, str] = {}
    responses: dict[str, dict[str, Any]] = {}
    comparisons = []
    for judgement in judgements:
        if judgement.prompt not in keys:
            keys[judgement.prompt] = prompt_id(judgement.prompt)
        key = keys[judgement.prompt]
        sides = [_response_row(judgement.prompt, key, r, judgement) for r in (judgement.a, judgement.b)]
        for side in sides:
            responses.setdefault(side["response_id"], side)
        comparisons.append(
            {
                "study": study,
                "dataset": spec.key,
                "prompt_id": key,
                "response_a": sides[0]["response_id"],
                "response_b": sides[1]["response_id"],
                "preference": judgement.preference,
                "strength": judgement.strength,
                "rater": rater,
                "annotator": judgement.context.annotator,
                "order_known": order_known,
                "split": judgement.context.split,
                "language": judgement.context.language,
                "domain": judgement.context.domain,
                "source_a": judgement.a.source,
                "source_b": judgement.b.source,
                "quality": [{"name": n, "a": a, "b": b} for n, a, b in judgement.quality],
            }
        )
    _identify(comparisons)
    _add_missing("responses", outputs, responses)
    _add_missing("features", outputs, {k: {"response_id": k, **features(r["response"])} for k, r in responses.items()})
    tables.write(work / "comparisons" / f"{spec.key}.parquet", "comparisons", comparisons)


def _identify(comparisons: list[dict[str, Any]]) -> None:
    """Give every comparison its id, and sort by it.

    The id hashes the prompt, both responses in the order of their ids, the annotator, and a number that tells repeated
    judgements apart; repeats are numbered in the order of what they say, so the order of rows decides nothing.
    """
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in comparisons:
        pair = sorted((row["response_a"], row["response_b"]))
        groups[(row["prompt_id"], *pair, row["annotator"] or "")].append(row)
    for key, rows in groups.items():
        for number, row in enumerate(sorted(rows, key=lambda r: _said(r, key[1]))):
            row["comparison_id"] = content_id(*key, str(number))
    comparisons.sort(key=lambda row: str(row["comparison_id"]))


def _said(row: dict[str, Any], first: str) -> tuple[str, float, bool]:
    swapped = {"a": "b", "b": "a", "tie": "tie"}
    preference = row["preference"] if row["response_a"] == first else swapped[row["preference"]]
    return preference, -1.0 if row["strength"] is None else row["strength"], row["response_a"] == first


def _add_missing(name: str, outputs: Outputs, rows: dict[str, dict[str, Any]]) -> None:
    """Add to a shared table the rows that it does not hold yet (for features, in this version of the counting)."""
    current = ds.field("features_version") == VERSION if name == "features" else None
    stored = tables.scan(name, tables.files(name, outputs.root), ["response_id"], current)
    known = set(stored.column("response_id").to_pylist())
    fresh = sorted(rows.keys() - known)
    if fresh:
        tables.write(outputs.root / name / f"{content_id(*fresh)}.parquet", name, [rows[key] for key in fresh])
