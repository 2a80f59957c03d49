"""The `typicality` command."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from analysis import __version__
from analysis.errors import StudyError, TypicalityError
from flows import environment, measuring
from flows.options import DONE, FAILED, outputs_option, writable

INVALID, INTERRUPTED = 2, 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="typicality")
def command() -> None:
    """Do preference labels reward text for being typical, beyond being good?"""


def _narrowed(function: Callable[..., int]) -> Callable[..., int]:
    """The options that narrow a study, and the output folder's."""
    for option in (
        outputs_option,
        click.option("--limit", type=int, metavar="N", help="At most N prompts of each dataset, chosen by hash."),
        click.option("--base-model", "base_models", multiple=True, metavar="NAME", help="Only this one (repeatable)."),
        click.option("--dataset", "datasets", multiple=True, metavar="NAME", help="Only this dataset (repeatable)."),
    ):
        function = option(function)
    return function


@command.command()
@click.argument("study")
@_narrowed
@click.option("--force", is_flag=True, help="Do everything again but the scoring, whether or not anything changed.")
@click.option("-v", "--verbose", is_flag=True, help="Show what Prefect and the Hub's clients log, too.")
def run(study: str, outputs: Path, force: bool, verbose: bool, **only: Any) -> int:
    """Run STUDY: a built-in study's name or a TOML file."""
    environment.prepare(verbose)
    from flows.parameters import RunParameters

    parameters = RunParameters(study=study, outputs=str(outputs), force=force, **only)
    parameters.resolve()
    writable(outputs)
    from flows.local import run_here

    outcome = run_here(parameters)
    for sentence in outcome.failures:
        click.echo(f"typicality: {sentence}", err=True)
    if outcome.note:
        click.echo(f"{outcome.note[0].upper()}{outcome.note[1:]}.")
    click.echo(outcome.report.headline)
    for line in outcome.report.lines:
        click.echo(f"  {line}")
    click.echo(f"Report: {outcome.report.html.absolute()}")
    return FAILED if outcome.failures else DONE


