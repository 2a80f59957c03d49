"""`typicality export`: the estimates of a study's latest run, for other programs and for papers."""

import json
from collections.abc import Callable
from pathlib import Path

import click
import pandas as pd

from analysis import tables
from analysis.errors import StudyError, TypicalityError
from analysis.outputs import Outputs
from analysis.report.content import latest_run
from analysis.report.etable import latex

# Columns of a printed table: more would not fit a page.
LADDER = ("rate", "bt", "bt_length", "bt_style", "bt_quality", "bt_source")


def export_study(study: str, outputs: Outputs, form: str, output: Path | None) -> None:
    """Write the estimates of a study's latest run.

    Parameters
    ----------
    form
        `csv` or `json`: every row and column, in full precision. `latex`: a table of the ladder of controls for each
        dataset and base model, by the headline measure.
    output
        The file to write; None for standard output.

    Raises
    ------
    StudyError
        If there is no run of the study, it estimated nothing, or the file cannot be written.
    """
    run_id = latest_run(outputs, study)
    path = outputs.root / "runs" / run_id / "_estimates.parquet"
    if not path.is_file():
        raise StudyError(f"the estimates of run {run_id} are gone: there is no {path}; run {study!r} again")
    text = FORMATS[form](tables.scan("estimates", [path]).to_pandas())
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        tables.write_text(output, text)
    except TypicalityError as error:
        why = getattr(error.__cause__, "strerror", None) or error
        raise StudyError(f"cannot write {output}: {why}; choose another file with --output") from error


def _csv(estimates: pd.DataFrame) -> str:
    return str(estimates.to_csv(index=False, lineterminator="\n"))


def _json(estimates: pd.DataFrame) -> str:
    rows = estimates.astype(object).where(estimates.notna(), None).to_dict("records")
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def _latex(estimates: pd.DataFrame) -> str:
    if estimates.empty:
        raise StudyError("the latest run estimated nothing, so there is no table to make; run the study again")
    cells = estimates.groupby(["dataset", "base_model"], sort=False)
    made = (_cell(cell, f"{dataset} under {base_model}") for (dataset, base_model), cell in cells)
    return "% needs \\usepackage{booktabs}\n" + "\n".join(made)


def _cell(estimates: pd.DataFrame, caption: str) -> str:
    """One cell by its headline measure, in the slice of all comparisons where the study has it."""
    headline = estimates[estimates["measure"] == estimates["measure"].iloc[0]]
    slices = list(dict.fromkeys(headline["slice"]))
    chosen = "all" if "all" in slices else slices[0]
    there = list(dict.fromkeys(headline.loc[headline["slice"] == chosen, "specification"]))
    specifications = [name for name in LADDER if name in there] or there[: len(LADDER)]
    return latex(headline, slice=chosen, specifications=specifications, caption=caption)


FORMATS: dict[str, Callable[[pd.DataFrame], str]] = {"csv": _csv, "latex": _latex, "json": _json}
