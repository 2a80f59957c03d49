"""HuggingFaceH4/ultrafeedback_binarized: the best of four completions by GPT-4's overall score, and another one."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from analysis.preferences.catalogue import Entry
from analysis.preferences.records import Context, Excluded, Judgement, messages, transcript_pair


def read(rows: Iterable[Mapping[str, Any]], split: str) -> Iterator[Judgement | Excluded]:
    """Judgements of ultrafeedback_binarized, as labelled; the difference of the overall scores is the strength."""
    for i, row in enumerate(rows):
        where = f"row {i}"
        high, low = row["score_chosen"], row["score_rejected"]
        if high is None or low is None:
            yield Excluded("row", "a score is missing", where)
        elif low > high:
            yield Excluded("row", "the rejected response has the higher score", where)
        else:
            yield transcript_pair(
                where,
                messages(row["chosen"]),
                messages(row["rejected"]),
                strength=float(high - low),
                context=Context(split=split),
                sides=(
                    {"ratings": (("overall_score", float(high)),)},
                    {"ratings": (("overall_score", float(low)),)},
                ),
            )


ENTRY = Entry(
    name="ultrafeedback-binarized",
    hub="HuggingFaceH4/ultrafeedback_binarized",
    shape="pairs",
    labels="chosen, rejected; scores 1–10",
    rater="ai",
    licence="MIT",
    size="61,135 train_prefs, 2,000 test_prefs",
    citation="Cui et al. 2023, arXiv 2310.01377; Tunstall et al. 2023, arXiv 2310.16944",
    splits=("train_prefs", "test_prefs"),
    files=("data/{split}-*.parquet",),
    columns={
        "chosen": "messages",
        "rejected": "messages",
        "score_chosen": "number",
        "score_rejected": "number",
    },
    read=read,
    defects=(
        "about one pair in nine has equal scores, so that its label is arbitrary; it is kept as labelled, strength 0",
        "the rejected response is a random one of the other three",
    ),
)
