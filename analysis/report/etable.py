"""Estimates as a wide table, models as columns: for notebooks, and as LaTeX."""

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from string import ascii_lowercase
from typing import Any, Literal

import pandas as pd

from analysis.regression.part import TYPICALITY
from analysis.report.words import MISSING, fixed, is_number, p_value

Statistic = Literal["std_error", "interval", "p_value"]
Row = dict[Hashable, Any]
OK = "ok"
LEVELS = ("dataset", "base_model", "specification")
DECIMALS = 3
_BELOW = {"std_error": "standard errors", "interval": "95 % intervals", "p_value": "p values"}
# What every fit has beside its terms: the label, the column of `estimates`, and how it is shown.
_FOOT: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("comparisons", "n_comparisons", lambda n: f"{int(n):,}"),
    ("prompts", "n_prompts", lambda n: f"{int(n):,}"),
    ("mean log-likelihood", "mean_log_likelihood", lambda value: fixed(value, DECIMALS)),
    ("covariance", "covariance", str),
)


@dataclass(frozen=True)
class Model:
    """One column: a specification fitted to a cell, and its rows of `estimates` by term."""

    dataset: str
    base_model: str
    specification: str
    rows: dict[str, Row]

    @property
    def names(self) -> tuple[str, str, str]:
        """Its name on every level of the columns."""
        return self.dataset, self.base_model, self.specification

    def common(self, column: str) -> Any:
        """What the rows with a number have in common in a column (of all rows, where none has); None if they differ."""
        rows = [r for r in self.rows.values() if r["status"] == OK] or list(self.rows.values())
        values = {r[column] for r in rows if not pd.isna(r[column])}
        return values.pop() if len(values) == 1 else None


def tidy(
    estimates: pd.DataFrame,
    *,
    measure: str | None = None,
    slice: str = "all",
    specifications: Sequence[str] | None = None,
    terms: Sequence[str] | None = None,
    statistic: Statistic = "std_error",
) -> pd.DataFrame:
    """A wide table of estimates: datasets × base models × specifications as columns, terms as rows.

    Parameters
    ----------
    estimates
        Rows of the table `estimates`; each estimate once, so not of two runs of the same cell.
    measure
        Only this measure; the first by default, which is the study's headline.
    slice
        Only this slice.
    specifications, terms
        Only these, in this order; all by default, typicality first.
    statistic
        What stands in brackets below each estimate: its standard error, its 95 % interval or its p value.

    Returns
    -------
    pandas.DataFrame
        Texts, ready to be shown. The rows' index is (row, value): of a term, `estimate` and the statistic below it;
        then comparisons, prompts, mean log-likelihood and covariance of each fit. Where there is no number its place
        holds the reason; it is empty where the specification has no such term. A rate is a share, those of `ratings`
        are rating points per unit of the term, and of `entropy_vuong` nats; all others are log-odds per unit of the
        term.

    Raises
    ------
    ValueError
        If a measure, slice, specification, term or statistic is not there (the message lists what there is), or an
        estimate is there twice.
    """
    models, shown = _selected(estimates, measure, slice, specifications, terms, statistic)
    made: dict[tuple[str, str], list[str]] = {}
    for term in shown:
        made[term, "estimate"] = [_estimate(m, term, lambda reason: reason) for m in models]
        made[term, statistic] = [_below(m, term, statistic) for m in models]
    for label, column, show in _FOOT:
        # The empty second name keeps these apart from terms that data call by the same words.
        made[label, ""] = [_foot(m, column, show) for m in models]
    return pd.DataFrame(
        list(made.values()),
        index=pd.MultiIndex.from_tuples(list(made), names=("row", "value")),
        columns=pd.MultiIndex.from_tuples([m.names for m in models], names=LEVELS),
        dtype=object,
    )


