"""Makes the comparisons that the references are computed on: `python make_data.py` writes comparisons.csv beside it.

600 comparisons of 150 prompts by 40 annotators; the labels depend on typicality, length, quality and the order, and on
each other within a prompt.
"""

from pathlib import Path

import numpy as np
import pandas as pd


def make(seed: int = 5, n: int = 600, n_prompts: int = 150, n_annotators: int = 40) -> pd.DataFrame:
    """The comparisons."""
    random = np.random.default_rng(seed)
    prompt = np.sort(np.r_[np.arange(n_prompts), (n_prompts * random.random(n - n_prompts) ** 1.5).astype(int)])
    annotator = random.integers(0, n_annotators, n)
    columns = {}
    for side in ("a", "b"):
        columns[f"logprob_{side}"] = (random.normal(-2.5, 0.7, n) + 0.5 * random.normal(size=n_prompts)[prompt]).round(
            4
        )
        columns[f"words_{side}"] = random.integers(5, 400, n)
        columns[f"quality_{side}"] = random.integers(0, 5, n)
    delta = columns["logprob_a"] - columns["logprob_b"]
    logit = 0.6 * delta + 0.25 * np.log(columns["words_a"] / columns["words_b"])
    logit += 0.35 * (columns["quality_a"] - columns["quality_b"]) + 0.15
    logit += 0.8 * random.normal(size=n_prompts)[prompt] + 0.5 * random.normal(size=n_annotators)[annotator] * delta
    preferred = np.where(random.random(n) < 1 / (1 + np.exp(-logit)), "a", "b")
    return pd.DataFrame({"prompt": prompt, "annotator": annotator, "preferred": preferred, **columns})


if __name__ == "__main__":
    make().to_csv(Path(__file__).with_name("comparisons.csv"), index=False)
