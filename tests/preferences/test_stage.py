"""The first stage: every row accounted for, and tables that the order of rows does not change.

Real clients pull through a loopback stand-in for the Hub, in processes of their own (see `tests.hub_stand_in`).
"""

import gzip
import itertools
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import tables
from analysis.errors import CellError
from analysis.ids import file_sha256
from analysis.outputs import Outputs
from analysis.preferences.features import features
from analysis.preferences.records import EMPTY, EQUAL, PROMPTS_DIFFER, text_prompt
from analysis.preferences.stage import fetch, prompt_id
from tests.hub_stand_in import Repository, closed_endpoint, hub_stand_in, run_python
from tests.preferences.made import GRADED, PAIRS, RANKED, Got, fetched, fetched_rows, own, turns, write_rows

Rows = list[dict[str, Any]]


def pair(i: int, label: Any = 1, **more: Any) -> dict[str, Any]:
    return {"question": f"Question {i}?", "first": f"Yes, {i}.", "second": f"No, {i}.", "label": label, **more}


def grades(n_prompts: int, n_answers: int = 4) -> Rows:
    return [
        {"question": f"Question {i}?", "answer": f"answer {j}", "rating": (i + j) % n_answers}
        for i in range(n_prompts)
        for j in range(n_answers)
    ]


def shared_bytes(outputs: Outputs) -> dict[str, bytes]:
    return {p.relative_to(outputs.root).as_posix(): p.read_bytes() for p in tables_of(outputs)}


def tables_of(outputs: Outputs) -> list[Path]:
    return [*tables.files("responses", outputs.root), *tables.files("features", outputs.root)]


# What is written.


def test_a_pair_becomes_rows_of_four_tables(tmp_path: Path) -> None:
    rows = [
        pair(0, 2, how=1.5, who="ann", part="train", lang="en", field="law", sa="m", sb="n", ga=1, gb=2),
        pair(1, 3, how=1.5, who="ann", part="train", lang="en", field="law", sa="m", sb="n", ga=1, gb=2),
    ]
    got = fetched_rows(
        rows, PAIRS, tmp_path, strength="how", annotator="who", split="part", language="lang", domain="field",
        source_a="sa", source_b="sb", quality_a=["ga"], quality_b=["gb"], order_known=True, label="mine",
    )  # fmt: skip
    (row,) = got.comparisons.to_dict("records")
    assert list(row["quality"]) == [{"name": "ga", "a": 1.0, "b": 2.0}]
    told = {k: v for k, v in row.items() if not k.endswith("_id") and k not in ("response_a", "response_b", "quality")}
    assert told == {
        "study": "study", "dataset": "mine", "preference": "b", "strength": 1.5, "rater": "human", "annotator": "ann",
        "order_known": True, "split": "train", "language": "en", "domain": "law", "source_a": "m", "source_b": "n",
    }  # fmt: skip
    responses = got.responses.set_index("response_id")
    a, b = responses.loc[row["response_a"]], responses.loc[row["response_b"]]
    assert (a["response"], b["response"]) == ("Yes, 0.", "No, 0.")
    assert (a["source"], b["source"]) == ("m", "n")
    assert list(a["prompt"]) == [{"role": "user", "content": "Question 0?"}]
    assert list(b["ratings"]) == [{"name": "ga", "value": 2.0}]
    assert {a["prompt_id"], b["prompt_id"]} == {row["prompt_id"]} == {prompt_id(text_prompt("Question 0?"))}
    counted = tables.read("features", got.outputs.root).set_index("response_id")
    assert counted.loc[row["response_a"]].to_dict() == features("Yes, 0.")
    done = got.fetched
    assert (done.dataset, done.rater, done.n_rows, done.n_comparisons, done.n_prompts) == ("mine", "human", 2, 1, 1)
    path = tmp_path / "rows.jsonl"
    assert (done.location, done.revision) == ("rows.jsonl", file_sha256(path))
    assert got.exclusions == {("row", "the preference is '3', which the study does not declare"): 1}


