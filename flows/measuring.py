"""The commands that measure texts in a file under a base model, outside any study."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from flows import environment
from flows.options import DONE, FAILED, outputs_option, writable


def _under(function: Callable[..., int]) -> Callable[..., int]:
    """The options that say under which base model a file of texts is measured."""
    for option in (
        click.option("--name", metavar="NAME", help="Of the measurement, in the table; the file's unless given."),
        click.option("--seed", type=int, default=0, show_default=True, help="Decides what is drawn."),
        click.option("--prompt", default="prompt", show_default=True, metavar="COLUMN", help="Holds the prompts."),
        click.option("--template", default="plain", show_default=True, help="plain, dialogue, chat or a format."),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True),
        click.option(
            "--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), default="float32", show_default=True
        ),
        click.option("--revision", default="main", show_default=True, help="Branch, tag or commit of the base model."),
        click.option("--base-model", required=True, metavar="NAME", help="A Hub id, or a folder."),
    ):
        function = option(function)
    return function


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@_under
@click.option("--response", metavar="COLUMN", help="Responses: entropy is taken along them, not along own draws.")
@click.option(
    "--temperatures", default="0.3,0.5,0.7,1,1.3,1.6,2", show_default=True, metavar="T,…", help="All above zero."
)
@click.option("--samples", type=click.IntRange(min=1), default=8, show_default=True, help="Draws a prompt, each.")
@click.option("--max-tokens", type=click.IntRange(min=1), default=64, show_default=True, help="Longest draw.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N prompts, chosen by hash.")
@click.option("--draws", type=click.Path(path_type=Path), metavar="FILE", help="Write the draws as JSON Lines, too.")
@click.option("--figure", type=click.Path(path_type=Path), metavar="FILE", help="Write a figure as SVG, too.")
@outputs_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def temperature(
    file: Path, base_model: str, revision: str, dtype: str, device: str, outputs: Path, as_json: bool, **options: Any
) -> int:
    """Show entropy and diversity of a base model against temperature on the prompts of FILE.

    FILE is CSV, TSV, JSON Lines or Parquet. Entropy is exact where contexts are fixed, and measured along the model's
    own draws; beside it stand length, repetition and diversity of the draws. The rows are kept in the table
    temperature.
    """
    environment.prepare()
    from analysis.outputs import Outputs
    from flows.sweeping import Options, measure

    writable(outputs)
    spec = {"name": base_model, "revision": revision, "dtype": dtype, "device": device}
    measure(file, Options(base_model=spec, **options), Outputs(outputs), as_json)
    return DONE


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@_under
@click.option("--response", default="response", show_default=True, metavar="COLUMN", help="Holds the generations.")
@click.option("--group", metavar="COLUMN", help="What they are grouped by; group, where there is such a column.")
@click.option("--request", metavar="COLUMN", help="Names the requests; else the rows do.")
@click.option("--status", metavar="COLUMN", help="Says ok where one did not fail; status, where there is one.")
@click.option("--error", metavar="COLUMN", help="Empty where one did not fail; error, where there is one.")
@click.option("--baseline", type=click.Path(path_type=Path), metavar="FILE", help="One that --save-baseline wrote.")
@click.option("--baseline-group", metavar="GROUP", help="This group of FILE is the baseline.")
@click.option(
    "--baseline-draws",
    type=click.IntRange(min=1),
    metavar="N",
    help="The base model's own samples are it, N a prompt.",
)
@click.option("--max-tokens", type=click.IntRange(min=1), default=128, show_default=True, help="Longest of these.")
@click.option("--save-baseline", type=click.Path(path_type=Path), metavar="FILE", help="Keep the baseline for later.")
@click.option(
    "--fail-on", type=click.Choice(["collapsed", "narrowing"]), help="Exit status 1 where a verdict is this, or worse."
)
@outputs_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def monitor(
    file: Path, base_model: str, revision: str, dtype: str, device: str, outputs: Path, as_json: bool, **options: Any
) -> int:
    """Show whether the generations in FILE collapse: request by request, and in one verdict on each group.

    FILE is CSV, TSV, JSON Lines or Parquet, a row a generation. Signs are: next-token entropy under the base model more
    than 30 % below the baseline's; Self-BLEU above 0.95 with a spread below 0.02; more than 80 % of a prompt's
    generations in one cluster; 10 points more 4-grams that repeat than in the baseline. Two signs are a collapse, one
    is narrowing. The rows are kept in the tables monitor and signs.
    """
    environment.prepare()
    from analysis.outputs import Outputs
    from flows.monitoring import Options
    from flows.monitoring import monitor as watch

    writable(outputs)
    columns = {role: options.pop(role) for role in ("prompt", "response", "group", "request", "status", "error")}
    spec = {"name": base_model, "revision": revision, "dtype": dtype, "device": device}
    fine = watch(file, Options(base_model=spec, columns=columns, **options), Outputs(outputs), as_json)
    return DONE if fine else FAILED


COMMANDS = (temperature, monitor)
