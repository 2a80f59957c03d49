"""The demo's data: the committed file is what its generator writes, and the generator plants what it says."""

import importlib
import json
import sys
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis import study
from analysis.regression import bradley_terry

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "data" / "demo"
KEYS = ["prompt", "response_a", "response_b", "preference", "quality_a", "quality_b", "source_a", "source_b"]
N_PROMPTS, N_RESPONSES, N_PAIRS = 328, 4, 6


@pytest.fixture(scope="module")
def generate():
    """The generator, a script outside the packages.

    Its folder goes to the end of the path: its coverage.py must not hide the package of that name.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(DEMO)])
        yield importlib.import_module("generate")


@pytest.fixture(scope="module")
def committed() -> list[dict]:
    return [json.loads(line) for line in (DEMO / "comparisons.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def made(generate) -> list:
    return generate.texts()


def responses_of(rows: list[dict]) -> dict[str, dict[str, tuple[int, str]]]:
    """Prompt → response → its quality and register; fails where two rows disagree about a response."""
    found: dict[str, dict[str, tuple[int, str]]] = {}
    for row in rows:
        for side in "ab":
            told = (row[f"quality_{side}"], row[f"source_{side}"])
            texts = found.setdefault(row["prompt"], {})
            assert texts.setdefault(row[f"response_{side}"], told) == told
    return found


def test_the_file_has_its_declared_shape(committed: list[dict]) -> None:
    assert len(committed) == N_PROMPTS * N_PAIRS
    assert all(list(row) == KEYS for row in committed)
    assert {row["preference"] for row in committed} == {"a", "b"}
    found = responses_of(committed)
    assert len(found) == N_PROMPTS
    assert {len(texts) for texts in found.values()} == {N_RESPONSES}
    assert {quality for texts in found.values() for quality, _ in texts.values()} == {0, 1, 2}
    blocks = [list(rows) for _, rows in groupby(committed, key=lambda row: row["prompt"])]
    assert len(blocks) == N_PROMPTS
    for rows in blocks:
        assert len({frozenset((row["response_a"], row["response_b"])) for row in rows}) == N_PAIRS


def test_the_seed_gives_the_committed_texts(made: list, committed: list[dict]) -> None:
    found = responses_of(committed)
    assert [item.prompt for item in made] == list(found)
    for item in made:
        assert {r.text: r.source for r in item.responses} == {t: told[1] for t, told in found[item.prompt].items()}


def test_the_seed_gives_the_committed_labels(generate, made: list, committed: list[dict]) -> None:
    # Qualities and sides do not depend on likelihoods, and a preference only on its own prompt's: six prompts suffice.
    some = np.linspace(0, N_PROMPTS - 1, 6).astype(int)
    scores = np.zeros((N_PROMPTS, N_RESPONSES))
    scores[some] = generate.mean_logprobs([made[i] for i in some])
    labels = generate.draw(generate.label_rng(generate.SEED), scores, generate.ALPHA)
    again = list(generate.rows(made, labels))
    drop = {"preference"}
    assert [{k: v for k, v in row.items() if k not in drop} for row in again] == [
        {k: v for k, v in row.items() if k not in drop} for row in committed
    ]
    scored = np.isin(labels.prompt, some)
    assert [r["preference"] for r, s in zip(again, scored, strict=True) if s] == [
        r["preference"] for r, s in zip(committed, scored, strict=True) if s
    ]


def test_texts_are_varied_and_of_moderate_length(made: list) -> None:
    texts = [r.text for item in made for r in item.responses]
    assert len(set(texts)) == len(texts)
    assert len({item.prompt for item in made}) == N_PROMPTS
    lengths = [len(text.split()) for text in texts]
    assert min(lengths) >= 15
    assert max(lengths) <= 60
    assert not any(mark in text for text in texts for mark in ("{", "}", "  ", " \n", "\n "))


def test_quality_knows_nothing_of_the_wording(committed: list[dict]) -> None:
    told = [(t, q, s) for texts in responses_of(committed).values() for t, (q, s) in texts.items()]
    quality = np.array([q for _, q, _ in told])
    words = np.array([len(t.split()) for t, _, _ in told])
    source = np.array([s for _, _, s in told])
    # Loose on purpose: chance alone goes beyond either limit for one seed in ten thousand.
    assert stats.pearsonr(words, quality).pvalue > 1e-4
    assert stats.f_oneway(*(quality[source == s] for s in np.unique(source))).pvalue > 1e-4


def test_the_draw_plants_alpha_where_quality_is_equal(generate) -> None:
    alpha = 0.7
    rng = np.random.default_rng(5)
    scores = rng.normal(-5, 0.8, size=(4000, 4))
    labels = generate.draw(rng, scores, alpha)
    delta = labels.difference(scores)
    equal = labels.difference(labels.quality) == 0

    def fitted(kept):
        _, clusters = np.unique(labels.prompt[kept], return_inverse=True)
        found = bradley_terry.fit(labels.preferred_a[kept], delta[kept, None], clusters)
        return found.coefficients[0], np.sqrt(found.covariance[0, 0])

    at_equal, error = fitted(equal)
    # Four standard errors (about 0.1): a right draw fails for one seed in sixteen thousand.
    assert abs(at_equal - alpha) < 4 * error < 0.15
    # Over all comparisons the omitted quality (variance of Δ 4/3) must pull it down, by about 0.15 here: five of the
    # smaller sample's standard errors would still be seen.
    everywhere, error = fitted(np.full(len(delta), True))
    assert everywhere < alpha - 4 * error


def test_sides_and_orders_carry_no_information(generate) -> None:
    labels = generate.draw(np.random.default_rng(6), np.zeros((4000, 4)), 1.0)
    # 24,000 fair coins: four standard errors of a share are 0.013.
    assert abs(np.mean(labels.a < labels.b) - 0.5) < 0.013
    assert abs(np.mean(labels.preferred_a) - 0.5) < 0.013


def test_the_study_declares_what_was_planted(generate) -> None:
    loaded = study.load(ROOT / "flows" / "studies" / "demo.toml")
    assert loaded.template == generate.TEMPLATE
    assert loaded.datasets[0].planted_alpha == generate.ALPHA
    assert Path(loaded.datasets[0].path) == generate.COMPARISONS
    assert Path(loaded.base_models[0].name) == generate.BASE_MODEL