def test_nothing_left_out_is_an_empty_table(tmp_path: Path) -> None:
    assert fetched_rows([pair(0)], PAIRS, tmp_path).exclusions == {}


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "question": st.sampled_from(["q", "r", "", None]),
                "first": st.sampled_from(["x", "y", "", None]),
                "second": st.sampled_from(["x", "z", "\ud800"]),
                "label": st.sampled_from([1, 2, 0, 7, None]),
            }
        ),
        max_size=20,
    )
)
def test_every_row_is_a_comparison_or_an_exclusion(tmp_path_factory: pytest.TempPathFactory, rows: Rows) -> None:
    rows = [pair(0), *rows]
    got = fetched_rows(rows, PAIRS, tmp_path_factory.mktemp("rows"))
    assert got.fetched.n_rows == len(rows) == len(got.comparisons) + got.excluded("row")
    assert got.comparisons["comparison_id"].is_unique


def test_ticks_count_the_rows(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.csv", [pair(i) for i in range(2500)])
    seen: list[int] = []
    outputs = Outputs(tmp_path / "o")
    fetch(own(PAIRS, path=str(path)), "s", 0, outputs, outputs.work("run"), seen.append)
    assert seen == [1000, 2000, 2500]


# What cannot be read.


def refusal(spec: Any, root: Path) -> str:
    with pytest.raises(CellError) as caught:
        fetched(spec, root)
    assert "\n" not in str(caught.value)
    assert not (root / "responses").exists()
    return str(caught.value)


def test_a_dataset_without_a_comparison_says_why(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.csv", [pair(0, 9), pair(1, 9), pair(2, "")])
    text = refusal(own(PAIRS, path=str(path)), tmp_path / "o")
    assert text == (
        "dataset 'made' holds no comparison: 2 × row: the preference is '9', which the study does not declare; "
        "1 × row: the preference is missing"
    )


def test_a_missing_column_names_the_dataset_and_lists_those_found(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.csv", [pair(0)])
    text = refusal(own(PAIRS, path=str(path), strength="how"), tmp_path / "o")
    assert text == "dataset 'made' (r.csv) has no column 'how'; it has question, first, second, label"


def test_an_empty_file_holds_no_rows(tmp_path: Path) -> None:
    (tmp_path / "r.csv").touch()
    assert "holds no rows" in refusal(own(PAIRS, path=str(tmp_path / "r.csv")), tmp_path / "o")


def test_a_file_that_vanished_since_the_study_was_checked(tmp_path: Path) -> None:
    assert "gone.csv" in refusal(own(PAIRS, path=str(tmp_path / "gone.csv")), tmp_path / "o")


@pytest.mark.parametrize("column", ["question", "first", "second"])
def test_text_that_no_file_can_store_is_left_out_and_counted(tmp_path: Path, column: str) -> None:
    got = fetched_rows([pair(0), pair(1, **{column: "lone \ud800 surrogate"})], PAIRS, tmp_path)
    assert len(got.comparisons) == 1
    assert got.exclusions == {("row", "the text is not valid Unicode"): 1}


@pytest.mark.parametrize("key", ["source_a", "annotator", "split", "language", "domain"])
def test_a_label_that_no_file_can_store_stops_nothing(tmp_path: Path, key: str) -> None:
    got = fetched_rows([pair(0, told="x"), pair(1, told="\udfff")], PAIRS, tmp_path, **{key: "told"})
    assert got.fetched.n_rows == len(got.comparisons) + got.excluded("row") == 2


def test_a_role_that_no_file_can_store_stops_nothing(tmp_path: Path) -> None:
    odd = [{"role": "\ud800", "content": "q"}]
    got = fetched_rows([pair(0), pair(1, question=odd)], PAIRS, tmp_path)
    assert got.exclusions == {("row", "the text is not valid Unicode"): 1}


def test_unstorable_text_of_graded_data_is_counted_in_comparisons(tmp_path: Path) -> None:
    rows = [*grades(1, 3), {"question": "Question 0?", "answer": "\ud800", "rating": 9}]
    got = fetched_rows(rows, GRADED, tmp_path)
    assert len(got.comparisons) == 3
    assert got.excluded("row") == 0  # a row of graded data is a response, and three pairs are not one row


# Ids, and the order of rows.


def test_exchanging_the_two_sides_changes_no_id(tmp_path: Path) -> None:
    rows = [pair(i, label, sa="m", sb=None, ga=i, gb=2) for i, label in enumerate((1, 2, 0, 1))]
    exchanged = [
        {
            **{"question": r["question"], "first": r["second"], "second": r["first"], "label": (0, 2, 1)[r["label"]]},
            **{"sa": r["sb"], "sb": r["sa"], "ga": r["gb"], "gb": r["ga"]},
        }
        for r in rows
    ]
    more = {"source_a": "sa", "source_b": "sb", "quality_a": ["ga"], "quality_b": ["gb"]}
    before, after = (fetched_rows(r, PAIRS, tmp_path / n, **more) for r, n in ((rows, "1"), (exchanged, "2")))
    assert set(before.comparisons["comparison_id"]) == set(after.comparisons["comparison_id"])
    assert set(before.responses["response_id"]) == set(after.responses["response_id"])
    assert before.preferred() == after.preferred()


def test_repeated_judgements_have_ids_of_their_own(tmp_path: Path) -> None:
    rows = [pair(0, 1), pair(0, 1), pair(0, 2), pair(0, 0), pair(0, 1, first="No, 0.", second="Yes, 0.")]
    got = fetched_rows(rows, PAIRS, tmp_path)
    assert len(got.comparisons) == 5
    assert got.comparisons["comparison_id"].is_unique
    assert len(got.responses) == 2


def test_ids_are_the_same_on_every_machine(tmp_path: Path) -> None:
    """Written down, so that a change of how ids are made cannot go unseen: it makes every stored score useless."""
    got = fetched_rows([pair(0)], PAIRS, tmp_path)
    (row,) = got.comparisons.to_dict("records")
    known = tuple(row[key][:8] for key in ("prompt_id", "comparison_id", "response_a", "response_b"))
    assert known == ("edca5fe2", "8fbeb69f", "23d5a094", "352220a6")


_LABELS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2]), st.booleans()), min_size=2, max_size=12)


