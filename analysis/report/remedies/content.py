"""What the report of a study of remedies says, gathered from its tables."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis import tables
from analysis.collapse.diversity.metrics import METRICS
from analysis.collapse.remedies.measures import ABOVE, EFFECTIVE, HEADLINE, LIKELIHOOD
from analysis.collapse.remedies.methods import VERBALIZED, Method
from analysis.collapse.remedies.parsing import OK
from analysis.collapse.remedies.stage import latest
from analysis.collapse.remedies.study import SampleStudy
from analysis.outputs import Outputs
from analysis.report.content import records
from analysis.report.words import MISSING, count, fixed, interval, is_number, listed, percent, percent_interval

Row = dict[str, Any]
Line = tuple[str, ...]
QUALITIES = {"judge": "judgement", LIKELIHOOD: LIKELIHOOD}
_SHOWN = 3
_LONGEST = 220
FEW_PROMPTS = 20
MANY_FAILED = 0.05


@dataclass(frozen=True)
class Content:
    """A study, the row of its run, its rows of `remedies`, and responses to show."""

    study: SampleStudy
    run: Row
    remedies: pd.DataFrame
    generations: pd.DataFrame

    @property
    def models(self) -> list[str]:
        """Models that gave rows, in the study's order."""
        there = set(self.remedies["model"])
        return [m.key for m in self.study.models if m.key in there]

    @property
    def quality(self) -> str | None:
        """The measure of quality."""
        return QUALITIES.get(self.study.quality or "")

    def row(self, model: str, method: str, measure: str) -> Row:
        """One row; empty where there is none."""
        frame = self.remedies
        at = (frame["model"] == model) & (frame["method"] == method) & (frame["measure"] == measure)
        found = frame[at].to_dict("records")
        return {str(k): (None if pd.isna(v) else v) for k, v in found[0].items()} if found else {}


def gather(outputs: Outputs, study: str) -> Content:
    """Read what the latest run of a study of remedies left.

    Raises
    ------
    StudyError
        If the output folder holds none.
    """
    run = latest(study, outputs)
    frames = [tables.scan(name, [outputs.study_table(name, study)]).to_pandas() for name in ("remedies", "generations")]
    return Content(SampleStudy.model_validate(json.loads(run["definition"])), run, *frames)


def headline(content: Content) -> str:
    """A sentence for each of the first models: the method with the highest ratio of diversity to the baseline."""
    told = [sentence for model in content.models if (sentence := _headline(content, model))]
    if not told:
        return "No method could be compared with the baseline: see what failed, and the status of each measure."
    return " ".join(told[:3])


def _headline(content: Content, model: str) -> str:
    measure = EFFECTIVE if content.quality else HEADLINE
    name = "effective diversity" if content.quality else "diversity"
    base = content.study.baseline
    rows = [
        (row["ratio"], method.name, row)
        for method in content.study.methods
        if method.name != base and is_number((row := content.row(model, method.name, measure)).get("ratio"))
    ]
    if not rows:
        return ""
    value, method, row = max(rows, key=lambda found: found[0])
    between = f" (95 % interval {interval(row['ratio_low'], row['ratio_high'])})" if is_number(row["ratio_low"]) else ""
    sure = is_number(row["ratio_low"]) and row["ratio_low"] > 1
    doubt = "" if sure or value <= 1 else ", which may be chance"
    plain = content.row(model, method, HEADLINE)
    beside = ""
    if content.quality and is_number(plain["ratio"]):
        beside = f"; whatever the quality, {fixed(plain['ratio'])} times"
    many = f" of {count(len(rows), 'method')}" if len(rows) > 1 else ""
    if value < 1:
        next_ = f"{method} comes next: {fixed(value)} times as much{between}{beside}"
        return f"Under {model}, no method has a higher {name} than {base}; {next_}."
    return (
        f"Under {model}, {method} has the highest {name}{many}: {fixed(value)} times that of {base}"
        f"{between}{doubt}{beside}."
    )


