"""Time of all metrics of diversity on many generations, and a loop over nltk's `sentence_bleu` beside our Self-BLEU.

    python -m tests.bench.diversity [--prompts 1000] [--generations 50] [--words 100] [--sample 3]

Made-up generations: each prompt has a few templates, which its generations vary. Printed are the time of reading the
file, of preparing the texts, of every metric by itself, and of the whole command's work with intervals and the largest
resident memory; then, where nltk is installed, the ratio of its time on a sample of prompts to ours at equal values.
"""

import argparse
import csv
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from analysis.collapse.diversity.bleu import LONGEST, self_bleu
from analysis.collapse.diversity.encoders import encode
from analysis.collapse.diversity.estimates import rows
from analysis.collapse.diversity.generations import read
from analysis.collapse.diversity.metrics import LEAST_ROUGE, Measurer
from analysis.collapse.diversity.ngrams import EAD_LONGEST, REPETITION_N, distinct, ead, grams, repetition
from analysis.collapse.diversity.rouge import rouge_l
from analysis.collapse.diversity.sets import PER_INPUT, sets
from analysis.collapse.diversity.similarity import classes, clusters, cosines, mean_distance, vendi
from analysis.collapse.diversity.words import Codes, Corpus

VOCABULARY = 20_000
TEMPLATES = 4
KEPT = 0.6


def made_up(prompts: int, generations: int, words: int, random: np.random.Generator) -> list[dict[str, str]]:
    """Rows of generations in which most words are those of a template."""
    frequencies = 1 / np.arange(1, VOCABULARY + 1)
    frequencies /= frequencies.sum()
    vocabulary = np.array([f"word{k}" for k in range(VOCABULARY)])
    found = []
    for prompt in range(prompts):
        templates = random.choice(VOCABULARY, (TEMPLATES, words), p=frequencies)
        codes = templates[random.integers(0, TEMPLATES, generations)]
        new = random.random(codes.shape) > KEPT
        codes = np.where(new, random.choice(VOCABULARY, codes.shape, p=frequencies), codes)
        found += [{"prompt": f"prompt {prompt}", "response": " ".join(row)} for row in vocabulary[codes]]
    return found


def timed(name: str, work: Callable[[], object]) -> float:
    """Time a piece of work, and print it."""
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    print(f"{name:24} {seconds:7.2f} s", flush=True)
    return seconds


def each_metric(corpus: Corpus, measured: Measurer, asked: Sequence[tuple[int, ...]]) -> None:
    """Time every metric on all sets by itself."""
    texts = [[corpus.texts[i] for i in one] for one in asked]
    vectors = [measured.encoded.vectors[list(one)] for one in asked]
    least = measured.encoded.least
    timed("distinct-n", lambda: [[distinct(g) for g in grams(one, 3)] for one in texts])
    timed("EAD", lambda: [ead(grams(one, EAD_LONGEST)) for one in texts])
    timed("repetition", lambda: [repetition(grams(one, REPETITION_N)[-1]) for one in texts])
    timed("Self-BLEU", lambda: [ours(one) for one in texts])
    timed("ROUGE-L diversity", lambda: [mean_distance(rouge_l(one)) for one in texts])
    timed("distinct_k by ROUGE-L", lambda: [classes(rouge_l(one), LEAST_ROUGE) for one in texts])
    timed("embedding diversity", lambda: [mean_distance(cosines(one)) for one in vectors])
    timed("Vendi score", lambda: [vendi(cosines(one)) for one in vectors])
    timed("clusters", lambda: [clusters(cosines(one), least) for one in vectors])


def ours(texts: Sequence[Codes]) -> np.ndarray:
    """Self-BLEU of one set."""
    return self_bleu(grams(texts, LONGEST), np.array([len(text) for text in texts]))


def nltk(texts: Sequence[Sequence[str]]) -> list[float]:
    """The same by a loop over nltk's function."""
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    smooth = SmoothingFunction().method1
    others = ([*texts[:k], *texts[k + 1 :]] for k in range(len(texts)))
    return [sentence_bleu(o, list(text), smoothing_function=smooth) for o, text in zip(others, texts, strict=True)]


def against(corpus: Corpus, asked: Sequence[tuple[int, ...]]) -> None:
    """Print the ratio to nltk on a few sets, one turn after the other, where it is installed."""
    try:
        import nltk as _  # noqa: F401
    except ImportError:
        print("nltk is not installed: no ratio")
        return
    ratios, largest = [], 0.0
    for one in asked:
        codes = [corpus.texts[i] for i in one]
        words = [[corpus.vocabulary[c] for c in text] for text in codes]
        began = time.perf_counter()
        theirs = nltk(words)
        middle = time.perf_counter()
        mine = ours(codes)
        ratios.append((middle - began) / (time.perf_counter() - middle))
        largest = max(largest, float(np.abs(mine - theirs).max()))
    print(f"ratio nltk self_bleu {statistics.median(ratios):.0f} (largest difference {largest:.1e})", flush=True)


def main() -> None:
    """Time everything, then Self-BLEU beside nltk's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=1_000)
    parser.add_argument("--generations", type=int, default=50)
    parser.add_argument("--words", type=int, default=100)
    parser.add_argument("--sample", type=int, default=3)
    options = parser.parse_args()
    made = made_up(options.prompts, options.generations, options.words, np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "generations.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(made[0]))
            writer.writeheader()
            writer.writerows(made)
        began = time.perf_counter()
        found = read(path, {})
        print(f"{'reading':24} {time.perf_counter() - began:7.2f} s", flush=True)
        measured = Measurer.of(found.texts)
        print(f"{'reading, words, TF-IDF':24} {time.perf_counter() - began:7.2f} s", flush=True)
        rows(found.groups, measured, 0)
        whole = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"diversity {options.prompts} × {options.generations} × {options.words} words {whole:.1f} s {peak} MiB")
    asked = sets(found.groups[0], PER_INPUT, 0).texts
    timed("words", lambda: Corpus.of(found.texts))
    timed("TF-IDF", lambda: encode(measured.corpus, found.texts))
    each_metric(measured.corpus, measured, asked)
    against(measured.corpus, asked[: options.sample])


if __name__ == "__main__":
    main()
