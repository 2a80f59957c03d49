"""Makes `reference.json`: metrics of made-up sets of texts by the libraries that define them.

    pip install nltk rouge-score vendi-score
    python -m tests.reference.diversity.reference

Self-BLEU is nltk's `sentence_bleu` of each text against all others with smoothing method 1, ROUGE-L the F1 of
rouge-score, and the Vendi score that of vendi-score on cosines of word counts.
"""

import json
import random
from importlib.metadata import version
from pathlib import Path

import numpy as np

WORDS = ["a", "the", "cat", "dog", "sat", "ran", "on", "under", "mat", "tree", "red", "big"]


def sets() -> list[list[str]]:
    """Made-up sets: of many lengths, with repeated words, equal texts, and texts shorter than four words."""
    draw = random.Random(0)
    found = [["the cat", "the"], ["the cat sat on the mat"] * 3, ["cat cat cat cat", "cat", "dog ran"]]
    for k, longest in ((2, 6), (3, 12), (5, 9), (8, 30), (20, 60)):
        texts = [" ".join(draw.choices(WORDS, k=draw.randint(1, longest))) for _ in range(k)]
        found += [texts, [*texts, texts[0]]]
    return found


def reference(texts: list[str]) -> dict[str, object]:
    """What the libraries say of a set."""
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    from rouge_score.rouge_scorer import RougeScorer
    from vendi_score import vendi

    split = [text.split() for text in texts]
    smooth, scorer = SmoothingFunction().method1, RougeScorer(["rougeL"])
    counts = np.array([[words.count(w) for w in WORDS] for words in split], float)
    counts /= np.linalg.norm(counts, axis=1, keepdims=True)
    return {
        "texts": texts,
        "bleu": [
            sentence_bleu(split[:i] + split[i + 1 :], words, smoothing_function=smooth) for i, words in enumerate(split)
        ],
        "rouge_l": [[scorer.score(a, b)["rougeL"].fmeasure for b in texts] for a in texts],
        "vendi": float(vendi.score_K(counts @ counts.T)),
    }


if __name__ == "__main__":
    made = {
        "packages": {name: version(name) for name in ("nltk", "rouge-score", "vendi-score")},
        "sets": [reference(texts) for texts in sets()],
    }
    text = json.dumps(made, separators=(",", ":")).replace('{"texts"', '\n{"texts"')
    Path(__file__).with_name("reference.json").write_text(text + "\n", encoding="utf-8")
