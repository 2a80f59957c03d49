"""The tables of a study of remedies → its report, as HTML and Markdown."""

from typing import Any

from analysis.collapse.diversity.metrics import METRICS
from analysis.collapse.remedies.known import SMOOTHING
from analysis.collapse.remedies.measures import BAR_QUANTILE
from analysis.outputs import Outputs
from analysis.report.remedies import content as told
from analysis.report.remedies.pictures import pictures
from analysis.report.stage import Report, templates
from analysis.tables import write_text


def report(outputs: Outputs, study: str) -> Report:
    """Write the report of the latest run of a study under `reports/<study>/<run_id>/` and point `latest` to it.

    Raises
    ------
    StudyError
        If the output folder holds no run of it.
    """
    content = told.gather(outputs, study)
    run_id = content.run["run_id"]
    folder = outputs.report(study, run_id)
    values = _values(content)
    for picture in values["pictures"]:
        write_text(folder / f"{picture.name}.svg", picture.image)
    for name, template in (("index.html", "remedies/page.html.j2"), ("report.md", "remedies/page.md.j2")):
        write_text(folder / name, templates().get_template(template).render(values))
    folder = outputs.point_latest(study, run_id)
    return Report(folder / "index.html", folder / "report.md", values["headline"])


def _values(content: told.Content) -> dict[str, Any]:
    """What the templates are given."""
    return {
        "content": content,
        "study": content.study,
        "run": content.run,
        "headline": told.headline(content),
        "tables": [(model, *told.methods_table(content, model)) for model in content.models],
        "pictures": list(pictures(content)),
        "known": told.known_table(content),
        "failures": told.failures_table(content),
        "claims": told.claims_table(content),
        "everything": told.everything(content),
        "examples": told.examples(content),
        "caveats": list(told.caveats(content)),
        "settings": told.settings(content),
        "wordings": told.kinds(content),
        "metrics": METRICS,
        "smoothing": SMOOTHING,
        "bar_quantile": BAR_QUANTILE,
    }
