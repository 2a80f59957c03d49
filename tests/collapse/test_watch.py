"""Generations against a baseline: drops by request, signs by group, and what a baseline may be compared with."""

import json
from pathlib import Path

import numpy as np
import pytest

from analysis import tables
from analysis.collapse.baseline import Baseline, Level, levels, load
from analysis.collapse.diversity.bleu import self_bleu
from analysis.collapse.diversity.metrics import Measurer
from analysis.collapse.diversity.ngrams import grams
from analysis.collapse.diversity.sets import Group
from analysis.collapse.requests import Request, prompts, requests
from analysis.collapse.watch import Scored, drawn, score, watch
from analysis.errors import StudyError
from analysis.likelihood.texts import DECIDES, BaseModel
from analysis.preferences.records import text_prompt
from analysis.preferences.rows import prompt_id
from analysis.study import BaseModelSpec
from tests.tiny import SENTENCES

SCORING = dict.fromkeys(DECIDES, "x")
A, B, C = (prompt_id(text_prompt(name)) for name in "abc")


@pytest.fixture(scope="module")
def base_model(tiny: Path) -> BaseModel:
    return BaseModel.of(BaseModelSpec(name=str(tiny), device="cpu"), "plain")


def scored(texts: dict[str, list[tuple[str, float]]]) -> Scored:
    """By prompt the texts and their entropies; NaN: there is none."""
    flat = [(prompt, text, h) for prompt, mine in texts.items() for text, h in mine]
    entropies = np.array([h for _, _, h in flat])
    made = [Request(f"r{k}", text_prompt(prompt), text) for k, (prompt, text, _) in enumerate(flat)]
    measurer = Measurer.of([text for _, text, _ in flat])
    return Scored(
        made,
        [prompt_id(r.prompt) for r in made],
        entropies,
        np.zeros(len(flat)),
        [5] * len(flat),
        [False] * len(flat),
        ["ok" if np.isfinite(h) else "no tokens" for h in entropies],
        measurer,
    )


def group(found: Scored) -> Group:
    held: dict[str, list[int]] = {}
    for k, request in enumerate(found.requests):
        held.setdefault(request.prompt[0].content, []).append(k)
    return Group("g", {prompt: tuple(at) for prompt, at in held.items()}, n_empty=2, n_failed=1)


def test_a_request_is_compared_with_its_own_prompt_and_else_with_all():
    found = scored({"a": [("one two", 1.0), ("two one", 2.0)], "c": [("three", 1.5)], "b": [("four", np.nan)]})
    base = Baseline.of("file", SCORING, {A: Level(2.0, 0.0, 3), B: Level(4.0, 0.1, 1)})
    made = watch(group(found), found, base)
    rows = {row["request"]: row for row in made.rows}
    assert [rows[f"r{k}"]["baseline_of"] for k in range(4)] == ["prompt", "prompt", "all", "prompt"]
    assert [rows[f"r{k}"]["baseline_entropy"] for k in range(4)] == [2.0, 2.0, 3.0, 4.0]
    assert [rows[f"r{k}"]["flagged"] for k in range(4)] == [True, False, True, None]
    assert rows["r0"]["drop"] == 0.5 and rows["r3"]["drop"] is None and rows["r3"]["status"] == "no tokens"
    assert (made.n_requests, made.n_compared, made.n_flagged, made.n_other_prompts) == (4, 3, 2, 1)
    assert (made.n_empty, made.n_failed, made.unscored) == (2, 1, {"no tokens": 1})


def test_levels_are_compared_on_the_prompts_that_both_have():
    found = scored({"a": [("one", 1.0), ("two", 2.0)], "c": [("three", 9.0)]})
    base = Baseline.of("file", SCORING, {A: Level(2.0, 0.0, 3), B: Level(40.0, 0.0, 1)})
    made = watch(group(found), found, base)
    assert (made.measured.entropy, made.measured.baseline_entropy, made.n_shared) == (1.5, 2.0, 1)
    other = watch(group(found), found, Baseline.of("file", SCORING, {B: Level(40.0, 0.0, 1)}))
    assert (other.measured.entropy, other.measured.baseline_entropy, other.n_shared) == (5.25, 40.0, 0)


