"""Turns of R beside ours."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd


def in_r(script: str, frame: pd.DataFrame, repeats: int) -> list[dict[str, Any]]:
    """What a script of R prints as JSON, a line a turn; nothing where R is not installed."""
    if shutil.which("Rscript") is None:
        return []
    with tempfile.TemporaryDirectory() as folder:
        data, file = Path(folder) / "data.csv", Path(folder) / "peer.R"
        frame.to_csv(data, index=False)
        file.write_text(script, encoding="utf-8")
        done = subprocess.run(["Rscript", file, data, str(repeats)], capture_output=True, text=True, check=False)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
