"""One scorer in a process of its own: it loads its model, then scores all responses each time it is told to.

    python -m tests.bench.scorers NAME MODEL_FOLDER DTYPE PROMPTS.json BATCH

Text goes in, conditional sums come out: each scorer's own tokenising is timed with it. Reads lines from standard input;
answers each with a line of JSON: seconds, largest resident memory and, where the scorer tells, tokens that the model
read. `sums` instead of `go` answers with the sums of all responses, too, in their order.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from tests.bench.material import Prompt

Scorer = Callable[[Sequence[Prompt]], list[float]]


def load(folder: str, dtype: str) -> Any:
    """A model, ready to score."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval().requires_grad_(False)


class Ours:
    """This project's scorer: tokens by offsets, packed rows of at most `budget` tokens."""

    def __init__(self, model: Any, folder: str, budget: int, entropy: bool) -> None:
        from transformers import AutoTokenizer

        from analysis.likelihood.encoding import Encoder
        from analysis.likelihood.scorer import Scorer as Packed

        self.encoder = Encoder(AutoTokenizer.from_pretrained(folder), None, "exclude", chat=False)
        self.scorer, self.entropy, self.tokens_read = Packed(model, budget), entropy, 0
        if self.scorer.why_padded:
            raise SystemExit(f"not packed: {self.scorer.why_padded}")

    def __call__(self, prompts: Sequence[Prompt]) -> list[float]:
        """Sums of all responses."""
        from analysis.likelihood.encoding import Encoded

        prefixes = [prompt for prompt, responses in prompts for _ in responses]
        texts = self.encoder.encode(prefixes, [r for _, responses in prompts for r in responses])
        made = [t for t in texts if isinstance(t, Encoded)]
        if len(made) < len(texts):
            raise SystemExit("a response could not be scored")
        batches = self.scorer.batches(made)
        self.tokens_read = sum(batch.n_tokens for batch in batches)
        sums = [0.0] * len(made)
        for part in self.scorer.score_all(made, batches, self.entropy):
            for i, found in part:
                sums[i] = found.sum_logprob
        return sums


def ours(folder: str, dtype: str, batch: int) -> Scorer:
    """Conditional sums only, as the others give."""
    return Ours(load(folder, dtype), folder, batch, entropy=False)


def ours_with_entropy(folder: str, dtype: str, batch: int) -> Scorer:
    """The same, and the entropies."""
    return Ours(load(folder, dtype), folder, batch, entropy=True)


def lm_eval(folder: str, dtype: str, batch: int) -> Scorer:
    """lm-evaluation-harness: `HFLM.loglikelihood`."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=folder, device="cpu", dtype=dtype, batch_size=batch, max_length=8192)

    def score(prompts: Sequence[Prompt]) -> list[float]:
        asked = [(prompt, r) for prompt, responses in prompts for r in responses]
        requests = [Instance("loglikelihood", {}, arguments, i) for i, arguments in enumerate(asked)]
        return [found[0] for found in model.loglikelihood(requests, disable_tqdm=True)]

    return score


def loop(folder: str, dtype: str, batch: int) -> Scorer:
    """A plain loop over `transformers`: one sequence at a time."""
    from transformers import AutoTokenizer

    model, tokenizer = load(folder, dtype), AutoTokenizer.from_pretrained(folder)

    @torch.inference_mode()
    def one(prompt: str, response: str) -> float:
        ids = tokenizer(prompt + response, return_tensors="pt").input_ids
        n = len(tokenizer(prompt).input_ids)
        logp = torch.log_softmax(model(input_ids=ids).logits[0, n - 1 : -1].float(), -1)
        return float(logp.gather(1, ids[0, n:, None]).double().sum())

    return lambda prompts: [one(prompt, r) for prompt, responses in prompts for r in responses]


def minicons(folder: str, dtype: str, batch: int) -> Scorer:
    """minicons: `IncrementalLMScorer.conditional_score`."""
    from minicons.scorer import IncrementalLMScorer

    model = IncrementalLMScorer(folder, "cpu", dtype=getattr(torch, dtype))

    def score(prompts: Sequence[Prompt]) -> list[float]:
        asked = [(prompt, r) for prompt, responses in prompts for r in responses]
        sums: list[float] = []
        for k in range(0, len(asked), batch):
            begun, responses = zip(*asked[k : k + batch], strict=True)
            sums += model.conditional_score(
                list(begun), list(responses), separator="", reduction=lambda x: x.sum().item()
            )
        return sums

    return score


def trl(folder: str, dtype: str, batch: int) -> Scorer:
    """TRL: the reference log-probabilities that `DPOTrainer` precomputes, `batch` pairs at a time.

    The trainer is made once; its preparing of a dataset (tokens) and its precomputing are timed. It appends EOS to
    every response, and the collator here takes that off again, so that the same tokens are summed. The reference model
    is one of its own, as that is faster than the default: its head then computes log-probabilities only.
    """
    import datasets
    from transformers import AutoTokenizer
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer

    # Otherwise a second turn could read what the first one stored.
    datasets.disable_caching()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    collate = DataCollatorForPreference(tokenizer.pad_token_id)

    def without_eos(examples: list[dict[str, Any]]) -> dict[str, Any]:
        for side in ("chosen_ids", "rejected_ids"):
            if any(e[side][-1] != tokenizer.eos_token_id for e in examples):
                raise SystemExit("a response does not end with EOS")
            examples = [e | {side: e[side][:-1]} for e in examples]
        return dict(collate(examples))

    def rows(prompts: Sequence[Prompt]) -> Any:
        return datasets.Dataset.from_list([{"prompt": p, "chosen": a, "rejected": b} for p, (a, b) in prompts])

    arguments = DPOConfig(
        output_dir=f"{folder}/trl", precompute_ref_log_probs=True, max_length=None, use_cpu=True, bf16=False,
        gradient_checkpointing=False, report_to="none",
    )  # fmt: skip
    trainer = DPOTrainer(
        load(folder, dtype), load(folder, dtype), args=arguments, train_dataset=rows([("a", [" b", " c"])]),
        data_collator=without_eos, processing_class=tokenizer,
    )  # fmt: skip

    def score(prompts: Sequence[Prompt]) -> list[float]:
        prepared = trainer._prepare_dataset(rows(prompts), tokenizer, arguments, "train")
        made = trainer._precompute_ref_logps(prepared, "train", batch)
        return [row[f"ref_{side}_logps"] for row in made for side in ("chosen", "rejected")]

    return score


SCORERS: dict[str, Callable[[str, str, int], Scorer]] = {
    "ours": ours,
    "ours-entropy": ours_with_entropy,
    "lm-eval": lm_eval,
    "loop": loop,
    "minicons": minicons,
    "trl": trl,
}


def main() -> None:
    """Answer what is asked on standard input."""
    name, folder, dtype, path, batch = sys.argv[1:]
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        prompts: list[Prompt] = [(prompt, responses) for prompt, responses in json.load(file)]
    score = SCORERS[name](folder, dtype, int(batch))
    score(prompts[:4])
    print(json.dumps({"ready": name}), flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        sums = score(prompts)
        told: dict[str, Any] = {"seconds": time.perf_counter() - began}
        told["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        told["tokens_read"] = getattr(score, "tokens_read", None)
        if line.strip() == "sums":
            told["sums"] = sums
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