def methods_table(content: Content, model: str) -> tuple[Line, list[Line]]:
    """What each method did under a model."""
    quality = content.quality
    columns: Line = (
        *("Method", "Diversity", f"Ratio to {content.study.baseline}"),
        *(("Effective diversity", "Ratio", QUALITY_NAMES[quality]) if quality else ()),
        *("Words", "Repetition, %", "Failed, %", "Tokens a response"),
    )
    lines: list[Line] = []
    for method in content.study.methods:
        cell = {name: content.row(model, method.name, name) for name in content.remedies["measure"].unique()}

        def told(name: str, cell: dict[str, Row] = cell) -> str:
            return estimate(cell.get(name, {}), brief=True)

        lines.append(
            (
                method.name,
                told(HEADLINE),
                ratio(cell.get(HEADLINE, {}), brief=True),
                *((told(EFFECTIVE), ratio(cell.get(EFFECTIVE, {}), brief=True), told(quality)) if quality else ()),
                told("words"),
                share(cell.get("repetition", {})),
                share(cell.get("failed", {})),
                told("tokens"),
            )
        )
    return columns, lines


QUALITY_NAMES = {"judgement": "Judge's score", LIKELIHOOD: "Log-likelihood, nats a token"}
MEASURES = {
    **{name: metric.title for name, metric in METRICS.items()},
    **QUALITY_NAMES,
    EFFECTIVE: "Effective diversity",
    ABOVE: "Above the bar",
    "on_list": "Gives an answer of the list",
    "coverage": "Coverage",
    "kl": "KL",
    "coverage_of_reference": "Coverage of draws from the reference",
    "kl_of_reference": "KL of draws from the reference",
    "kl_stated": "KL of stated probabilities",
    "accuracy": "Accuracy",
    "accuracy_likeliest": "Accuracy of the likeliest",
    "tokens": "Tokens",
    "requests": "Requests",
    "failed": "Failed",
    "calibration": "Calibration",
}


def estimate(row: Row, brief: bool = False) -> str:
    """An estimate with its interval; why there is none, or in brief a dash."""
    if not is_number(row.get("estimate")):
        return MISSING if brief else row.get("status", MISSING)
    if row["unit"] == "share":
        return share(row)
    between = f" ({interval(row['conf_low'], row['conf_high'])})" if is_number(row["conf_low"]) else ""
    return f"{fixed(row['estimate'])}{between}"


def share(row: Row) -> str:
    """A share in per cent with its interval."""
    if not is_number(row.get("estimate")):
        return MISSING
    between = f" ({percent_interval(row['conf_low'], row['conf_high'])})" if is_number(row["conf_low"]) else ""
    return f"{percent(row['estimate'])}{between}"


def ratio(row: Row, brief: bool = False) -> str:
    """A ratio with its interval; why there is none, or in brief a dash."""
    if not is_number(row.get("ratio")):
        return MISSING if brief else row.get("ratio_status", MISSING)
    between = f" ({interval(row['ratio_low'], row['ratio_high'])})" if is_number(row["ratio_low"]) else ""
    return f"{fixed(row['ratio'])}{between}"


def known_table(content: Content) -> tuple[Line, list[Line]] | None:
    """Enumerable questions and questions with a right answer; None where the study has neither."""
    wanted: Line = ("on_list", "coverage", "coverage_of_reference", "kl", "kl_of_reference", "kl_stated")
    wanted = (*wanted, "accuracy", "accuracy_likeliest")
    there = [name for name in wanted if (content.remedies["measure"] == name).any()]
    if not there:
        return None
    columns: Line = ("Model", "Method", *(f"{MEASURES[n]}{UNITS.get(n, ', %')}" for n in there), "Ratio of KL")
    lines: list[Line] = [
        (
            m,
            method.name,
            *(estimate(content.row(m, method.name, n), brief=True) for n in there),
            ratio(content.row(m, method.name, "kl"), brief=True),
        )
        for m in content.models
        for method in content.study.methods
    ]
    return columns, lines


UNITS = {"kl": ", nats", "kl_of_reference": ", nats", "kl_stated": ", nats"}


def failures_table(content: Content) -> tuple[Line, list[Line]] | None:
    """What failed, by reason; None where nothing did."""
    rows = content.remedies[content.remedies["kind"] == "failures"]
    lines: list[Line] = []
    for row in rows[rows["measure"] != "failed"].to_dict("records"):
        what, _, reason = str(row["measure"]).partition(": ")
        lines.append(
            (str(row["model"]), str(row["method"]), what, reason, f"{row['n_responses']:,}", percent(row["estimate"]))
        )
    return (("Model", "Method", "Of a", "Reason", "How many", "Share, %"), lines) if lines else None


