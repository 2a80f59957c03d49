"""Keeping to so many requests a minute, over all threads."""

import threading
import time


class Pace:
    """Lets a request go when its turn has come.

    Parameters
    ----------
    per_minute
        Requests a minute; None for no limit.
    """

    def __init__(self, per_minute: int | None) -> None:
        self._gap = 60 / per_minute if per_minute else 0.0
        self._next, self._lock = 0.0, threading.Lock()

    def wait(self) -> None:
        """Return when the next request may go."""
        if not self._gap:
            return
        with self._lock:
            now = time.monotonic()
            at = max(self._next, now)
            self._next = at + self._gap
        time.sleep(at - now)
