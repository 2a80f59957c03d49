"""Errors that people cause or meet: one clear sentence each, never a traceback."""


class TypicalityError(Exception):
    """Something the user or the world did. Its text is one sentence that names the thing and the remedy."""


class StudyError(TypicalityError):
    """The command line or the study file is invalid, so nothing was started (exit status 2)."""


class CellError(TypicalityError):
    """A dataset, a base model or one cell of the study failed while running (exit status 1)."""


class NetworkError(CellError):
    """The Hub could not be reached or did not deliver: it may, if asked again later."""


def one_line(error: BaseException, limit: int = 300) -> str:
    """The first line of an error's text, for quoting inside a sentence."""
    text = " ".join(str(error).strip().splitlines()[:1]) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def shown(value: object, limit: int = 60) -> str:
    """A value of the data, for quoting inside a sentence."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
