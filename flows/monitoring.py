"""`typicality monitor`: generations under a base model against a baseline, request by request and in one verdict."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from analysis.collapse.baseline import Baseline, load
from analysis.collapse.diversity.sets import Group
from analysis.collapse.monitor import COLLAPSED, ENTROPY_DROP, NARROWING, RULES
from analysis.collapse.requests import Requests, requests
from analysis.collapse.watch import Scored, Watched, drawn, score, watch
from analysis.errors import StudyError
from analysis.likelihood.texts import BaseModel
from analysis.outputs import Outputs
from analysis.report.words import count, fixed, percent
from analysis.study import base_model as validated
from flows import progress
from flows.keeping import keep, keys, named
from flows.listing import emit

Row = Mapping[str, Any]
SHOWN = 5
FAIL_ON = {"collapsed": (COLLAPSED,), "narrowing": (COLLAPSED, NARROWING)}


@dataclass(frozen=True)
class Options:
    """What is asked for."""

    base_model: Mapping[str, Any]
    template: str
    columns: Mapping[str, str | None]
    baseline: Path | None
    baseline_group: str | None
    baseline_draws: int | None
    max_tokens: int
    seed: int
    save_baseline: Path | None
    fail_on: str | None
    name: str | None

    def check(self) -> None:
        """Raise StudyError where more than one baseline is asked for."""
        given = {
            "--baseline": self.baseline,
            "--baseline-group": self.baseline_group,
            "--baseline-draws": self.baseline_draws,
        }
        named_ = [option for option, value in given.items() if value is not None]
        if len(named_) > 1:
            raise StudyError(f"{' and '.join(named_)} name {len(named_)} baselines; give one")
        if self.save_baseline is not None and self.baseline is not None:
            raise StudyError("--save-baseline with --baseline would write again what was read; give one of them")
        if self.baseline is not None and not self.baseline.is_file():
            raise StudyError(f"there is no baseline {self.baseline}; make one with --save-baseline")


def monitor(path: Path, asked: Options, outputs: Outputs, as_json: bool) -> bool:
    """Watch the generations of a file, keep the tables, and print the verdicts.

    Returns
    -------
    bool
        Whether no group's verdict is one that `--fail-on` names.

    Raises
    ------
    StudyError
        If the file, a column, the base model or the baseline are not what they must be.
    """
    asked.check()
    name, spec = named(asked.name, path), validated(dict(asked.base_model))
    read = requests(path, asked.columns)
    groups = _groups(read, asked)
    with progress.stage(f"score {path.name} × {spec.key}", unit="tokens") as tick:
        base_model = BaseModel.of(spec, asked.template)
        stored = load(asked.baseline, base_model.constant) if asked.baseline else None
        extra = (
            drawn(read.requests, base_model, asked.baseline_draws, asked.max_tokens, asked.seed)
            if (asked.baseline_draws)
            else []
        )
        scored = score(read.requests, base_model, tick)
        against = stored or _made(read, scored, groups, extra, base_model, asked)
    found = [watch(group, scored, against) for group in groups if group.name != asked.baseline_group]
    told = keys(name, path, base_model)
    made: dict[str, list[Row]] = {
        "monitor": [{"scoring_id": base_model.constant["scoring_id"], **row} for one in found for row in one.rows],
        "signs": [{"baseline": against.made_of if against else None, **row} for one in found for row in one.signs()],
    }
    kept = keep(outputs, made, told)
    if asked.save_baseline is not None:
        (against or Baseline.of(f"{path.name}", base_model.constant, scored.levels())).save(asked.save_baseline)
        progress.console.print(f"baseline: {asked.save_baseline}", markup=False)
    progress.console.print(f"tables: {', '.join(map(str, kept))}", markup=False)
    if as_json:
        click.echo(json.dumps(_as_json(found, against, told), indent=2, ensure_ascii=False))
    else:
        emit(Console(highlight=False), *_shown(found, against, told))
    failing = FAIL_ON[asked.fail_on] if asked.fail_on else ()
    return not any(one.verdict.words in failing for one in found)


def _groups(read: Requests, asked: Options) -> Sequence[Group]:
    """The groups of the file.

    Raises
    ------
    StudyError
        If there is nothing to watch, or the baseline's group is none of them.
    """
    groups = read.generations.groups
    names = [group.name for group in groups]
    if not read.requests:
        raise StudyError("no generation has any text, so there is nothing to watch")
    if asked.baseline_group is not None:
        if asked.baseline_group not in names:
            raise StudyError(f"there is no group {asked.baseline_group!r}; there are {', '.join(names)}")
        if len(names) == 1:
            raise StudyError(f"{names[0]!r} is the only group, so there is none to compare with it")
    elif asked.save_baseline is not None and asked.baseline_draws is None and len(names) > 1:
        raise StudyError(
            f"there are {len(names)} groups ({', '.join(names)}); say which is the baseline with --baseline-group"
        )
    return groups


def _made(
    read: Requests, scored: Scored, groups: Sequence[Group], extra: Sequence[Any], base_model: BaseModel, asked: Options
) -> Baseline | None:
    """The baseline that is made of a group, or of the base model's own samples."""
    if asked.baseline_group is not None:
        (group,) = (g for g in groups if g.name == asked.baseline_group)
        which = sorted(k for indices in group.texts.values() for k in indices)
        return Baseline.of(f"group {group.name}", base_model.constant, scored.levels(which))
    if asked.baseline_draws is not None:
        made_of = f"{base_model.spec.key}'s own samples, {asked.baseline_draws} a prompt of at most {asked.max_tokens}"
        return Baseline.of(f"{made_of} tokens", base_model.constant, score(extra, base_model).levels())
    return None


