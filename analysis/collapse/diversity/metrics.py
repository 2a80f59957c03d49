"""Every metric, declared as data, and their values for sets of texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.collapse.diversity.bleu import self_bleu
from analysis.collapse.diversity.encoders import TFIDF, Encoded, encode
from analysis.collapse.diversity.ngrams import EAD_LONGEST, REPETITION_N, Array, distinct, ead, grams, repetition
from analysis.collapse.diversity.rouge import rouge_l
from analysis.collapse.diversity.similarity import classes, clusters, cosines, dominance, mean_distance, vendi
from analysis.collapse.diversity.words import Codes, Corpus

# Instructions that are as alike as this count as the same in Self-Instruct (Wang et al. 2022, arXiv 2212.10560).
LEAST_ROUGE = 0.7
ENTROPY = "entropy"


@dataclass(frozen=True)
class Metric:
    """A metric of a set of texts.

    Attributes
    ----------
    title
        Its name in words.
    definition
        What it is.
    diverse
        1: higher is more diverse; −1: lower is; 0: it says nothing of diversity by itself.
    pairs
        Whether it compares texts, so that it needs two.
    encoded
        Whether it depends on the encoder.
    """

    title: str
    definition: str
    diverse: int
    pairs: bool = False
    encoded: bool = False


METRICS = {
    "words": Metric("Length", "mean number of words of a generation", 0),
    "distinct_1": Metric("distinct-1", "distinct words over words, of the set together", 1),
    "distinct_2": Metric("distinct-2", "distinct 2-grams over 2-grams", 1),
    "distinct_3": Metric("distinct-3", "distinct 3-grams over 3-grams", 1),
    "ead": Metric(
        "EAD", "N / (V (1 − ((V − 1) / V)^C)): N distinct n-grams over those expected of C draws from V = 50,257, mean "
        "over n = 1 … 5", 1,
    ),
    "self_bleu": Metric(
        "Self-BLEU", "mean BLEU-4 of each generation against all others of the set, brevity by the closest length, no "
        "match counted as 0.1", -1, pairs=True,
    ),
    "rouge_l_diversity": Metric("ROUGE-L diversity", "1 − mean ROUGE-L F1 over pairs", 1, pairs=True),
    "embedding_diversity": Metric(
        "Embedding diversity", "mean over pairs of 1 − cosine of their embeddings", 1, pairs=True, encoded=True
    ),
    "vendi": Metric(
        "Vendi score", "exp(entropy of the eigenvalues of the cosines / k): effective number of generations", 1,
        pairs=True, encoded=True,
    ),
    "cluster_dominance": Metric(
        "Cluster dominance", "share of the set in the largest cluster of its embeddings (average linkage)", -1,
        pairs=True, encoded=True,
    ),
    "distinct_k_cosine": Metric(
        "distinct_k by cosine", "number of these clusters among the k generations", 1, pairs=True, encoded=True
    ),
    "distinct_k_rouge_l": Metric(
        "distinct_k by ROUGE-L", f"number of classes: F1 of {LEAST_ROUGE} or more makes two generations the same", 1,
        pairs=True,
    ),
    "repetition": Metric(
        "Repetition", f"share of a generation's {REPETITION_N}-grams that stood in it before, mean over the set", 0
    ),
    ENTROPY: Metric(
        "Entropy", "mean next-token entropy along the generations, in nats a token: of the base model named, else as "
        "the file gives it", 1,
    ),
}  # fmt: skip
_COUNTED = tuple(name for name in METRICS if name != ENTROPY)
_LONGEST = max(EAD_LONGEST, REPETITION_N)


@dataclass
class Measurer:
    """Texts, and the values of sets of them that were asked for; each set is measured once.

    Attributes
    ----------
    corpus, encoded
        The words of m texts, and their vectors.
    places
        (m,) where each text stands in the alphabet: sets are taken in that order, so that no order matters.
    entropies
        (m,) mean next-token entropies along the texts, by the base model they are of; NaN where there is none.
    """

    corpus: Corpus
    encoded: Encoded
    places: Codes
    entropies: Mapping[str, Array] = field(default_factory=dict)
    _known: dict[tuple[int, ...], Array] = field(default_factory=dict)

    @classmethod
    def of(cls, texts: Sequence[str], encoder: str = TFIDF, entropies: Mapping[str, Array] | None = None) -> "Measurer":
        """Prepare texts: split them into words and encode them; see `encoders.encode` for the encoders and errors."""
        corpus = Corpus.of(texts)
        places = np.unique(np.array(texts, object), return_inverse=True)[1]
        return cls(corpus, encode(corpus, texts, encoder), places, entropies or {})

    @property
    def columns(self) -> list[tuple[str, str | None]]:
        """What is measured: a metric, and for entropy the base model it is of."""
        return [*((name, None) for name in _COUNTED), *((ENTROPY, model or None) for model in self.entropies)]

    def values(self, sets: Sequence[tuple[int, ...]]) -> Array:
        """Values of sets, (sets, columns); NaN where a set has none.

        Parameters
        ----------
        sets
            Indices of the texts of each, none empty.
        """
        return np.array([self._once(one) for one in sets]).reshape(len(sets), len(self.columns))

    def _once(self, one: tuple[int, ...]) -> Array:
        key = tuple(sorted(one, key=lambda i: (self.places[i], i)))
        if key not in self._known:
            self._known[key] = self._value(key)
        return self._known[key]

    def _value(self, one: tuple[int, ...]) -> Array:
        texts = [self.corpus.texts[i] for i in one]
        lengths = np.array([len(text) for text in texts])
        found = grams(texts, _LONGEST)
        values = {
            "words": lengths.mean(),
            **{f"distinct_{n}": distinct(found[n - 1]) for n in (1, 2, 3)},
            "ead": ead(found[:EAD_LONGEST]),
            "repetition": _mean(repetition(found[REPETITION_N - 1])),
        }
        if len(one) > 1:
            f1 = rouge_l(texts)
            cosine = cosines(self.encoded.vectors[list(one)])
            codes = clusters(cosine, self.encoded.least)
            values |= {
                "self_bleu": self_bleu(found, lengths).mean(),
                "rouge_l_diversity": mean_distance(f1),
                "embedding_diversity": mean_distance(cosine),
                "vendi": vendi(cosine),
                "cluster_dominance": dominance(codes),
                "distinct_k_cosine": codes.max() + 1,
                "distinct_k_rouge_l": classes(f1, LEAST_ROUGE).max() + 1,
            }
        entropies = [_mean(x[list(one)]) for x in self.entropies.values()]
        return np.array([*(values.get(name, np.nan) for name in _COUNTED), *entropies], float)


def _mean(x: Array) -> float:
    """Mean of what is known; NaN where nothing is."""
    known = x[np.isfinite(x)]
    return float(known.mean()) if len(known) else float("nan")
