"""Numbers and texts as the report shows them."""

import math
import re
from collections.abc import Sequence
from typing import Any

_MARKDOWN = re.compile(r"([\\`*_\[\]|~$])")
MISSING = "—"


def is_number(value: Any) -> bool:
    """Whether a value is a number that can be shown."""
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def number(value: Any, digits: int = 3) -> str:
    """A number with a true minus sign and `digits` significant ones, never in exponents of ten where it is readable."""
    if not is_number(value):
        return MISSING
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{digits - 1}e}" if decimals > 6 else f"{value:,.{decimals}f}"
    return text.replace("-", "−")


def percent(value: Any, digits: int = 1) -> str:
    """A share in per cent, without the sign."""
    return f"{100 * value:.{digits}f}".replace("-", "−") if is_number(value) else MISSING


def share(part: int, whole: int) -> str:
    """A part of a whole in per cent, with the sign."""
    return f"{percent(part / whole)} %" if whole else MISSING


def percent_interval(low: Any, high: Any, digits: int = 1) -> str:
    """An interval of shares in per cent."""
    return f"{percent(low, digits)} to {percent(high, digits)}" if is_number(low) and is_number(high) else MISSING


def interval(low: Any, high: Any, decimals: int = 2) -> str:
    """An interval with fixed decimals."""
    if not is_number(low) or not is_number(high):
        return MISSING
    return f"{fixed(low, decimals)} to {fixed(high, decimals)}"


def fixed(value: Any, decimals: int = 2) -> str:
    """A number with fixed decimals; more of them where these would show nothing but zeros."""
    if not is_number(value):
        return MISSING
    if value != 0 and abs(value) < 10 ** (1 - decimals):
        return number(value, 2)
    return f"{value:,.{decimals}f}".replace("-", "−")


def p_value(value: Any) -> str:
    """A p value; very small ones as an upper bound."""
    if not is_number(value):
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def count(n: int, what: str, many: str = "") -> str:
    """A number of things, with the plural."""
    return f"{n:,} {what if n == 1 else many or what + 's'}"


def listed(things: Sequence[str]) -> str:
    """Things in words: a, b and c."""
    return " and ".join([*([", ".join(things[:-1])] if len(things) > 1 else []), *things[-1:]])


def ended(text: str) -> str:
    """A sentence with its full stop, unless it ends otherwise."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def seconds(value: float) -> str:
    """A duration."""
    if value < 90:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 5400 else f"{value / 3600:.1f} h"


def size(n_bytes: float) -> str:
    """A size in bytes, KiB, MiB, GiB or TiB."""
    if n_bytes < 1024:
        return f"{n_bytes:,.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        n_bytes /= 1024
        # 1,023.95 and more would be shown as 1,024.0.
        if n_bytes < 1023.95:
            return f"{n_bytes:,.1f} {unit}"
    return f"{n_bytes / 1024:,.1f} TiB"


def markdown(value: Any) -> str:
    """Text that Markdown and the HTML in it show as it is: nothing in it is markup, and it stays on one line."""
    text = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", text)
