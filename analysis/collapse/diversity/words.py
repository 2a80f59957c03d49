"""Texts as codes of their words, which all metrics on words share."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.intp]
# Scripts that put no space between words: every sign is taken for a word.
_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Myanmar, Khmer
    "\u3040-\u30ff\u31f0-\u31ff"  # Hiragana, Katakana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)


def words(text: str) -> list[str]:
    """The words of a text in lower case, and every other visible sign by itself.

    A word is a run of letters, digits and the marks that belong to them; in scripts without spaces every letter is one.
    A text that is not blank has at least one.
    """
    found: list[str] = _pattern().findall(text.lower())
    return found


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    # The marks of Devanagari and others are no word characters to `re`, and would cut words in pieces.
    marks = "".join(chr(c) for c in range(0x300, 0x10000) if unicodedata.category(chr(c)).startswith("M"))
    return re.compile(rf"[{_UNSPACED}][{marks}]*|(?:[^\W{_UNSPACED}]+[{marks}]*)+|\S")


@dataclass(frozen=True)
class Corpus:
    """Texts as codes of their words.

    Attributes
    ----------
    texts
        (m,) arrays of codes into `vocabulary`, one for each text.
    vocabulary
        The different words, in the order of their first use.
    """

    texts: tuple[Codes, ...]
    vocabulary: tuple[str, ...]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Corpus":
        """Split texts into words."""
        known: dict[str, int] = {}
        coded = tuple(
            np.fromiter((known.setdefault(word, len(known)) for word in words(text)), np.intp) for text in texts
        )
        return cls(coded, tuple(known))

    def __len__(self) -> int:
        return len(self.texts)
