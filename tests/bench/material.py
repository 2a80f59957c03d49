"""What the benchmark of scoring measures on: prompts with responses, random-weight models, and the least work."""

import gzip
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

HH = Path(__file__).parents[3] / "shared/hub/datasets/Anthropic/hh-rlhf/harmless-base/test.jsonl.gz"
SHAPES: dict[str, dict[str, Any]] = {
    "15m": {
        "hidden_size": 288, "num_hidden_layers": 6, "num_attention_heads": 6, "num_key_value_heads": 6,
        "intermediate_size": 768, "vocab_size": 32_000,
    },
    "135m": {
        "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
        "intermediate_size": 1536, "vocab_size": 49_152,
    },
}  # fmt: skip
# A prompt and its responses.
Prompt = tuple[str, list[str]]


def hh_pairs(n: int) -> list[Prompt]:
    """Pairs of hh-rlhf, chosen by a seed; made-up ones of like lengths where it is not there."""
    dice = random.Random(0)
    if not HH.is_file():
        return [_made_up(dice) for _ in range(n)]
    with gzip.open(HH, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    dice.shuffle(rows)
    found: list[Prompt] = []
    for row in rows:
        parts = [row[side].rpartition("\n\nAssistant:") for side in ("chosen", "rejected")]
        prompts = {head + mark for head, mark, _ in parts}
        if len(prompts) == 1 and all(tail.strip() for _, _, tail in parts):
            found.append((prompts.pop(), [tail for _, _, tail in parts]))
    return found[:n]


def _made_up(dice: random.Random) -> Prompt:
    def text(k: int) -> str:
        return " ".join("".join(dice.choices("etaoinshrdlu", k=dice.randint(2, 8))) for _ in range(k))

    prompt = f"\n\nHuman: {text(dice.randint(20, 160))}\n\nAssistant:"
    return prompt, [f" {text(dice.randint(10, 90))}" for _ in "ab"]


def fours(pairs: Sequence[Prompt]) -> list[Prompt]:
    """The same prompts with four responses each: their own two, and those of the next prompt.

    Every response stands twice, so that responses are as long on average as in the pairs.
    """
    return [(prompt, [*own, *other]) for (prompt, own), (_, other) in zip(pairs, [*pairs[1:], *pairs[:1]], strict=True)]


def make_model(shape: dict[str, Any], prompts: Sequence[Prompt], folder: Path) -> None:
    """A random-weight model of a stated shape, with a byte-level BPE tokenizer of 8,000 merges learnt on the texts."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    from transformers.utils import logging

    logging.disable_progress_bar()
    backend = ByteLevelBPETokenizer()
    texts = [prompt + r for prompt, responses in prompts for r in responses]
    backend.train_from_iterator(texts, vocab_size=8000, special_tokens=["<eos>"], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend._tokenizer, eos_token="<eos>", pad_token="<eos>")
    torch.manual_seed(0)
    config = LlamaConfig(
        **shape, max_position_embeddings=8192, tie_word_embeddings=True, bos_token_id=None, eos_token_id=0
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of a prompt, and of each of its responses."""

    prompt: int
    responses: tuple[int, ...]

    @property
    def read(self) -> int:
        """Tokens of the responses that a model must read: the last one of each is only predicted."""
        return sum(k - 1 for k in self.responses)


def lengths(prompts: Sequence[Prompt], folder: Path) -> list[Lengths]:
    """How long prompts and responses are."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    made = []
    for prompt, responses in prompts:
        n = len(tokenizer(prompt).input_ids)
        made.append(Lengths(n, tuple(len(tokenizer(prompt + r).input_ids) - n for r in responses)))
    return made


def least_work(shape: dict[str, Any], sizes: Sequence[Lengths]) -> float:
    """Matrix products that scoring needs, in GFLOP: each prompt once, logits at response positions only."""
    size, layers = shape["hidden_size"], shape["num_hidden_layers"]
    grouped = size * shape["num_key_value_heads"] // shape["num_attention_heads"]
    a_token = 2 * layers * (2 * size * size + 2 * size * grouped + 3 * size * shape["intermediate_size"])
    work = 0.0
    for found in sizes:
        n = found.prompt
        work += a_token * (n + found.read) + 2 * size * shape["vocab_size"] * sum(found.responses)
        work += 4 * layers * size * (n * n / 2 + sum((k - 1) * n + (k - 1) ** 2 / 2 for k in found.responses))
    return work / 1e9


def largest_rate(dtype: torch.dtype) -> float:
    """The largest rate of a matrix product measured here, in GFLOP/s."""
    best = 0.0
    for m, k, n in ((2048, 2048, 2048), (2048, 576, 1536), (2048, 288, 768), (512, 576, 49_152)):
        a, w = torch.randn(m, k).to(dtype), torch.randn(n, k).to(dtype)
        packed = torch.ops.mkldnn._reorder_linear_weight(w, m)
        for _ in range(12):
            began = time.perf_counter()
            torch.ops.mkldnn._linear_pointwise(a, packed, None, "none", [], "")
            best = max(best, 2 * m * k * n / (time.perf_counter() - began) / 1e9)
    return best
