"""Settings that must stand before Prefect and the Hub's clients are imported."""

import os
from pathlib import Path

INTERRUPTED = "interrupted; what was scored is kept, and the same command goes on from there"
LOGGER = "typicality"
ROOT = Path(__file__).parent.parent


def prepare(verbose: bool = False) -> None:
    """Set defaults in the environment; whatever the user has set stays.

    Prefect's own log lines and tracebacks stay out of the terminal (they are in its server all the same), its
    telemetry is off, and downloads go to `data/cache` of the source tree, unless a Hugging Face cache is configured.
    """
    defaults = {
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO" if verbose else "CRITICAL",
        "PREFECT_LOGGING_EXTRA_LOGGERS": LOGGER,
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "true",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Threads that spin while they wait slow everything several times over when another process wants the cores.
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    if not verbose:
        defaults |= {
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "TRANSFORMERS_VERBOSITY": "error",
            "DATASETS_VERBOSITY": "error",
            "HF_HUB_VERBOSITY": "error",
        }
    cache = ROOT / "data" / "cache"
    configured = {"HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE"} & os.environ.keys()
    if cache.parent.is_dir() and os.access(cache.parent, os.W_OK) and not configured:
        defaults |= {"HF_HUB_CACHE": str(cache / "hub"), "HF_DATASETS_CACHE": str(cache / "datasets")}
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
