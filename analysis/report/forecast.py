"""What training on the labels would do: the chapter of the report on the table `forecasts`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.collapse.forecasts import GENERATIONS, HEADLINE_BETA, REGIMES
from analysis.collapse.generations import EXAMPLE, Regime, shares
from analysis.collapse.sharpening import SHARPENING, TOKENS
from analysis.likelihood.measures import MEASURES
from analysis.report import figures
from analysis.report.content import records
from analysis.report.figures import svg
from analysis.report.pictures import Picture
from analysis.report.words import count, fixed, interval, is_number, listed, number, percent, percent_interval

Row = dict[str, Any]
Line = tuple[str, ...]
TYPICALITY, QUALITY, BOTH = "typicality", "quality", "both"
COLUMNS: Line = ("Dataset", "Base model", "Measure", "α from", "α", "Length", "γ", "70 : 30 becomes")
COLUMNS += ("Effective number", "Share of the mode, %")
PACE: Line = ("Dataset", "Base model", "Training", "Half-life, generations", "Mode holds 95 % after, generations")
_BETA = number(HEADLINE_BETA, 1)
_REGIMES = dict(
    zip(
        REGIMES,
        (
            "trained again and again",
            f"with {percent(REGIMES[1][0], 0)} % fresh data each time",
            "with an entropy bonus as heavy as the KL penalty",
        ),
        strict=True,
    )
)


# Fewer prompts with candidates have no average that says anything of a dataset; the table has it all the same.
FEWEST_PROMPTS = 5
_AVERAGES = [
    *("entropy", "effective_number", "effective_number_low", "effective_number_high", "effective_number_p10"),
    *("effective_number_p90", "mode_share", "mode_share_low", "mode_share_high"),
]


def telling(forecasts: pd.DataFrame) -> pd.DataFrame:
    """Rows of `forecasts` in which averages over too few prompts give way to a status that says so."""
    few = (forecasts["candidates"].notna() & (forecasts["n_prompts"] < FEWEST_PROMPTS)).to_numpy()
    said = [f"{_have(int(n))} 3 or more candidates" for n in forecasts["n_prompts"][few]]
    made = forecasts.assign(status=forecasts["status"].astype(object))
    made.loc[few, "status"] = said
    made.loc[few, _AVERAGES] = np.nan
    return made


def _have(n: int) -> str:
    return f"only {count(n, 'prompt')} {'has' if n == 1 else 'have'}"


@dataclass(frozen=True)
class Chapter:
    """The chapter: what is said of each cell, its tables of γ and of the pace, why numbers are missing, and figures."""

    cells: tuple[tuple[str, tuple[str, ...]], ...]
    columns: Line
    lines: tuple[Line, ...]
    pace: tuple[Line, ...]
    gaps: tuple[str, ...]
    pictures: tuple[Picture, ...]
    example: str


def chapter(forecasts: pd.DataFrame, measure: str) -> Chapter | None:
    """Make the chapter from rows of `forecasts`; None where there are none.

    Parameters
    ----------
    forecasts
        The study's rows.
    measure
        The headline measure.
    """
    rows = records(forecasts)
    if not rows:
        return None
    keys = list(dict.fromkeys((r["dataset"], r["base_model"]) for r in rows))
    tops = {key: Top.of(rows, *key, measure) for key in keys}
    once = [r for r in rows if _is_once(r)]
    return Chapter(
        tuple((f"{key[0]} under {key[1]}", tuple(_told(top))) for key, top in tops.items()),
        COLUMNS,
        tuple(_line(r, once) for r in once if r["candidates"] is None),
        tuple(line for key, top in tops.items() for line in _pace(key, top)),
        tuple(dict.fromkeys(_gaps(once))),
        tuple(_pictures(forecasts, measure, [top for top in tops.values() if top.known])),
        ", ".join(_split(share) for share in shares(EXAMPLE[0], Regime(EXAMPLE[1]), 5)),
    )


def sentence(rows: Sequence[Row], dataset: str, base_model: str, measure: str) -> str:
    """The forecast of one cell in one sentence; empty where it has none."""
    top = Top.of(rows, dataset, base_model, measure)
    said = []
    if top.gamma is not None:
        row = top.gamma
        length = f" at the median length of {_length(row)}" if _length(row) else ""
        said.append(
            f"raised to the power γ = {fixed(row['gamma'])} ({interval(row['gamma_low'], row['gamma_high'])}){length}"
        )
    left = top.left(TYPICALITY)
    if left is not None:
        said.append(
            f"left with {_effective(left)} effective responses of {number(left['n_candidates'], 2)} measured candidates"
        )
    if not said:
        return ""
    unsure = ""
    if top.alpha["alpha_low"] <= 0 <= top.alpha["alpha_high"]:
        unsure = "; α may be zero, and then training narrows nothing"
    return (
        f"Trained on the reward of typicality in these labels with β = {_BETA}, the base policy would be "
        f"{listed(said)} (closed form, not a training run){unsure}."
    )


@dataclass(frozen=True)
class Top:
    """A cell's forecasts under the headline measure, by the top rung of the ladder over all comparisons."""

    rows: tuple[Row, ...]

    @classmethod
    def of(cls, rows: Sequence[Row], dataset: str, base_model: str, measure: str) -> "Top":
        """Those of one cell."""
        wanted = (dataset, base_model, measure, "all")
        mine = [r for r in rows if (r["dataset"], r["base_model"], r["measure"], r["slice"]) == wanted]
        return cls(tuple(r for r in mine if r["specification"] == mine[-1]["specification"]))

    @property
    def known(self) -> bool:
        """Whether any prompt has candidates enough."""
        return self.left(TYPICALITY) is not None

    @property
    def alpha(self) -> Row:
        """A row that tells α."""
        return self.rows[0]

    @property
    def gamma(self) -> Row | None:
        """The row of γ at the headline β."""
        return next((r for r in self.rows if _is_once(r) and is_number(r["gamma"])), None)

    def left(self, kind: str) -> Row | None:
        """The row of the candidates at the headline β, by what is rewarded."""
        found = (r for r in self.rows if _is_once(r) and r["candidates"] == kind)
        return next((r for r in found if is_number(r["effective_number"])), None)

    def again(self, regime: tuple[float, float], kind: str = TYPICALITY) -> Row | None:
        """The row of the last generation at the headline β under a regime, by what is rewarded."""
        wanted = (kind, HEADLINE_BETA, GENERATIONS)
        found = (r for r in self.rows if (r["candidates"], r["beta"], r["generation"]) == wanted)
        return next((r for r in found if _regime(r) == regime and is_number(r["effective_number"])), None)


