"""P values adjusted over the cells of a study: how many tests of the same kind there are."""

from pathlib import Path

import numpy as np

from analysis import tables
from analysis.regression.inference import benjamini_hochberg, holm
from analysis.regression.part import TYPICALITY

_FAMILY = ["measure", "specification", "slice"]


def adjust(work: Path) -> None:
    """Fill `p_holm` and `p_bh` in a run's unpublished estimates.

    A family is one specification in one slice under one measure, over all datasets and base models; of typicality, as
    far as there are numbers.
    """
    paths = sorted((work / "estimates").glob("*.parquet"))
    if not paths:
        return
    frame = tables.scan("estimates", paths).to_pandas()
    asked = (frame["term"] == TYPICALITY) & (frame["status"] == "ok") & frame["p_value"].notna()
    for _, family in frame[asked].groupby(_FAMILY, sort=False):
        p = family["p_value"].to_numpy(float)
        frame.loc[family.index, "p_holm"] = np.maximum(holm(p), p)
        frame.loc[family.index, "p_bh"] = np.maximum(benjamini_hochberg(p), p)
    # Each cell stays a file, so that it is a group of rows by itself in the study's.
    ends = np.cumsum([tables.n_rows(path) for path in paths])
    for path, begin, end in zip(paths, [0, *ends], ends, strict=False):
        tables.write(path, "estimates", frame.iloc[begin:end])
