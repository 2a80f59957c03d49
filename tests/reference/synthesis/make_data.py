"""Makes what the references are computed on: `python make_data.py` writes its files beside it.

`cells.csv` and `errors.csv`: 12 datasets under one to three base models, and the covariance of their errors, correlated
within a dataset. `pairs.csv`: 500 comparisons of 120 prompts under two base models, in four domains.
"""

from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path(__file__).parent


def cells(seed: int = 5) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The estimates with three outcomes: varying at both levels, between datasets alone, and not at all."""
    random = np.random.default_rng(seed)
    sizes = [3, 2, 2, 3, 1, 2, 3, 2, 1, 2, 2, 3]
    dataset = np.repeat(np.arange(len(sizes)), sizes)
    k = len(dataset)
    errors = np.zeros((k, k))
    for d in range(len(sizes)):
        at = np.flatnonzero(dataset == d)
        spread = random.uniform(0.04, 0.14) * random.uniform(0.9, 1.1, len(at))
        correlation = random.uniform(0.4, 0.85)
        errors[np.ix_(at, at)] = np.outer(spread, spread) * (correlation + (1 - correlation) * np.eye(len(at)))
    rater = np.where(np.arange(len(sizes)) % 3 == 0, "ai", "human")[dataset]
    noise = np.linalg.cholesky(errors) @ random.normal(size=k)
    between, within = random.normal(0, 0.12, len(sizes))[dataset], random.normal(0, 0.06, k)
    frame = pd.DataFrame(
        {
            "dataset": [f"d{d:02}" for d in dataset],
            "base_model": [f"m{j}" for size in sizes for j in range(size)],
            "rater": rater,
            "both": (0.3 + 0.1 * (rater == "ai") + between + within + noise).round(6),
            "between": (0.3 + between + 0.3 * noise).round(6),
            "neither": (0.3 + 0.5 * noise).round(6),
        }
    )
    return frame, pd.DataFrame(errors.round(10))


def pairs(seed: int = 4, n: int = 500, n_prompts: int = 120) -> pd.DataFrame:
    """Comparisons; the two base models' differences are correlated, and α differs between domains."""
    random = np.random.default_rng(seed)
    prompt = np.sort(np.r_[np.arange(n_prompts), random.integers(0, n_prompts, n - n_prompts)])
    domain = np.array(["art", "code", "law", "mathematics"])[random.integers(0, 4, n)]
    common = random.normal(size=n)
    first, second = (common + 0.6 * random.normal(size=n) for _ in range(2))
    length = random.normal(size=n) + 0.3 * common
    slope = pd.Series(domain).map({"art": 0.2, "code": 0.9, "law": 0.5, "mathematics": 0.6}).to_numpy()
    logit = slope * first + 0.4 * length + 0.7 * random.normal(size=n_prompts)[prompt]
    return pd.DataFrame(
        {
            "prompt": prompt,
            "domain": domain,
            "first": first.round(4),
            "second": second.round(4),
            "length": length.round(4),
            "preferred": np.where(random.random(n) < 1 / (1 + np.exp(-logit)), "a", "b"),
        }
    )


if __name__ == "__main__":
    made, covariance = cells()
    made.to_csv(FOLDER / "cells.csv", index=False)
    covariance.to_csv(FOLDER / "errors.csv", index=False, header=False)
    pairs().to_csv(FOLDER / "pairs.csv", index=False)
