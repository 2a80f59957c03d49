"""What has been scored: the rows of one scoring in a shared table, looked up block by block and added to in files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds

from analysis import tables
from analysis.ids import content_id
from analysis.likelihood.request import Block, Job, Text
from analysis.outputs import Outputs

if TYPE_CHECKING:
    from analysis.likelihood.forward import Likelihood


def score_files(outputs: Outputs, scoring_id: str, name: str = "scores") -> list[Path]:
    """The files of a table that hold what was made under one scoring_id."""
    return sorted((outputs.root / name).glob(f"{scoring_id}-*.parquet"))


Key = tuple[str, bool]


class Store:
    """The rows of `scores` (or `token_logprobs`) under one scoring_id, as they were when it was made.

    Parameters
    ----------
    name
        The table.
    outputs, scoring_id
        The output folder, and which rows.
    """

    def __init__(self, name: str, outputs: Outputs, scoring_id: str) -> None:
        self.name, self.folder, self.scoring_id = name, outputs.root / name, scoring_id
        self._rows = tables.dataset(name, score_files(outputs, scoring_id, name))

    def rows(self, block: Block, columns: Sequence[str] | None = None) -> pa.Table:
        """What is stored of the block's texts, for whichever response."""
        first, last = block.prompts
        near = (ds.field("prompt_id") >= first) & (ds.field("prompt_id") <= last)
        asked = ds.field("text_id").isin(pa.array(list(block.ids), pa.string()))
        return self._rows.to_table(columns=list(columns) if columns else None, filter=near & asked)

    def adopt(self, block: Block, columns: Sequence[str] = ()) -> dict[Key, dict[str, Any]]:
        """What is stored of the block's texts: a row for each, with the `columns` asked for.

        A text that was scored for another response (of another dataset, say) is recorded for the block's, too.
        """
        found: dict[Key, dict[str, Any]] = {}
        have: dict[Key, set[str]] = {}
        for row in self.rows(block, ["text_id", "conditional", "response_id", *columns]).to_pylist():
            key = row["text_id"], row["conditional"]
            found[key] = row
            have.setdefault(key, set()).add(row["response_id"])
        lacking = {key: sorted(set(block.ids[key[0]]) - ids) for key, ids in have.items()}
        if any(lacking.values()):
            whole = {(row["text_id"], row["conditional"]): row for row in self.rows(block).to_pylist()}
            self.write([{**whole[key], "response_id": new} for key, ids in lacking.items() for new in ids])
        return found

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add rows as one file, named by what it holds."""
        if rows:
            shard = content_id(*sorted(f"{r['response_id']}{r['conditional']}" for r in rows))
            tables.write(self.folder / f"{self.scoring_id}-{shard[:16]}.parquet", self.name, rows)


def score_row(job: Job[Any], text: Text, made: "Likelihood") -> dict[str, Any]:
    """What a row of `scores` says of the text alone."""
    return {
        "text_id": job.text_id,
        "conditional": job.conditional,
        "start_token": text.start_token,
        "sum_logprob": made.sum_logprob,
        "n_tokens": text.n_tokens,
        "n_bytes": text.n_bytes,
        "mean_entropy": made.mean_entropy,
        "straddles": text.straddles,
        "truncated": text.n_prompt_tokens_cut + text.n_response_tokens_cut > 0,
        "n_prompt_tokens": text.start,
        "n_prompt_tokens_cut": text.n_prompt_tokens_cut,
        "n_response_tokens_cut": text.n_response_tokens_cut,
    }


def token_row(job: Job[Any], text: Text, made: "Likelihood") -> dict[str, Any]:
    """What a row of `token_logprobs` says of the text alone."""
    return {
        "text_id": job.text_id,
        "conditional": job.conditional,
        "token_logprobs": made.token_logprobs,
        "token_ends": text.ends,
    }
