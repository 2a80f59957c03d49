"""A connection to an endpoint: paced, asked again where it was busy, each failure in one sentence.

The client is OpenAI's own. It asks again, after growing pauses or those that the endpoint names, where a request was
refused with 408, 409, 429 or 5xx or a connection broke.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from analysis.errors import CellError, NetworkError, one_line

if TYPE_CHECKING:
    from openai import OpenAI

RETRIES = 8
TIMEOUT_S = 600.0
# The client insists on a key; a server of one's own needs none.
NO_KEY = "none"


class Refused(Exception):
    """A request that the endpoint will not answer as it is, in its words."""


class NotFound(Refused):
    """A request for what the endpoint does not have: an address, or a model."""


class Connection:
    """An endpoint, and the key to it, which is read from the environment and kept nowhere else; threads may share one.

    Parameters
    ----------
    endpoint
        Its address.
    variable
        The environment variable that holds the key.
    per_minute
        Requests a minute that are allowed; None for no limit.
    kept
        What is not lost where the endpoint fails, in words.

    Raises
    ------
    CellError
        If the client is not installed, or the key cannot be one.
    """

    def __init__(self, endpoint: str, variable: str, per_minute: int | None, kept: str) -> None:
        self.endpoint, self.variable, self.kept = endpoint, variable, kept
        self._gap = 60 / per_minute if per_minute else 0.0
        self._next, self._lock = 0.0, threading.Lock()
        self.openai = _openai(endpoint, variable)

    def wait(self) -> None:
        """Return when the next request may go."""
        if not self._gap:
            return
        with self._lock:
            now = time.monotonic()
            at = max(self._next, now)
            self._next = at + self._gap
        time.sleep(at - now)

    @contextmanager
    def explained(self, broken: Callable[[str], Exception]) -> Iterator[None]:
        """Tell in one sentence what goes wrong with a request.

        Parameters
        ----------
        broken
            Makes the error to raise where an answer cannot be read, of what is wrong with it.

        Raises
        ------
        Refused
            If this request is not answered; `NotFound` if what it names is not there.
        NetworkError
            If the endpoint is busy, out of order or cannot be reached, after all tries.
        CellError
            If the key is refused.
        """
        import openai

        where = f"endpoint {self.endpoint}"
        try:
            yield
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise CellError(
                f"{where} refuses the key: put yours into the environment variable {self.variable}"
            ) from error
        except openai.NotFoundError as error:
            raise NotFound(self._words(error)) from error
        except (openai.RateLimitError, openai.InternalServerError) as error:
            raise NetworkError(
                f"{where} is busy or out of order ({self._words(error)}); run again: {self.kept}"
            ) from error
        except openai.APIStatusError as error:
            raise Refused(self._words(error)) from error
        except openai.APIConnectionError as error:
            *_, first = _behind(error)
            raise NetworkError(
                f"{where} cannot be reached ({self._hidden(first)}); run again when it is up: {self.kept}"
            ) from error
        except (openai.OpenAIError, ValueError, TypeError, AttributeError) as error:
            raise broken(f"it cannot be read ({self._hidden(error, 80)})") from error

    def _words(self, error: Any) -> str:
        """What the endpoint says was wrong."""
        body = error.body if isinstance(getattr(error, "body", None), dict) else {}
        told = body.get("message") or body.get("error") or body.get("detail") or error
        return self._hidden(told, 200)

    def _hidden(self, told: Any, most: int = 300) -> str:
        """One line of what was told without the key: it goes into tables, which may be published."""
        key, text = self.openai.api_key, str(told) or type(told).__name__
        return one_line(ValueError(text if key == NO_KEY else text.replace(key, "[the key]")), most)


def _openai(endpoint: str, variable: str) -> "OpenAI":
    try:
        from openai import OpenAI
    except ImportError as error:
        raise CellError(
            "asking an endpoint needs the client that is installed with: pip install 'typicality[endpoints]'"
        ) from error
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise CellError(f"the environment variable {variable} holds signs that no key has; put the key alone into it")
    return OpenAI(base_url=endpoint, api_key=key or NO_KEY, max_retries=RETRIES, timeout=TIMEOUT_S)


def _behind(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
