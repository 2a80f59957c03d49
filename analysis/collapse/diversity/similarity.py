"""Metrics on the similarities of embeddings: mean distance, Vendi score, clusters and classes."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import squareform

from analysis.collapse.diversity.ngrams import Array
from analysis.collapse.diversity.words import Codes


def cosines(vectors: Any) -> Array:
    """Cosines of all pairs of k vectors of length one, (k, k).

    Parameters
    ----------
    vectors
        (k, d), a numpy array or a sparse matrix of scipy.
    """
    made = vectors @ vectors.T
    dense: Array = np.asarray(made.toarray() if sparse.issparse(made) else made, np.float64)
    dense = np.clip((dense + dense.T) / 2, -1.0, 1.0)
    np.fill_diagonal(dense, 1.0)
    return dense


def mean_distance(similarities: Array) -> float:
    """Mean of 1 − similarity over all pairs of different texts; NaN where there are fewer than two."""
    k = len(similarities)
    return float(1 - similarities[np.triu_indices(k, 1)].mean()) if k > 1 else float("nan")


def vendi(similarities: Array) -> float:
    """Vendi score: exp(H), H the entropy of the eigenvalues of K / k (Friedman & Dieng 2022, arXiv 2210.02410).

    Parameters
    ----------
    similarities
        K: (k, k), positive semidefinite with ones on the diagonal. The score is k where all texts are orthogonal and 1
        where all are the same.
    """
    eigenvalues = np.linalg.eigvalsh(similarities / len(similarities))
    known = eigenvalues[eigenvalues > 0]
    return float(np.exp(-np.sum(known * np.log(known))))


def clusters(similarities: Array, least: float) -> Codes:
    """Clusters by average linkage, cut where the mean similarity of two falls below `least`.

    Returns
    -------
    numpy.ndarray
        (k,) codes of the clusters.
    """
    k = len(similarities)
    if k < 2:
        return np.zeros(k, np.intp)
    tree = linkage(squareform(1 - similarities, checks=False), "average")
    # Rounding must not part what lies just on the threshold.
    made: Codes = fcluster(tree, 1 - least + 1e-9, "distance").astype(np.intp) - 1
    return made


def classes(similarities: Array, least: float) -> Codes:
    """Equivalence classes: two texts are in one where a chain of pairs at least `least` similar leads between them."""
    alike: npt.NDArray[np.bool_] = similarities >= least - 1e-9
    _, made = connected_components(sparse.csr_array(alike), directed=False)
    return np.asarray(made, np.intp)


def dominance(codes: Codes) -> float:
    """Share of the texts in the largest cluster; NaN where there is no text."""
    return float(np.bincount(codes).max() / len(codes)) if len(codes) else float("nan")
