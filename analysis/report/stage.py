"""The last stage: the tables of a run → its report, as HTML and Markdown."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import jinja2

from analysis.likelihood.measures import MEASURES
from analysis.outputs import Outputs
from analysis.regression.part import TYPICALITY
from analysis.regression.specifications import SPECIFICATIONS
from analysis.report import words
from analysis.report.caveats import caveats
from analysis.report.content import Content, gather
from analysis.report.figures import forest, svg
from analysis.report.headline import headline
from analysis.tables import write_text

FIGURE_TITLE = "Forest plot: typicality bias rate and α of every cell, with 95 % intervals"


@dataclass(frozen=True)
class Report:
    """Where a report is, and its headline."""

    html: Path
    markdown: Path
    headline: str


def report(outputs: Outputs, run_id: str) -> Report:
    """Write the report of a run under `reports/<study>/<run_id>/` and point `latest` to it.

    A run of which every cell failed takes the place of `latest` only where there is none.
    """
    content = gather(outputs, run_id)
    study = content.study.name
    folder = outputs.report(study, run_id)
    told = headline(content)
    shown = [c for c in content.cells if c.ok]
    figure = svg(forest(shown, MEASURES[content.measure].unit), FIGURE_TITLE) if shown else ""
    if figure:
        write_text(folder / "forest.svg", figure)
    values = {
        "content": content,
        "headline": told,
        "figure": figure,
        "figure_title": FIGURE_TITLE,
        "caveats": caveats(content),
        "measures": {name: MEASURES[name] for name in content.study.measures},
        "specifications": {name: SPECIFICATIONS[name] for name in content.study.specifications},
        "typicality": [e for e in content.estimates if e["term"] == TYPICALITY],
        "command": _command(content),
    }
    for name in ("index.html", "report.md"):
        write_text(folder / name, _templates().get_template(f"{name}.j2").render(values))
    latest = folder.parent / "latest"
    if content.run["state"] != "failed" or not latest.exists():
        folder = outputs.point_latest(study, run_id)
    return Report(folder / "index.html", folder / "report.md", told)


def _command(content: Content) -> str:
    return f"typicality run {content.study.name}"


@lru_cache(maxsize=1)
def _templates() -> jinja2.Environment:
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
        "md": words.markdown,
    }
    environment.globals |= {
        "interval": words.interval,
        "percent_interval": words.percent_interval,
        "count": words.count,
        "share": words.share,
        "is_number": words.is_number,
    }
    return environment