def _as_json(found: Sequence[Watched], against: Baseline | None, told: Row) -> dict[str, Any]:
    return {
        **told,
        "baseline": against.made_of if against else None,
        "rules": RULES,
        "groups": [
            {
                "group": one.name,
                "verdict": one.verdict.words,
                "signs": [{k: v for k, v in row.items() if k != "group"} for row in one.signs()],
                "n_requests": one.n_requests,
                "n_compared": one.n_compared,
                "n_flagged": one.n_flagged,
                "n_other_prompts": one.n_other_prompts,
                "n_shared_prompts": one.n_shared,
                "n_empty": one.n_empty,
                "n_failed": one.n_failed,
                "n_truncated": one.n_truncated,
                "unscored": one.unscored,
                "requests": list(one.rows),
            }
            for one in found
        ],
    }


def _shown(found: Sequence[Watched], against: Baseline | None, told: Row) -> Iterator[RenderableType]:
    base = f"{against.made_of} ({count(against.generations, 'generation')})" if against else "none"
    yield f"{escape(told['file'])} under {escape(told['base_model'])}; baseline: {escape(base)}"
    for one in found:
        yield ""
        yield f"[bold]{escape(one.name)}: {one.verdict.words}[/] ({RULES[one.verdict.words]})"
        yield _signs(one)
        yield from map(escape, _counts(one))
        if worst := _worst(one):
            yield _requests(worst)


def _signs(one: Watched) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    for sign in one.verdict.signs:
        mark = "?" if sign.there is None else "yes" if sign.there else "no"
        table.add_row(f"  {mark}", sign.name, escape(sign.told))
    return table


def _counts(one: Watched) -> Iterator[str]:
    if one.n_compared:
        below = f"more than {100 * ENTROPY_DROP:.0f} % below their baseline"
        yield f"{one.n_flagged:,} of {count(one.n_compared, 'request')} have an entropy {below}."
    if one.n_other_prompts:
        yield (
            f"{one.n_other_prompts:,} of these are compared with the mean of other prompts: the baseline does not have "
            "theirs."
        )
    if one.n_shared:
        yield f"Entropy and repetition are compared on the {count(one.n_shared, 'prompt')} that both have."
    if one.n_empty or one.n_failed:
        yield f"Left out: {one.n_empty:,} without text, {one.n_failed:,} marked as failed."
    if one.n_truncated:
        yield f"Of {count(one.n_truncated, 'request')} the prompt was cut, from its left, to fit the context window."
    for reason, n in one.unscored.items():
        yield f"{n:,} without an entropy: {reason}."


def _worst(one: Watched) -> Sequence[Row]:
    flagged = [row for row in one.rows if row["flagged"]]
    return sorted(flagged, key=lambda row: (-row["drop"], row["request"]))[:SHOWN]


def _requests(worst: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in (("  Lowest", "left"), ("Entropy", "right"), ("Baseline", "right"), ("Drop, %", "right")):
        table.add_column(title, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in worst:
        numbers = fixed(row["entropy"]), fixed(row["baseline_entropy"]), percent(row["drop"], 0)
        table.add_row(escape(f"  {row['request']}"), *numbers)
    return table
