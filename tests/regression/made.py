"""Made-up comparisons for the tests of this folder."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.regression.inference import Array, Codes


def joined(n: int = 120, n_prompts: int = 30, seed: int = 0, alpha: float = 0.8, ties: float = 0.1) -> pd.DataFrame:
    """Comparisons with their differences, as the regressions see them: several a prompt, some of them ties."""
    random = np.random.default_rng(seed)
    difference = random.normal(0, 1, n).round(3)
    difference[:3] = 0.0  # equally typical
    words = random.integers(5, 400, (n, 2)) / 100
    logit = alpha * difference + 0.3 * (np.log(words[:, 0]) - np.log(words[:, 1]))
    preference = np.where(random.random(n) < 1 / (1 + np.exp(-logit)), "a", "b").astype(object)
    preference[random.random(n) < ties] = "tie"
    return pd.DataFrame(
        {
            "comparison_id": [f"c{i:04}" for i in random.permutation(n)],
            "prompt_id": [f"p{i:03}" for i in random.integers(0, n_prompts, n)],
            "response_a": [f"r{i:05}" for i in random.permutation(n)],
            "response_b": [f"r{i + n:05}" if i % 2 else f"q{i:05}" for i in range(n)],
            "preference": preference,
            "difference": difference,
            "log_words_a": np.log(words[:, 0]),
            "log_words_b": np.log(words[:, 1]),
        }
    )


def swapped(frame: pd.DataFrame, rows: Any) -> pd.DataFrame:
    """The same comparisons, with a and b exchanged in some rows."""
    out = frame.copy()
    for column in ("response", "log_words"):
        a, b = f"{column}_a", f"{column}_b"
        out.loc[rows, a], out.loc[rows, b] = frame.loc[rows, b], frame.loc[rows, a]
    out.loc[rows, "difference"] = -frame.loc[rows, "difference"]
    out.loc[rows, "preference"] = frame.loc[rows, "preference"].map({"a": "b", "b": "a", "tie": "tie"})
    return out


def clustered_uniforms(random: np.random.Generator, clusters: Codes, correlation: float) -> Array:
    """Uniform numbers that are correlated within clusters (a Gaussian copula): each of them is exactly uniform."""
    shared = random.normal(size=clusters.max() + 1)[clusters]
    own = random.normal(size=len(clusters))
    made: Array = stats.norm.cdf(np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own)
    return made
