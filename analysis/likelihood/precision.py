"""How far scores in a short floating-point type are from those in float32, on a sample that is scored in both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.likelihood.measures import wide
from analysis.likelihood.request import Block
from analysis.likelihood.store import Store
from analysis.outputs import Outputs

SAMPLE_PROMPTS = 32
_COLUMNS = ("response_id", "conditional", "sum_logprob", "n_tokens", "n_bytes")


@dataclass(frozen=True)
class Precision:
    """Deviations from float32 on a sample.

    Attributes
    ----------
    status
        `ok`, or why there are no numbers.
    n_responses, mean, largest
        The sample's responses; the mean and the largest absolute deviation of their log-likelihoods, in nats.
    n_comparisons, n_turned
        The sample's comparisons; those of them in which mean_logprob no longer calls the same response more typical.
    """

    status: str
    n_responses: int = 0
    mean: float | None = None
    largest: float | None = None
    n_comparisons: int = 0
    n_turned: int = 0

    def __str__(self) -> str:
        if self.status != "ok":
            return f"was not compared with float32: {self.status}"
        mean, largest = _short(self.mean), _short(self.largest)
        return (
            f"differs from float32 by {mean} nats a response on average and {largest} at most "
            f"(on a sample of {self.n_responses:,}), which turns {self.n_turned:,} of {self.n_comparisons:,} "
            "comparisons"
        )


def _short(nats: float | None) -> str:
    """Two digits, and all of those before the point."""
    return f"{nats:,.0f}" if nats is not None and nats >= 100 else f"{nats:.2g}"


def deviation(sample: Sequence[Block], outputs: Outputs, scoring_id: str, reference_id: str) -> Precision:
    """Compare what is stored of the sample under two scorings, the second of which is in float32."""
    stores = [Store("scores", outputs, one) for one in (scoring_id, reference_id)]
    found = [_stored(sample, store) for store in stores]
    sums = [frame.loc[frame["conditional"]].set_index("response_id")["sum_logprob"] for frame in found]
    off = (sums[0] - sums[1]).abs().dropna()
    if off.empty:
        return Precision("none of the sample could be scored in both")
    measures = [wide(frame, ("mean_logprob",))["mean_logprob"] for frame in found]
    comparisons = pd.concat([block.comparisons.to_pandas() for block in sample])
    sides = [[m.reindex(comparisons[side]).to_numpy() for side in ("response_a", "response_b")] for m in measures]
    differences = np.stack([a - b for a, b in sides])
    known = differences[:, np.isfinite(differences).all(0)]
    turned = np.sign(known[0]) != np.sign(known[1])
    return Precision("ok", len(off), float(off.mean()), float(off.max()), known.shape[1], int(turned.sum()))


def _stored(sample: Sequence[Block], store: Store) -> pd.DataFrame:
    frames = [store.rows(block, _COLUMNS).to_pandas() for block in sample]
    asked = {row["response_id"] for block in sample for row in block.responses}
    found = pd.concat(frames).drop_duplicates(["response_id", "conditional"])
    kept: pd.DataFrame = found[found["response_id"].isin(asked)]
    return kept
