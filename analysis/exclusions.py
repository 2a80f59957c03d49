"""Counting what is left out, by reason, with a few examples each."""

from dataclasses import dataclass, field
from typing import Any

EXAMPLES = 5


@dataclass
class Tally:
    """Exclusions of one dataset at one stage (under one base model, where the reason depends on it)."""

    study: str
    dataset: str
    stage: str
    base_model: str | None = None
    _counts: dict[tuple[str, str], int] = field(default_factory=dict)
    _examples: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add(self, unit: str, reason: str, example: str, n: int = 1) -> None:
        """Count `n` more of a unit (row, response or comparison) left out for a reason."""
        key = (unit, reason)
        self._counts[key] = self._counts.get(key, 0) + n
        examples = self._examples.setdefault(key, [])
        if len(examples) < EXAMPLES:
            examples.append(example)

    def rows(self) -> list[dict[str, Any]]:
        """Rows of the table `exclusions`, the most frequent reason first."""
        return [
            {
                "study": self.study,
                "dataset": self.dataset,
                "base_model": self.base_model,
                "stage": self.stage,
                "unit": unit,
                "reason": reason,
                "n": n,
                "examples": self._examples[unit, reason],
            }
            for (unit, reason), n in sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        ]

    def summary(self) -> str:
        """The counts in words, for a message."""
        return "; ".join(f"{row['n']:,} × {row['unit']}: {row['reason']}" for row in self.rows())
