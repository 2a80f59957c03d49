"""Questions whose answers can all be listed: which answer a response gives, coverage, and KL to a reference."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
# Share of the reference that is spread evenly, so that an answer which it lacks costs much and not everything.
SMOOTHING = 0.01
NO_ANSWER, SEVERAL = "gives no answer of the list", "gives several answers of the list"
_EDGES = re.compile(r"^[\W_]+|[\W_]+$")
IDEAL_DRAWS = 2_000


def normalised(text: str) -> str:
    """A text for comparison: compatible characters, no case, single spaces, no signs at its ends."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return _EDGES.sub("", plain)


def known_answers(answers: Sequence[Sequence[str]]) -> dict[str, int]:
    """Every name of every answer, normalised, with the answer's index.

    Raises
    ------
    ValueError
        If a name is nothing but signs, or two answers share one.
    """
    found: dict[str, int] = {}
    for index, names in enumerate(answers):
        for name in names:
            key = normalised(name)
            if not key:
                raise ValueError(f"the answer {name!r} has no letter or digit")
            if found.setdefault(key, index) != index:
                raise ValueError(f"two answers are called {name!r}")
    return found


def answer_of(response: str, known: Mapping[str, int]) -> int | str:
    """Which answer a response gives: it is one of the names, or holds the names of one answer and of no other.

    Where names overlap the longer one counts: "West Virginia" is not "Virginia".

    Returns
    -------
    int or str
        The answer's index, or why there is none.
    """
    text = normalised(response)
    if text in known:
        return known[text]
    found = {known[name] for name in _pattern(tuple(known)).findall(text)} if known else set()
    if len(found) == 1:
        return found.pop()
    return SEVERAL if found else NO_ANSWER


@lru_cache(maxsize=512)
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    longest = sorted(names, key=lambda name: (-len(name), name))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest))})(?!\w)")


def smoothed(reference: Sequence[float]) -> Array:
    """A reference in shares of which 1 % is spread evenly over all N answers."""
    q = np.asarray(reference, float)
    made: Array = (1 - SMOOTHING) * q / q.sum() + SMOOTHING / len(q)
    return made


def kl(shares: Array, reference: Array) -> float:
    """KL(shares ‖ reference) in nats; an answer that is never given adds nothing."""
    there = shares > 0
    return float(np.sum(shares[there] * np.log(shares[there] / reference[there])))


def coverage(shares: Array) -> float:
    """Share of the answers that are given at all."""
    return float((shares > 0).mean())


def ideal(reference: Array, n: int, random: np.random.Generator) -> tuple[float, float]:
    """Coverage and KL that n draws from the reference itself have on average: what no sampler can be asked to beat.

    The coverage is exact, the KL the mean of 2,000 simulated sets.
    """
    drawn = random.multinomial(n, reference, IDEAL_DRAWS) / n
    ratio = np.log(np.where(drawn > 0, drawn / reference, 1.0))
    return float((1 - (1 - reference) ** n).mean()), float((drawn * ratio).sum(1).mean())
