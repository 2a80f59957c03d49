"""How frequent the words of a response are in the dataset's other prompts: a rival to a language model's likelihood."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.likelihood.request import blocks
from analysis.outputs import Outputs
from analysis.regression.inference import Array, Codes


def unigram(path: Path, outputs: Outputs, ids: pa.Array) -> Array:
    """Mean log frequency of the words of each response, counted over the other prompts' responses.

    log((c_w − c_wp + 1) / (N − N_p + V)): a word's count less that within the prompt, add-one smoothed over the V words
    there are (Laplace). Words are lower-case runs between white space.

    Parameters
    ----------
    path
        The file of the dataset's comparisons.
    outputs
        Where the responses are.
    ids
        (m,) the responses' ids.

    Returns
    -------
    ndarray
        (m,) nats a word; NaN for a response without words.
    """
    counts = _counts(path, outputs)
    vocabulary, totals = counts.field("values"), counts.field("counts").to_numpy().astype(float)
    made = np.full(len(ids), np.nan)
    for responses, prompts, words, rows in _words(path, outputs):
        at: Codes = pc.index_in(words, value_set=vocabulary).to_numpy(zero_copy_only=False).astype(np.int64)
        prompt = prompts[rows]
        _, inverse, here = np.unique(prompt * len(totals) + at, return_inverse=True, return_counts=True)
        own = np.bincount(prompt)[prompt]
        value = np.log(totals[at] - here[inverse] + 1) - np.log(totals.sum() - own + len(totals))
        n = np.bincount(rows, minlength=len(responses))
        with np.errstate(invalid="ignore"):
            mean = np.bincount(rows, value, len(responses)) / n
        at_ids = pc.fill_null(pc.index_in(responses, value_set=ids), -1).to_numpy(zero_copy_only=False)
        made[at_ids[at_ids >= 0]] = mean[at_ids >= 0]
    return made


def _words(path: Path, outputs: Outputs) -> Iterator[tuple[pa.Array, Codes, pa.Array, Codes]]:
    """Block by block: response ids, their prompts' codes, all of their words, and whose each word is."""
    for block in blocks(path, outputs):
        texts = pa.array([r["response"] for r in block.responses], pa.large_string())
        split = pc.utf8_split_whitespace(pc.utf8_lower(pc.utf8_trim_whitespace(texts)))
        prompts = np.unique([r["prompt_id"] for r in block.responses], return_inverse=True)[1]
        ids = pa.array([r["response_id"] for r in block.responses], pa.string())
        yield ids, prompts, pc.list_flatten(split), pc.list_parent_indices(split).to_numpy().astype(np.int64)


def _counts(path: Path, outputs: Outputs) -> pa.StructArray:
    """How often each word stands in the dataset's responses."""
    held: pa.Table | None = None
    for _, _, words, _ in _words(path, outputs):
        found = pc.value_counts(words)
        part = pa.table({"values": found.field("values"), "counts": found.field("counts")})
        whole = part if held is None else pa.concat_tables([held, part])
        held = whole.group_by("values").aggregate([("counts", "sum")]).rename_columns(["values", "counts"])
    if held is None:
        return pa.StructArray.from_arrays(
            [pa.array([], pa.large_string()), pa.array([], pa.int64())], ["values", "counts"]
        )
    columns = [held[c].combine_chunks() for c in ("values", "counts")]
    return pa.StructArray.from_arrays(columns, ["values", "counts"])
