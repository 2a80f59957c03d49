"""Metrics that count n-grams: distinct-n, its expectation-adjusted form, and repetition within a text."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.collapse.diversity.words import Codes

Array = npt.NDArray[np.float64]
# The size of GPT-2's vocabulary.
EAD_VOCABULARY = 50_257
EAD_LONGEST = 5
REPETITION_N = 4


@dataclass(frozen=True)
class Grams:
    """The n-grams of a set of texts, each where it stands.

    Attributes
    ----------
    codes
        (m,) which n-gram it is, 0 … `n_distinct` − 1.
    owners
        (m,) which text it stands in, 0 … `n_texts` − 1, rising.
    n_distinct, n_texts
        How many different n-grams and how many texts there are.
    """

    codes: Codes
    owners: Codes
    n_distinct: int
    n_texts: int

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def pairs(self) -> tuple[Codes, Codes, Codes]:
        """(p,) each: an n-gram, a text that holds it, and how often it does; by n-gram, then by text."""
        keys, counts = np.unique(self.codes * self.n_texts + self.owners, return_counts=True)
        return keys // self.n_texts, keys % self.n_texts, counts.astype(np.intp)


def grams(texts: Sequence[Codes], longest: int) -> list[Grams]:
    """The n-grams of n = 1 … `longest` of a set of texts.

    Parameters
    ----------
    texts
        Codes of the words of each.
    longest
        The longest n.
    """
    owners = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    known, singles = np.unique(np.concatenate([*texts, np.zeros(0, np.intp)]), return_inverse=True)
    made = [Grams(singles, owners, len(known), len(texts))]
    at, codes = np.arange(len(singles)), singles
    for n in range(2, longest + 1):
        # An n-gram is an (n − 1)-gram and the word after it, where both stand in one text.
        keep = at + n - 1 < len(singles)
        keep[keep] = owners[at[keep] + n - 1] == owners[at[keep]]
        at, codes = at[keep], codes[keep]
        found, codes = np.unique(codes * len(known) + singles[at + n - 1], return_inverse=True)
        made.append(Grams(codes, owners[at], len(found), len(texts)))
    return made


def distinct(found: Grams) -> float:
    """Distinct n-grams over n-grams (Li et al. 2016, arXiv 1510.03055), of all texts together; NaN where none is."""
    return found.n_distinct / len(found) if len(found) else float("nan")


def ead(found: Sequence[Grams], vocabulary: int = EAD_VOCABULARY) -> float:
    """Expectation-adjusted distinct n-grams: the mean over n of N / (V (1 − ((V − 1) / V)^C)).

    N and C count distinct and all n-grams, and V is the vocabulary's size (Liu et al. 2022, arXiv 2202.13587; the mean
    over n = 1 … 5 as Kirk et al. 2023, arXiv 2310.06452). The expectation is of C draws from V equally likely ones, so
    of n above 1 it may exceed 1. NaN where there is no n-gram at all.

    Parameters
    ----------
    found
        The n-grams of n = 1, 2, …
    vocabulary
        V.
    """
    known = [one for one in found if len(one)]
    if not known:
        return float("nan")
    expected = [-vocabulary * np.expm1(len(one) * np.log1p(-1 / vocabulary)) for one in known]
    return float(np.mean([one.n_distinct / e for one, e in zip(known, expected, strict=True)]))


def repetition(found: Grams) -> Array:
    """Share of each text's n-grams that stood in it before, (n_texts,); NaN for a text shorter than n words."""
    _, owners, _ = found.pairs
    total = np.bincount(found.owners, minlength=found.n_texts).astype(float)
    different = np.bincount(owners, minlength=found.n_texts)
    with np.errstate(invalid="ignore"):
        made: Array = 1 - different / np.where(total > 0, total, np.nan)
    return made