def test_both_means_are_of_prompts_that_have_both_values():
    found = scored({"a": [("one", 1.0)], "b": [("two", np.nan)]})
    base = Baseline.of("file", SCORING, {A: Level(1.0, 0.0, 3), B: Level(9.0, 0.0, 3)})
    made = watch(group(found), found, base).measured
    assert (made.entropy, made.baseline_entropy) == (1.0, 1.0)
    nothing = watch(group(found), found, Baseline.of("file", SCORING, {B: Level(9.0, 0.0, 3)})).measured
    assert (nothing.entropy, nothing.baseline_entropy) == (None, None)


def test_self_bleu_and_clusters_are_of_each_prompt_s_generations():
    same = [("the cat sat on the mat", 1.0)] * 3
    apart = [("one two three four", 1.0), ("five six seven eight", 1.0)]
    found = scored({"a": same, "b": apart, "c": [("alone", 1.0)]})
    made = watch(group(found), found, None).measured
    by_hand = [
        self_bleu(grams(texts := [found.measurer.corpus.texts[k] for k in at], 4), np.array([len(t) for t in texts]))
        for at in ((0, 1, 2), (3, 4))
    ]
    assert made.self_bleu == pytest.approx(np.mean([x.mean() for x in by_hand]))
    assert made.self_bleu_spread == pytest.approx(np.std([x.mean() for x in by_hand], ddof=1))
    assert made.dominance == pytest.approx((1 + 0.5) / 2)
    assert made.entropy == 1.0 and made.baseline_entropy is None and made.baseline_repetition is None


def test_a_collapse_and_its_signs():
    texts = {name: [(f"the very same words for {name} every time", 0.5)] * 4 for name in "abc"}
    found = scored(texts)
    made = watch(group(found), found, Baseline.of("file", SCORING, {p: Level(2.0, 0.0, 4) for p in (A, B, C)}))
    assert made.verdict.words == "collapsed"
    rows = {row["sign"]: row for row in made.signs()}
    assert {sign: row["there"] for sign, row in rows.items()} == {
        "entropy": True, "self_bleu": True, "cluster_dominance": True, "repetition": False,
    }  # fmt: skip
    assert (rows["entropy"]["value"], rows["entropy"]["baseline_value"], rows["entropy"]["n_flagged"]) == (0.5, 2.0, 12)
    assert rows["self_bleu"]["spread"] == 0 and rows["self_bleu"]["baseline_value"] is None
    keys = dict.fromkeys(("name", "file", "file_sha256", "base_model", "revision", "template", "dtype"), "x")
    assert tables.to_arrow("signs", [keys | {"baseline": "file"} | row for row in rows.values()]).num_rows == 4
    assert tables.to_arrow("monitor", [keys | {"scoring_id": "x"} | row for row in made.rows]).num_rows == 12


def test_without_a_baseline_two_signs_are_left():
    found = scored({name: [("one two", 1.0), ("three four", 1.0)] for name in "ab"})
    made = watch(group(found), found, None)
    assert {s.name: s.there for s in made.verdict.signs} == {
        "entropy": None, "self_bleu": False, "cluster_dominance": False, "repetition": None,
    }  # fmt: skip
    assert made.verdict.words == "no sign of collapse"
    assert made.n_compared == 0 and all(row["flagged"] is None for row in made.rows)
    assert all(row["n_flagged"] is None for row in made.signs())


