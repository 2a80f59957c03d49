"""A deterministic sample of prompts: those with the smallest hashes, the same on every machine and in every order."""

import heapq

from analysis.ids import content_id

OUTSIDE = "outside the sample"


class Sample:
    """The `limit` prompts whose hashes with the seed are the smallest, kept up to date as prompts go by."""

    def __init__(self, limit: int | None, seed: int) -> None:
        self.limit, self.seed = limit, seed
        self._largest: list[tuple[int, str]] = []
        self._kept: set[str] = set()

    def admits(self, prompt_id: str) -> bool:
        """Whether a prompt may be in the sample, as far as can be told by now; a refusal is final."""
        if self.limit is None or prompt_id in self._kept:
            return True
        entry = (-int(content_id(str(self.seed), prompt_id), 16), prompt_id)
        if len(self._kept) < self.limit:
            heapq.heappush(self._largest, entry)
        elif entry < self._largest[0]:
            return False
        else:
            self._kept.discard(heapq.heapreplace(self._largest, entry)[1])
        self._kept.add(prompt_id)
        return True

    def holds(self, prompt_id: str) -> bool:
        """Whether a prompt is in the sample, once all have gone by."""
        return self.limit is None or prompt_id in self._kept

    @property
    def reason(self) -> str:
        """Why a prompt is left out."""
        return f"{OUTSIDE} of {self.limit:,} prompts"
