"""How diverse the chosen and the rejected responses are: the chapter of the report on the table `diversity`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.collapse.diversity.metrics import ENTROPY, LEAST_ROUGE, METRICS
from analysis.collapse.diversity.sets import ACROSS_INPUT, MOST_PROMPTS, PER_INPUT, TOGETHER
from analysis.collapse.diversity.sides import CHOSEN, REJECTED
from analysis.report import figures
from analysis.report.content import records
from analysis.report.figures import svg
from analysis.report.figures.diversity import SHOWN
from analysis.report.forecast import Line, Row
from analysis.report.pictures import Picture
from analysis.report.words import MISSING, count, fixed, interval, is_number, percent

COLUMNS: Line = ("Dataset", "Scope", "Metric", "Chosen", "Rejected", "Chosen − rejected", "Sets")
SCOPES = {ACROSS_INPUT: "across input", PER_INPUT: "per input"}
_HEADLINES = ("vendi", "self_bleu", "embedding_diversity")
_MUCH_LONGER = 0.05


@dataclass(frozen=True)
class Diversity:
    """The chapter: what is said of each dataset, its table, and its figure; what each metric is."""

    datasets: tuple[tuple[str, tuple[str, ...]], ...]
    columns: Line
    lines: tuple[Line, ...]
    pictures: tuple[Picture, ...]
    definitions: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Compared:
    """One metric of both sides in one scope: the rows of the table."""

    chosen: Row
    rejected: Row
    difference: Row

    @property
    def rows(self) -> tuple[Row, Row, Row]:
        """All three."""
        return self.chosen, self.rejected, self.difference

    @property
    def title(self) -> str:
        """The metric's name, with the base model for entropy."""
        model = self.chosen["base_model"]
        return METRICS[self.chosen["metric"]].title + (f" under {model}" if model else "")

    @property
    def decided(self) -> bool:
        """Whether there is an interval of the difference."""
        return is_number(self.difference["conf_low"])

    @property
    def direction(self) -> int:
        """1: the chosen are more diverse, −1: less, 0: the interval includes no difference or there is none."""
        low, high = self.difference["conf_low"], self.difference["conf_high"]
        if not self.decided or low <= 0 <= high:
            return 0
        return (1 if low > 0 else -1) * METRICS[self.chosen["metric"]].diverse


def chapter(diversity: pd.DataFrame) -> Diversity | None:
    """Make the chapter from a study's rows of `diversity`; None where there are none."""
    rows = records(diversity)
    if not rows:
        return None
    found = {
        name: _compared([r for r in rows if r["dataset"] == name])
        for name in dict.fromkeys(row["dataset"] for row in rows)
    }
    return Diversity(
        tuple((name, tuple(_told(compared))) for name, compared in found.items()),
        COLUMNS,
        tuple(_line(name, one) for name, compared in found.items() for one in _shown(compared)),
        tuple(_pictures(diversity, found)),
        tuple((METRICS[name].title, _definition(name)) for name in METRICS),
    )


def _compared(rows: Sequence[Row]) -> list[Compared]:
    """The metrics of one dataset in the order of the table."""
    at = {(r["scope"], r["metric"], r["base_model"], r["group"], r["other_group"]): r for r in rows}
    keys = dict.fromkeys((r["scope"], r["metric"], r["base_model"]) for r in rows)
    made = [
        Compared(at[(*key, CHOSEN, None)], at[(*key, REJECTED, None)], at[(*key, CHOSEN, REJECTED)]) for key in keys
    ]
    return sorted(made, key=lambda one: list(SCOPES).index(one.chosen["scope"]))


def _shown(compared: Sequence[Compared]) -> Iterator[Compared]:
    """Those of scopes in which any metric has an interval; the others are in the table on disk."""
    scopes = {row["scope"] for one in compared for row in one.rows if is_number(row["conf_low"])}
    return (one for one in compared if one.chosen["scope"] in scopes)


def _told(compared: Sequence[Compared]) -> Iterator[str]:
    for scope, words in SCOPES.items():
        mine = [one for one in compared if one.chosen["scope"] == scope]
        if any(one.decided for one in mine):
            yield from _of_scope(words.capitalize(), [one for one in mine if is_number(one.difference["estimate"])])
        elif mine:
            n_sets = max(one.difference["n_sets"] for one in mine)
            few = f" (there {'is' if n_sets == 1 else 'are'} {count(n_sets, 'set')})" if n_sets else ""
            yield f"{words.capitalize()} nothing can be said: {mine[0].difference['status']}{few}."