def _regime(row: Row) -> tuple[float, float]:
    return row["fresh_share"], row["entropy_bonus"]


def _is_once(row: Row) -> bool:
    """Whether a row is of one training at the headline β."""
    return bool(row["beta"] == HEADLINE_BETA and row["generation"] == 1 and _regime(row) == REGIMES[0])


def _length(row: Row) -> str:
    return next((f"{row[name]:,.4g} {name}" for name in (TOKENS, "bytes") if is_number(row[name])), "")


def _effective(row: Row) -> str:
    value, low = row["effective_number"], row["effective_number_low"]
    return f"{fixed(value)} ({interval(low, row['effective_number_high'])})" if is_number(low) else fixed(value)


def _told(top: Top) -> Iterator[str]:
    """What is said of one cell."""
    first = top.rows[0]
    if not is_number(first["alpha"]):
        yield f"No forecast: {first['status']}."
        return
    yield (
        f"α is {fixed(first['alpha'], 4)} ({interval(first['alpha_low'], first['alpha_high'], 4)}) log-odds per "
        f"{_per(first['unit'])} of {first['measure']}, from {first['specification']} over all comparisons."
    )
    yield from _gamma(top)
    yield from _candidates(top)


def _per(unit: str) -> str:
    return unit.replace("nats", "nat", 1)


