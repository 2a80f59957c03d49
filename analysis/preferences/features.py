"""Text statistics of a response, for the controls of the regressions."""

import re

VERSION = 2

_PATTERNS = {
    "n_headers": re.compile(r"^ {0,3}#{1,6} +\S", re.M),
    "n_list_items": re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)])\s+\S", re.M),
    "n_bold": re.compile(r"\*\*(?=\S)[^*\n]+?\*\*|__(?=\S)[^_\n]+?__"),
    "n_links": re.compile(r"https?://\S+"),
}
_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.M)
# Pictographs, emoticons, transport, flags, dingbats and symbols; skin tones and joiners belong to the sign before them.
_EMOJI = re.compile("[\U0001f300-\U0001f3fa\U0001f400-\U0001faff\U0001f1e6-\U0001f1ff\u2600-\u27bf]")
_REFUSAL = re.compile(
    r"\b(?:I(?:['’]m| am)(?: very| so| really)? sorry|I apologi[sz]e|my apologies|unfortunately,? I"
    r"|as an? (?:AI|artificial)|I(?:['’]m| am) (?:not able|unable|not comfortable)"
    r"|I (?:can(?:no|['’])t|can not|won['’]t|will not|must decline))\b",
    re.I,
)
_BEGINNING = 200
_RUN = 3


def features(text: str) -> dict[str, float]:
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
        "n_emoji": len(_EMOJI.findall(text)),
        "refusal": _REFUSAL.search(text[:_BEGINNING]) is not None,
        "repetition": _repetition(text),
        **{name: len(pattern.findall(text)) for name, pattern in _PATTERNS.items()},
    }


def _repetition(text: str) -> float:
    """Share of the runs of three words that stood in the text before; 0 where there is no such run."""
    words = text.lower().split()
    n = len(words) - _RUN + 1
    return 1 - len(set(zip(*(words[k:] for k in range(_RUN)), strict=False))) / n if n > 0 else 0.0
