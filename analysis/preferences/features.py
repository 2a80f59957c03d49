"""Text statistics of a response, for the controls of the regressions."""

import re

VERSION = 1

_PATTERNS = {
    "n_headers": re.compile(r"^ {0,3}#{1,6} +\S", re.M),
    "n_list_items": re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)])\s+\S", re.M),
    "n_bold": re.compile(r"\*\*(?=\S)[^*\n]+?\*\*|__(?=\S)[^_\n]+?__"),
    "n_links": re.compile(r"https?://\S+"),
}
_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.M)


def features(text: str) -> dict[str, int]:
    """Counts over one text; see the table `features` for units.

    Words are runs of characters between white space, so a text with any visible character has at least one.
    """
    return {
        "features_version": VERSION,
        "n_words": len(text.split()),
        "n_chars": len(text),
        "n_bytes": len(text.encode("utf-8", "surrogatepass")),
        "n_lines": sum(1 for line in text.splitlines() if line.strip()),
        "n_code_blocks": (len(_FENCE.findall(text)) + 1) // 2,
        **{name: len(pattern.findall(text)) for name, pattern in _PATTERNS.items()},
    }
