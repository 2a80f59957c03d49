"""A cell → `differences`: how much more typical one response of a comparison is than the other."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis import tables
from analysis.regression.cell import Cell


def differences(cell: Cell, measure: str, base_model: str) -> pa.Table:
    """Rows of `differences` under one measure; comparisons of which a response lacks it are left out.

    The difference is that of a and b as the table of comparisons has them.
    """
    delta = cell.turn * cell.difference(measure)
    known = np.isfinite(delta)
    rows, delta = cell.comparisons.filter(pa.array(known)), delta[known]
    typical = pa.array(np.select([delta > 0, delta < 0], ["a", "b"], "tie"), pa.string())
    decided = pc.and_(pc.not_equal(typical, "tie"), pc.not_equal(rows["preference"], "tie"))
    agrees = pc.if_else(decided, pc.equal(typical, rows["preference"]), pa.scalar(None, pa.bool_()))
    columns = {
        **{name: rows[name] for name in ("study", "dataset", "comparison_id", "prompt_id")},
        "base_model": pa.repeat(pa.scalar(base_model), len(delta)),
        "measure": pa.repeat(pa.scalar(measure), len(delta)),
        "difference": pa.array(delta),
        "typical": typical,
        "agrees": agrees,
    }
    schema = tables.table("differences").schema
    return pa.table({name: columns[name] for name in schema.names}).cast(schema)


def write_differences(cell: Cell, measures: Sequence[str], base_model: str, path: Path) -> None:
    """Write the differences of one cell, in the order of measures, then comparisons."""
    with tables.writer(path, "differences") as add:
        for measure in measures:
            add(differences(cell, measure, base_model))
