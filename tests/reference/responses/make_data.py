"""Makes the responses that the references are computed on: `python make_data.py` writes responses.csv beside it.

120 prompts with two to eight responses each. Ratings are rounded to five levels, with ties; orders have some ties; both
depend on typicality and quality. What is left over is correlated with typicality within each prompt, by a slope of its
own, so that clustering matters.
"""

from pathlib import Path

import numpy as np
import pandas as pd


def make(seed: int = 11, n_prompts: int = 120) -> pd.DataFrame:
    """The responses."""
    random = np.random.default_rng(seed)
    prompt = np.repeat(np.arange(n_prompts), random.integers(2, 9, n_prompts))
    n = len(prompt)
    logprob = (random.normal(-2.5, 0.7, n) + 0.5 * random.normal(size=n_prompts)[prompt]).round(4)
    quality = random.integers(0, 5, n)
    slope = 0.8 + 0.6 * random.normal(size=n_prompts)[prompt]
    value = slope * (logprob + 2.5) + 0.4 * quality + random.gumbel(size=n)
    level = 0.7 * random.normal(size=n_prompts)[prompt]
    rating = np.digitize(value + level, [-0.5, 0.8, 1.6, 2.8])
    # Neighbours are tied where they are close; places are counted from the best.
    place = pd.Series(-np.round(value * 2)).groupby(prompt).rank(method="dense").astype(int).to_numpy()
    return pd.DataFrame({"prompt": prompt, "logprob": logprob, "quality": quality, "rating": rating, "place": place})


if __name__ == "__main__":
    make().to_csv(Path(__file__).with_name("responses.csv"), index=False)
