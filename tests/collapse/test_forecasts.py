"""From α and candidates to rows: against a loop over prompts, and a reason wherever there is no number."""

from typing import Any

import numpy as np
import pytest

from analysis.collapse.candidates import Candidates, candidates
from analysis.collapse.forecasts import BETAS, GENERATIONS, HEADLINE_BETA, REGIMES, Bias, by_prompt, chosen, forecasts
from tests.regression.made import MEASURE, RATINGS, cell_of, joined

PROMPTS = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
PLAIN = {"fresh_share": 0.0, "entropy_bonus": 0.0}
Row = dict[str, Any]


def made(seed: int = 0, prompts: np.ndarray = PROMPTS) -> Candidates:
    random = np.random.default_rng(seed)
    n = len(prompts)
    values = {
        "mean_logprob": random.normal(-3, 0.5, n),
        "mean_pmi": random.normal(1, 0.5, n),
        "sum_logprob": random.normal(-150, 20, n),
        "n_tokens": random.integers(20, 80, n).astype(float),
        "n_bytes": random.integers(80, 320, n).astype(float),
    }
    return Candidates(prompts, values, {"good": random.integers(0, 3, n).astype(float)})


def bias(measure: str = "mean_logprob", alpha: float = 0.8, half: float = 0.3, **quality: float) -> Bias:
    return Bias(measure, "bt_quality", "all", "ok", alpha, alpha - half, alpha + half, quality)


def once(rows: list[Row], kind: str | None, beta: float = HEADLINE_BETA) -> Row:
    """The row of one training."""
    wanted = {"candidates": kind, "beta": beta, "generation": 1, **PLAIN}
    (found,) = [r for r in rows if wanted.items() <= r.items()]
    return found


def effective(m: np.ndarray) -> float:
    """Mean over the prompts with three or more candidates of exp(H), one after the other."""
    found = []
    for prompt in (0, 2):
        w = np.exp(m[prompt == PROMPTS] - m[prompt == PROMPTS].max())
        w /= w.sum()
        found.append(np.exp(-np.sum(w[w > 0] * np.log(w[w > 0]))))
    return float(np.mean(found))


@pytest.mark.parametrize("beta", BETAS)
def test_one_training(beta: float):
    responses = made()
    rows = list(forecasts(bias(good=1.5), responses))
    m, q = responses.values["mean_logprob"], responses.ratings["good"]
    tokens = np.median(responses.values["n_tokens"])
    row = once(rows, None, beta)
    assert row["gamma"] == pytest.approx(1 + 0.8 / (beta * tokens)) and row["tokens"] == tokens
    assert row["gamma_low"] == pytest.approx(1 + 0.5 / (beta * tokens))
    assert once(rows, "typicality", beta)["effective_number"] == pytest.approx(effective(0.8 * m / beta))
    assert once(rows, "typicality", beta)["effective_number_high"] == pytest.approx(effective(0.5 * m / beta))
    assert once(rows, "quality", beta)["effective_number"] == pytest.approx(effective(1.5 * q / beta))
    both = once(rows, "both", beta)
    assert both["effective_number"] == pytest.approx(effective((1.5 * q + 0.8 * m) / beta))
    sampled = [effective((1.5 * q + a * m) / beta) for a in np.linspace(0.5, 1.1, 17)]
    assert both["effective_number_low"] == pytest.approx(min(sampled))
    assert both["effective_number_high"] == pytest.approx(max(sampled))
    assert both["n_prompts"] == 2 and both["n_candidates"] == 3.5


def test_every_row_has_a_number_in_its_interval():
    for row in forecasts(bias(alpha=0.1, good=0.5), made()):
        assert row["status"] == "ok"
        names = ["gamma"] if row["candidates"] is None else ["effective_number", "mode_share"]
        for name in names if row["candidates"] != "quality" else []:
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]


def test_an_interval_that_holds_zero_reaches_all_candidates():
    row = once(list(forecasts(bias(alpha=0.1), made())), "typicality")
    assert row["effective_number_high"] == pytest.approx(3.5)
    assert row["effective_number"] < 3.5


