"""Packed rows → log-likelihoods, through the model's own layers and head."""

import threading
from collections.abc import Sequence
from typing import Any

import torch

from analysis.likelihood.attention import Segment, segments
from analysis.likelihood.encoding import Encoded
from analysis.likelihood.forward import HEAD_STEP, Likelihood, head_rows, likelihoods, reduce_logits
from analysis.likelihood.packing import Pack


class _Given:
    """What the layers return, when the head alone is asked: the hidden states, and nothing else."""

    def __init__(self, hidden: torch.Tensor) -> None:
        self.last_hidden_state = hidden

    def __getitem__(self, index: int) -> torch.Tensor | None:
        return self.last_hidden_state if index == 0 else None

    def __getattr__(self, name: str) -> None:
        return None


class Head:
    """The model's head on hidden states, a few rows at a time.

    The model's own `forward` is called with its layers replaced by hidden states that are there already: so whatever an
    architecture does to its logits (scaling, soft-capping, …) is done.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.layers = model, getattr(model, model.base_model_prefix)
        self._given = threading.local()
        self.rows = head_rows(model.get_output_embeddings().weight.shape[0], model.device.type)
        self._nothing = torch.zeros((1, 1), dtype=torch.long, device=model.device)
        real = self.layers.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            hidden = getattr(self._given, "hidden", None)
            return real(*args, **kwargs) if hidden is None else _Given(hidden)

        self.layers.forward = forward

    def remove(self) -> None:
        """Leave the model as it was."""
        del self.layers.forward

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits (rows, vocabulary) of hidden states (rows, size); other threads may run the layers meanwhile."""
        self._given.hidden = hidden[None]
        try:
            made: torch.Tensor = self.model(input_ids=self._nothing, use_cache=False).logits[0]
            return made
        finally:
            self._given.hidden = None


class _Row:
    """One packed row: its tokens and positions, how attention goes, and where each predicted token is read."""

    def __init__(self, texts: Sequence[Encoded], pack: Pack) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.plan: list[Segment] = []
        self.read_at: list[int] = []
        self.targets: list[int] = []
        self.order = [i for group in pack.groups for i in group.texts]
        for group in pack.groups:
            start, n = len(self.ids), len(group.context)
            self.ids += group.context
            self.positions += range(n)
            responses = []
            for i in group.texts:
                response = texts[i].ids[n:]
                at = len(self.ids)
                self.ids += response[:-1]
                self.positions += range(n, n + len(response) - 1)
                self.read_at += [start + n - 1, *range(at, len(self.ids))]
                self.targets += response
                if len(response) > 1:
                    responses.append((at, len(self.ids)))
            self.plan.append(Segment(start, start + n, tuple(responses)))
        self.lengths = [texts[i].n_tokens for i in self.order]
        # Matrix kernels are made and kept for every number of rows they meet.
        spare = -len(self.targets) % HEAD_STEP
        self.read_at += [0] * spare
        self.targets += [0] * spare


@torch.inference_mode()
def score_pack(head: Head, texts: Sequence[Encoded], pack: Pack, entropy: bool = True) -> list[tuple[int, Likelihood]]:
    """Log-likelihoods of the texts of one pack, each with its index in `texts`.

    Parameters
    ----------
    head
        The model, whose attention must be that of `analysis.likelihood.attention`.
    texts, pack
        All texts, and the pack of some of them.
    entropy
        Whether to compute the entropy; NaN where not.
    """
    row, device = _Row(texts, pack), head.model.device
    ids, positions = (torch.tensor([found], device=device) for found in (row.ids, row.positions))
    with segments(row.plan):
        hidden = head.layers(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state[0]
    rows = hidden.index_select(0, torch.tensor(row.read_at, device=device))
    targets = torch.tensor(row.targets, device=device)
    logprob, spread = [], []
    for k in range(0, len(targets), head.rows):
        part = reduce_logits(head.logits(rows[k : k + head.rows]), targets[k : k + head.rows], entropy)
        logprob.append(part[0])
        spread.append(part[1])
    return list(zip(row.order, likelihoods(torch.cat(logprob), torch.cat(spread), row.lengths), strict=True))
