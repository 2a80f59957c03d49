"""Adjusted p values: families over datasets and base models, against statsmodels and by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from statsmodels.stats.multitest import multipletests

from analysis import tables
from analysis.regression.inference import CLUSTERED, benjamini_hochberg, holm
from analysis.regression.multiplicity import adjust
from analysis.schemas import TABLES


def row(p: float | None, **other: Any) -> dict[str, Any]:
    text = {"study": "s", "run_id": "r", "dataset": "d", "base_model": "m", "measure": "mean_logprob", "slice": "all"}
    counts = dict.fromkeys(("n_comparisons", "n_prompts", "n_likelihood_ties"), 1)
    kind = {"specification": "bt", "term": "typicality", "status": "ok", "covariance": CLUSTERED}
    return {**text, **counts, **kind, "p_value": p, **other}


def adjusted(folder: Path, cells: dict[str, list[dict[str, Any]]]) -> pd.DataFrame:
    for name, rows in cells.items():
        tables.write(folder / "estimates" / f"{name}.parquet", "estimates", rows)
    adjust(folder)
    return tables.scan("estimates", sorted((folder / "estimates").glob("*.parquet"))).to_pandas()


def test_by_hand() -> None:
    p = np.array([0.01, 0.04, 0.03])
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06])
    assert benjamini_hochberg(p) == pytest.approx([0.03, 0.04, 0.04])


def test_families_are_one_specification_slice_and_measure_over_the_cells(tmp_path: Path) -> None:
    random, cells = np.random.default_rng(0), {}
    for dataset in ("d1", "d2", "d3"):
        for model in ("m1", "m2"):
            cells[f"{dataset}--{model}"] = [
                row(
                    float(random.random() ** 4),
                    **{"dataset": dataset, "base_model": model, "specification": s, "slice": part, "measure": measure},
                )
                for s in ("rate", "bt")
                for part in ("all", "equal_quality")
                for measure in ("mean_logprob", "sum_logprob")
            ]
    found = adjusted(tmp_path, cells)
    assert len(found) == 48
    for _, family in found.groupby(["specification", "slice", "measure"]):
        assert len(family) == 6
        for column, method in (("p_holm", "holm"), ("p_bh", "fdr_bh")):
            assert family[column].to_numpy() == pytest.approx(multipletests(family["p_value"], method=method)[1])
        rounding = 1 + 1e-12
        assert (family["p_holm"] * rounding >= family["p_bh"]).all()
        assert (family["p_bh"] >= family["p_value"]).all() and (family["p_holm"] >= family["p_value"]).all()


def test_rows_that_are_no_test_of_typicality_count_for_none(tmp_path: Path) -> None:
    """Neither covariates, nor cells without a number, nor p values that are missing."""
    cells = {
        "one": [row(0.02), row(0.001, term="log_words")],
        "two": [row(0.03, dataset="e"), row(None, status="no comparison is decided", specification="rate")],
        "three": [row(None, dataset="f", status="it cannot be had")],
    }
    found = adjusted(tmp_path, cells)
    asked = found["p_value"].notna() & (found["term"] == "typicality")
    assert sorted(found[asked]["p_holm"]) == pytest.approx([0.04, 0.04])
    assert sorted(found[asked]["p_bh"]) == pytest.approx([0.03, 0.03])
    assert found[~asked][["p_holm", "p_bh"]].isna().all(axis=None)


def test_a_family_of_one_is_not_adjusted(tmp_path: Path) -> None:
    found = adjusted(tmp_path, {"one": [row(0.0123)]})
    assert found["p_holm"].item() == found["p_bh"].item() == 0.0123


def test_the_table_keeps_its_schema_and_rows(tmp_path: Path) -> None:
    rows = [row(0.5, dataset=f"d{i}") for i in range(4)]
    found = adjusted(tmp_path, {f"{i}": [r] for i, r in enumerate(rows)})
    assert found["dataset"].tolist() == ["d0", "d1", "d2", "d3"]
    paths = sorted((tmp_path / "estimates").glob("*.parquet"))
    assert [pq.read_table(path)["dataset"].to_pylist() for path in paths] == [["d0"], ["d1"], ["d2"], ["d3"]]
    assert all(pq.read_schema(path).equals(TABLES["estimates"].schema) for path in paths)


def test_nothing_was_estimated(tmp_path: Path) -> None:
    adjust(tmp_path)
    assert not list(tmp_path.iterdir())