def latex(
    estimates: pd.DataFrame,
    *,
    measure: str | None = None,
    slice: str = "all",
    specifications: Sequence[str] | None = None,
    terms: Sequence[str] | None = None,
    statistic: Statistic = "std_error",
    caption: str = "",
) -> str:
    """The same table for LaTeX, with the package booktabs: reasons and covariances are notes below it.

    Parameters
    ----------
    estimates, measure, slice, specifications, terms, statistic
        As of `tidy`.
    caption
        The table's caption, as plain text; none by default.

    Raises
    ------
    ValueError
        As `tidy`.
    """
    models, shown = _selected(estimates, measure, slice, specifications, terms, statistic)
    found = next(iter(models[0].rows.values()))
    notes = _Notes([])
    body: list[str] = []
    for term in shown:
        body.append(_line(term, [_estimate(m, term, notes.mark) for m in models]))
        below = [_below(m, term, statistic) for m in models]
        if any(below):
            body.append(_line("", below))
    foot = [_line(label, [_foot(m, c, show) for m in models]) for label, c, show in _FOOT if c != "covariance"]
    told = [
        f"Measure: {found['measure']}; slice: {slice}. A rate is a share; all else is log-odds per unit of the term. "
        f"In brackets: {_BELOW[statistic]}.",
        *_covariances(models),
        *notes.sentences(),
    ]
    lines = [
        r"\begin{table}",
        r"\centering",
        *([rf"\caption{{{escape(caption)}}}"] if caption else []),
        rf"\begin{{tabular}}{{l{'r' * len(models)}}}",
        r"\toprule",
        *_head(models),
        r"\midrule",
        *body,
        r"\midrule",
        *foot,
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\medskip",
        r"\begin{minipage}{\linewidth}\footnotesize",
        r"\par ".join(escape(sentence) for sentence in told),
        r"\end{minipage}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _selected(
    estimates: pd.DataFrame,
    measure: str | None,
    slice_: str,
    specifications: Sequence[str] | None,
    terms: Sequence[str] | None,
    statistic: str,
) -> tuple[list[Model], list[str]]:
    """The models that are the columns, and the terms that are the rows."""
    if estimates.empty:
        raise ValueError("there are no estimates")
    if statistic not in _BELOW:
        raise ValueError(f"there is no statistic {statistic!r}; allowed are {', '.join(_BELOW)}")
    measure = measure if measure is not None else str(estimates["measure"].iloc[0])
    frame = _only(_only(estimates, "measure", [measure]), "slice", [slice_])
    if specifications is not None:
        frame = _only(frame, "specification", specifications)
    if terms is not None:
        frame = _only(frame, "term", terms)
    twice = frame[frame.duplicated([*LEVELS, "term"])]
    if not twice.empty:
        where = " × ".join(map(str, twice.iloc[0][["dataset", "base_model"]]))
        raise ValueError(f"the estimates of {where} are there more than once; choose those of one study and run")
    models = [
        Model(str(dataset), str(model), str(name), {str(row["term"]): row for row in part.to_dict("records")})
        for (dataset, model, name), part in frame.groupby(list(LEVELS), sort=False)
    ]
    # A cell's models stand together, in the order asked for; cells and the rest in the table's own order.
    cells = {names: i for i, names in enumerate(dict.fromkeys((m.dataset, m.base_model) for m in models))}
    datasets = list(dict.fromkeys(m.dataset for m in models))
    order = list(specifications if specifications is not None else dict.fromkeys(m.specification for m in models))
    models.sort(key=lambda m: (datasets.index(m.dataset), cells[m.dataset, m.base_model], order.index(m.specification)))
    there = dict.fromkeys(terms if terms is not None else (TYPICALITY, *frame["term"]))
    return models, [term for term in there if any(term in m.rows for m in models)]


def _only(frame: pd.DataFrame, column: str, wanted: Sequence[str]) -> pd.DataFrame:
    """Rows with one of these values.

    Raises
    ------
    ValueError
        If one of them does not occur.
    """
    there = list(dict.fromkeys(frame[column]))
    for value in wanted:
        if value not in there:
            raise ValueError(f"there is no {column} {value!r} here; there are {', '.join(map(str, there))}")
    if not wanted:
        raise ValueError(f"no {column} is asked for; there are {', '.join(map(str, there))}")
    return frame[frame[column].isin(list(wanted))]