def test_a_baseline_is_kept_and_found_again(tmp_path: Path):
    made = levels([A, B, A], np.array([1.0, np.nan, 2.0]), np.array([0.0, 0.5, np.nan]))
    assert made == {A: Level(1.5, 0.0, 2), B: Level(None, 0.5, 1)}
    base, path = Baseline.of("these", SCORING | {"device": "cpu"}, made), tmp_path / "base.json"
    base.save(path)
    assert load(path, SCORING) == base and base.generations == 3
    assert base.entropy_for(B) == (1.5, "all") and base.entropy_for(A) == (1.5, "prompt")
    assert Baseline.of("none", SCORING, {B: made[B]}).entropy_for(A) == (None, None)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"scoring": SCORING | {"revision": "y" * 12}}, "made with revision of the base model yyyyyyyyyyyy, not x"),
        (
            {"scoring": SCORING | {"template": "chat", "scorer_version": 0}},
            "template chat, not x; version of the scorer 0",
        ),
        ({"kind": "other"}, "is no baseline of this version"),
        ({"prompts": [1]}, "is no baseline of this version"),
    ],
)
def test_what_cannot_be_compared_is_refused(change: dict[str, object], told: str, tmp_path: Path):
    path = tmp_path / "base.json"
    Baseline.of("these", SCORING, {A: Level(1.0, 0.0, 1)}).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(StudyError, match=told):
        load(path, SCORING)


def test_what_is_no_baseline(tmp_path: Path):
    with pytest.raises(StudyError, match="cannot read the baseline"):
        load(tmp_path / "none.json", SCORING)
    (tmp_path / "text").write_text("not json")
    with pytest.raises(StudyError, match="is no baseline; make one with --save-baseline"):
        load(tmp_path / "text", SCORING)


def test_entropies_are_those_of_the_scorer(base_model: BaseModel):
    made = [Request(str(k), text_prompt(s[:9]), s[9:40]) for k, s in enumerate(SENTENCES[:4])]
    found = score(made, base_model)
    expected = base_model.score([(r.prompt, r.text) for r in made])
    assert found.entropies.tolist() == [one.likelihood.mean_entropy for one in expected]  # type: ignore[union-attr]
    assert found.reasons == ["ok"] * 4 and all(n > 0 for n in found.tokens)


def test_nothing_to_measure_is_no_baseline(base_model: BaseModel):
    found = score([], base_model)
    assert found.levels() == {} and len(found.entropies) == 0
    assert Baseline.of("nothing", SCORING, found.levels()).entropy_for(A) == (None, None)


def test_the_base_model_s_own_samples(tiny: Path):
    fresh = BaseModel.of(BaseModelSpec(name=str(tiny), device="cpu"), "plain")
    asked = [Request("1", text_prompt("The dog"), "x"), Request("2", text_prompt("The dog"), "y")]
    made = drawn(asked, fresh, 3, 6, 0)
    assert 0 < len(made) <= 3 and {r.prompt for r in made} == {text_prompt("The dog")}
    assert made == drawn(asked, fresh, 3, 6, 0) != drawn(asked, fresh, 3, 6, 1)


def test_requests_of_a_file(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    rows = [
        {"prompt": "a", "response": "one", "id": "x", "group": "new"},
        {"prompt": "a", "response": " ", "id": "y", "group": "new"},
        {"prompt": [{"role": "user", "content": "b"}], "response": "two", "id": None, "group": "old"},
        {"prompt": "c", "response": "three", "id": 7, "group": "old", "error": "timeout"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = requests(path, {"request": "id"})
    assert [(r.name, r.text) for r in found.requests] == [("x", "one"), ("row 3", "two")]
    assert found.requests[1].prompt == text_prompt("b")
    assert [(g.name, g.n_empty, g.n_failed) for g in found.generations.groups] == [("new", 1, 0), ("old", 0, 1)]
    assert [r.name for r in requests(path, {}).requests] == ["row 1", "row 3"]
    with pytest.raises(StudyError, match="no column 'nothing'"):
        requests(path, {"request": "nothing"})
    path.write_text('{"prompt": "a", "response": "one"}\n{"prompt": "half \\ud83d", "response": "one"}\n')
    for read in (lambda: requests(path, {}), lambda: prompts(path, "prompt", "response", None, 0)):
        with pytest.raises(StudyError, match=r"row 2: .*not valid Unicode: 'half \\ud83d'"):
            read()
