"""Does `bt` recover the demo's planted bias? Writes coverage.txt.

    python data/demo/coverage.py

The texts stay as they are; qualities and preferences are drawn again with each of the seeds SEEDS, and fitted with the
project's own Bradley–Terry and prompt-clustered intervals.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from generate import ALPHA, HERE, QUALITIES, SEED, Array, Labels, draw, label_rng, mean_logprobs, texts

from analysis.regression import bradley_terry
from analysis.regression.inference import Interval, t_interval, wilson

SEEDS = range(1, 201)
SLICES = ("equal_quality", "all")
OUTPUT = HERE / "coverage.txt"


@dataclass(frozen=True)
class Recovery:
    """What the seeds gave in one slice; the intervals are 95 %."""

    mean: float
    sd: float
    mean_std_error: float
    n_covered: int
    n: int


def chosen(labels: Labels, name: str) -> npt.NDArray[np.bool_]:
    """Which comparisons belong to a slice, `equal_quality` or `all`."""
    return labels.difference(labels.quality) == 0 if name == "equal_quality" else np.full(len(labels.prompt), True)


def estimate(labels: Labels, mean_logprob: Array, name: str) -> Interval:
    """Estimate of the bias in a slice by `bt`, clustered by prompt."""
    kept = chosen(labels, name)
    _, clusters = np.unique(labels.prompt[kept], return_inverse=True)
    delta = labels.difference(mean_logprob)[kept]
    fitted = bradley_terry.fit(labels.preferred_a[kept], delta[:, None], clusters)
    return t_interval(float(fitted.coefficients[0]), float(np.sqrt(fitted.covariance[0, 0])), fitted.n_clusters)


def recovery(found: list[Interval]) -> Recovery:
    """Summary over the seeds."""
    estimates = np.array([i.estimate for i in found])
    return Recovery(
        mean=float(estimates.mean()),
        sd=float(estimates.std(ddof=1)),
        mean_std_error=float(np.mean([i.std_error for i in found])),
        n_covered=sum(i.low <= ALPHA <= i.high for i in found),
        n=len(found),
    )


def data_lines(labels: Labels, mean_logprob: Array, sources: Counter[str]) -> list[str]:
    """What the committed data are."""
    delta = labels.difference(mean_logprob)
    equal = chosen(labels, "equal_quality")
    return [
        f"The committed data (seed {SEED}; simulated)",
        f"  prompts                        {len(mean_logprob):>8,}",
        f"  responses                      {mean_logprob.size:>8,}",
        f"  comparisons                    {len(delta):>8,}",
        f"  of equal quality               {int(equal.sum()):>8,}",
        f"  mean_logprob, mean             {mean_logprob.mean():>8.3f}  nats per token",
        f"  mean_logprob, SD               {mean_logprob.std():>8.3f}  nats per token",
        f"  SD of its difference           {np.sqrt(np.mean(delta**2)):>8.3f}  nats per token, √mean(Δ²)",
        f"  the same, equal quality        {np.sqrt(np.mean(delta[equal] ** 2)):>8.3f}  nats per token",
        f"  correlation with quality       {np.corrcoef(mean_logprob.ravel(), labels.quality.ravel())[0, 1]:>8.3f}",
        "  responses by register          " + ", ".join(f"{k} {v}" for k, v in sorted(sources.items())),
    ]


def recovery_lines(name: str, found: Recovery) -> list[str]:
    """One slice's result over the seeds."""
    coverage = wilson(found.n_covered, found.n)
    return [
        f"  {name}",
        f"    planted α                    {ALPHA:>8.3f}",
        f"    mean estimate                {found.mean:>8.3f}",
        f"    bias                         {found.mean - ALPHA:>+8.3f}  ± {found.sd / np.sqrt(found.n):.3f} (its SE)",
        f"    SD of the estimates          {found.sd:>8.3f}",
        f"    mean standard error          {found.mean_std_error:>8.3f}",
        f"    coverage of the 95 % interval {100 * coverage.estimate:>7.1f}  % ({found.n_covered} of {found.n};"
        f" 95 % Monte-Carlo interval {100 * coverage.low:.1f} to {100 * coverage.high:.1f})",
    ]


def main() -> None:
    """Write `coverage.txt`."""
    made = texts()
    scores = mean_logprobs(made)
    committed = draw(label_rng(SEED), scores, ALPHA)
    lines = data_lines(committed, scores, Counter(r.source for item in made for r in item.responses))
    lines += ["", f"`bt` on the committed data (planted α {ALPHA}; 95 % interval clustered by prompt)"]
    for name in SLICES:
        found = estimate(committed, scores, name)
        lines.append(f"  {name:<29}  {found.estimate:>8.3f}  [{found.low:.3f}, {found.high:.3f}]")
    redrawn = [draw(label_rng(seed), scores, ALPHA) for seed in SEEDS]
    lines += [
        "",
        f"`bt` over {len(SEEDS)} seeds, {SEEDS[0]} to {SEEDS[-1]}: the same texts, qualities and labels redrawn",
    ]
    for name in SLICES:
        lines += recovery_lines(name, recovery([estimate(labels, scores, name) for labels in redrawn]))
    lines += [
        "",
        f"Quality ({', '.join(map(str, QUALITIES))}) is left out of `bt`. Where it is equal nothing is left",
        "out, and the planted α is what `bt` estimates; over all comparisons the omitted quality pulls the estimate",
        "towards zero, although it is independent of the wording: logit coefficients are not collapsible.",
    ]
    text = "\n".join(lines) + "\n"
    OUTPUT.write_text(text, encoding="utf-8", newline="\n")
    print(text, end="")


if __name__ == "__main__":
    main()
