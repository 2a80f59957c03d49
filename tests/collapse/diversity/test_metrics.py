"""Metrics of sets of texts, against the libraries that define them, brute force, and by hand."""

import json
import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.collapse.diversity import ngrams
from analysis.collapse.diversity.bleu import self_bleu
from analysis.collapse.diversity.encoders import encode
from analysis.collapse.diversity.metrics import METRICS, Measurer
from analysis.collapse.diversity.ngrams import distinct, ead, grams, repetition
from analysis.collapse.diversity.rouge import rouge_l
from analysis.collapse.diversity.similarity import classes, clusters, cosines, dominance, mean_distance, vendi
from analysis.collapse.diversity.words import Corpus, words

REFERENCE = json.loads((Path(__file__).parents[2] / "reference/diversity/reference.json").read_text())["sets"]
NAMES = [name for name in METRICS if name != "entropy"]
# Sets of texts from few words, so that n-grams are shared; some are equal, none is empty.
SETS = st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=9).map(" ".join), min_size=2, max_size=7)


def coded(texts: list[str]) -> tuple[np.ndarray, ...]:
    return Corpus.of(texts).texts


def bleu(texts: list[str]) -> np.ndarray:
    codes = coded(texts)
    return self_bleu(grams(codes, 4), np.array([len(c) for c in codes]))


def slow_bleu(texts: list[str], j: int) -> float:
    """BLEU-4 of one text against the others, straight from the definition."""
    split = [t.split() for t in texts]
    mine, others = split[j], split[:j] + split[j + 1 :]
    logs = []
    for n in range(1, 5):
        counts = [Counter(tuple(w[i : i + n]) for i in range(len(w) - n + 1)) for w in (mine, *others)]
        matched = sum(min(c, max(other[g] for other in counts[1:])) for g, c in counts[0].items())
        if n == 1 and not matched:
            return 0.0
        logs.append(math.log((matched or 0.1) / max(len(mine) - n + 1, 1)))
    closest = min((abs(len(o) - len(mine)), len(o)) for o in others)[1]
    return math.exp(min(0.0, 1 - closest / len(mine)) + sum(logs) / 4)


