"""The last stage: the tables of a run → its report, as HTML and Markdown."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import pyarrow.dataset as ds
import tomli_w

from analysis import tables
from analysis.collapse.forecasts import HEADLINE_BETA
from analysis.collapse.generations import EXAMPLE
from analysis.disk import disk_use
from analysis.errors import TypicalityError
from analysis.likelihood.measures import MEASURES
from analysis.outputs import Outputs
from analysis.regression.part import TYPICALITY
from analysis.regression.specifications import SPECIFICATIONS
from analysis.report import diversity, words
from analysis.report.answers import answers, in_short
from analysis.report.caveats import caveats, left_out
from analysis.report.changes import changes, previous_run
from analysis.report.content import SEE, Content, Row, gather, told_once
from analysis.report.examples import examples
from analysis.report.forecast import PACE, chapter, telling, units
from analysis.report.headline import headline
from analysis.report.heterogeneity import chapter as heterogeneity_chapter
from analysis.report.pictures import forest, pictures
from analysis.report.synthesis import chapter as synthesis_chapter
from analysis.report.synthesis import sentence as overall
from analysis.report.told import Told, told
from analysis.report.verdicts import RUNGS, definitions
from analysis.tables import write_text

_ELSEWHERE = ("rate", *RUNGS)
_DIFFERENCES = ("dataset", "base_model", "measure", "difference", "agrees")


@dataclass(frozen=True)
class Report:
    """Where a report is, its headline, and a line for each cell with its verdict and whatever tilts its labels."""

    html: Path
    markdown: Path
    headline: str
    lines: tuple[str, ...] = ()


def report(outputs: Outputs, run_id: str) -> Report:
    """Write the report of a run under `reports/<study>/<run_id>/` and point `latest` to it.

    A run of which every cell failed takes the place of `latest` only where there is none.
    """
    content = gather(outputs, run_id)
    study = content.study.name
    folder = outputs.report(study, run_id)
    values = _values(content, outputs)
    chapters = [made.pictures for name in ("forecast", "diversity") if (made := values[name])]
    differing = values["heterogeneity"].picture if values["heterogeneity"] else None
    for picture in (values["forest"], *values["pictures"], *chain.from_iterable(chapters), differing):
        if picture is not None:
            write_text(folder / f"{picture.name}.svg", picture.image)
    for name in ("index.html", "report.md"):
        write_text(folder / name, templates().get_template(f"{name}.j2").render(values))
    latest = folder.parent / "latest"
    if content.run["state"] != "failed" or not latest.exists():
        folder = outputs.point_latest(study, run_id)
    return _report(folder, content)


def published(outputs: Outputs, run_id: str) -> Report:
    """The report of a run to which `latest` points already."""
    content = gather(outputs, run_id)
    folder = outputs.report(content.study.name, "latest")
    return _report(folder, content)


def _report(folder: Path, content: Content) -> Report:
    lost = (line for data in content.run["datasets"] for line in left_out(content, data["dataset"], data["rows"]))
    lines = (*(in_short(cell, content.study.margin) for cell in content.cells if cell.ok), *lost)
    return Report(folder / "index.html", folder / "report.md", headline(content), tuple(lines))


def _values(content: Content, outputs: Outputs) -> dict[str, Any]:
    """What the templates are given."""
    run_id, study, measure = content.run["run_id"], content.study, content.measure
    estimates = content.table.to_pandas()
    fitted = _fitted(estimates)
    current = content.is_published(outputs)
    forecasts, measured, synthesis, agreement, differing = (
        _rows(name, content, outputs) if current else _no_rows(name)
        for name in ("forecasts", "diversity", "synthesis", "agreement", "heterogeneity")
    )
    forecasts = telling(forecasts)
    given = answers(content, forecasts)
    raters = {c.dataset: c.rater for c in content.cells}
    scored = [(c.dataset, c.base_model, c.facts["scoring_id"]) for c in content.cells if c.facts]
    return {
        "content": content,
        "headline": headline(content),
        "answers": [(key, raters[key], list(part)) for key, part in groupby(given, lambda a: a.dataset)],
        "cells": list(zip(content.cells, given, strict=True)),
        "changes": _changed(outputs, study.name, run_id),
        "overall": overall(synthesis, measure),
        "forest": forest(estimates, synthesis, measure),
        "synthesis": synthesis_chapter(synthesis, agreement, measure),
        "heterogeneity": heterogeneity_chapter(differing, measure),
        "pictures": list(
            pictures(fitted, _differences(content, outputs) if current else _no_rows("differences"), measure)
        ),
        "forecast": chapter(forecasts, measure),
        "diversity": diversity.chapter(measured),
        "diversity_method": diversity.method(),
        "headline_beta": words.number(HEADLINE_BETA, 1),
        "example_gamma": EXAMPLE[1],
        "pace_columns": PACE,
        "sharpenings": units(study.measures),
        "examples": examples(outputs, study.name, scored, measure) if current else [],
        "caveats": caveats(content),
        "measures": {name: MEASURES[name] for name in study.measures},
        "specifications": {name: SPECIFICATIONS[name] for name in study.specifications},
        "verdicts": definitions(study.margin),
        "shown": list(_shown(content)),
        "uses": disk_use(outputs),
        "settings": tomli_w.dumps(json.loads(content.run["definition"])),
    }


def _changed(outputs: Outputs, study: str, run_id: str) -> Told | None:
    before = previous_run(outputs, study, run_id)
    try:
        return told(changes(outputs, before, run_id)) if before else None
    except TypicalityError:
        # What is wrong with an earlier run must not cost this one its report.
        return None


def _shown(content: Content) -> Iterator[Row]:
    """The rows of typicality: all under the headline measure, the rate and the ladder under the others."""
    for row in content.estimates:
        asked = row["measure"] == content.measure or row["specification"] in _ELSEWHERE
        if row["term"] == TYPICALITY and asked and not row["status"].endswith(SEE):
            yield row


def _differences(content: Content, outputs: Outputs) -> pd.DataFrame:
    path = outputs.study_table("differences", content.study.name)
    table = tables.scan("differences", [path], _DIFFERENCES, ds.field("measure") == content.measure)
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _rows(name: str, content: Content, outputs: Outputs) -> pd.DataFrame:
    """The study's rows of a table; none where its tables were made before there was that one."""
    path = outputs.study_table(name, content.study.name)
    found = tables.scan(name, [path] if path.is_file() else [])
    return _fitted(told_once(found, content.failures).to_pandas())


def _fitted(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of cells that did not fail; of those that did, what failed is told once."""
    return rows[~rows["status"].str.endswith(SEE)]


def _no_rows(name: str) -> pd.DataFrame:
    frame: pd.DataFrame = tables.table(name).schema.empty_table().to_pandas()
    return frame


@lru_cache(maxsize=1)
def templates() -> jinja2.Environment:
    """The templates of the reports, with the filters that they use."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis.report", "templates"),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html.j2",), default=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": words.number,
        "fixed": words.fixed,
        "percent": words.percent,
        "p_value": words.p_value,
        "seconds": words.seconds,
        "size": words.size,
        "md": words.markdown,
        "ended": words.ended,
    }
    environment.globals |= {
        "interval": words.interval,
        "percent_interval": words.percent_interval,
        "count": words.count,
        "share": words.share,
        "listed": words.listed,
        "is_number": words.is_number,
    }
    return environment