def test_generations_are_a_geometric_series():
    """w_t ∝ exp(α m / β · (1 + γ + … + γ^(t−1))), and γ to the power t for the whole policy."""
    responses = made()
    rows = list(forecasts(bias(), responses))
    power = once(rows, None)["gamma"]
    for t in range(1, GENERATIONS + 1):
        wanted = {"beta": HEADLINE_BETA, "generation": t, **PLAIN}
        whole, tilt = (r for r in rows if wanted.items() <= r.items())
        assert whole["gamma"] == pytest.approx(power**t)
        grown = 0.8 / HEADLINE_BETA * sum(power**j for j in range(t))
        assert tilt["effective_number"] == pytest.approx(effective(grown * responses.values["mean_logprob"]))


def test_the_pace_is_that_of_the_path():
    """Half-life and the generation of the mode, by a loop over the rows of the path and over α's interval."""
    rows = list(forecasts(bias(), made()))
    for regime in REGIMES:
        keys = {"candidates": "typicality", "beta": HEADLINE_BETA, "fresh_share": regime[0], "entropy_bonus": regime[1]}
        path = [r for r in rows if keys.items() <= r.items()]
        assert [r["generation"] for r in path] == list(range(1, GENERATIONS + 1))
        half = next((r["generation"] for r in path if r["effective_number"] - 1 <= (3.5 - 1) / 2), None)
        held = next((r["generation"] for r in path if r["mode_share"] >= 0.95), None)
        assert {(r["half_life"], r["until_mode"]) for r in path} == {(half, held)}
        # The more α, the sooner: its upper end is the first to come there.
        assert path[0]["half_life_low"] == next(
            (r["generation"] for r in path if r["effective_number_low"] - 1 <= (3.5 - 1) / 2), None
        )
    assert all("half_life" not in r for r in rows if r["beta"] != HEADLINE_BETA)


def test_an_interval_that_reaches_zero_never_has_its_half_life():
    row = once(list(forecasts(bias(alpha=0.1), made())), "typicality")
    assert row["half_life_high"] is None and row["half_life_low"] is not None


def test_each_prompt_by_itself():
    """Prompt by prompt by brute force; their means are the rows of `forecasts`."""
    responses = made()
    rows = list(forecasts(bias(good=1.5), responses))
    for same, columns in by_prompt(bias(good=1.5), responses):
        whole = once(rows, same["candidates"])
        assert (columns["prompts"].tolist(), columns["n_candidates"].tolist()) == ([0, 2], [3, 4])
        for name in ("entropy", "effective_number", "mode_share"):
            assert columns[name].mean() == pytest.approx(whole[name])
        push = 1.5 * responses.ratings["good"] if same["candidates"] != "typicality" else 0.0
        for prompt, left, low, high in zip(
            columns["prompts"],
            columns["effective_number"],
            columns.get("effective_number_low", columns["effective_number"]),
            columns.get("effective_number_high", columns["effective_number"]),
            strict=True,
        ):
            mine = prompt == PROMPTS
            sampled = []
            for alpha in (0.8, *np.linspace(0.5, 1.1, 17)):
                m = (push + (alpha if same["candidates"] != "quality" else 0) * responses.values["mean_logprob"])[mine]
                w = np.exp((m - m.max()) / HEADLINE_BETA)
                w /= w.sum()
                sampled.append(np.exp(-np.sum(w[w > 0] * np.log(w[w > 0]))))
            assert left == pytest.approx(sampled[0])
            assert (low, high) == pytest.approx((min(sampled), max(sampled)))


def test_what_resists_leaves_more():
    rows = list(forecasts(bias(), made()))
    left = {
        regime: next(
            r["effective_number"]
            for r in rows
            if r["generation"] == GENERATIONS and r["candidates"] and (r["fresh_share"], r["entropy_bonus"]) == regime
        )
        for regime in REGIMES
    }
    assert min(left, key=lambda regime: left[regime]) == REGIMES[0]


@pytest.mark.parametrize(("measure", "length"), [("mean_logprob", "tokens"), ("sum_logprob", None)])
def test_the_length_of_each_unit_is_told(measure: str, length: str | None):
    row = once(list(forecasts(bias(measure, 0.01, 0.005), made())), None)
    assert [name for name in ("tokens", "bytes") if row.get(name) is not None] == ([length] if length else [])


def test_pmi_has_a_tilt_and_no_gamma():
    rows = list(forecasts(bias("mean_pmi"), made()))
    assert "no power of the base policy" in once(rows, None)["status"] and "gamma" not in once(rows, None)
    assert once(rows, "typicality")["status"] == "ok"
    assert all(r["status"] != "ok" and "effective_number" not in r for r in rows if r["generation"] > 1)