def _same(one: Got, other: Got) -> None:
    assert shared_bytes(one.outputs) == shared_bytes(other.outputs)
    pd.testing.assert_frame_equal(one.comparisons, other.comparisons, check_exact=True)
    paths = [g.work / "comparisons" / "made.parquet" for g in (one, other)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert one.exclusions == other.exclusions


@settings(max_examples=30, deadline=None)
@given(told=_LABELS, shuffle=st.randoms(use_true_random=False))
def test_the_order_of_pairs_decides_nothing(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[int, int, bool]], shuffle: random.Random
) -> None:
    """Even where a pair was judged several times, once in either order."""
    rows = []
    for i, label, swapped in told:
        row = pair(i, label, how=label)
        rows.append({**row, "first": row["second"], "second": row["first"]} if swapped else row)
    folder = tmp_path_factory.mktemp("order")
    one = fetched_rows(rows, PAIRS, folder / "1", strength="how")
    shuffle.shuffle(rows)
    _same(one, fetched_rows(rows, PAIRS, folder / "2", strength="how"))


@pytest.mark.parametrize(
    ("shape", "more"),
    [(GRADED, {"ties": "keep"}), ({**RANKED, "rank": "rating"}, {}), (GRADED, {"split": "part", "source": "who"})],
    ids=["graded", "ranked", "graded, splits that differ"],
)
def test_the_order_of_responses_decides_nothing(tmp_path: Path, shape: Mapping[str, Any], more: Any) -> None:
    rows = [{**r, "part": ("train", "test")[i % 2], "who": f"m{i % 3}"} for i, r in enumerate(grades(5))]
    one = fetched_rows(rows, shape, tmp_path / "1", **more)
    random.Random(1).shuffle(rows)
    _same(one, fetched_rows(rows, shape, tmp_path / "2", **more))


def test_a_response_is_one_row_whichever_pairs_it_is_in(tmp_path: Path) -> None:
    rows = [{**r, "part": ("train", "test")[i % 2]} for i, r in enumerate(grades(2))]
    got = fetched_rows(rows, GRADED, tmp_path, split="part")
    assert len(got.responses) == len(rows)
    parts = {
        (m[0]["content"], r): s for m, r, s in got.responses[["prompt", "response", "split"]].itertuples(index=False)
    }
    assert parts == {(r["question"], r["answer"]): r["part"] for r in rows}


