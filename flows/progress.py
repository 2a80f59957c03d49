"""Progress: a live bar in a terminal, plain lines elsewhere, and a progress artifact in Prefect."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from analysis.report.words import seconds

console = Console(stderr=True, highlight=False, soft_wrap=True)
_LINE_EVERY = 10.0
_ARTIFACT_EVERY = 5.0
_RATE_OVER = 30.0


@dataclass
class Ticker:
    """Progress of one stage, towards a total where it is known."""

    title: str
    unit: str = "comparisons"
    bar: Progress | None = None
    task: TaskID | None = None
    artifact: UUID | None = None
    _marks: deque[tuple[float, int]] = field(default_factory=deque)
    _line: float = field(default_factory=time.monotonic)
    _sent: float = 0.0

    def __call__(self, done: int, total: int | None = None) -> None:
        """Show that `done` (of `total`) units are done."""
        now = time.monotonic()
        self._mark(now, done)
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=done, total=total)
        elif now - self._line > _LINE_EVERY:
            self._line = now
            console.print(f"  {self.title}: {self._told(now, done, total)}", markup=False)
        if self.artifact is not None and total and (now - self._sent > _ARTIFACT_EVERY or done >= total):
            self._sent = now
            _send(self.artifact, 100 * done / total, f"{self.title}: {self._told(now, done, total)}")

    def _mark(self, now: float, done: int) -> None:
        """Note how far it was when, about once a second."""
        if not self._marks or now - self._marks[-1][0] >= 1:
            self._marks.append((now, done))
        while len(self._marks) > 1 and now - self._marks[1][0] >= _RATE_OVER:
            self._marks.popleft()

    def _told(self, now: float, done: int, total: int | None) -> str:
        """How far it is, how fast it went lately, and how long it may take yet.

        Lately: loading a base model is slow, and what has scores already is quick.
        """
        since, before = self._marks[0]
        rate = (done - before) / (now - since) if now > since else 0.0
        far = f"{100 * done / total:.0f} %" if total else f"{done:,} {self.unit}"
        if rate <= 0:
            return far
        left = (total - done) / rate if total else 0.0
        return f"{far}, {_short(rate)} {self.unit} a second" + (f", about {seconds(left)} left" if left > 0 else "")

    def finish(self) -> None:
        """Show that the stage is done, whatever there was to do."""
        if self.artifact is not None:
            _send(self.artifact, 100.0, f"{self.title}: done")


def _short(rate: float) -> str:
    """A rate in few digits."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


class _Title(ProgressColumn):
    """What is being done; it gives way where the terminal is narrow, so that all stays one line."""

    def render(self, task: Task) -> Text:
        """As text."""
        return Text(task.description, no_wrap=True, overflow="ellipsis")


class _Rate(ProgressColumn):
    """How many units a second."""

    def render(self, task: Task) -> Text:
        """As text."""
        speed = task.speed or task.finished_speed
        return Text(f"{_short(speed)}/s" if speed else "", style="dim")


@contextmanager
def stage(
    title: str, artifact_key: str | None = None, plain: bool = True, unit: str = "comparisons"
) -> Iterator[Ticker]:
    """Show one stage while it runs.

    Parameters
    ----------
    title
        What is being done.
    artifact_key
        Key of a Prefect progress artifact to keep up to date; none where it is None.
    plain
        Whether to say so where there is no terminal.
    unit
        What is counted, in the plural.
    """
    artifact = _open(artifact_key, title) if artifact_key else None
    if not console.is_terminal:
        if plain:
            console.print(f"{title} …", markup=False)
        yield Ticker(title, unit, artifact=artifact)
        return
    columns = (
        SpinnerColumn(),
        _Title(),
        BarColumn(bar_width=16),
        TextColumn("{task.percentage:>3.0f} %"),
        *(column(table_column=Column(no_wrap=True)) for column in (_Rate, TimeElapsedColumn, TimeRemainingColumn)),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield Ticker(title, unit, bar, bar.add_task(title, total=None), artifact)


def done(title: str, detail: str, seconds: float, failed: bool = False) -> None:
    """Say how a stage ended."""
    mark = "✗" if failed else "✓"
    style = "red" if failed else "green"
    console.print(f"[{style}]{mark}[/] ", end="")
    console.print(f"{title}: {detail} ({seconds:.1f} s)", markup=False)


def _open(key: str, title: str) -> UUID | None:
    from prefect.artifacts import create_progress_artifact
    from prefect.exceptions import PrefectException

    # Progress in Prefect is a convenience: a server that does not answer must not stop the work.
    with suppress(PrefectException, OSError, RuntimeError):
        made = create_progress_artifact(0.0, key=key, description=title)
        return made if isinstance(made, UUID) else None
    return None


def _send(artifact: UUID, percent: float, description: str) -> None:
    import httpx
    from prefect.artifacts import update_progress_artifact
    from prefect.exceptions import PrefectException

    with suppress(PrefectException, OSError, RuntimeError, httpx.HTTPError):
        update_progress_artifact(artifact, min(percent, 100.0), description)
