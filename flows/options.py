"""What the commands share: exit statuses, and the option of the output folder."""

from pathlib import Path

import click

from analysis.errors import StudyError

DONE, FAILED = 0, 1

outputs_option = click.option("--outputs", type=click.Path(path_type=Path), default=Path("outputs"), show_default=True)


def writable(outputs: Path) -> None:
    """Make the output folder.

    Raises
    ------
    StudyError
        If it cannot be made.
    """
    try:
        outputs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(
            f"cannot make the output folder {outputs}: {error.strerror}; choose another with --outputs"
        ) from error