def _of_scope(words: str, known: Sequence[Compared]) -> Iterator[str]:
    """What is said of one scope that has differences."""
    told = [one for one in known if METRICS[one.chosen["metric"]].diverse and one.chosen["metric"] != ENTROPY]
    decided = [one for one in told if one.decided]
    less, more = (sum(one.direction == sign for one in decided) for sign in (-1, 1))
    others = len(decided) - less - more
    unsure = f"; by the other {others} the 95 % interval includes no difference" if others else ""
    yield (
        f"{words}, over {count(max(one.difference['n_sets'] for one in told), 'set')}, the chosen responses are less "
        f"diverse than the rejected by {less} of {count(len(decided), 'metric')}, and more diverse by {more}{unsure}."
    )
    by_metric = {one.chosen["metric"]: one for one in known}
    yield from (f"{_sides(by_metric[name])}." for name in _HEADLINES if name in by_metric)
    yield from _length(by_metric["words"])
    yield from (f"{_sides(one)}, in nats a token." for one in known if one.chosen["metric"] == ENTROPY)


def _sides(one: Compared) -> str:
    return (
        f"{one.title}: {fixed(one.chosen['estimate'], 3)} chosen, {fixed(one.rejected['estimate'], 3)} rejected, "
        f"difference {_number(one.difference)}"
    )


def _length(words: Compared) -> Iterator[str]:
    chosen, rejected = words.chosen["estimate"], words.rejected["estimate"]
    if is_number(chosen) and is_number(rejected) and rejected:
        change = chosen / rejected - 1
        if abs(change) > _MUCH_LONGER:
            yield (
                f"Mind the length: the chosen have {percent(abs(change), 0)} % {'more' if change > 0 else 'fewer'} "
                f"words ({fixed(chosen, 1)} against {fixed(rejected, 1)}). With more words distinct-n falls and "
                "Self-BLEU rises by themselves; EAD, embeddings and the Vendi score depend less on it."
            )


def _number(row: Row) -> str:
    if not is_number(row["estimate"]):
        return MISSING
    told = fixed(row["estimate"], 3)
    return f"{told} ({interval(row['conf_low'], row['conf_high'], 3)})" if is_number(row["conf_low"]) else told


def _line(dataset: str, one: Compared) -> Line:
    title = f"{one.title} {({1: '↑', -1: '↓'}).get(METRICS[one.chosen['metric']].diverse, '')}".strip()
    numbers = (_number(row) for row in one.rows)
    sets = max(row["n_sets"] for row in one.rows)
    return (dataset, SCOPES[one.chosen["scope"]], title, *numbers, f"{sets:,}")


def _pictures(diversity: pd.DataFrame, found: dict[str, list[Compared]]) -> Iterator[Picture]:
    drawn = [
        (name, one)
        for name, compared in found.items()
        for one in compared
        if one.chosen["metric"] in SHOWN and one.decided
    ]
    if drawn:
        title = "Diversity of the chosen less that of the rejected responses"
        yield Picture(
            "diversity",
            "Diversity",
            title,
            "Six metrics, each on its own scale; points to the side named above a panel mean that the chosen responses "
            "are the more diverse ones. Bars are 95 % intervals; the dashed line marks no difference.",
            svg(figures.diversity(diversity), title),
            COLUMNS,
            [_line(name, one) for name, one in drawn],
            3,
        )


def _definition(name: str) -> str:
    metric = METRICS[name]
    sense = {1: " Higher is more diverse.", -1: " Lower is more diverse."}.get(metric.diverse, "")
    return f"{metric.definition}.{sense}"


def method() -> str:
    """How the sides are compared, in words for the report."""
    return (
        f"Chosen are a prompt's responses that won more of their comparisons than they lost, rejected those that lost "
        f"more. Across input, prompts are taken {TOGETHER} at a time (at most {MOST_PROMPTS:,}, in an order that the "
        "seed decides), one response of each, and every metric is computed within such a set and averaged over sets. "
        "Per input, a set is the responses of one prompt on one side: pairs have one, so there is nothing to measure. "
        "Differences are on the same prompts, with as many responses of one side as of the other; intervals are "
        "bootstrap-t, drawing sets of prompts anew. Embeddings are TF-IDF vectors of words: they see words, not "
        f"meaning. Responses whose ROUGE-L F1 is {LEAST_ROUGE:g} or more count as the same to distinct_k by ROUGE-L."
    )
