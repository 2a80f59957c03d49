"""Which terms of a model of responses can be had within the prompts."""

from collections.abc import Mapping

from analysis.regression import bradley_terry
from analysis.regression.inference import Array, NoEstimate
from analysis.regression.part import TYPICALITY

CONSTANT = "it is the same for all responses of every prompt"
COLLINEAR = "it is collinear with the terms before it within the prompts"


def usable_terms(columns: Mapping[str, Array]) -> tuple[list[str], dict[str, str]]:
    """The terms that can be had, typicality first, and the reasons of those that cannot.

    Parameters
    ----------
    columns
        (n,) arrays by name, less their means within the prompts.

    Raises
    ------
    NoEstimate
        If typicality is constant, or collinear with the other terms.
    """
    # Typicality comes last here: what it shares with the others is theirs.
    names = [*(name for name in columns if name != TYPICALITY), TYPICALITY]
    lost = {}
    for j, reason in bradley_terry.usable([columns[name] for name in names]).items():
        lost[names[j]] = CONSTANT if reason == bradley_terry.CONSTANT else COLLINEAR
    if TYPICALITY in lost:
        raise NoEstimate(f"typicality has no effect of its own: {lost[TYPICALITY]}")
    return [TYPICALITY, *(name for name in names[:-1] if name not in lost)], lost
