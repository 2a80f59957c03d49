"""ROUGE-L between all texts of a set."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from analysis.collapse.diversity.ngrams import Array
from analysis.collapse.diversity.words import Codes

_SURROGATES = 0xD800, 0x800
_MOST = 0x110000 - _SURROGATES[1]


def rouge_l(texts: Sequence[Codes]) -> Array:
    """ROUGE-L F1 of all pairs of texts (Lin 2004): twice the longest common subsequence of words over both lengths.

    Parameters
    ----------
    texts
        Codes of the words of each of k texts.

    Returns
    -------
    numpy.ndarray
        (k, k), symmetric, with ones on the diagonal.
    """
    from rapidfuzz.distance import Indel
    from rapidfuzz.process import cdist

    signs = _as_signs(texts)
    # 1 − (m + n − 2 L) / (m + n), L the longest common subsequence, is F1.
    made: Array = cdist(signs, signs, scorer=Indel.normalized_similarity, dtype=np.float64)
    return made


def _as_signs(texts: Sequence[Codes]) -> list[str] | list[list[int]]:
    """Texts with a sign for every word, which are compared faster than lists of numbers."""
    known, codes = np.unique(np.concatenate(texts), return_inverse=True)
    if len(known) > _MOST:
        return [text.tolist() for text in texts]
    start, n = _SURROGATES
    points = np.where(codes < start, codes, codes + n).astype("<u4").tobytes()
    ends = np.cumsum([0, *(len(text) for text in texts)]) * 4
    return [points[a:b].decode("utf-32-le") for a, b in pairwise(ends)]