def test_a_power_below_zero_is_no_policy():
    rows = list(forecasts(bias(alpha=-20, half=1), made()))
    row = once(rows, None)
    assert "γ ≤ 0" in row["status"] and "gamma" not in row
    assert once(rows, "typicality")["status"] == "ok"
    assert all("effective_number" not in r for r in rows if r["generation"] > 1)


def test_an_interval_that_reaches_below_zero_ends_there():
    row = once(list(forecasts(bias(alpha=-3, half=10), made())), None)
    assert row["gamma_low"] == 0 < row["gamma"] < row["gamma_high"]


def test_pairs_have_gamma_only():
    rows = list(forecasts(bias(good=1.0), made(prompts=np.repeat(np.arange(5), 2)[:9])))
    assert once(rows, None)["status"] == "ok"
    assert [r["status"] for r in rows if r["candidates"]] == ["no prompt has 3 or more candidates"]


def test_unrated_responses_are_no_candidates_where_quality_counts():
    responses = made()
    responses.ratings["good"][0] = np.nan
    rows = list(forecasts(bias(good=1.0), responses))
    assert {once(rows, kind)["n_prompts"] for kind in ("typicality", "quality", "both")} == {1}
    assert once(list(forecasts(bias(), responses)), "typicality")["n_prompts"] == 2


def test_without_any_rating_typicality_is_left():
    responses = made()
    responses.ratings["good"][:] = np.nan
    assert {r["candidates"] for r in forecasts(bias(good=1.0), responses)} == {None, "typicality"}


def estimate(specification: str, term: str = "typicality", slice: str = "all", **more: Any) -> Row:
    numbers = {"estimate": 1.0, "conf_low": 0.5, "conf_high": 1.5}
    return {"specification": specification, "term": term, "slice": slice, "status": "ok", **numbers, **more}


def test_the_raw_rung_and_the_top_one_are_chosen():
    gap = {"status": "separated", "estimate": None}
    rows = [
        *(estimate("bt"), estimate("bt_length"), estimate("bt_quality"), estimate("bt_quality", "good", estimate=2.0)),
        *(estimate("bt_source", **gap), estimate("bt_fluency", estimate=9.0), estimate("rate", estimate=0.6)),
        *(estimate("bt", slice="equal_quality"), estimate("bt_length", slice="equal_quality", **gap)),
        estimate("bt", slice="domain=code"),
    ]
    found = list(chosen(rows, "mean_logprob"))
    named = [(b.specification, b.slice) for b in found]
    assert named == [("bt", "all"), ("bt_quality", "all"), ("bt", "equal_quality")]
    assert found[1].quality == {"good": 2.0} and found[0].quality == {}


@pytest.mark.parametrize(
    ("rows", "status"),
    [([], "no rung of the ladder was asked for"), ([estimate("bt", status="separated", estimate=None)], "separated")],
)
def test_without_alpha_there_is_a_reason(rows: list[Row], status: str):
    (found,) = chosen(rows, "mean_logprob")
    (row,) = forecasts(found, made())
    assert row["status"] == status and "gamma" not in row and "alpha" not in row


def test_candidates_are_the_texts_compared():
    """Each text once, those of a prompt together, with what is known of them."""
    frame = joined(60, 12)
    cell = cell_of(frame)
    texts = np.arange(len(cell.response_ids))
    texts[cell.a[0]] = texts[cell.b[0]]
    found = candidates(cell, texts, (MEASURE,))
    assert len(found) == 2 * len(frame) - 1
    assert (np.diff(found.prompts) >= 0).all()
    for code in np.unique(found.prompts):
        mine = frame[frame["prompt_id"] == cell.column("prompt_id")[int(np.argmax(cell.prompts == code))].as_py()]
        held = set(found.values[MEASURE][found.prompts == code])
        assert held <= {*mine[f"{MEASURE}_a"], *mine[f"{MEASURE}_b"]}
    assert set(found.ratings) == set(RATINGS)


def test_the_rating_of_a_response_is_the_mean_of_what_comparisons_say():
    frame = joined(2, 1, ties=0.0)
    cell = cell_of(frame)
    shared, ratings = cell.a[0], cell.quality["correct"][0]
    cell.a[1] = shared
    cell.values[MEASURE][:] = np.arange(len(cell.response_ids))
    found = candidates(cell, np.arange(len(cell.response_ids)), (MEASURE,))
    at = found.values[MEASURE] == cell.values[MEASURE][shared]
    assert found.ratings["correct"][at] == pytest.approx(ratings.mean())