def everything(content: Content) -> tuple[Line, list[Line]]:
    """Every measure of every method."""
    columns: Line = ("Model", "Method", "Measure", "Unit", "Estimate", "Ratio", "Prompts", "Responses")
    lines: list[Line] = [
        (
            str(row["model"]), str(row["method"]), MEASURES.get(str(row["measure"]), str(row["measure"])),
            str(row["unit"]),
            estimate(row), ratio(row), f"{row['n_prompts']:,}", f"{row['n_responses']:,}",
        )
        for row in records(content.remedies[content.remedies["kind"] != "failures"])
    ]  # fmt: skip
    return columns, lines


def claims_table(content: Content) -> tuple[Line, list[Line]] | None:
    """The gain against size, and what tuning left; None where the study has too few models."""
    rows = content.remedies[content.remedies["kind"].isin(["size", "tuning", "forecast"])].to_dict("records")
    lines: list[Line] = []
    for row in rows:
        named = {str(k): (None if pd.isna(v) else v) for k, v in row.items()}
        told = estimate(named) if named["kind"] == "size" else ratio(named)
        lines.append(
            (str(named["model"]), str(named["method"]), str(named["measure"]), told, f"{named['n_prompts']:,}")
        )
    return (("Model", "Method", "Measure", "Estimate", "Prompts"), lines) if lines else None


def examples(content: Content) -> list[tuple[str, str, list[tuple[str, list[str]]]]]:
    """The first responses to the study's first prompt, by model and method."""
    first = content.study.prompts[0]
    usable = content.generations[(content.generations["prompt_id"] == first.id) & (content.generations["status"] == OK)]
    found = []
    for model in content.models:
        shown = []
        for method in content.study.methods:
            at = (usable["model"] == model) & (usable["method"] == method.name)
            texts = [str(t) for t in usable[at]["response"].head(_SHOWN)]
            shown.append((method.name, [t if len(t) <= _LONGEST else f"{t[:_LONGEST]} …" for t in texts]))
        found.append((model, first.prompt, shown))
    return found


def caveats(content: Content) -> Iterator[str]:
    """What a reader must know before using these numbers, by stated rules."""
    study = content.study
    if len(study.prompts) < FEW_PROMPTS:
        yield (
            f"There are only {count(len(study.prompts), 'prompt')}: intervals draw prompts anew, and say how sure the "
            "numbers are for prompts like these, not for others."
        )
    if study.quality == LIKELIHOOD:
        yield (
            "Quality is the base model's likelihood here, which rewards the typical by its definition: it tells "
            "incoherence at the low end, and says nothing of merit at the high one. A judge or people can."
        )
    for model in content.models:
        high = [
            (m.name, row["estimate"])
            for m in study.methods
            if (row := content.row(model, m.name, "failed")) and (row["estimate"] or 0) > MANY_FAILED
        ]
        if high:
            names = listed([f"{name} ({percent(value)} %)" for name, value in high])
            yield (
                f"Under {model}, more than {percent(MANY_FAILED, 0)} % of the responses failed with {names}: what is "
                "measured is of the rest."
            )
    if any(m.backend == "chat" for m in study.models):
        yield (
            "Answers of an endpoint depend on its server, its version and its load: the stored answers reproduce "
            "these tables, asking again may not."
        )


def kinds(content: Content) -> list[tuple[str, str]]:
    """What was sent by each method that asks for more than the prompt: its instruction, as a model reads it."""
    texts, prompt = content.study.texts, "…"
    return [
        (method.name, f"{texts.instruction(method, prompt)}{_further(content.study, method)}")
        for method in content.study.methods
        if method.kind != "direct" or method.instruction is not None
    ]


def _further(study: SampleStudy, method: Method) -> str:
    return (
        f"\n\n[then, {method.n_turns - 1} more times]\n\n{study.texts.follow_up(method)}" if method.n_turns > 1 else ""
    )


def settings(content: Content) -> tuple[Line, list[Line]]:
    """How each method asks and draws."""
    lines: list[Line] = []
    for method in content.study.methods:
        steps = ", ".join(f"{name} {value:g}" for name, value in method.decoding.steps.items() if name != "max_tokens")
        asked = f"{method.k} at a time" if method.kind != "direct" else "one at a time"
        verbal = method.definition if method.kind in VERBALIZED else "—"
        below = "—" if method.threshold is None else f"{method.threshold:g}"
        lines.append(
            (method.name, method.kind, asked, verbal, below, steps or "as the model does", str(method.max_tokens))
        )
    columns: Line = ("Method", "Kind", "Asked for", "Probability", "Below", "Decoding", "Longest, tokens")
    return columns, lines
