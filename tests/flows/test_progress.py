"""Progress as a terminal and as a log file show it."""

import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from flows import progress

TITLE = "score truthfulqa × HuggingFaceTB/SmolLM2-135M-Instruct"


def shown(monkeypatch: pytest.MonkeyPatch, terminal: bool, width: int = 80) -> list[str]:
    """The lines of a stage that does 60 of 100 at 20 a second."""
    written, clock = io.StringIO(), [0.0]
    console = Console(
        file=written, force_terminal=terminal, width=width, highlight=False, soft_wrap=True, get_time=lambda: clock[0]
    )
    monkeypatch.setattr(progress, "console", console)
    monkeypatch.setattr(progress, "_LINE_EVERY", 0.0)
    with progress.stage(TITLE) as tick:
        for done in range(0, 61, 20):
            tick(done, 100)
            clock[0] = done / 20 * 12
        if tick.bar is not None:
            tick.bar.refresh()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue())
    return [line for line in re.split(r"[\r\n]+", plain) if line.strip()]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_terminal_shows_rate_and_time_left_in_one_line(monkeypatch: pytest.MonkeyPatch, width: int):
    lines = shown(monkeypatch, terminal=True, width=width)
    assert all("score truth" in line and len(line.rstrip()) <= width for line in lines)
    assert re.search(r" 60 % +1\.7/s 0:00:36 0:00:2\d *$", lines[-1])


def test_a_log_file_has_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch):
    first, *later = shown(monkeypatch, terminal=False)
    assert first == f"{TITLE} …"
    told = r", [\d,.e+]+ comparisons a second, about .* left"
    patterns = ["0 %", f"20 %{told}", f"40 %{told}", f"60 %{told}"]
    for line, pattern in zip(later, patterns, strict=True):
        assert re.fullmatch(f"  {TITLE}: {pattern}", line)


def test_the_rate_is_that_of_the_last_half_minute(monkeypatch: pytest.MonkeyPatch):
    """Neither loading a base model nor what has scores already tells how long the rest takes."""
    times = iter([0.0, 60.0, 61.0, 62.0, 92.0])
    monkeypatch.setattr("flows.progress.time", SimpleNamespace(monotonic=lambda: next(times)))
    written = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=written, soft_wrap=True))
    monkeypatch.setattr(progress, "_LINE_EVERY", -1.0)
    tick = progress.Ticker("score", _line=next(times))
    for done in (0, 8_000, 8_010, 8_310):
        tick(done, 10_000)
    assert written.getvalue().splitlines()[-1] == "  score: 83 %, 10 comparisons a second, about 2.8 min left"
