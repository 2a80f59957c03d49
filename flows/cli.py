"""The `typicality` command."""

import sys
from pathlib import Path

import click

from analysis import __version__
from analysis.errors import StudyError, TypicalityError
from flows import environment

DONE, FAILED, INVALID = 0, 1, 2
INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="typicality")
def command() -> None:
    """Do preference labels reward text for being typical, beyond being good?"""


_outputs = click.option("--outputs", type=click.Path(path_type=Path), default=Path("outputs"), show_default=True)


@command.command()
@click.argument("study")
@click.option("--dataset", "datasets", multiple=True, metavar="NAME", help="Only this dataset (may be repeated).")
@click.option("--base-model", "base_models", multiple=True, metavar="NAME", help="Only this base model (repeatable).")
@click.option("--limit", type=int, metavar="N", help="At most N prompts of each dataset, chosen by hash.")
@_outputs
@click.option("-v", "--verbose", is_flag=True, help="Show what Prefect and the Hub's clients log, too.")
def run(
    study: str, datasets: tuple[str, ...], base_models: tuple[str, ...], limit: int | None, outputs: Path, verbose: bool
) -> int:
    """Run STUDY: a built-in study's name or a TOML file."""
    environment.prepare(verbose)
    from flows.parameters import RunParameters

    parameters = RunParameters(
        study=study, datasets=datasets, base_models=base_models, limit=limit, outputs=str(outputs)
    )
    parameters.resolve()
    _writable(outputs)
    click.echo("starting Prefect (some seconds) …", err=True)
    from flows.local import run_here

    outcome = run_here(parameters)
    for sentence in outcome.failures:
        click.echo(f"typicality: {sentence}", err=True)
    click.echo(outcome.report.headline)
    click.echo(f"Report: {outcome.report.html.absolute()}")
    return FAILED if outcome.failures else DONE


@command.command()
def datasets() -> int:
    """List the catalogue: name, Hub id, shape, labels, licence, size."""
    from rich.console import Console
    from rich.table import Table

    from analysis.preferences.catalogue import entries

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (
        "Name",
        "Hub id",
        "Shape",
        "Labels",
        "Raters",
        "Licence",
        "Size",
        "Parts",
        "Splits (default first)",
    ):
        table.add_column(column, no_wrap=True)
    for e in entries().values():
        row = (e.name, e.hub, e.shape, e.labels, e.rater, e.licence, e.size, ", ".join(e.parts), ", ".join(e.splits))
        table.add_row(*row)
    console = Console(highlight=False)
    console.print(table, soft_wrap=True) if console.is_terminal else Console(width=400).print(table)
    return DONE


@command.command()
@click.argument("study")
@_outputs
def report(study: str, outputs: Path) -> int:
    """Render the report of STUDY again from the tables."""
    environment.prepare()
    from analysis.outputs import Outputs
    from analysis.report.content import latest_run
    from analysis.report.stage import report as render
    from flows.parameters import built_in

    name = study
    if study not in built_in() and Path(study).is_file():
        from analysis.study import load

        name = load(Path(study)).name
    folder = Outputs(outputs)
    made = render(folder, latest_run(folder, name))
    click.echo(made.headline)
    click.echo(f"Report: {made.html.absolute()}")
    return DONE


def _writable(outputs: Path) -> None:
    try:
        outputs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(
            f"cannot make the output folder {outputs}: {error.strerror}; choose another with --outputs"
        ) from error


def main() -> None:
    """Run the command and exit: 0 all done, 1 a cell failed, 2 nothing was started."""
    try:
        status = command.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        status = _say(environment.INTERRUPTED, INTERRUPTED)
    except click.ClickException as error:
        status = _say(f"{error.format_message()} (see typicality --help)", INVALID)
    except StudyError as error:
        status = _say(str(error), INVALID)
    except TypicalityError as error:
        status = _say(str(error), FAILED)
    sys.exit(status if isinstance(status, int) else DONE)


def _say(text: str, status: int) -> int:
    click.echo(f"typicality: {' '.join(text.split())}", err=True)
    return status
