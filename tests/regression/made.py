"""Made-up comparisons for the tests of this folder."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from analysis import tables
from analysis.regression.cell import Cell, Mask, quality
from analysis.regression.fitting import Fitter
from analysis.regression.inference import Array, Codes
from analysis.regression.part import Part
from analysis.regression.rows import Row
from analysis.regression.specifications import LENGTH, SPECIFICATIONS, STYLE

MEASURE = "mean_logprob"
MARGIN = 0.02
VALUES = (MEASURE, "log_words", *STYLE, "fluency", "unigram", "surprisal_entropy")
RATINGS = ("correct", "polite")
_STRINGS = ("annotator", "language", "domain", "split", "source_a", "source_b")
# Leaving sources out in turn is the stage's, not one fit; and these responses have no rating that is the outcome, and
# stand in one comparison each.
FITTED = tuple(
    name
    for name, s in SPECIFICATIONS.items()
    if s.kind != "leave_one_source_out" and not s.needs_outcome and not s.needs_orders
)


def joined(n: int = 400, n_prompts: int = 80, seed: int = 0, alpha: float = 0.8, ties: float = 0.1) -> pd.DataFrame:
    """Comparisons with the values of both responses: several a prompt, some of them ties.

    Columns are those of `comparisons`, and the two sides (`_a`, `_b`) of each covariate and rating.
    """
    random = np.random.default_rng(seed)
    difference = random.normal(0, 1, n).round(3)
    difference[:3] = 0.0  # equally typical
    columns: dict[str, Any] = {}
    for side in ("a", "b"):
        columns[f"log_words_{side}"] = np.log(random.integers(5, 400, n) / 100)
        for name in STYLE:
            columns[f"{name}_{side}"] = np.log1p(random.poisson(0.7, n))
        for name in RATINGS:
            columns[f"{name}_{side}"] = random.integers(0, 4, n).astype(float)
        columns[f"source_{side}"] = random.choice(["x", "y", "z"], n, p=[0.5, 0.3, 0.2])
        columns[f"fluency_{side}"] = random.normal(-3, 1, n).round(3)
        columns[f"unigram_{side}"] = random.normal(-6, 1, n).round(3)
        columns[f"surprisal_entropy_{side}"] = -np.abs(random.normal(0, 1, n)).round(3)
    columns[f"{MEASURE}_b"] = random.normal(-2, 0.5, n).round(3)
    columns[f"{MEASURE}_a"] = columns[f"{MEASURE}_b"] + difference
    logit = alpha * difference + 0.3 * (columns["log_words_a"] - columns["log_words_b"])
    logit += 0.4 * (columns["correct_a"] - columns["correct_b"])
    preference = np.where(random.random(n) < 1 / (1 + np.exp(-logit)), "a", "b").astype(object)
    preference[random.random(n) < ties] = "tie"
    strength = np.where(preference == "tie", 0.0, np.random.default_rng([seed, 1]).integers(1, 4, n))
    return pd.DataFrame(
        {
            "comparison_id": [f"c{i:04}" for i in random.permutation(n)],
            "prompt_id": [f"p{i:03}" for i in random.integers(0, n_prompts, n)],
            "response_a": [f"r{i:05}" for i in random.permutation(n)],
            "response_b": [f"r{i + n:05}" if i % 2 else f"q{i:05}" for i in range(n)],
            "preference": preference,
            "strength": strength,
            "annotator": [f"w{i}" for i in random.integers(0, 60, n)],
            "language": random.choice(["en", "de"], n),
            **columns,
        }
    )


def swapped(frame: pd.DataFrame, rows: Any) -> pd.DataFrame:
    """The same comparisons, with a and b exchanged in some rows."""
    out = frame.copy()
    for a in frame.columns:
        if a.endswith("_a"):
            b = f"{a[:-2]}_b"
            out.loc[rows, a], out.loc[rows, b] = frame.loc[rows, b], frame.loc[rows, a]
    out.loc[rows, "preference"] = frame.loc[rows, "preference"].map({"a": "b", "b": "a", "tie": "tie"})
    return out


def comparisons_of(frame: pd.DataFrame) -> pa.Table:
    """Rows of `comparisons`, in the order of the table."""
    frame = frame.sort_values(["prompt_id", "comparison_id"], kind="stable")
    rows = []
    for row in frame.to_dict("records"):
        ratings = [{"name": q, "a": row[f"{q}_a"], "b": row[f"{q}_b"]} for q in RATINGS if f"{q}_a" in row]
        rows.append(
            {
                "study": "s",
                "dataset": "d",
                "rater": "human",
                "order_known": False,
                **{name: row[name] for name in ("prompt_id", "comparison_id", "response_a", "response_b")},
                "preference": row["preference"],
                **{name: row.get(name) for name in ("strength", *_STRINGS)},
                # A dataset's ratings may be missing in some rows.
                "quality": [q for q in ratings if not np.isnan([q["a"], q["b"]]).any()],
            }
        )
    return tables.to_arrow("comparisons", rows)


def cell_of(frame: pd.DataFrame) -> Cell:
    """The cell of such a frame; covariates that the frame lacks do not vary."""
    frame = frame.sort_values(["prompt_id", "comparison_id"], kind="stable")
    table, n = comparisons_of(frame), len(frame)
    turn = np.where(pc.less(table["response_a"], table["response_b"]).to_numpy(), 1.0, -1.0)
    values = {
        name: np.concatenate([frame[f"{name}_{side}"].to_numpy(float) for side in ("a", "b")])
        if f"{name}_a" in frame
        else np.zeros(2 * n)
        for name in VALUES
    }
    values[LENGTH[1]] = values[LENGTH[0]] ** 2
    rows, ahead = np.arange(n), turn > 0
    ratings = quality(table["quality"])
    return Cell(
        comparisons=table,
        response_ids=pa.concat_arrays([table[c].combine_chunks() for c in ("response_a", "response_b")]),
        a=np.where(ahead, rows, rows + n),
        b=np.where(ahead, rows + n, rows),
        turn=turn,
        values=values,
        quality={q: (np.where(ahead, a, b), np.where(ahead, b, a)) for q, (a, b) in ratings.items()},
    )


def part_of(frame: pd.DataFrame, name: str = "all") -> Part:
    """What the specifications are fitted to, of one slice."""
    cell = cell_of(frame)
    return Part(cell, MEASURE, cell.slice(name)[0])


def fit_rows(name: str, frame: pd.DataFrame, reason: str | None = None, seed: int = 0) -> list[Row]:
    """Rows of one specification."""
    return Fitter(part_of(frame), MARGIN, np.random.default_rng(seed)).rows(name, reason)


def bare_part(delta: Array, preferred_a: Mask, prompts: Codes) -> Part:
    """A part that has nothing but differences, labels and prompts."""
    frame = pd.DataFrame(
        {
            "comparison_id": [f"c{i:06}" for i in range(len(delta))],
            "prompt_id": [f"p{i:05}" for i in prompts],
            "response_a": [f"a{i:06}" for i in range(len(delta))],
            "response_b": [f"b{i:06}" for i in range(len(delta))],
            "preference": np.where(preferred_a, "a", "b"),
            f"{MEASURE}_a": delta,
            f"{MEASURE}_b": 0.0,
        }
    )
    return part_of(frame)


def clustered_uniforms(random: np.random.Generator, clusters: Codes, correlation: float) -> Array:
    """Uniform numbers that are correlated within clusters (a Gaussian copula): each of them is exactly uniform."""
    shared = random.normal(size=clusters.max() + 1)[clusters]
    own = random.normal(size=len(clusters))
    made: Array = stats.norm.cdf(np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own)
    return made
