"""Makes the graded comparisons that `strengths.R` is given: `python make_strengths.py` writes strengths.csv beside it.

700 comparisons of 150 prompts: a signed strength of −3 … 3 (above zero where a is preferred, 0 a tie), of unequal
frequency, that depends on typicality and length, and on the others of its prompt.
"""

from pathlib import Path

import numpy as np
import pandas as pd


def make(seed: int = 9, n: int = 700, n_prompts: int = 150) -> pd.DataFrame:
    """The comparisons."""
    random = np.random.default_rng(seed)
    prompt = np.sort(np.r_[np.arange(n_prompts), (n_prompts * random.random(n - n_prompts) ** 1.5).astype(int)])
    columns = {}
    for side in ("a", "b"):
        columns[f"logprob_{side}"] = random.normal(-2.5, 0.7, n).round(4)
        columns[f"words_{side}"] = random.integers(5, 400, n)
    # A part of the difference is the prompt's own, as that of the judgements is.
    columns["logprob_a"] = (columns["logprob_a"] + 0.5 * random.normal(size=n_prompts)[prompt]).round(4)
    latent = 0.6 * (columns["logprob_a"] - columns["logprob_b"])
    latent += 0.25 * np.log(columns["words_a"] / columns["words_b"])
    latent += 0.8 * random.normal(size=n_prompts)[prompt] + random.logistic(size=n)
    strength = np.digitize(latent, [-2.4, -1.5, -0.4, 0.4, 1.5, 2.4]) - 3
    return pd.DataFrame({"prompt": prompt, "strength": strength, **columns})


if __name__ == "__main__":
    make().to_csv(Path(__file__).with_name("strengths.csv"), index=False)
