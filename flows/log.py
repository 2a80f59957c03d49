"""One structured line for each stage of a run: in `log.jsonl` of the output folder, and in Prefect's log of the run."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from typing import Any

from analysis.outputs import Outputs
from flows.environment import LOGGER

NAME = "log.jsonl"
_BYTES = 4_000_000

_logger = logging.getLogger(LOGGER)


class _Lines(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """A line that cannot be written, on a full disk for one, costs no run."""


@contextmanager
def written(outputs: Outputs) -> Iterator[None]:
    """Write the lines to the output folder, too; whoever calls holds the folder. The file before is kept beside."""
    handler = _Lines(outputs.root / NAME, maxBytes=_BYTES, backupCount=1, encoding="utf-8", delay=True)
    _logger.addHandler(handler)
    level, _logger.level = _logger.level, logging.INFO
    try:
        yield
    finally:
        _logger.setLevel(level)
        _logger.removeHandler(handler)
        handler.close()


def line(event: str, **facts: Any) -> None:
    """Log one event, such as the end of a stage, as one line of JSON; facts that are empty are left out."""
    told = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
    told |= {name: fact for name, fact in facts.items() if fact not in ("", None)}
    _logger.info(json.dumps(told, ensure_ascii=False))
