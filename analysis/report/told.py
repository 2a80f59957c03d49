"""What changed between two runs, in the words of the report."""

from collections.abc import Iterator
from dataclasses import dataclass

from analysis.report.changes import Change, Changes, Move, Side
from analysis.report.words import count, fixed, listed

COLUMNS = (
    "Dataset",
    "Base model",
    "Measure",
    "Slice",
    "Specification",
    "Before",
    "Now",
    "Moved by",
    "In standard errors",
)
MOST = 20


@dataclass(frozen=True)
class Told:
    """Sentences, and the estimates of typicality that moved most, as lines of a table."""

    before: Side
    lines: tuple[str, ...]
    moves: tuple[tuple[str, ...], ...]
    nothing: bool
    columns: tuple[str, ...] = COLUMNS


def told(found: Changes) -> Told:
    """Put changes in words."""
    moved = [m for m in found.moved if m.key.of_interest]
    return Told(found.before, tuple(_lines(found, moved)), tuple(_move(m) for m in moved[:MOST]), found.nothing)


def _lines(found: Changes, moved: list[Move]) -> Iterator[str]:
    for source in found.sources:
        facts = "; ".join(_fact(f) for f in source.facts) if source.change not in ("new", "removed") else ""
        yield f"{source.kind} {source.name}: {source.change}{': ' if facts else ''}{facts}"
    for change in (*found.settings, *found.software):
        yield _fact(change)
    for move in found.estimates:
        if move.key.of_interest and move.turned:
            where = f"{move.key.dataset} under {move.key.base_model}, {move.key.specification} ({move.key.slice})"
            yield f"{where}: {move.status_before} before, {move.status_after} now"
    both = [(found.new, "new"), (found.gone, "gone")]
    counts = [f"{count(len(keys), 'estimate')} {what}" for keys, what in both if keys]
    if counts:
        yield listed(counts)
    if len(moved) > MOST:
        yield f"{len(moved):,} estimates of typicality moved; those that moved most are below"


def _fact(change: Change) -> str:
    before, after = change.before, change.after
    if isinstance(before, list) and isinstance(after, list) and all(isinstance(x, str) for x in (*before, *after)):
        changed = [f"{what} {listed(names)}" for what, names in _sides(before, after) if names]
        return f"{change.name}: {'; '.join(changed) or 'in another order'}"
    return f"{change.name}: {_shown(before)} → {_shown(after)}"


def _sides(before: list[str], after: list[str]) -> Iterator[tuple[str, list[str]]]:
    """What a list of names has gained and lost."""
    yield "added", [name for name in after if name not in before]
    yield "removed", [name for name in before if name not in after]


def _shown(value: object) -> str:
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _move(move: Move) -> tuple[str, ...]:
    key = move.key
    return (
        *(key.dataset, key.base_model, key.measure, key.slice, key.specification),
        *(fixed(value, 4) for value in (move.before, move.after, move.difference)),
        fixed(move.in_errors),
    )
