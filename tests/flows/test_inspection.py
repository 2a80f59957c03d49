"""`typicality inspect` and `typicality datasets`: what a person sees before anything is scored."""

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from analysis.preferences.catalogue import entries
from tests.hub_stand_in import environment, hub_stand_in
from tests.preferences.fixtures import fixtures, write
from tests.runs import HOSTILE, run_command, write_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    (folder / "model").mkdir()
    return write_study(folder, folder / "model")


def test_all_datasets_of_a_study_are_shown(study: Path) -> None:
    done = run_command(study.parent, "inspect", str(study))
    assert done.status == 0, done.err
    assert "pairs.jsonl" in done.out
    assert "graded.jsonl" in done.out
    assert "a response is empty" in done.out
    assert "equal quality" in done.out


def test_text_of_the_data_is_shown_as_it_is(study: Path) -> None:
    """Markup of the terminal library in a dataset's text must neither be obeyed nor break the listing."""
    rows = [{"question": "[bold]q[/bold] [/x]", "first": "[red]a", "second": "b[/]", "best": "1"}]
    path = study.parent / "pairs.jsonl"
    before = path.read_text(encoding="utf-8")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    try:
        done = run_command(study.parent, "inspect", str(study), "--dataset", "pairs")
    finally:
        path.write_text(before, encoding="utf-8")
    assert done.status == 0, done.err
    for text in ("[bold]q[/bold] [/x]", "[red]a", "b[/]"):
        assert text in done.out


def test_json_is_for_programs(study: Path) -> None:
    done = run_command(study.parent, "inspect", str(study), "--dataset", "pairs", "--json")
    (found,) = json.loads(done.out)
    assert found["dataset"]["n_rows"] == found["summary"]["rows"] == 80
    left_out = sum(row["n"] for row in found["summary"]["excluded"] if row["unit"] == "row")
    assert found["summary"]["comparisons"] + left_out == 80
    assert any(HOSTILE in row["reason"] for row in found["summary"]["excluded"])


def test_a_limit_and_a_failure(study: Path) -> None:
    limited = run_command(study.parent, "inspect", str(study), "--dataset", "graded", "--limit", "3", "--json")
    assert json.loads(limited.out)[0]["summary"]["prompts"] <= 3
    text = study.read_text(encoding="utf-8").replace('response = "answer"', 'response = "reply"')
    broken = study.with_name("broken.toml")
    broken.write_text(text, encoding="utf-8")
    done = run_command(study.parent, "inspect", str(broken))
    assert done.status == 1
    assert "pairs.jsonl" in done.out
    assert "has no column 'reply'" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("inspect", "helpster"), "did you mean helpsteer"),
        (("inspect", "helpsteer", "--outcome", "charm"), "there is no outcome 'charm'; it has helpfulness"),
        (("inspect", "hh-rlhf", "--ties", "keep"), "ties is for ratings and ranks"),
        (("inspect", "hh-rlhf", "--limit", "0"), "--limit is 0"),
        (("inspect", "hh-rlhf", "--dataset", "x"), "leave it out"),
        (("inspect", "demo", "--part", "x"), "--part is for datasets of the catalogue"),
        (("inspect", "demo", "--dataset", "x"), "has no dataset 'x'"),
        (("datasets", "helpster"), "did you mean helpsteer"),
    ],
)
def test_a_mistake_is_one_sentence_and_starts_nothing(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run_command(tmp_path, *arguments)
    assert (done.status, done.out) == (2, "")
    assert said in done.err
    assert done.err.count("\n") == 1


def test_the_catalogue_is_listed_whole(tmp_path: Path) -> None:
    done = run_command(tmp_path, "datasets")
    assert [line.split()[:2] for line in done.out.splitlines()[1:]] == [[e.name, e.hub] for e in entries().values()]


@pytest.mark.parametrize(("columns", "shown"), [(40, 1), (80, 2), (350, 7)])
def test_a_terminal_gets_the_columns_it_has_room_for(tmp_path: Path, columns: int, shown: int) -> None:
    """Every name is whole, whatever the width."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    code = "from flows.cli import main; main()"
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")} | {"TERM": "xterm"}
    done = subprocess.Popen([sys.executable, "-c", code, "datasets"], stdout=side, cwd=tmp_path, env=environment)
    os.close(side)
    text = b""
    with contextlib.suppress(OSError):  # how Linux says that the other side is closed
        while part := os.read(main, 4096):
            text += part
    os.close(main)
    assert done.wait() == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text.decode()).splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(entries())
    assert len(re.split(r"\s{2,}", lines[0].replace("Hub id", "Hub").strip())) >= shown


def test_the_catalogue_as_json(tmp_path: Path) -> None:
    told = json.loads(run_command(tmp_path, "datasets", "--json").out)
    assert [e["name"] for e in told] == list(entries())
    (one,) = json.loads(run_command(tmp_path, "datasets", "helpsteer", "--json").out)
    assert one["hub"] == entries()["helpsteer"].hub and one["ratings"] == list(entries()["helpsteer"].ratings)


@pytest.mark.parametrize("name", entries())
def test_an_entry_tells_all(tmp_path: Path, name: str) -> None:
    found = entries()[name]
    shown = " ".join(run_command(tmp_path, "datasets", name).out.split())
    for text in (found.hub, found.licence, *found.splits, *found.parts, *found.outcomes, *found.defects):
        assert text in shown


def test_the_literature_s_counts_stand_beside_ours_on_the_same_data_only(tmp_path: Path) -> None:
    write("helpsteer", tmp_path / "hub")
    shown = []
    with hub_stand_in(tmp_path / "hub") as endpoint:
        for more in ((), ("--quality", "coherence")):
            done = subprocess.run(
                [sys.executable, "-c", "from flows.cli import main; main()", "inspect", "helpsteer", *more],
                env=environment(endpoint, tmp_path / "hf"), capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            shown.append(done.stdout)
    assert f"{len(fixtures()['helpsteer'].pairs)}; the literature counts 28,283" in shown[0]
    assert "the literature counts 6,874" in " ".join(shown[0].split())
    assert "literature" not in shown[1]
