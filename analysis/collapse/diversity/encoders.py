"""Encoders: texts → vectors of length one. TF-IDF and hashed words need no model and no network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis import hub
from analysis.collapse.diversity.words import Corpus
from analysis.errors import CellError, StudyError, one_line
from analysis.ids import folder_sha256

TFIDF, HASHING = "tfidf", "hashing"
HASHED = 2**18
# Cosines of word counts are lower than those of trained encoders at the same likeness of texts.
LEAST_WORDS, LEAST_TRAINED = 0.5, 0.8
_FILES = ("*.json", "*.txt", "*.safetensors", "*.model", "**/*.json", "**/*.safetensors")


@dataclass(frozen=True)
class Encoded:
    """Texts as vectors.

    Attributes
    ----------
    name
        Which encoder, with the commit of one from the Hub, and how many texts it cut.
    vectors
        (m, d) of length one each, a numpy array or a sparse matrix.
    least
        The cosine from which on texts belong together.
    """

    name: str
    vectors: Any
    least: float


def encode(corpus: Corpus, texts: Sequence[str], encoder: str = TFIDF) -> Encoded:
    """Encode texts.

    Parameters
    ----------
    corpus
        The words of the texts; TF-IDF weighs a word by how few of all of them hold it.
    texts
        The texts themselves, for an encoder that reads them.
    encoder
        `tfidf` (1 + log counts, weighted by inverse document frequency), `hashing` (1 + log counts of words hashed to
        2¹⁸ columns: nothing depends on the other texts), or a model of sentence-transformers: a Hub id, with
        `@revision` if wanted, or a folder.

    Raises
    ------
    StudyError
        If sentence-transformers is not installed.
    CellError
        If the model cannot be had, or is none of it.
    """
    if encoder in (TFIDF, HASHING):
        return Encoded(encoder, _counted(corpus, encoder), LEAST_WORDS)
    return _trained(texts, encoder)


def _counted(corpus: Corpus, encoder: str) -> Any:
    from scipy import sparse
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
    from sklearn.preprocessing import normalize

    ends = np.cumsum([0, *(len(text) for text in corpus.texts)])
    columns = np.concatenate([*corpus.texts, np.zeros(0, np.intp)])
    shape = len(corpus), len(corpus.vocabulary)
    counts = sparse.csr_matrix((np.ones(len(columns)), columns, ends), shape)
    counts.sum_duplicates()
    if not len(columns):
        return counts
    if encoder == TFIDF:
        return TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    hashing = HashingVectorizer(n_features=HASHED, analyzer=_itself, alternate_sign=False, norm=None)
    counts.data = 1 + np.log(counts.data)
    return normalize(counts @ hashing.transform(corpus.vocabulary))


def _itself(word: str) -> list[str]:
    return [word]


def _trained(texts: Sequence[str], encoder: str) -> Encoded:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise StudyError(
            f"the encoder {encoder} needs sentence-transformers, which is not installed: pip install "
            f"'typicality[encoders]', or take --encoder {TFIDF} or {HASHING}"
        ) from error
    folder, name = _located(encoder)
    try:
        model = SentenceTransformer(
            str(folder), device="cpu", trust_remote_code=False, local_files_only=True,
            model_kwargs={"use_safetensors": True},
        )  # fmt: skip
        vectors = model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True)
        cut = _cut(model, texts)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise CellError(
            f"{encoder} cannot be loaded as an encoder of sentence-transformers: {one_line(error)}"
        ) from error
    return Encoded(f"{name}{cut}", np.asarray(vectors, np.float64), LEAST_TRAINED)


def _cut(model: Any, texts: Sequence[str]) -> str:
    """How many texts are longer than what the model reads, in words for its name; empty where none is."""
    longest = model.max_seq_length
    if not longest or not texts:
        return ""
    n = sum(len(ids) > longest for ids in model.tokenizer(list(texts))["input_ids"])
    return f" ({n:,} of {len(texts):,} texts cut to {longest} tokens)" if n else ""


def _located(encoder: str) -> tuple[Path, str]:
    """The folder of a model, and its name with the commit."""
    folder = Path(encoder)
    if folder.is_dir():
        _refuse_code(folder)
        files = (path for path in folder.rglob("*") if path.is_file())
        return folder, f"{folder.resolve().name}@{folder_sha256(files, folder)}"
    name, _, revision = encoder.partition("@")
    commit = hub.resolve("model", name, revision or "main").commit
    # Code is not among the files that are pulled.
    return hub.pull("model", name, commit, _FILES)[0], f"{name}@{commit}"


def _refuse_code(folder: Path) -> None:
    """Raise CellError where a folder brings modules of its own, which would be run."""
    if code := next(folder.rglob("*.py"), None):
        raise CellError(f"{folder} brings code of its own ({code.relative_to(folder)}), which is not run")
