"""Self-BLEU: how well each text of a set is predicted by the n-grams of all others, without a loop over pairs."""

from collections.abc import Sequence

import numpy as np

from analysis.collapse.diversity.ngrams import Array, Grams
from analysis.collapse.diversity.words import Codes

LONGEST = 4
# What a count of no match is taken for: Chen & Cherry (2014), method 1, as Texygen's Self-BLEU.
EPSILON = 0.1


def self_bleu(found: Sequence[Grams], lengths: Codes) -> Array:
    """BLEU-4 of each text against all others of its set (Zhu et al. 2018, arXiv 1802.01886).

    Counts are clipped by the largest count in any one other text, and the brevity penalty goes by the other text whose
    length is closest, the shorter one of two (Papineni et al. 2002). A precision without a match counts as
    0.1 / n-grams; without a common word the score is 0.

    Parameters
    ----------
    found
        The set's n-grams of n = 1 … 4.
    lengths
        (k,) words of each text.

    Returns
    -------
    numpy.ndarray
        (k,) between 0 and 1; NaN where the set has fewer than two texts.
    """
    k = len(lengths)
    if k < 2:
        return np.full(k, np.nan)
    matches = [_matches(one) for one in found[:LONGEST]]
    log_precision = np.zeros(k)
    for n, matched in enumerate(matches, 1):
        smoothed = np.where(matched > 0, matched, EPSILON)
        log_precision += np.log(smoothed / np.maximum(lengths - n + 1, 1)) / LONGEST
    made: Array = np.where(matches[0] > 0, np.exp(_log_brevity(lengths) + log_precision), 0.0)
    return made


def _matches(found: Grams) -> Array:
    """(k,) how many n-grams of each text are matched by the others.

    The largest count of an n-gram in the other texts is the largest of all for every text but the one that has it, and
    the second largest for that one.
    """
    which, owners, counts = found.pairs
    order = np.lexsort((-counts, which))
    which, owners, counts = which[order], owners[order], counts[order]
    starts = np.flatnonzero(np.diff(which, prepend=-1))
    follow = np.minimum(starts + 1, len(which) - 1)
    second = np.where((which[follow] == which[starts]) & (follow > starts), counts[follow], 0)
    matched = np.bincount(owners, counts, found.n_texts)
    matched -= np.bincount(owners[starts], counts[starts] - second, found.n_texts)
    return np.asarray(matched, np.float64)


def _log_brevity(lengths: Codes) -> Array:
    """(k,) logarithm of the brevity penalty of each text against the closest length among the others."""
    off = np.abs(lengths[:, None] - lengths) * (lengths.max() + 1) + lengths
    np.fill_diagonal(off, np.iinfo(off.dtype).max)
    closest = lengths[off.argmin(1)]
    made: Array = np.minimum(0.0, 1 - closest / lengths)
    return made