def _estimate(model: Model, term: str, no_number: Callable[[str], str]) -> str:
    row = model.rows.get(term)
    if row is None:
        return ""
    return fixed(row["estimate"], DECIMALS) if is_number(row["estimate"]) else no_number(row["status"])


def _below(model: Model, term: str, statistic: str) -> str:
    row = model.rows.get(term)
    if row is None or not is_number(row["estimate"]):
        return ""
    if statistic == "interval":
        ends = [fixed(row[end], DECIMALS) for end in ("conf_low", "conf_high")]
        return "" if MISSING in ends else f"[{', '.join(ends)}]"
    if not is_number(row[statistic]):
        return ""
    if statistic == "std_error":
        return f"({fixed(row[statistic], DECIMALS)})"
    p = p_value(row[statistic])
    return f"(p {p})" if p.startswith("<") else f"(p = {p})"


def _foot(model: Model, column: str, show: Callable[[Any], str]) -> str:
    value = model.common(column)
    return MISSING if value is None else show(value)


# LaTeX.

_ESCAPED = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': "''",
        "`": r"\textasciigrave{}",
        # After the end of a row these would be its argument or its star.
        "[": "{[}",
        "]": "{]}",
        "*": "{*}",
        "−": "$-$",
        "–": "--",
        "—": "---",
        "…": r"\ldots{}",
        "×": r"$\times$",
        "√": r"$\surd$",
        "±": r"$\pm$",
        "≤": r"$\leq$",
        "≥": r"$\geq$",
        "α": r"$\alpha$",
        "β": r"$\beta$",
        "Δ": r"$\Delta$",
        "²": r"\textsuperscript{2}",
    }
)


def escape(text: str) -> str:
    """Text that LaTeX prints as it is, on one line; a double hyphen stays two hyphens."""
    printable = "".join(sign if sign.isprintable() else " " for sign in text)
    # The null keeps two hyphens apart until braces are no longer escaped.
    apart = re.sub("-(?=-)", "-\0", " ".join(printable.split()))
    return apart.translate(_ESCAPED).replace("\0", "{}")


@dataclass(frozen=True)
class _Notes:
    """Reasons why there is no number, each with its letter."""

    reasons: list[str]

    def mark(self, reason: str) -> str:
        """The mark that stands in the place of a number."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return f"({_letter(self.reasons.index(reason))})"

    def sentences(self) -> Iterator[str]:
        """What each mark means."""
        for i, reason in enumerate(self.reasons):
            yield f"({_letter(i)}) No number: {reason}."


def _letter(i: int) -> str:
    """A, b, …, z, aa, ab, …"""
    return (_letter(i // 26 - 1) if i >= 26 else "") + ascii_lowercase[i % 26]


def _line(label: str, cells: Sequence[str]) -> str:
    return " & ".join(map(escape, (label, *cells))) + r" \\"


def _head(models: Sequence[Model]) -> Iterator[str]:
    """A row for each level of the columns, names that several columns share over a rule; then their numbers."""
    for depth in range(len(LEVELS)):
        cells, rules, at = [], [], 2
        for names, group in groupby(m.names[: depth + 1] for m in models):
            n = len(list(group))
            cells.append(rf"\multicolumn{{{n}}}{{c}}{{{escape(names[-1])}}}")
            rules.append(rf"\cmidrule(lr){{{at}-{at + n - 1}}}")
            at += n
        yield " & ".join(("", *cells)).lstrip() + r" \\"
        if depth < len(LEVELS) - 1:
            yield " ".join(rules)
    yield _line("", [f"({i})" for i in range(1, len(models) + 1)])


def _covariances(models: Sequence[Model]) -> Iterator[str]:
    """How the errors were made, with the columns of which that is so where it is not all."""
    found: dict[str, list[int]] = {}
    for i, model in enumerate(models, 1):
        found.setdefault(model.common("covariance") or "differs from term to term", []).append(i)
    for covariance, columns in found.items():
        where = "" if len(found) == 1 else f", column{'s' if len(columns) > 1 else ''} {_ranges(columns)}"
        yield f"Standard errors and intervals{where}: {covariance}."


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as ranges: 1–3, 5."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and runs[-1][1] == n - 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in runs)
