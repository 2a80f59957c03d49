"""What changed between two runs, from made-up runs of which everything is known."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from analysis import tables
from analysis.errors import StudyError
from analysis.outputs import Outputs
from analysis.report.changes import Change, Key, changes, previous_run
from analysis.schemas import TABLES
from flows.comparing import compare_runs
from tests.runs import Finished
from tests.test_tables import filled

FIRST, SECOND = "20260101T000000Z-aaaaaaaa", "20260102T000000Z-bbbbbbbb"
HH = {"name": "hh-rlhf", "limit": 50}
SHP = {"name": "shp"}
SMALL = {"name": "org/small"}
LARGE = {"name": "org/large", "label": "large"}


def dataset(name: str, revision: str = "1" * 40, comparisons: int = 100) -> dict[str, Any]:
    return {
        "dataset": name, "location": f"org/{name}", "revision": revision, "rater": "human",
        "rows": 120, "comparisons": comparisons, "prompts": 60,
    }  # fmt: skip


def base_model(name: str, revision: str = "2" * 40) -> dict[str, Any]:
    return {"base_model": name, "location": name, "revision": revision, "dtype": "float32", "parameters": 1_000}


def estimate(value: float | None, error: float | None = 0.1, **key: Any) -> dict[str, Any]:
    """A row of `estimates`: `bt` of hh-rlhf under the small base model, unless told otherwise."""
    where = {
        "dataset": "hh-rlhf", "base_model": "org/small", "measure": "mean_logprob",
        "specification": "bt", "slice": "all", "term": "typicality", "status": "ok",
    }  # fmt: skip
    return where | {"estimate": value, "std_error": error} | key


def write_run(
    outputs: Outputs,
    run_id: str,
    estimates: list[dict[str, Any]],
    study: str = "made",
    settings: dict[str, Any] | None = None,
    **row: Any,
) -> None:
    """A run as it is published: its row, and what it estimated."""
    day = datetime.strptime(run_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    definition = {"name": study, "base_models": [SMALL], "datasets": [HH]} | (settings or {})
    values = {
        "run_id": run_id, "study": study, "started": day, "state": "completed", "definition": json.dumps(definition),
        "datasets": [dataset("hh-rlhf")], "base_models": [base_model("org/small")], "code_version": "0.1.0 (abc)",
        "packages": [{"name": "torch", "value": "2.9"}], "device": "cpu",
    }  # fmt: skip
    tables.write(outputs.run_row(run_id), "runs", [filled(TABLES["runs"], **(values | row))])
    made = [filled(TABLES["estimates"], study=study, run_id=run_id, **e) for e in estimates]
    tables.write(outputs.root / "runs" / run_id / "_estimates.parquet", "estimates", made)


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    return Outputs(tmp_path / "outputs")


def test_two_equal_runs_differ_in_nothing(outputs: Outputs, capsys: pytest.CaptureFixture[str]) -> None:
    for run_id in (FIRST, SECOND):
        write_run(outputs, run_id, [estimate(0.5), estimate(None, None, term="words", status="constant")])
    found = changes(outputs, FIRST, SECOND)
    assert found.nothing
    assert len(found.estimates) == 2
    assert (found.before.run_id, found.after.run_id) == (FIRST, SECOND)
    compare_runs(FIRST, SECOND, outputs, as_json=False)
    assert "Nothing changed: 2 estimates in both, all the same." in capsys.readouterr().out


def test_bins_are_compared_by_their_place_whatever_their_edges(outputs: Outputs) -> None:
    for run_id, shift in ((FIRST, 0.0), (SECOND, 0.01)):
        terms = [f"|difference| {low + shift:.4g} to {low + 1 + shift:.4g}" for low in range(3)]
        rows = [estimate(0.5 + shift + k / 10, specification="binned", term=term) for k, term in enumerate(terms)]
        write_run(outputs, run_id, rows)
    found = changes(outputs, FIRST, SECOND)
    assert (found.new, found.gone) == ((), ())
    assert sorted((m.key.term, round(m.difference, 9)) for m in found.estimates) == [
        (f"bin of |difference| {k}", 0.01) for k in (1, 2, 3)
    ]


def test_new_removed_and_repulled_sources_are_told(outputs: Outputs) -> None:
    write_run(outputs, FIRST, [], settings={"datasets": [HH, SHP], "base_models": [SMALL]},
              datasets=[dataset("hh-rlhf"), dataset("shp")])  # fmt: skip
    write_run(outputs, SECOND, [], settings={"datasets": [HH], "base_models": [SMALL, LARGE]},
              datasets=[dataset("hh-rlhf", "3" * 40, 90)],
              base_models=[base_model("org/small"), base_model("large")])  # fmt: skip
    found = {(s.kind, s.name): s for s in changes(outputs, FIRST, SECOND).sources}
    assert {key: s.change for key, s in found.items()} == {
        ("dataset", "hh-rlhf"): "re-pulled",
        ("dataset", "shp"): "removed",
        ("base model", "large"): "new",
    }
    assert found["dataset", "hh-rlhf"].facts == (
        Change("revision", "1" * 40, "3" * 40),
        Change("comparisons", 100, 90),
    )
    assert Change("comparisons", 100, None) in found["dataset", "shp"].facts
    assert Change("location", None, "large") in found["base model", "large"].facts


@pytest.mark.parametrize(("before", "after", "change"), [(True, False, "lost"), (False, True, "back")])
def test_a_dataset_that_could_not_be_read_is_neither_new_nor_removed(
    outputs: Outputs, before: bool, after: bool, change: str
) -> None:
    for run_id, read in ((FIRST, before), (SECOND, after)):
        write_run(outputs, run_id, [], datasets=[dataset("hh-rlhf")] if read else [])
    (found,) = changes(outputs, FIRST, SECOND).sources
    assert found.change == change


def test_settings_are_compared_key_by_key(outputs: Outputs) -> None:
    write_run(outputs, FIRST, [], settings={"template": "plain", "specifications": ["rate", "bt"]})
    more = {"template": "dialogue", "seed": 7, "specifications": ["rate", "bt_length"]}
    folder = {"name": "/models/small", "label": "org/small"}
    write_run(outputs, SECOND, [], "other", more | {"datasets": [HH | {"limit": 20}], "base_models": [folder]})
    found = changes(outputs, FIRST, SECOND)
    assert set(map(str, found.settings)) == set(
        map(
            str,
            [
                Change("template", "plain", "dialogue"),
                Change("seed", 0, 7),
                Change("specifications", ["rate", "bt"], ["rate", "bt_length"]),
                Change("datasets.hh-rlhf.limit", 50, 20),
                Change("base_models.org/small.name", "org/small", "/models/small"),
                Change("base_models.org/small.label", None, "org/small"),
            ],
        )
    )
    assert (found.before.study, found.after.study) == ("made", "other")


def test_a_definition_of_another_version_is_compared_as_it_is_recorded(outputs: Outputs) -> None:
    write_run(outputs, FIRST, [], settings={"long_ago": 1})
    write_run(outputs, SECOND, [], settings={"seed": 3})
    assert set(changes(outputs, FIRST, SECOND).settings) == {Change("long_ago", 1, None), Change("seed", None, 3)}


def test_code_and_packages_are_compared(outputs: Outputs) -> None:
    write_run(outputs, FIRST, [])
    write_run(outputs, SECOND, [], code_version="0.2.0", packages=[{"name": "torch", "value": "3.0"}])
    assert changes(outputs, FIRST, SECOND).software == (
        Change("typicality", "0.1.0 (abc)", "0.2.0"),
        Change("torch", "2.9", "3.0"),
    )


def test_moves_are_over_the_larger_error_and_the_largest_is_first(outputs: Outputs) -> None:
    write_run(outputs, FIRST, [
        estimate(0.5, 0.1), estimate(0.5, 0.1, specification="rate"),
        estimate(1.0, 0.1, term="b"), estimate(1.0, 0.1, term="a"), estimate(2.0, None, term="bare"),
        estimate(0.3, 0.1, term="noise"),
    ])  # fmt: skip
    write_run(outputs, SECOND, [
        estimate(0.4, 0.2), estimate(0.9, 0.1, specification="rate"),
        estimate(1.2, 0.1, term="b"), estimate(1.2, 0.1, term="a"), estimate(9.0, None, term="bare"),
        estimate(0.1 + 0.2, 0.1, term="noise"),
    ])  # fmt: skip
    found = changes(outputs, FIRST, SECOND)
    assert [(m.key.specification, m.key.term) for m in found.moved] == [
        ("rate", "typicality"), ("bt", "a"), ("bt", "b"), ("bt", "typicality"), ("bt", "bare"),
    ]  # fmt: skip
    rate, _, _, bt, bare = found.moved
    assert (rate.difference, rate.in_errors) == pytest.approx((0.4, 4))
    assert (bt.difference, bt.std_error, bt.in_errors) == pytest.approx((-0.1, 0.2, -0.5))
    assert (bare.difference, bare.in_errors) == (7, None)
    assert found == changes(outputs, FIRST, SECOND)


def test_the_way_back_is_the_same_with_the_other_sign(outputs: Outputs) -> None:
    write_run(outputs, FIRST, [estimate(0.5, 0.1), estimate(0.1, 0.4, term="words")])
    write_run(outputs, SECOND, [estimate(0.7, 0.3), estimate(0.2, 0.2, term="words")])
    there, back = changes(outputs, FIRST, SECOND), changes(outputs, SECOND, FIRST)
    assert [m.in_errors for m in there.moved] == [-m.in_errors for m in back.moved if m.in_errors is not None]


def test_a_status_that_changed_is_told_both_ways(outputs: Outputs) -> None:
    why = "no comparison is decided"
    write_run(outputs, FIRST, [estimate(0.5), estimate(None, None, specification="rate", status=why)])
    write_run(outputs, SECOND, [estimate(None, None, status=why), estimate(0.6, specification="rate")])
    found = changes(outputs, FIRST, SECOND)
    assert [(m.key.specification, m.status_before, m.status_after) for m in found.turned] == [
        ("rate", why, "ok"),
        ("bt", "ok", why),
    ]
    assert not found.moved
    assert all(m.difference is None for m in found.turned)


def test_new_and_gone_estimates_and_cells(outputs: Outputs) -> None:
    write_run(outputs, FIRST, [estimate(0.5), estimate(0.1, dataset="shp"), estimate(0.1, term="old")])
    write_run(outputs, SECOND, [estimate(0.5), estimate(0.1, base_model="large"), estimate(0.1, term="young")])
    found = changes(outputs, FIRST, SECOND)
    assert found.new_cells == (("hh-rlhf", "large"),)
    assert found.gone_cells == (("shp", "org/small"),)
    assert Key("hh-rlhf", "org/small", "mean_logprob", "all", "bt", "young") in found.new
    assert len(found.new) == len(found.gone) == 2


def test_the_run_before_is_of_the_study_and_not_a_failed_one(outputs: Outputs) -> None:
    days = [f"2026010{day}T000000Z-00000000" for day in range(1, 6)]
    for run_id, study, state in zip(
        days, ("made", "made", "other", "made", "made"), ("completed", "partial", "completed", "failed", "completed"),
        strict=True,
    ):  # fmt: skip
        write_run(outputs, run_id, [], study, state=state)
    assert previous_run(outputs, "made", days[4]) == days[1]
    assert previous_run(outputs, "made", days[1]) == days[0]
    assert previous_run(outputs, "made", days[0]) is None
    with pytest.raises(StudyError, match="holds no run 'gone'"):
        previous_run(outputs, "made", "gone")


def test_estimates_that_are_gone_are_one_sentence(outputs: Outputs) -> None:
    for run_id in (FIRST, SECOND):
        write_run(outputs, run_id, [])
    (outputs.root / "runs" / FIRST / "_estimates.parquet").unlink()
    with pytest.raises(StudyError, match=f"the estimates of run {FIRST} are gone"):
        changes(outputs, FIRST, SECOND)


# The command.


@pytest.fixture
def different(outputs: Outputs) -> Outputs:
    """Two runs of `made` between which much changed, with names that are long or look like markup."""
    long = "an-organisation-of-note/a-base-model-with-a-[long]-name-1234567890b"
    rows = [estimate(i / 7, specification=f"bt_{i}", base_model=m) for i in range(30) for m in ("org/small", long)]
    why = "the dataset does not say which model or person wrote a response"
    more = [estimate(1.0, term="words"), estimate(None, None, term="source", status=why)]
    write_run(outputs, FIRST, [*rows, *more])
    moved = [row | {"estimate": row["estimate"] - 0.01 * i} for i, row in enumerate(rows)]
    more = [estimate(-1.0, term="words"), estimate(0.1, term="source"), estimate(0.2, dataset="shp")]
    write_run(outputs, SECOND, [*moved, *more], settings={"template": "dialogue", "datasets": [HH, SHP]},
              datasets=[dataset("hh-rlhf", "3" * 64), dataset("shp")], state="partial")  # fmt: skip
    return outputs


def test_the_tables_fit_80_columns(
    different: Outputs, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    compare_runs(FIRST, SECOND, different, as_json=False)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    flat = " ".join(text.split())
    assert "dataset hh-rlhf: re-pulled" in flat
    assert re.search(r"revision 1{12} 3{12}", flat)
    assert re.search(r"template plain dialogue", flat)
    assert "made, run 20260102T000000Z-bbbbbbbb, 2026-01-02 00:00:00 UTC (partial)" in flat
    assert "New: 1 estimate cell shp × org/small: 1 estimate" in flat
    assert "39 more: --json prints all" in flat
    assert "−20.00 1.000 −1.000 −2.000 bt words; org/small" in flat  # all are of one dataset: it is not named


def test_json_holds_everything(different: Outputs, capsys: pytest.CaptureFixture[str]) -> None:
    compare_runs(FIRST, SECOND, different, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert len(told["estimates"]) == 62
    assert told["before"]["run_id"] == FIRST
    assert told["new_cells"] == [["shp", "org/small"]]
    assert told["estimates"][0]["key"]["term"] == "words"


@pytest.mark.parametrize("name", [SECOND, "20260102", "made"])
def test_a_run_may_be_named_by_id_beginning_or_study(
    different: Outputs, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    compare_runs("20260101", name, different, as_json=True)
    assert json.loads(capsys.readouterr().out)["after"]["run_id"] == SECOND


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("nowhere", "made", f"holds no run or study 'nowhere'; there are {SECOND} of made, {FIRST} of made"),
        ("", "made", "holds no run or study ''"),
        ("2026", "made", f"'2026' is the beginning of 2 runs: {FIRST}, {SECOND}; give more of the id"),
        (SECOND, "made", f"'{SECOND}' and 'made' are the same run, {SECOND}; there are "),
    ],
)
def test_mistakes_are_one_sentence(different: Outputs, before: str, after: str, sentence: str) -> None:
    with pytest.raises(StudyError) as caught:
        compare_runs(before, after, different, as_json=False)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_runs_says_so(outputs: Outputs) -> None:
    with pytest.raises(StudyError, match="it holds no run at all"):
        compare_runs("a", "b", outputs, as_json=False)


def test_many_runs_are_not_all_listed(outputs: Outputs) -> None:
    for day in range(10, 22):
        write_run(outputs, f"202601{day}T000000Z-00000000", [])
    with pytest.raises(StudyError, match=r"20260121T000000Z-00000000 of made, .* and 4 more"):
        compare_runs("nowhere", "made", outputs, as_json=False)


def test_a_real_run_differs_from_itself_in_nothing(finished: Finished) -> None:
    run_id = finished.table("estimates")["run_id"].iloc[0]
    found = changes(finished.outputs, run_id, run_id)
    assert found.nothing
    assert len(found.estimates) == len(finished.table("estimates"))