@pytest.mark.parametrize("case", REFERENCE, ids=range(len(REFERENCE)))
def test_bleu_rouge_and_vendi_are_those_of_the_libraries(case: dict):
    texts = case["texts"]
    np.testing.assert_allclose(bleu(texts), case["bleu"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(rouge_l(coded(texts)), case["rouge_l"], rtol=0, atol=1e-12)
    corpus = Corpus.of(texts)
    counts = np.array([np.bincount(t, minlength=len(corpus.vocabulary)) for t in corpus.texts], float)
    counts /= np.linalg.norm(counts, axis=1, keepdims=True)
    # Eigenvalues near zero are rounding, whose logarithm the sum keeps: their parts are below 1e-14 each.
    assert vendi(cosines(counts)) == pytest.approx(case["vendi"], abs=1e-9)


@given(SETS)
def test_self_bleu_is_that_of_a_loop(texts: list[str]):
    np.testing.assert_allclose(bleu(texts), [slow_bleu(texts, j) for j in range(len(texts))], rtol=0, atol=1e-12)


@settings(deadline=None)
@given(SETS, st.integers(0, 2**32))
def test_no_metric_depends_on_the_order_of_the_texts(texts: list[str], seed: int):
    measured = Measurer.of(texts)
    order = np.random.default_rng(seed).permutation(len(texts)).tolist()
    same = measured.values([tuple(range(len(texts))), tuple(order)])
    np.testing.assert_array_equal(same[0], same[1])
    again = Measurer.of([texts[i] for i in order]).values([tuple(range(len(texts)))])
    # The words are numbered, and so added up, in another order.
    np.testing.assert_allclose(again[0], same[0], rtol=1e-9, atol=1e-12)


def test_distinct_n_and_ead_by_hand():
    found = grams(coded(["a b a b", "a b c"]), 5)
    assert [distinct(one) for one in found[:3]] == [3 / 7, 3 / 5, 3 / 3]
    assert [len(one) for one in found] == [7, 5, 3, 1, 0]
    assert math.isnan(distinct(found[4]))
    v = 10
    expected = [n / (v * (1 - ((v - 1) / v) ** c)) for n, c in ((3, 7), (3, 5), (3, 3), (1, 1))]
    assert ead(found, v) == pytest.approx(np.mean(expected), rel=1e-12)


def test_ead_of_draws_from_the_vocabulary_is_one():
    random = np.random.default_rng(0)
    singles = grams([random.integers(0, 5_000, 20_000)], 1)
    # N of 20,000 draws varies by about 0.4 % here.
    assert ead(singles, 5_000) == pytest.approx(1, abs=0.02)


def test_repetition_counts_what_stood_before_in_the_same_text_only():
    found = grams(coded(["a b a b a b", "a b a b", "c d"]), 2)[1]
    np.testing.assert_allclose(repetition(found), [1 - 2 / 5, 1 - 2 / 3, 0])
    assert math.isnan(repetition(grams(coded(["a b", "c d e f g"]), 4)[3])[0])


@given(SETS)
def test_n_grams_are_those_of_a_loop(texts: list[str]):
    for n, found in enumerate(grams(coded(texts), 5), 1):
        slow = Counter((j, *t.split()[i : i + n]) for j, t in enumerate(texts) for i in range(len(t.split()) - n + 1))
        assert len(found) == sum(slow.values())
        assert found.n_distinct == len({key[1:] for key in slow})
        assert sorted(found.pairs[2]) == sorted(slow.values())


def test_vendi_counts_what_is_effectively_there():
    assert vendi(np.eye(4)) == pytest.approx(4)
    assert vendi(np.ones((4, 4))) == pytest.approx(1)
    two_kinds = np.kron(np.eye(2), np.ones((2, 2)))
    assert vendi(two_kinds) == pytest.approx(2)
    # The eigenvalues of K / 2 are (1 ± s) / 2.
    s = 0.6
    h = -sum(p * math.log(p) for p in ((1 + s) / 2, (1 - s) / 2))
    assert vendi(np.array([[1, s], [s, 1]])) == pytest.approx(math.exp(h), rel=1e-12)


def test_clusters_are_those_of_scikit_learn():
    from sklearn.cluster import AgglomerativeClustering

    random = np.random.default_rng(1)
    for _ in range(20):
        vectors = random.normal(size=(15, 3))
        similarities = cosines(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        other = AgglomerativeClustering(None, metric="precomputed", linkage="average", distance_threshold=0.5)
        theirs = other.fit_predict(1 - similarities)
        ours = clusters(similarities, 0.5)
        assert len(set(zip(ours, theirs, strict=True))) == len(set(ours)) == len(set(theirs))


def test_dominance_and_classes_by_hand():
    similarities = np.array([[1, 0.8, 0.1, 0], [0.8, 1, 0.7, 0], [0.1, 0.7, 1, 0], [0, 0, 0, 1]])
    # A chain joins the first three in one class; by average linkage the third is 0.4 away from the pair.
    assert classes(similarities, 0.7).max() + 1 == 2
    assert dominance(classes(similarities, 0.7)) == 0.75
    assert clusters(similarities, 0.7).max() + 1 == 3
    assert dominance(clusters(similarities, 0.7)) == 0.5
    assert mean_distance(similarities) == pytest.approx(1 - 1.6 / 6)


def test_tf_idf_is_that_of_scikit_learn():
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["The cat sat.", "the cat, the dog", "red mat red mat"]
    corpus = Corpus.of(texts)
    other = TfidfVectorizer(
        analyzer=words, sublinear_tf=True, vocabulary={w: i for i, w in enumerate(corpus.vocabulary)}
    )
    theirs = other.fit_transform(texts).toarray()
    np.testing.assert_allclose(encode(corpus, texts).vectors.toarray(), theirs, rtol=1e-12)


def test_hashed_words_do_not_depend_on_the_other_texts():
    texts = ["The cat sat.", "the cat, the dog", "red mat red mat"]
    alone, among = (encode(Corpus.of(t), t, "hashing").vectors for t in (texts[:2], texts[::-1]))
    np.testing.assert_allclose(alone[0].toarray(), among[2].toarray(), rtol=1e-12)
    assert alone.shape[1] == 2**18
    np.testing.assert_allclose(np.linalg.norm(among.toarray(), axis=1), 1)


def test_sets_that_collapsed_and_sets_that_did_not():
    same, other = ["one and the same answer"] * 4, ["red cat ran", "a big tree", "on mats we sat", "the dog slept"]
    measured = Measurer.of([*same, *other])
    rows = [dict(zip(NAMES, row, strict=True)) for row in measured.values([(0, 1, 2, 3), (4, 5, 6, 7)])]
    expected = dict.fromkeys(("self_bleu", "vendi", "cluster_dominance", "distinct_k_cosine", "distinct_k_rouge_l"), 1)
    expected |= {"rouge_l_diversity": 0, "embedding_diversity": 0, "distinct_1": 0.25}
    assert {name: rows[0][name] for name in expected} == pytest.approx(expected)
    for name, metric in METRICS.items():
        if metric.diverse and name in NAMES:
            assert metric.diverse * (rows[1][name] - rows[0][name]) > 0, name


def test_a_single_text_has_no_pairs():
    row = dict(zip(NAMES, Measurer.of(["a lonely text of words"]).values([(0,)])[0], strict=True))
    assert all(math.isnan(row[name]) == METRICS[name].pairs for name in NAMES)


def test_words_of_many_scripts():
    assert words("It's 3.5 × “so-so”…") == ["it", "'", "s", "3", ".", "5", "×", "“", "so", "-", "so", "”", "…"]
    assert words("हिन्दी में") == ["हिन्दी", "में"]
    assert words("日本語のabc") == ["日", "本", "語", "の", "abc"]
    assert words("Café naïve") == ["café", "naïve"]
    assert words("\u200b") == ["\u200b"]
    assert words(" \n\t") == []


def test_words_beyond_the_signs_that_unicode_has_are_compared_all_the_same(monkeypatch: pytest.MonkeyPatch):
    from analysis.collapse.diversity import rouge

    texts = coded(["a b c d", "b d", "e"])
    before = rouge_l(texts)
    monkeypatch.setattr(rouge, "_MOST", 2)
    np.testing.assert_array_equal(rouge_l(texts), before)
    assert before[0, 1] == pytest.approx(2 * 2 / 6)


def test_codes_around_the_surrogates_stay_apart():
    codes = np.arange(0xD7F0, 0xE010)
    texts = [np.arange(0xE010), codes, codes[::-1].copy()]
    found = rouge_l(texts)
    assert found[0, 1] == pytest.approx(2 * len(codes) / (0xE010 + len(codes)))
    assert found[1, 2] == pytest.approx(2 / (2 * len(codes)))


def test_longest_n_grams_do_not_overflow():
    # Pairs of (n-gram, word) are numbered below n-grams × words, whatever n is.
    found = grams([np.arange(50_000)], ngrams.EAD_LONGEST)
    assert [one.n_distinct for one in found] == [50_000 - n for n in range(5)]
    assert all(a.n_distinct > b.n_distinct for a, b in pairwise(found))
