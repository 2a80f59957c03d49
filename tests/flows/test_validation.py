"""`typicality validate`: what was planted on a study's own data, and how well it is found again."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.ids import file_sha256
from tests.runs import PAIRS, Finished, run_command, write_study
from tests.tiny import tiny_model

ALPHAS = (0, 0.25, 0.57, 1)
# Few enough to be quick: the share of 95 % intervals that hold is then within 0.05 of 0.95, 99 times in 100.
DRAWS = 120


def validate(run: Finished, *arguments: str, study: str = "made", draws: int = DRAWS) -> Finished:
    """Run `typicality validate` on a run's outputs."""
    outputs = str(run.outputs.root)
    return run_command(run.folder, "validate", study, "--outputs", outputs, "--draws", str(draws), *arguments)


def told(made: Finished) -> list[str]:
    """The sentences for the user, none of which may be a traceback."""
    assert "Traceback" not in made.err
    return [line for line in made.err.splitlines() if line.startswith("typicality: ")]


def files(run: Finished) -> dict[str, tuple[str, int]]:
    """Every file of the outputs, with its content and when it was written."""
    found = (path for path in sorted(run.outputs.root.rglob("*")) if path.is_file())
    return {str(path): (file_sha256(path), path.stat().st_mtime_ns) for path in found}


@pytest.fixture(scope="module")
def validated(finished: Finished) -> Finished:
    return validate(finished, "--json")


@pytest.fixture(scope="module")
def rows(validated: Finished) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(validated.out)
    return found