def _gamma(top: Top) -> Iterator[str]:
    row, first = top.gamma, top.rows[0]
    if row is None:
        yield f"There is no γ: {SHARPENING[first['measure']].reason or first['status']}."
        return
    length = _length(row)
    sign = "−" if row["alpha"] < 0 else "+"
    filled = f"1 {sign} {fixed(abs(row['alpha']), 4)} / " + (f"({_BETA} · {length.split()[0]})" if length else _BETA)
    yield (
        f"{row['formula']} = {filled} = {fixed(row['gamma'], 3)} ({interval(row['gamma_low'], row['gamma_high'], 3)}) "
        f"at β = {_BETA}{f', with the median length of the responses, {length}' if length else ''}."
    )
    if length:
        yield (
            f"Not 1 + α / β: α is per {_per(row['unit'])}, a mean over the response, and γ is the power of the "
            f"probability of the whole response, so that would overstate γ − 1 by a factor of {length.split()[0]}."
        )
    else:
        yield "Here α is per nat of the whole response, so no length enters."


def _candidates(top: Top) -> Iterator[str]:
    left = {kind: row for kind in (TYPICALITY, QUALITY, BOTH) if (row := top.left(kind)) is not None}
    if not left:
        reason = next((r["status"] for r in top.rows if r["candidates"] and r["status"] != "ok"), "not computed")
        yield f"What is left of measured candidates cannot be told: {reason}; so there is γ only."
        return
    row = left[TYPICALITY]
    # Labels with an α below zero reward what the base model finds unlikely.
    rewarded = TYPICALITY if row["alpha"] >= 0 else "the untypical"
    yield (
        f"On {count(int(row['n_prompts']), 'prompt')} with three or more candidates ({number(row['n_candidates'], 2)} "
        f"on average), rewarding {rewarded} alone leaves an effective number of {_effective(row)}: the mode holds "
        f"{percent(row['mode_share'], 0)} % ({percent_interval(row['mode_share_low'], row['mode_share_high'], 0)} %)."
        f"{_spread(row)}"
    )
    if BOTH in left:
        quality, both = left[QUALITY], left[BOTH]
        cost = quality["effective_number"] - both["effective_number"]
        yield (
            f"Rewarding quality alone leaves {_effective(quality)}, and both together {_effective(both)}: beyond "
            f"quality, {rewarded} {'costs' if cost >= 0 else 'gives back'} {fixed(abs(cost))} effective responses."
        )


def _spread(row: Row) -> str:
    """How prompts differ, where there are enough of them for tenths."""
    if row["n_prompts"] < 10:
        return ""
    return (
        f" A tenth of the prompts keep less than {fixed(row['effective_number_p10'])}, and a tenth more than "
        f"{fixed(row['effective_number_p90'])}; each has its row in the table prompt_forecasts."
    )


def _pace(key: tuple[str, str], top: Top) -> Iterator[Line]:
    """How fast a cell's candidates narrow from generation to generation, a line for each way of training."""
    kept = [(name, top.again(regime)) for regime, name in _REGIMES.items()]
    for name, row in (*kept, ("rewarded for quality, too", top.again(REGIMES[0], BOTH))):
        if row is not None:
            yield (*key, name, _when(row, "half_life"), _when(row, "until_mode"))


