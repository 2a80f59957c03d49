"""What decides a stage's result, part by part: where no part changed, neither would the result.

The parts of every stage that a run did are kept in the table `runs`, and a later run compares them with its own. They
hold content, never times or names of files: the commit of a dataset, the hash of its comparisons, the options of the
study, the version of the scorer, and for what is cheap to do again the code itself.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from analysis.hub import Origin
from analysis.ids import folder_sha256
from analysis.likelihood import SCORER_VERSION
from analysis.preferences.spec import CatalogueDataset, OwnDataset
from analysis.study import BaseModelSpec, Study

Parts = dict[str, str]

REVISION, BASE_MODEL = "revision", "base model"
_SHARED = ("ids.py", "schemas")
_READING = (*_SHARED, "preferences", "hub.py")
_FITTING = (*_SHARED, "regression", "collapse", "likelihood/measures.py", "preferences/features.py")
_MEASURING = (
    *(*_SHARED, "collapse/diversity", "preferences/sample.py"),
    *("regression/bootstrap.py", "regression/inference.py"),
)
_REPORTING = (*_SHARED, "report", "runs.py")
_SOURCES = ("*.py", "*.j2")
_FITTED_WITH = ("numpy", "scipy", "statsmodels")
_MEASURED_WITH = ("numpy", "scipy", "scikit-learn", "rapidfuzz")
_ENTROPIES = (BASE_MODEL, "scoring", "scorer")
_TOLD = {
    REVISION: "its data changed",
    "options": "its options in the study changed",
    "sample": "the seed or the limit of its sample changed",
    BASE_MODEL: "the base model's files changed",
    "scoring": "how the study has it scored changed",
    "scorer": "the scorer's version changed",
    "comparisons": "its comparisons changed",
    "stored": "some of its scores are no longer in the table",
    "estimates": "what the study estimates changed",
    "packages": "the versions of the packages that estimate changed",
    "seed": "the seed changed",
    "entropies": "the base models whose entropies are compared, or their scores, changed",
    "definition": "the study changed",
    "code": "typicality itself changed",
}


def fetching(spec: CatalogueDataset | OwnDataset, study: Study, origin: Origin) -> Parts:
    """What decides the comparisons of a dataset."""
    options = spec.model_dump(mode="json", exclude={"path", "revision", "limit", "planted_alpha"})
    return {
        REVISION: f"{origin.location}@{origin.revision}",
        "options": _hash(options),
        "sample": _hash([spec.limit, spec.limit and study.seed]),
        "code": _code(_READING),
    }


def scoring(spec: BaseModelSpec, study: Study, origin: Origin, comparisons: str) -> Parts:
    """What decides the scores of a dataset under a base model, and which are left out.

    Parameters
    ----------
    spec, study, origin
        The base model, the study, and where the base model comes from.
    comparisons
        SHA-256 of the dataset's comparisons.
    """
    return {
        "comparisons": comparisons,
        BASE_MODEL: f"{origin.location}@{origin.revision}",
        "scoring": _hash(
            [
                spec.dtype,
                spec.backend,
                spec.context_window,
                study.template,
                study.long_responses,
                study.needs_unconditional,
                study.token_logprobs,
                *([spec.endpoint, spec.tokenizer] if spec.endpoint else []),
            ]
        ),
        "scorer": str(SCORER_VERSION),
    }


def fitting(outcome: str | None, study: Study, scored: Parts) -> Parts:
    """What decides the estimates and forecasts of a cell.

    Parameters
    ----------
    outcome
        The rating that is the dataset's outcome, if one is.
    study, scored
        The study, and what decided the cell's scores.
    """
    asked = [outcome, study.measures, study.specifications, study.slices, study.margin, study.seed]
    return {
        **{name: value for name, value in scored.items() if name != "stored"},
        "estimates": _hash(asked),
        "packages": _versions(_FITTED_WITH),
        "code": _code(_FITTING),
    }


def measuring(study: Study, comparisons: str, scorings: Mapping[str, Parts | None]) -> Parts:
    """What decides the diversity of a dataset's sides.

    Parameters
    ----------
    study, comparisons
        The study, and the SHA-256 of the dataset's comparisons.
    scorings
        By label of each base model what decided the dataset's scores; None where there are none.
    """
    known = {model: parts and {name: parts[name] for name in _ENTROPIES} for model, parts in scorings.items()}
    return {
        "comparisons": comparisons,
        "entropies": _hash(known),
        "seed": str(study.seed),
        "packages": _versions(_MEASURED_WITH),
        "code": _code(_MEASURING),
    }


def reporting(study: Study) -> Parts:
    """What decides a report, beside the tables."""
    return {"definition": _hash(study.model_dump(mode="json")), "code": _code(_REPORTING)}


def reason(before: Parts | None, now: Parts) -> str | None:
    """Why a stage is to be done again, in a few words; None where all that decides its result is as it was."""
    if before is None:
        return "it has not been done before"
    changed = [name for name in now if before.get(name) != now[name]]
    return _told(changed[0], before, now) if changed else None


def _told(name: str, before: Parts, now: Parts) -> str:
    if name not in (REVISION, BASE_MODEL) or name not in before:
        return _TOLD[name]
    sides = [parts[name].rpartition("@") for parts in (before, now)]
    if sides[0][0] != sides[1][0]:
        return f"{_TOLD[name]}: {sides[0][0]} before, {sides[1][0]} now"
    return f"{_TOLD[name]}: {sides[0][2][:12]} before, {sides[1][2][:12]} now"


def _versions(names: Sequence[str]) -> str:
    return ", ".join(f"{name} {version(name)}" for name in names)


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@lru_cache
def _code(names: Sequence[str]) -> str:
    """Hash of modules and folders of this package, with the templates in them."""
    root = Path(__file__).parent
    found: list[Path] = []
    for name in names:
        path = root / name
        found += [p for kind in _SOURCES for p in path.rglob(kind)] if path.is_dir() else [path]
    return folder_sha256(found, root)