def test_a_second_fetch_and_another_study_add_nothing(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.jsonl", [pair(i) for i in range(5)])
    spec, root = own(PAIRS, path=str(path)), tmp_path / "o"
    first = fetched(spec, root)
    before = shared_bytes(first.outputs)
    again = fetched(spec, root, run="again")
    other = fetched(spec.model_copy(update={"name": "other"}), root, study="other", run="third")
    assert shared_bytes(first.outputs) == before
    pd.testing.assert_frame_equal(again.comparisons, first.comparisons)
    assert list(other.comparisons["comparison_id"]) == list(first.comparisons["comparison_id"])
    assert set(other.comparisons["study"]) == set(other.comparisons["dataset"]) == {"other"}


def test_only_what_is_new_is_added(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.jsonl", [pair(i) for i in range(5)])
    spec, root = own(PAIRS, path=str(path)), tmp_path / "o"
    fetched(spec.model_copy(update={"limit": 2}), root)
    got = fetched(spec, root, run="more")
    assert len(got.responses) == 10
    assert got.responses["response_id"].is_unique
    assert set(tables.read("features", root)["response_id"]) == set(got.responses["response_id"])
    assert len(tables.read("features", root)) == 10


def test_a_failed_dataset_leaves_no_comparisons(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.jsonl", [pair(0), pair(1, question=5)])
    refusal(own(PAIRS, path=str(path)), tmp_path / "o")
    assert not (tmp_path / "o" / ".work").exists()


# The limit.


def prompts(got: Got) -> set[str]:
    return set(got.comparisons["prompt_id"])


@pytest.mark.parametrize(("shape", "unit"), [(PAIRS, "row"), (GRADED, "comparison")])
def test_a_limit_keeps_that_many_prompts_and_counts_the_rest(
    tmp_path: Path, shape: Mapping[str, Any], unit: str
) -> None:
    rows = [pair(i // 2, 1 + i % 2) for i in range(20)] if shape is PAIRS else grades(10)
    everything = fetched_rows(rows, shape, tmp_path / "all")
    got = fetched_rows(rows, shape, tmp_path / "some", limit=4)
    assert got.fetched.n_prompts == len(prompts(got)) == 4
    assert prompts(got) < prompts(everything)
    reason = (unit, "outside the sample of 4 prompts")
    assert got.exclusions[reason] == len(everything.comparisons) - len(got.comparisons)
    kept = everything.comparisons[everything.comparisons["prompt_id"].isin(prompts(got))].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, got.comparisons)
    if unit == "row":
        assert got.fetched.n_rows == len(got.comparisons) + got.excluded("row")


@settings(max_examples=15, deadline=None)
@given(shuffle=st.randoms(use_true_random=False), limit=st.integers(1, 12))
def test_the_sample_is_the_same_in_every_order(
    tmp_path_factory: pytest.TempPathFactory, shuffle: random.Random, limit: int
) -> None:
    rows = [pair(i) for i in range(10)]
    folder = tmp_path_factory.mktemp("limit")
    one = fetched_rows(rows, PAIRS, folder / "1", limit=limit)
    shuffle.shuffle(rows)
    other = fetched_rows(rows, PAIRS, folder / "2", limit=limit)
    assert len(prompts(one)) == min(limit, 10)
    _same(one, other)


def test_raising_the_limit_keeps_the_earlier_prompts(tmp_path: Path) -> None:
    rows = [pair(i) for i in range(30)]
    samples = [prompts(fetched_rows(rows, PAIRS, tmp_path / str(n), limit=n)) for n in (1, 5, 6, 29, 100)]
    assert all(smaller < larger for smaller, larger in itertools.pairwise(samples))


def test_the_seed_decides_the_sample(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.jsonl", [pair(i) for i in range(30)])
    spec = own(PAIRS, path=str(path), limit=10)
    samples = {frozenset(prompts(fetched(spec, tmp_path / f"o{seed}", seed=seed))) for seed in range(3)}
    assert len(samples) == 3


# Pulled through the real clients.

FETCH = """
import json, sys
from pathlib import Path
import pandas as pd
from analysis.errors import CellError
from analysis.outputs import Outputs
from analysis.preferences.spec import CatalogueDataset, OwnDataset
from analysis.preferences.stage import fetch

out = []
for i, values in enumerate(json.loads(sys.argv[2])):
    outputs = Outputs(Path(sys.argv[1]) / str(i))
    kind = OwnDataset if "shape" in values else CatalogueDataset
    try:
        done = fetch(kind(**values), "study", 0, outputs, outputs.work("run"))
    except CellError as error:
        out.append({"refused": str(error)})
        continue
    rows = pd.read_parquet(outputs.work("run") / "exclusions")
    texts = pd.read_parquet(outputs.root / "responses").set_index("response_id")["response"]
    made = pd.read_parquet(outputs.work("run") / "comparisons")
    out.append({
        "revision": done.revision, "location": done.location, "rater": done.rater,
        "n_rows": done.n_rows, "n_comparisons": len(made), "n_prompts": done.n_prompts,
        "exclusions": {f"{r.unit}: {r.reason}": r.n for r in rows.itertuples()},
        "pairs": sorted(
            [texts[r.response_a], texts[r.response_b], r.preference, None if pd.isna(r.strength) else r.strength]
            for r in made.itertuples()
        ),
        "splits": sorted(set(made["split"].dropna())),
    })
print(json.dumps(out))
"""

HH = {"name": "hh-rlhf", "part": "harmless-base", "split": "test"}
UF = {"name": "ultrafeedback-binarized", "split": "test_prefs"}
UF_CARD = """---
configs:
- config_name: default
  data_files:
  - split: train_prefs
    path: data/train_prefs-*
  - split: test_prefs
    path: data/test_prefs-*
---
Made up.
"""


def pulled(root: Path, home: Path, specs: Sequence[Mapping[str, Any]], endpoint: str | None = None, **more: str) -> Any:
    arguments = (str(home / f"outputs-{random.randrange(10**9)}"), json.dumps(list(specs)))
    if endpoint is not None:
        return run_python(FETCH, endpoint, home, *arguments, **more)
    with hub_stand_in(root) as served:
        return run_python(FETCH, served, home, *arguments, **more)


def transcript(*contents: str) -> str:
    return "".join(f"\n\n{('Human', 'Assistant')[i % 2]}: {c}" for i, c in enumerate(contents))


HH_ROWS: list[tuple[str, str]] = [
    (transcript("Is it far?", "Not far."), transcript("Is it far?", "Very far.")),
    (transcript("Is it far?", "No."), transcript("Is it far?", "No. It is near.")),  # prefix of the other
    (transcript("Is it far?", "No."), transcript("Is it near?", "Yes.")),  # differing prompts
    (transcript("Is it far?", "No."), transcript("Is it far?", "")),
    (transcript("Is it far?", "No."), transcript("Is it far?", "No.")),
    ("\n\nHuman: Hello\n\nHuman: there?\n\nAssistant: Yes.", "\n\nHuman: Hello\n\nHuman: there?\n\nAssistant: No."),
    ("Human: Is it far?", transcript("Is it far?", "No.")),
    (transcript("Is it far?", "No.", "Sure?"), transcript("Is it far?", "No.", "Sure?")),
]


def write_hh(
    root: Path, rows: Sequence[tuple[Any, Any]] = HH_ROWS, names: tuple[str, str] = ("chosen", "rejected")
) -> Path:
    folder = root / "datasets" / "Anthropic" / "hh-rlhf"
    (folder / "harmless-base").mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
    (folder / "harmless-base" / "test.jsonl.gz").write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
    return folder


def uf_row(
    chosen: list[dict[str, str]], rejected: list[dict[str, str]], high: Any = 8.0, low: Any = 6.5
) -> dict[str, Any]:
    return {
        "prompt": chosen[0]["content"], "prompt_id": "0", "chosen": chosen, "rejected": rejected, "messages": chosen,
        "score_chosen": high, "score_rejected": low,
    }  # fmt: skip


_SYSTEM = [{"role": "system", "content": "Be brief."}]
UF_ROWS: Rows = [
    uf_row(turns("Why?", "Because."), turns("Why?", "No reason.")),
    uf_row(turns("Why?", "Because."), turns("Why?", "Who knows?"), 7.0, 7.0),  # equal scores
    uf_row(_SYSTEM + turns("Why?", "So."), _SYSTEM + turns("Why?", "So it is.")),
    uf_row(turns("Why?", "Because."), turns("How?", "No reason.")),
    uf_row(turns("Why?", "Because."), turns("Why?", "")),
    uf_row(turns("Why?", "Because."), turns("Why?", "Because.")),
    uf_row(turns("Why?", "Because."), turns("Why?", "No reason."), None),
]


def write_uf(root: Path, change: Callable[[pa.Table], pa.Table] = lambda t: t) -> Path:
    folder = root / "datasets" / "HuggingFaceH4" / "ultrafeedback_binarized"
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(UF_CARD, encoding="utf-8")
    table = change(pa.Table.from_pylist(UF_ROWS))
    for split in ("train_prefs", "test_prefs"):
        pq.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


@pytest.fixture(scope="module")
def made_hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both datasets of the catalogue with awkward rows, and one of the user's own with two configurations."""
    root = tmp_path_factory.mktemp("hub")
    write_hh(root)
    write_uf(root)
    mine = root / "datasets" / "someone" / "grades"
    for config in ("one", "two"):
        (mine / config).mkdir(parents=True)
        write_rows(mine / config / "train.csv", grades(2 if config == "one" else 3))
    write_rows(mine / "two" / "test.csv", grades(1))
    configs = [{"config_name": c, "data_dir": c} for c in ("one", "two")]
    (mine / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n", encoding="utf-8")
    gated = root / "datasets" / "someone" / "gated"
    gated.mkdir()
    write_rows(gated / "train.csv", grades(2))
    (gated / ".gated").touch()
    return root


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


OWN = {"name": "mine", "rater": "human", "hub": "someone/grades", **GRADED}


PULLED = [
    HH,
    UF,
    {**UF, "split": "train_prefs"},
    {**OWN, "config": "one"},
    {**OWN, "config": "two", "load_split": "train"},
]


@pytest.fixture(scope="module")
def online(made_hub: Path, home: Path) -> list[Any]:
    return list(pulled(made_hub, home, PULLED))


def test_the_catalogue_and_own_data_are_pulled_and_every_row_accounted_for(made_hub: Path, online: list[Any]) -> None:
    hh, uf, train, one, two = online
    datasets = made_hub / "datasets"
    assert hh["revision"] == Repository(datasets / "Anthropic" / "hh-rlhf").sha
    assert uf["revision"] == Repository(datasets / "HuggingFaceH4" / "ultrafeedback_binarized").sha
    assert one["revision"] == two["revision"] == Repository(datasets / "someone" / "grades").sha
    assert hh["exclusions"] == {
        f"row: {PROMPTS_DIFFER}": 1,
        f"row: {EMPTY}": 1,
        f"row: {EQUAL}": 1,
        "row: a transcript does not begin with Human or Assistant": 1,
        "row: a conversation does not end with the assistant": 1,
    }
    assert hh["pairs"] == [
        ["No.", "No. It is near.", "a", None],
        ["Not far.", "Very far.", "a", None],
        ["Yes.", "No.", "a", None],
    ]
    assert uf["exclusions"] == {
        f"row: {PROMPTS_DIFFER}": 1,
        f"row: {EMPTY}": 1,
        f"row: {EQUAL}": 1,
        "row: a score is missing": 1,
    }
    assert uf["pairs"] == [
        ["Because.", "No reason.", "a", 1.5],
        ["Because.", "Who knows?", "a", 0.0],
        ["So.", "So it is.", "a", 1.5],
    ]
    for got, n_rows in ((hh, len(HH_ROWS)), (uf, len(UF_ROWS)), (train, len(UF_ROWS))):
        assert got["n_rows"] == n_rows == got["n_comparisons"] + sum(got["exclusions"].values())
    assert (hh["rater"], uf["rater"], hh["location"]) == ("human", "ai", "Anthropic/hh-rlhf")
    assert (hh["splits"], uf["splits"], train["splits"]) == (["test"], ["test_prefs"], ["train_prefs"])
    assert (one["n_prompts"], two["n_prompts"]) == (2, 3)


def test_what_the_hub_refuses_is_one_sentence(made_hub: Path, tmp_path: Path) -> None:
    specs = [
        {**OWN, "hub": "someone/nothing"},
        {**OWN, "hub": "nothing"},
        {**OWN, "hub": "not a name"},
        {**OWN, "config": "one", "revision": "v9"},
        {**OWN, "hub": "someone/gated"},
        {**OWN, "hub": "someone/gated", "load_split": "train"},
        {**OWN, "config": "three"},
        {**OWN, "config": "two"},
        {**OWN, "config": "two", "load_split": "dev"},
        {**OWN, "config": "one", "outcome": "grade"},
        {**HH, "revision": "v9"},
    ]
    told = [got["refused"] for got in pulled(made_hub, tmp_path, specs)]
    assert all("\n" not in text for text in told)
    for text in told[:3]:
        assert text.startswith("there is no dataset ")
    assert told[3] == "dataset someone/grades has no revision 'v9'; check it on its page on the Hub"
    for text in told[4:6]:
        assert text.startswith("dataset someone/gated is gated: accept its terms at https://huggingface.co/datasets/")
    assert told[6].startswith("dataset someone/grades cannot be loaded: ")
    assert "one" in told[6]
    assert "two" in told[6]
    assert told[7] == "dataset someone/grades has the splits train, test; add load_split = one of them"
    assert told[8].startswith("dataset someone/grades cannot be loaded: ")
    assert "dev" in told[8]
    assert told[9] == ("dataset 'mine' (someone/grades) has no column 'grade'; it has question, answer, rating")
    assert told[10] == "dataset Anthropic/hh-rlhf has no revision 'v9'; check it on its page on the Hub"


def _without(name: str) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.drop_columns([name])


def _as_text(name: str) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        return table.set_column(table.column_names.index(name), name, pa.array(["x"] * len(table)))

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without("score_rejected"), "has no column 'score_rejected'; it has prompt, prompt_id, chosen"),
        (_as_text("rejected"), "column 'rejected' should hold messages, but it holds "),
    ],
    ids=["missing", "text for messages"],
)
def test_a_schema_that_changed_names_the_column(
    tmp_path: Path, change: Callable[[pa.Table], pa.Table], said: str
) -> None:
    write_uf(tmp_path / "hub", change)
    (got,) = pulled(tmp_path / "hub", tmp_path / "home", [UF])
    assert said in got["refused"]
    assert got["refused"].startswith("dataset 'ultrafeedback-binarized' (HuggingFaceH4/ultrafeedback_binarized)")
    assert "\n" not in got["refused"]


def test_transcripts_under_another_name_are_not_guessed(tmp_path: Path) -> None:
    write_hh(tmp_path / "hub", names=("chosen", "refused"))
    (got,) = pulled(tmp_path / "hub", tmp_path / "home", [HH])
    assert got["refused"] == "dataset 'hh-rlhf' (Anthropic/hh-rlhf) has no column 'rejected'; it has chosen, refused"


@pytest.mark.parametrize("offline", ["0", "1"], ids=["unreachable", "offline mode"])
def test_without_a_network_a_dataset_that_was_never_pulled_is_one_sentence(tmp_path: Path, offline: str) -> None:
    told = pulled(tmp_path, tmp_path, [HH, OWN], closed_endpoint(), HF_HUB_OFFLINE=offline)
    for got, name in zip(told, ("Anthropic/hh-rlhf", "someone/grades"), strict=True):
        assert name in got["refused"]
        assert "\n" not in got["refused"]


@pytest.mark.parametrize("offline", ["0", "1"], ids=["unreachable", "offline mode"])
def test_without_a_network_the_cache_gives_the_same_again(home: Path, online: list[Any], offline: str) -> None:
    specs = [*PULLED, {**HH, "revision": online[0]["revision"]}]
    assert pulled(home, home, specs, closed_endpoint(), HF_HUB_OFFLINE=offline) == [*online, online[0]]


def test_what_is_recorded_is_the_commit_that_was_read(tmp_path: Path) -> None:
    """A newer commit in the cache must not be passed off as the one that was asked for."""
    root, home = tmp_path / "hub", tmp_path / "home"
    write_uf(root)
    (old,) = pulled(root, home, [UF])
    write_uf(root, lambda table: table.slice(0, 1))
    (new,) = pulled(root, home, [UF])
    assert new["revision"] != old["revision"]
    assert (old["n_rows"], new["n_rows"]) == (len(UF_ROWS), 1)
    pinned = {**UF, "revision": old["revision"]}
    (again,) = pulled(root, home, [pinned], closed_endpoint(), HF_HUB_OFFLINE="1")
    assert "refused" in again or again == old
