"""Measures on generations that can be counted by hand; what failed counts for nothing but failures."""

import numpy as np
import pytest

from analysis.collapse.diversity.metrics import Measurer
from analysis.collapse.remedies import parsing
from analysis.collapse.remedies.measures import effective, measured, parts, stated_shares
from analysis.collapse.remedies.quality import NO_SCORE, OUT_OF_SCALE, read_score
from analysis.collapse.remedies.stage import Sampling, measure
from analysis.collapse.remedies.study import parse
from analysis.schemas import TABLES

EMPTY_ROW = dict.fromkeys(TABLES["generations"].schema.names)
STUDY = parse(
    {
        "name": "s",
        "n": 4,
        "models": [{"backend": "chat", "name": "m"}],
        "methods": [{"name": "direct"}, {"name": "vs", "kind": "vs_standard", "k": 4}],
        "prompts": [{"prompt": "colour?", "answers": ["red", "green"], "reference": [3, 1], "correct": ["red"]}],
    }
)
PROMPT = STUDY.prompts[0]


def row(method, sample, response, status="ok", **more):
    keys = {"study": "s", "model": "m", "method": method, "prompt_id": PROMPT.id, "prompt": PROMPT.prompt}
    told = {"sample": sample, "turn": 0, "index": 0, "status": status, "response": response, "request_id": f"{sample}"}
    known = {"answer": response, "answer_status": "ok", "is_correct": response == "red"} if response else {}
    return {**EMPTY_ROW, **keys, **told, **known, "n_prompt_tokens": 10, "n_completion_tokens": 2, **more}


ROWS = [
    *(row("direct", i, "red") for i in range(3)),
    row("direct", 3, None, parsing.EMPTY_ANSWER),
    *(
        row("vs", 0, r, index=i, probability_stated=p, probability=p, probability_status="ok")
        for i, (r, p) in enumerate([("red", 0.3), ("green", 0.1), ("red", 0.5)])
    ),
    row("vs", 0, None, parsing.MISSING, index=3),
]


def found(rows=ROWS, study=STUDY, qualities=None, bar=None):
    usable = [r for r in rows if r["status"] == "ok"]
    measurer = Measurer.of([r["response"] for r in usable])
    direct, other = parts(rows, [m.name for m in study.methods])
    values = np.full(len(usable), np.nan) if qualities is None else np.array(qualities)
    made = {}
    for part in (direct, other):
        for one in measured(part, direct, study, measurer, values, bar):
            made[part.method, one.measure] = one
    return made


def value(one):
    return one.values.get(PROMPT.id)


def test_by_hand():
    made = found()
    assert value(made["direct", "coverage"]) == 0.5
    assert value(made["vs", "coverage"]) == 1
    q = 0.99 * np.array([0.75, 0.25]) + 0.005
    assert value(made["direct", "kl"]) == pytest.approx(np.log(1 / q[0]))
    p = np.array([2 / 3, 1 / 3])
    assert value(made["vs", "kl"]) == pytest.approx(np.sum(p * np.log(p / q)))
    # Stated: red (0.3 + 0.5) / 2, green 0.1.
    np.testing.assert_allclose(stated_shares(ROWS[4:], PROMPT), [0.8, 0.2])
    assert value(made["vs", "accuracy"]) == pytest.approx(2 / 3)
    assert value(made["vs", "accuracy_likeliest"]) == 1
    assert value(made["direct", "tokens"]) == 16
    assert value(made["vs", "tokens"]) == 4
    assert value(made["vs", "requests"]) == pytest.approx(1 / 3)


def test_a_failure_is_counted_and_is_no_diversity():
    made = found()
    assert value(made["direct", "failed"]) == 0.25
    assert value(made["direct", f"response: {parsing.EMPTY_ANSWER}"]) == 0.25
    assert made["vs", f"response: {parsing.MISSING}"].n_responses == 1
    # Three times the same: an empty response beside them would make them look diverse.
    assert value(made["direct", "embedding_diversity"]) == pytest.approx(0, abs=1e-12)
    assert value(made["direct", "distinct_k_cosine"]) == 1


def test_unknown_costs_are_not_taken_for_nothing():
    rows = [{**r, "n_prompt_tokens": None} if r["sample"] == 1 else r for r in ROWS]
    made = found(rows)
    assert value(made["direct", "tokens"]) is None
    assert made["direct", "tokens"].status


def test_pairs_count_where_both_reach_the_bar():
    measurer = Measurer.of(["red", "green", "blue", "black"])
    above = np.array([True, True, True, False])
    assert effective((0, 1, 2, 3), measurer, above) == pytest.approx(3 / 6)
    assert effective((0, 1, 2, 3), measurer, np.ones(4, bool)) == pytest.approx(1)
    made = found(qualities=[1, 1, 1, 2, -1, 2], bar=0)
    assert value(made["vs", "share_above_bar"]) == pytest.approx(2 / 3)
    assert value(made["vs", "effective_diversity"]) == pytest.approx(0)


def test_a_baseline_that_failed_is_compared_with_nothing():
    rows = [*(row("direct", i, None, parsing.EMPTY_ANSWER) for i in range(4)), *ROWS[4:]]
    made = found(rows, qualities=[1, 1, 1], bar=0)
    for name in ("vendi", "effective_diversity"):
        assert PROMPT.id in made["vs", name].values
        assert made["vs", name].pair == ({}, {})
    assert value(made["direct", "failed"]) == 1


def test_responses_without_quality_are_not_below_the_bar():
    made = found(qualities=[1, 1, 1, 2, np.nan, 2], bar=0)
    assert value(made["vs", "share_above_bar"]) == 1
    assert made["vs", "share_above_bar"].n_responses == 2
    nothing = found(qualities=[1, 1, 1, np.nan, np.nan, np.nan], bar=0)
    assert not nothing["vs", "share_above_bar"].values
    assert not nothing["vs", "effective_diversity"].values


def test_methods_may_not_gain_by_giving_more():
    rows = [*(row("direct", i, r) for i, r in enumerate(["red", "green"])), *ROWS[4:7]]
    own, base = found(rows)["vs", "coverage"].pair
    assert (own[PROMPT.id], base[PROMPT.id]) == (1, 1)
    _, words = found(rows)["vs", "vendi"].pair
    assert set(words) == {PROMPT.id}


def test_rows_do_not_depend_on_each_other_and_fit_their_tables():
    from analysis import tables

    run = Sampling.start(STUDY)
    run.add(ROWS)
    remedies, diversity, bar = measure(run, [], lambda done, of: None)
    tables.to_arrow("remedies", remedies)
    tables.to_arrow("diversity", diversity)
    assert bar is None
    assert len({(r["model"], r["method"], r["measure"]) for r in remedies}) == len(remedies)
    baseline = [r for r in remedies if r["method"] == "direct"]
    assert all(r["ratio"] is None and r["ratio_status"] for r in baseline)
    assert {r["other_group"] for r in diversity} == {None, "m · direct"}


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("7", 7),
        ("Score: 7", 7),
        ("**Rating: 7.5**", 7.5),
        ("7/10", 7),
        ('Well: {"score": 7, "why": "8 of 9"}', 7),
        ('{"rating": "7"}', 7),
        ("-3", OUT_OF_SCALE),
        ("11", OUT_OF_SCALE),
        ("7/20", NO_SCORE),
        ("7 or 8", NO_SCORE),
        ('{"score": true}', NO_SCORE),
        ('{"score": ', NO_SCORE),
        ("good", NO_SCORE),
        ("", NO_SCORE),
    ],
)
def test_a_judges_score(text, score):
    assert read_score(text, 1, 10) == score
