"""Every moment at which a run may be killed or meet a full disk: `python -m tests.bench.interruption`; some minutes.

Ends with status 1 where something was lost, torn, or told badly.
"""

import argparse
import multiprocessing
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot  # noqa: F401
import numpy as np
import statsmodels.api  # noqa: F401
import torch  # noqa: F401
import transformers  # noqa: F401

import tests.conftest  # noqa: F401
from tests.interruption import Scenario, Trial
from tests.tiny import tiny_model


def main() -> int:
    """Print the outcomes of all trials."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--moments", type=int, help="only so many of them, chosen at random")
    asked.add_argument("--random", type=int, default=40, help="kills at random times")
    options = asked.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="typicality-interruption-"))
    # Whatever torch computes must happen elsewhere: a process that has computed cannot be forked safely.
    making = multiprocessing.get_context("fork").Process(target=tiny_model, args=(folder / "tiny",))
    making.start()
    making.join()
    random = np.random.default_rng(2026)
    good = True
    for name in ("first run", "refresh"):
        scenario = Scenario(folder / name.replace(" ", "-"), folder / "tiny", name == "refresh")
        for mishap in ("kill", "full"):
            n = min(options.moments or scenario.moments, scenario.moments)
            chosen = sorted(1 + int(i) for i in random.choice(scenario.moments, n, replace=False))
            good &= _tell(
                f"{name}, {mishap} at {n} of {scenario.moments} moments",
                {at: scenario.trial(at, mishap) for at in chosen},
            )
        times = [float(t) for t in random.uniform(0.05, 3.0, options.random)]
        good &= _tell(f"{name}, kill -9 at {len(times)} times", {t: scenario.trial(limit=t) for t in times})
        print(scenario.complaint())
    return 0 if good else 1


def _tell(title: str, trials: Mapping[float, Trial]) -> bool:
    n_good = sum(trial.good for trial in trials.values())
    print(f"{title}: {n_good} of {len(trials)} good", flush=True)
    for trial, n in Counter(trials.values()).items():
        print(f"  {n:4d} × {trial}")
    for at, trial in trials.items():
        if not trial.good:
            print(f"  at {at}: {trial}")
    return n_good == len(trials)


if __name__ == "__main__":
    sys.exit(main())
