"""`typicality diversity`: how diverse a file's generations are, and how much its groups differ."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from analysis.collapse.diversity.encoders import TFIDF
from analysis.collapse.diversity.estimates import Row, rows
from analysis.collapse.diversity.generations import Generations, read
from analysis.collapse.diversity.metrics import ENTROPY, METRICS, Measurer
from analysis.collapse.diversity.sets import MOST_GENERATIONS, SCOPES, TOGETHER
from analysis.errors import StudyError
from analysis.ids import content_id, file_sha256
from analysis.outputs import Outputs
from analysis.report.words import count, fixed, interval, is_number, listed
from flows import progress
from flows.keeping import write
from flows.listing import block, emit

_SCOPES = {
    "per_input": "Per input: the generations of one prompt, mean over prompts",
    "across_input": f"Across input: one generation of each of {TOGETHER} prompts, mean over such sets",
}
# So many columns fit a terminal of 80 characters.
BESIDE = 2
MOST_DIFFERENCES = 3
_SIGNS = {1: "↑", -1: "↓", 0: ""}


def measure_file(
    path: Path, columns: Mapping[str, str | None], encoder: str, seed: int, outputs: Outputs, as_json: bool
) -> None:
    """Measure a file's generations, write the table `diversity`, and print it.

    Raises
    ------
    StudyError
        If the file or a column does not exist, or the file holds no usable generation.
    """
    found = read(path, columns)
    if not found.texts:
        told = listed([f"{g.name}: {g.n_empty:,} empty, {g.n_failed:,} failed" for g in found.groups])
        raise StudyError(f"{path} holds no usable generation ({told})")
    with progress.stage(f"diversity of {path.name}", unit="parts") as tick:
        groups = len(found.groups)
        total = len(SCOPES) * groups * (groups + 1) // 2
        done = iter(range(1, total + 1))
        entropies = {"": found.entropies}
        measurer = Measurer.of(found.texts, encoder, entropies)
        made = rows(found.groups, measurer, seed, lambda: tick(next(done), total))
        tick.finish()
    keys = {"file": path.name, "file_sha256": file_sha256(path)}
    made = [{**keys, **row} for row in made]
    table = _write(made, path, found, encoder, outputs)
    if as_json:
        click.echo(json.dumps(made, indent=2, ensure_ascii=False))
    else:
        _show(made, path, found, table)


def _write(made: Sequence[Row], path: Path, found: Generations, encoder: str, outputs: Outputs) -> Path:
    """Write the rows to a file of their own, which the same question about the same file replaces."""
    question = content_id(str(path.resolve()), encoder, json.dumps(dict(found.columns), sort_keys=True))
    # A study's name holds no dot, so that its file is never this one; what begins with one, or with _, is not read.
    name = path.stem.lstrip("._") or "file"
    target = outputs.root / "diversity" / f"{name}.{question[:12]}.parquet"
    write(outputs, {target: ("diversity", made)}, "typicality diversity")
    return target


def _show(made: Sequence[Row], path: Path, found: Generations, table: Path) -> None:
    console = Console(highlight=False)
    emit(console, block(f"Diversity of {path}", _about(found)), "")
    for scope in SCOPES:
        mine = [row for row in made if row["scope"] == scope]
        alone = [row for row in mine if row["other_group"] is None]
        emit(console, f"[bold]{_SCOPES[scope]}[/]", *_parts(alone, [r for r in mine if r["other_group"] is not None]))
    emit(console, *_notes(made, found), f"Table: {table.absolute()}")


def _about(found: Generations) -> Iterator[tuple[str, str]]:
    yield "columns", ", ".join(f"{role}: {name}" for role, name in found.columns.items())
    for group in found.groups:
        left = [(group.n_empty, "empty"), (group.n_failed, "failed")]
        told = "".join(f"; {n:,} {what}" for n, what in left if n)
        single = f"; {count(group.n_single, 'prompt')} with a single one" if group.n_single else ""
        yield (
            group.name,
            f"{count(group.n_generations, 'generation')} of {count(len(group.texts), 'prompt')}{single}{told}",
        )


def _parts(alone: Sequence[Row], between: Sequence[Row]) -> Iterator[RenderableType]:
    """Tables of the groups, and of their differences; a sentence in place of what has no number."""
    for part in (alone, between):
        numbers = [row for row in part if is_number(row["estimate"])]
        names = list(dict.fromkeys(_heading(row) for row in numbers))
        if part is between and len(names) > MOST_DIFFERENCES:
            yield from (f"The differences between {len(names)} pairs of groups are in the table.", "")
        elif names:
            for k in range(0, len(names), BESIDE):
                yield from (_table(numbers, names[k : k + BESIDE]), "")
        elif part:
            yield from (_sentence(part[0]["status"]), "")


def _table(part: Sequence[Row], names: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Metric", no_wrap=True)
    for name in names:
        table.add_column(escape(name), justify="right")
    for metric in METRICS:
        cells = {_heading(row): _cell(row) for row in part if row["metric"] == metric}
        if cells:
            title = f"{METRICS[metric].title} {_SIGNS[METRICS[metric].diverse]}".strip()
            table.add_row(title, *(cells.get(name, "–") for name in names))
    return table


def _heading(row: Row) -> str:
    return row["group"] if row["other_group"] is None else f"{row['group']} − {row['other_group']}"


def _cell(row: Row) -> str:
    told = fixed(row["estimate"], 3)
    return f"{told} ({interval(row['conf_low'], row['conf_high'], 3)})" if is_number(row["conf_low"]) else told


def _notes(made: Sequence[Row], found: Generations) -> Iterator[str]:
    yield "↑: higher is more diverse; ↓: lower is. In brackets 95 % intervals (bootstrap-t over prompts)."
    encoder = next((row["encoder"] for row in made if row["encoder"]), TFIDF)
    yield f"Embeddings: {encoder}. Nearly every metric depends on length: compare it with the row Length."
    if any(row["paired"] for row in made if row["other_group"] is not None):
        yield "Differences are on the prompts of both groups, as many generations of one as of the other."
    reasons = {row["status"] for row in made if is_number(row["estimate"]) and row["status"] != "ok"}
    yield from map(_sentence, sorted(reasons))
    if max(len(texts) for group in found.groups for texts in group.texts.values()) > MOST_GENERATIONS:
        yield f"Of prompts with more than {MOST_GENERATIONS:,} generations the first {MOST_GENERATIONS:,} are measured."
    if all(row["estimate"] is None for row in made if row["metric"] == ENTROPY):
        yield "Entropy: none, because the file has no column of it (mean next-token entropy in nats: --entropy COLUMN)."


def _sentence(reason: str) -> str:
    return f"{reason[0].upper()}{reason[1:]}."