def _when(row: Row, name: str) -> str:
    """A number of generations, with those at the ends of α's interval where they differ."""
    value, low, high = (_generations(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
    return value if low == high else f"{value} ({low} to {high})"


def _generations(value: Any) -> str:
    return f"{value:.0f}" if is_number(value) else f"more than {GENERATIONS}"


def _split(share: float) -> str:
    return f"{percent(share, 0)} : {percent(1 - share, 0)}"


def _line(row: Row, once: Sequence[Row]) -> Line:
    names = ("dataset", "base_model", "measure", "specification", "slice")
    wanted = [row[name] for name in names]
    left = next((r for r in once if r["candidates"] == TYPICALITY and [r[n] for n in names] == wanted), {})
    gamma = row["gamma"]
    known = is_number(left.get("effective_number"))
    return (
        *(str(value) for value in wanted[:3]),
        f"{row['specification']}, {row['slice']}",
        f"{fixed(row['alpha'])} ({interval(row['alpha_low'], row['alpha_high'])})" if is_number(row["alpha"]) else "—",
        _length(row) or "—",
        f"{fixed(gamma)} ({interval(row['gamma_low'], row['gamma_high'])})" if is_number(gamma) else "—",
        _split(shares(EXAMPLE[0], Regime(gamma), 1)[1]) if is_number(gamma) else "—",
        f"{_effective(left)} of {number(left['n_candidates'], 2)}" if known else "—",
        _mode(left) if known else "—",
    )


def _mode(row: Row) -> str:
    value, low, high = (row[name] for name in ("mode_share", "mode_share_low", "mode_share_high"))
    return f"{percent(value)} ({percent_interval(low, high)})" if is_number(low) else percent(value)


def _gaps(once: Sequence[Row]) -> Iterator[str]:
    """Why numbers of the table are missing."""
    for row in once:
        if row["status"] != "ok":
            what = "γ" if row["candidates"] is None else "effective number"
            reason = SHARPENING[row["measure"]].reason
            where = "" if row["status"] == reason else f"{row['dataset']} under {row['base_model']}, "
            yield f"{where}{row['measure']}: no {what}, because {row['status']}."


def _pictures(forecasts: pd.DataFrame, measure: str, tops: Sequence[Top]) -> Iterator[Picture]:
    if not tops:
        return
    kinds = (TYPICALITY, QUALITY, BOTH)
    rows = [r for top in tops for r in top.rows if is_number(r["effective_number"])]
    keys = ("Dataset", "Base model")
    yield _picture(
        "forecast-beta",
        "Narrowing",
        "Effective number of responses against β",
        "How many of a prompt's measured candidates are effectively left, exp(entropy), averaged over prompts: a small "
        "β trusts the reward more. Bands are carried through from the 95 % interval of α; the dashed line is without "
        "training.",
        figures.narrowing(forecasts, measure),
        (*keys, "Rewarded", "β", "Effective number", "Prompts, 10 % to 90 %", "Share of the mode, %"),
        [
            (r["dataset"], r["base_model"], r["candidates"], number(r["beta"], 1), *_numbers(r))
            for kind in kinds
            for r in rows
            if r["candidates"] == kind and r["generation"] == 1 and _regime(r) == REGIMES[0]
        ],
    )
    again = [r for r in rows if r["candidates"] == TYPICALITY and r["beta"] == HEADLINE_BETA]
    if any(r["generation"] > 1 for r in again):
        yield _picture(
            "forecast-generations",
            "Generations",
            "Effective number of responses over generations",
            f"The same at β = {_BETA}, where each generation's model takes the place of the base model for the next, "
            f"rewarding typicality alone: {', '.join(_REGIMES.values())}. Generation 0 is without training.",
            figures.generations(forecasts, measure),
            (*keys, "Training", "Generation", "Effective number", "Prompts, 10 % to 90 %", "Share of the mode, %"),
            [(r["dataset"], r["base_model"], _REGIMES[_regime(r)], str(r["generation"]), *_numbers(r)) for r in again],
        )


def _numbers(row: Row) -> Line:
    between = interval(row["effective_number_p10"], row["effective_number_p90"])
    return _effective(row), between, _mode(row)


def _picture(
    name: str, short: str, title: str, caption: str, figure: Any, columns: Line, lines: Sequence[Line]
) -> Picture:
    return Picture(name, short, title, caption, svg(figure, title), columns, lines, 4)


def units(measures: Sequence[str]) -> list[tuple[str, str]]:
    """What γ is under each measure, for the definitions."""
    return [(name, f"{SHARPENING[name].formula}, α in log-odds per {_per(MEASURES[name].unit)}") for name in measures]