@command.command()
@click.argument("study")
@_narrowed
@click.option("--price", type=click.FloatRange(min=0), metavar="DOLLARS", help="Of an endpoint, for a million tokens.")
@click.option(
    "--speed", type=click.FloatRange(min=0, min_open=True), metavar="TOKENS", help="Of an endpoint, a second."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(study: str, outputs: Path, price: float | None, speed: float | None, as_json: bool, **only: Any) -> int:
    """Show what a run of STUDY would do, and why, with an estimate of its tokens and time.

    Datasets that changed are read to find out; nothing is scored, and the output folder stays as it is. With --price or
    --speed it says what scoring would take on an endpoint, too, whatever the study's base models run on.
    """
    environment.prepare()
    from analysis.outputs import Outputs
    from analysis.planning import Offer
    from flows.parameters import RunParameters
    from flows.planning import plan_study

    asked = RunParameters(study=study, **only).resolve()
    return DONE if plan_study(asked, Outputs(outputs), as_json, Offer(price, speed)) else FAILED


@command.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def datasets(name: str | None, as_json: bool) -> int:
    """List the catalogue, or say all about the dataset NAME."""
    from analysis.preferences.catalogue import entries
    from flows import listing

    if as_json:
        click.echo(listing.as_json([name] if name else list(entries())))
    elif name is None:
        listing.show_catalogue()
    else:
        listing.show_entry(name)
    return DONE


@command.command()
@click.argument("name", metavar="DATASET")
@click.option("--part", help="Only this part (typicality datasets NAME lists them).")
@click.option("--split", help="This split in place of the default one.")
@click.option("--revision", help="This branch, tag or commit.")
@click.option("--outcome", help="This rating as the outcome.")
@click.option("--quality", multiple=True, help="These ratings as controls for quality (may be repeated).")
@click.option("--ties", type=click.Choice(["drop", "keep"]), help="What becomes of pairs of equal rating or rank.")
@click.option("--annotators", type=click.Choice(["aggregate", "each"]), help="Every annotator's own judgement, or not.")
@click.option("--limit", type=int, metavar="N", help="At most N prompts, chosen by hash.")
@click.option("--dataset", "chosen", multiple=True, metavar="NAME", help="Of a study: only this dataset (repeatable).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(name: str, limit: int | None, chosen: tuple[str, ...], as_json: bool, **options: Any) -> int:
    """Show what is in DATASET before scoring: a name of the catalogue, or a study with your own data."""
    environment.prepare()
    from flows.inspection import inspect_all

    return DONE if inspect_all(name, options, limit, chosen, as_json) else FAILED


@command.command()
@click.argument("study")
@outputs_option
def report(study: str, outputs: Path) -> int:
    """Render the report of STUDY again from the tables."""
    environment.prepare()
    from analysis.outputs import Outputs
    from flows.sampling import render

    made = render(Outputs(outputs), _name(study))
    click.echo(made.headline)
    click.echo(f"Report: {made.html.absolute()}")
    return DONE


@command.command()
@click.argument("study")
@click.option("--model", "models", multiple=True, metavar="NAME", help="Only this model (repeatable).")
@click.option(
    "--method", "methods", multiple=True, metavar="NAME", help="Only this one, and the baseline (repeatable)."
)
@click.option("--limit", type=int, metavar="N", help="The first N prompts.")
@click.option("--endpoint", metavar="URL", help="Ask this endpoint (OpenAI-compatible) in place of the study's.")
@click.option("--served", multiple=True, metavar="NAME", help="Ask the endpoint's model NAME in place of the study's.")
@outputs_option
def sample(
    study: str, models: tuple[str, ...], methods: tuple[str, ...], limit: int | None, endpoint: str | None,
    served: tuple[str, ...], outputs: Path,
) -> int:  # fmt: skip
    """Compare ways of prompting and decoding: STUDY is a built-in study of remedies or a TOML file.

    Diversity and quality of each method with intervals, its ratio to direct prompting, and how well known distributions
    are found again. What was answered once is never asked again.
    """
    environment.prepare()
    from analysis.outputs import Outputs
    from flows import sampling
    from flows.sampling_run import sample_here

    asked = sampling.study_of(study)
    if endpoint is not None or served:
        asked = asked.served_by(endpoint, served)
    asked = asked.narrowed(models, methods, limit)
    writable(outputs)
    outcome = sample_here(asked, Outputs(outputs))
    for sentence in outcome.failures:
        click.echo(f"typicality: {sentence}", err=True)
    click.echo(outcome.report.headline)
    click.echo(f"Report: {outcome.report.html.absolute()}")
    return FAILED if outcome.failures else DONE


@command.command()
@click.argument("study")
@outputs_option
@click.option("--draws", type=click.IntRange(min=2), default=500, show_default=True, help="Datasets drawn for each α.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def validate(study: str, outputs: Path, draws: int, as_json: bool) -> int:
    """Plant a known bias on the data of STUDY, which has been run, and show whether it is found again.

    Labels are drawn anew on the study's own comparisons, with α = 0, 0.25, 0.57 and 1 (log-odds per nat a token), and
    estimated: bias is the mean estimate less what was planted, coverage how many 95 % intervals hold it.
    """
    environment.prepare()
    from analysis.outputs import Outputs
    from flows.validation import validate_study

    return DONE if validate_study(_name(study), Outputs(outputs), draws, as_json) else FAILED


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@outputs_option
@click.option("--prompt", metavar="COLUMN", help="Of the prompts; prompt unless given.")
@click.option("--response", metavar="COLUMN", help="Of the generations; response unless given.")
@click.option("--group", metavar="COLUMN", help="Such as a model or a temperature; group, if there is one.")
@click.option("--status", metavar="COLUMN", help="Anything but ok, success, completed or nothing marks a failure.")
@click.option("--error", metavar="COLUMN", help="Anything in it marks a failure.")
@click.option("--entropy", metavar="COLUMN", help="Mean next-token entropy of each generation, in nats.")
@click.option(
    "--encoder", default="tfidf", show_default=True, metavar="NAME", help="tfidf, hashing, or a Hub id or folder."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draws sets and the bootstrap.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diversity(file: Path, outputs: Path, encoder: str, seed: int, as_json: bool, **columns: str | None) -> int:
    """Measure how diverse the generations in FILE are, and how much its groups differ.

    FILE is CSV, TSV, JSON Lines or Parquet, a row a generation. Empty and failed generations are counted apart and
    never as diversity. An encoder from the Hub (an id of sentence-transformers) needs the extra `encoders`.
    """
    environment.prepare()
    from analysis.outputs import Outputs
    from flows.diversity import measure_file

    measure_file(file, columns, encoder, seed, Outputs(outputs), as_json)
    return DONE


@command.command()
@click.argument("run_a")
@click.argument("run_b")
@outputs_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(run_a: str, run_b: str, outputs: Path, as_json: bool) -> int:
    """Show what changed from RUN_A to RUN_B.

    A run is named by its id, the beginning of its id, or its study (the latest run). Data, settings and code are
    compared, and every estimate that is in both.
    """
    environment.prepare()
    from analysis.outputs import Outputs
    from flows.comparing import compare_runs

    compare_runs(_name(run_a), _name(run_b), Outputs(outputs), as_json)
    return DONE


@command.command()
@click.argument("study")
@outputs_option
@click.option("--format", "form", type=click.Choice(["csv", "latex", "json"]), required=True, help="csv and json: all.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to FILE, not standard output.")
def export(study: str, outputs: Path, form: str, output: Path | None) -> int:
    """Write the estimates of STUDY's latest run.

    csv and json hold every estimate in full precision; latex is a table for each dataset and base model.
    """
    environment.prepare()
    from analysis.outputs import Outputs
    from flows.exporting import export_study

    export_study(_name(study), Outputs(outputs), form, output)
    return DONE


@command.command()
@click.argument("study")
@click.option("--cron", metavar="CRON", help='Minute, hour, day, month, weekday: "0 6 * * 1" is Mondays at six.')
@click.option("--every", metavar="INTERVAL", help="30m, 6h, 7d: now, and again after so long each time.")
@click.option("--timezone", metavar="ZONE", help="Of the cron, such as Europe/Berlin; UTC unless given.")
@_narrowed
@click.option("--name", metavar="NAME", help="Of the schedule: a study may have several; the study's unless given.")
def schedule(
    study: str, cron: str | None, every: str | None, timezone: str | None, name: str | None, outputs: Path, **only: Any
) -> int:
    """Run STUDY again and again, as long as this command runs; needs a Prefect server."""
    environment.prepare()
    from flows import scheduling
    from flows.parameters import RunParameters

    parameters = RunParameters(study=study, outputs=str(outputs), network_retries=scheduling.RETRIES, **only)
    made = scheduling.plan(parameters, scheduling.timing(cron, every, timezone), name)
    scheduling.require_server()
    writable(outputs)
    return INTERRUPTED if scheduling.serve(made) else DONE


@command.command()
@outputs_option
@click.option("--older-than", default="30d", show_default=True, metavar="AGE", help="Such as 12h, 30d or 8w.")
@click.option("--study", "studies", multiple=True, metavar="NAME", help="Only this study (may be repeated).")
@click.option("--yes", is_flag=True, help="Remove it; without this, it is only shown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def clean(outputs: Path, older_than: str, studies: tuple[str, ...], yes: bool, as_json: bool) -> int:
    """Show what later runs have superseded and is older than AGE, and remove it with --yes.

    Runs go with their reports and estimates; scores that no run left uses, and files set aside as damaged, go too. Each
    study's published run, its newest and its newest that did not fail stay at any age, with the scores they use;
    responses and features always stay. With --study: only its runs, and scores that only those that go have used.
    """
    environment.prepare()
    from analysis.outputs import Outputs
    from flows.cleaning import clean_folder

    clean_folder(Outputs(outputs), older_than, [_name(study) for study in studies], yes, as_json)
    return DONE


for made in measuring.COMMANDS:
    command.add_command(made)


def _name(study: str) -> str:
    """The name of a study, which may be given as its file."""
    from flows.parameters import built_in

    if study not in built_in() and Path(study).is_file():
        from analysis.definitions import read_toml
        from analysis.study import load

        if "methods" in read_toml(Path(study)):
            from analysis.collapse.remedies.study import load as load_remedies

            return load_remedies(Path(study)).name
        return load(Path(study)).name
    return study


def main() -> None:
    """Run the command and exit: 0 all done, 1 a cell failed, 2 nothing was started."""
    try:
        status = command.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        status = _say(environment.INTERRUPTED if sys.argv[1:2] == ["run"] else "interrupted", INTERRUPTED)
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
