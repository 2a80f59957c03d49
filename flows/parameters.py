"""The one parameter of the flow, validated; Prefect's server shows it as a form."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from analysis.errors import StudyError
from analysis.study import Study, load

STUDIES = Path(__file__).parent / "studies"


class RunParameters(BaseModel):
    """What to run: a study, narrowed or not, and where to put its results."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: str = Field(description="a built-in study's name, or the path of a TOML file")
    datasets: tuple[str, ...] = Field(default=(), description="only these datasets of the study; all where empty")
    base_models: tuple[str, ...] = Field(default=(), description="only these base models; all where empty")
    limit: int | None = Field(default=None, description="at most so many prompts of each dataset")
    outputs: str = Field(default="outputs", description="output folder")
    force: bool = Field(default=False, description="do everything again but the scoring, whether or not it changed")
    network_retries: int = Field(
        default=0, ge=0, le=10, description="how often to try again, after growing pauses, where the network fails"
    )

    @property
    def label(self) -> str:
        """The study's name, or its file's without the folder: what a run is called."""
        return Path(self.study).stem

    def resolve(self) -> Study:
        """The study, validated and narrowed.

        Raises
        ------
        StudyError
            If there is no such study or it is invalid.
        """
        return load(study_file(self.study)).narrowed(self.datasets, self.base_models, self.limit)


def built_in() -> dict[str, Path]:
    """The built-in studies by name."""
    return {path.stem: path for path in sorted(STUDIES.glob("*.toml"))}


def study_file(study: str) -> Path:
    """The file of a study given by name or path.

    Raises
    ------
    StudyError
        If it is neither a built-in name nor a file.
    """
    known = built_in()
    if study in known:
        return known[study]
    path = Path(study)
    if path.is_file():
        return path
    raise StudyError(
        f"there is no study {study!r}: it is neither a TOML file nor built in (built in: {', '.join(known)})"
    )
