"""What generations are compared with: entropies and repetition by prompt under one base model, kept in a file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.collapse.diversity.ngrams import Array
from analysis.errors import StudyError
from analysis.likelihood.texts import DECIDES, differences
from analysis.tables import write_text

KIND, VERSION = "typicality baseline", 1
BY_PROMPT, OVERALL = "prompt", "all"


@dataclass(frozen=True)
class Level:
    """A prompt's generations: mean next-token entropy (nats), mean repetition (a share), and how many.

    None where it is not known.
    """

    entropy: float | None
    repetition: float | None
    generations: int


@dataclass(frozen=True)
class Baseline:
    """A baseline.

    Attributes
    ----------
    made_of
        What it was made of, in words.
    scoring
        All that decides an entropy but the text, as columns of `scores`.
    prompts
        By hash of the prompt.
    """

    made_of: str
    scoring: dict[str, Any]
    prompts: Mapping[str, Level]

    @classmethod
    def of(cls, made_of: str, scoring: Mapping[str, Any], prompts: Mapping[str, Level]) -> "Baseline":
        """Make one; of `scoring` what decides entropies is kept."""
        return cls(made_of, {name: scoring[name] for name in DECIDES}, prompts)

    @property
    def generations(self) -> int:
        """Of how many generations it is."""
        return sum(level.generations for level in self.prompts.values())

    def entropy_for(self, prompt: str) -> tuple[float | None, str | None]:
        """The entropy to expect of a prompt, and where it is from: the same prompt's, else all prompts' mean."""
        level = self.prompts.get(prompt)
        if level is not None and level.entropy is not None:
            return level.entropy, BY_PROMPT
        whole = mean(self.prompts, "entropy")
        return whole, None if whole is None else OVERALL

    def save(self, path: Path) -> None:
        """Write it as JSON, atomically."""
        told = {"kind": KIND, "version": VERSION, "made_of": self.made_of, "scoring": self.scoring}
        prompts = {key: asdict(level) for key, level in sorted(self.prompts.items())}
        write_text(path, json.dumps({**told, "prompts": prompts}, indent=1, ensure_ascii=False) + "\n")


def levels(prompts: Sequence[str], entropies: Array, repetitions: Array) -> dict[str, Level]:
    """What each prompt's generations are at.

    Parameters
    ----------
    prompts
        (n,) hashes of the prompts.
    entropies, repetitions
        (n,) of each generation; NaN where it has none.
    """
    members: dict[str, list[int]] = {}
    for k, prompt in enumerate(prompts):
        members.setdefault(prompt, []).append(k)
    return {
        prompt: Level(known_mean(entropies[at]), known_mean(repetitions[at]), len(at)) for prompt, at in members.items()
    }


def mean(of: Mapping[str, Level], name: str, prompts: Sequence[str] | None = None) -> float | None:
    """Mean over prompts (these, or all) of `entropy` or `repetition`; None where no prompt has it."""
    wanted = of.values() if prompts is None else [of[p] for p in prompts]
    known = [value for level in wanted if (value := getattr(level, name)) is not None]
    return float(np.mean(known)) if known else None


def known_mean(x: Array) -> float | None:
    """Mean of what is known; None where nothing is."""
    known = x[np.isfinite(x)]
    return float(known.mean()) if len(known) else None


def load(path: Path, scoring: Mapping[str, Any]) -> Baseline:
    """Read a baseline, to compare entropies with that are made in the same way.

    Parameters
    ----------
    path
        A file that `Baseline.save` wrote.
    scoring
        All that decides the entropies but the text.

    Raises
    ------
    StudyError
        If there is none, it is no baseline, or it was made in another way; the message says which.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(f"cannot read the baseline {path}: {error.strerror}") from error
    except ValueError as error:
        raise StudyError(f"{path} is no baseline; make one with --save-baseline") from error
    try:
        if told["kind"] != KIND or told["version"] != VERSION:
            raise KeyError
        prompts = {key: Level(**level) for key, level in told["prompts"].items()}
        found = Baseline(told["made_of"], dict(told["scoring"]), prompts)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise StudyError(f"{path} is no baseline of this version; make one with --save-baseline") from error
    if wrong := differences(found.scoring, dict(scoring)):
        raise StudyError(
            f"the baseline {path} cannot be compared: it was made with {'; '.join(wrong)}; make it anew with "
            "--save-baseline"
        )
    return found