@pytest.fixture(scope="module")
def uneven(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run of three datasets: one has ties only, one cannot be read, one is well; the sum is the headline."""
    folder = tmp_path_factory.mktemp("uneven")
    ties = PAIRS.replace('name = "pairs"', 'name = "ties"').replace('= "a"', '= "tie"').replace('= "b"', '= "tie"')
    broken = PAIRS.replace('name = "pairs"', 'name = "broken"').replace('"best"', '"winner"')
    fine = PAIRS.replace('name = "pairs"', 'name = "fine"')
    study = write_study(folder, tiny_model(folder / "tiny"), ties + broken + fine, 'specifications = ["rate"]')
    text = re.sub(r"measures = .*", 'measures = ["sum_logprob"]', study.read_text(encoding="utf-8"))
    study.write_text(re.sub(r'name = "/.*/tiny"', r'\g<0>\nlabel = "base [/small]"', text), encoding="utf-8")
    return run_command(folder, "run", str(study), "--outputs", str(folder / "outputs"))


def test_every_alpha_has_its_bias_and_coverage(finished: Finished) -> None:
    made = validate(finished, draws=20)
    assert made.status == 0, made.err
    assert not told(made)
    assert "bias" in made.out.lower()
    assert "coverage" in made.out.lower()
    for dataset in ("pairs", "graded"):
        assert dataset in made.out
    for alpha in ALPHAS:
        for name in ("bt", "rate"):
            # A line of each dataset: α, what was estimated, the truth, the bias with its sign, the coverage.
            line = rf"(?m)^.*(?<![\d.]){alpha} +{name} +\d\.\d+ +[+−-]\d\.\d+.* \d+\.\d%"
            assert len(re.findall(line, made.out)) == 2


def test_what_was_planted_is_found_again(validated: Finished, rows: list[dict[str, Any]]) -> None:
    assert validated.status == 0, validated.err
    expected = {(d, n, a) for d in ("pairs", "graded") for n in ("bt", "rate") for a in ALPHAS}
    assert {(r["dataset"], r["specification"], r["alpha"]) for r in rows} == expected
    assert len(rows) == len(expected)
    for row in rows:
        assert row["measure"] == "mean_logprob"
        assert 0.88 <= row["coverage"] <= 1
        assert abs(row["bias"]) <= 4 * row["noise"]


def test_the_truth_is_alpha_or_the_rate_it_makes(rows: list[dict[str, Any]]) -> None:
    for dataset in ("pairs", "graded"):
        mine = [r for r in rows if r["dataset"] == dataset]
        assert [r["truth"] for r in mine if r["specification"] == "bt"] == list(ALPHAS)
        rates = [r["truth"] for r in mine if r["specification"] == "rate"]
        assert rates[0] == 0.5
        assert rates == sorted(set(rates))
        assert rates[-1] < 1


def test_the_same_command_prints_the_same(finished: Finished, validated: Finished) -> None:
    assert validate(finished, "--json").out == validated.out


def test_a_study_may_be_given_as_its_file(finished: Finished) -> None:
    by_file = validate(finished, study=str(finished.folder / "made.toml"), draws=3)
    assert by_file.status == 0
    assert by_file.out == validate(finished, draws=3).out


def test_nothing_in_the_outputs_changes(finished: Finished) -> None:
    before = files(finished)
    assert validate(finished, draws=3).status == 0
    assert files(finished) == before


def test_nothing_is_cut_off_in_a_terminal_of_80_columns(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = validate(finished, draws=3)
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "80")):
        monkeypatch.setenv(name, value)
    narrow = validate(finished, draws=3)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", narrow.out)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert text.split() == wide.out.split()


def test_progress_is_shown_apart_from_the_results(finished: Finished) -> None:
    made = validate(finished, draws=3)
    assert "validate pairs × tiny …" in made.err
    assert "…" not in made.out


def test_a_cell_without_a_decided_comparison_is_told_and_the_others_are_validated(uneven: Finished) -> None:
    made = validate(uneven, "--json", draws=30)
    assert uneven.status == 1
    assert {row["dataset"] for row in json.loads(made.out)} == {"fine"}
    assert made.status == 1
    (sentence,) = (line for line in told(made) if "ties" in line)
    assert "no comparison is decided" in sentence


def test_a_cell_that_failed_in_the_run_is_told(uneven: Finished) -> None:
    assert len([line for line in told(validate(uneven, draws=3)) if "broken" in line]) == 1


def test_alpha_is_per_nat_a_token_whatever_the_headline(uneven: Finished) -> None:
    rows = json.loads(validate(uneven, "--json", draws=60).out)
    assert {(r["specification"], r["alpha"]) for r in rows} == {(n, a) for n in ("bt", "rate") for a in ALPHAS}
    for row in rows:
        assert row["coverage"] >= 0.8
        assert abs(row["bias"]) <= 4 * row["noise"]


def test_a_label_with_brackets_is_printed_as_it_is(uneven: Finished) -> None:
    assert "base [/small]" in validate(uneven, draws=3).out


@pytest.fixture
def tables_moved_away(finished: Finished) -> Iterator[None]:
    table = finished.outputs.study_table("comparisons", "made")
    away = table.rename(table.with_suffix(".away"))
    yield
    away.rename(table)


def test_a_table_that_is_gone_is_told(finished: Finished, tables_moved_away: None) -> None:
    made = validate(finished, draws=3)
    assert made.status != 0
    assert all("comparisons" in line for line in told(made))
    assert told(made)


def test_a_study_without_a_run_is_told(finished: Finished) -> None:
    made = validate(finished, study="demo")
    assert made.status == 2
    (sentence,) = told(made)
    assert f"{finished.outputs.root} holds no run of study 'demo'" in sentence


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "outputs holds no run of study 'nowhere'"),
        (["demo"], "outputs holds no run of study 'demo'"),
        (["made.toml"], "outputs holds no run of study 'made'"),
        (["bad.toml"], "seeds: is not a key here; did you mean seed?"),
        (["demo", "--outputs", "elsewhere"], "elsewhere holds no run of study 'demo'"),
        (["made.toml", "--dataset", "pear"], "dataset"),
        (["made.toml", "--base-model", "big"], "base-model"),
        (["demo", "--draws", "1"], "1 is not in the range x>=2"),
        (["demo", "--draws", "many"], "'many' is not a valid integer"),
        (["demo", "made"], "unexpected extra argument (made)"),
        ([], "Missing argument 'STUDY'"),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    arguments: list[str], sentence: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, tiny, more="seeds = 3").rename(tmp_path / "bad.toml")
    write_study(tmp_path, tiny)
    made = run_command(tmp_path, "validate", *arguments)
    assert made.status == 2
    assert not made.out
    assert len(told(made)) == 1
    assert sentence in told(made)[0]
    assert not (tmp_path / "outputs").exists()
    assert not (tmp_path / "elsewhere").exists()
