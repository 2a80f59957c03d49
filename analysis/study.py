"""A study: datasets × base models × estimates, validated from a TOML file.

Everything wrong with a study is found before anything starts, and said in one sentence that names the key.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from analysis.definitions import absolute, looks_like_folder, read_toml, sentence
from analysis.errors import StudyError
from analysis.likelihood.measures import MEASURES
from analysis.likelihood.templates import check_template
from analysis.preferences.spec import CatalogueDataset, DatasetSpec, OwnDataset, limited
from analysis.regression.specifications import DEFAULT, SPECIFICATIONS

NAME = r"^[a-z0-9][a-z0-9-]*$"
UNKNOWN = "unknown"
# What pydantic says of the kind of an entry is no key of the file.
_SILENT = ("catalogue", "own")


class BaseModelSpec(BaseModel):
    """A base model whose likelihood stands for typicality."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    label: str | None = None
    revision: str = "main"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    backend: str = "transformers"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    context_window: Annotated[int, Field(ge=8)] | None = None
    batch_tokens: Annotated[int, Field(ge=16)] | None = None
    address: str = "local"
    cpus: Annotated[float, Field(gt=0)] = 1
    gpus: Annotated[float, Field(ge=0)] = 0
    endpoint: str | None = None
    api_key_env: str = Field("OPENAI_API_KEY", min_length=1)
    tokenizer: str | None = None
    concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    dollars_per_million_tokens: Annotated[float, Field(ge=0)] | None = None

    @field_validator("backend")
    @classmethod
    def _backend(cls, value: str) -> str:
        from analysis.likelihood import backends

        if value not in backends.names():
            raise ValueError(f"{value!r} is unknown; allowed are {', '.join(backends.names())}")
        return value

    @property
    def key(self) -> str:
        """The label in tables: as declared, else the Hub id, else the folder's name."""
        return self.label or (Path(self.name).name if self.is_folder else self.name)

    @property
    def is_folder(self) -> bool:
        """Whether `name` is a path rather than a Hub id `org/name`, or an endpoint's name for it."""
        return self.endpoint is None and self.name.startswith(("/", "./", "../", "~"))


class Study(BaseModel):
    """A validated study. See `analysis.preferences.spec` for the datasets' keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=NAME, max_length=80)
    title: str = ""
    seed: int = 0
    template: str = "plain"
    measures: tuple[str, ...] = ("mean_logprob",)
    specifications: tuple[str, ...] = DEFAULT
    margin: Annotated[float, Field(gt=0, lt=0.5)] = 0.02
    slices: tuple[str, ...] | None = None
    long_responses: Literal["exclude", "cut"] = "exclude"
    token_logprobs: bool = False
    publish: str | None = None
    base_models: tuple[BaseModelSpec, ...] = Field(min_length=1)
    datasets: tuple[DatasetSpec, ...] = Field(min_length=1)

    @field_validator("template")
    @classmethod
    def _template(cls, value: str) -> str:
        check_template(value)
        return value

    @field_validator("publish")
    @classmethod
    def _publish(cls, value: str | None) -> str | None:
        return value if value is None else publishing_url(value)

    @field_validator("measures", "specifications")
    @classmethod
    def _known(cls, value: tuple[str, ...], info: Any) -> tuple[str, ...]:
        allowed = tuple(MEASURES) if info.field_name == "measures" else tuple(SPECIFICATIONS)
        if not value:
            raise ValueError(f"is empty; allowed are {', '.join(allowed)}")
        for name in value:
            if name not in allowed:
                raise ValueError(f"{name!r} is unknown; allowed are {', '.join(allowed)}")
        if len(set(value)) < len(value):
            raise ValueError("names something twice")
        return value

    @field_validator("slices")
    @classmethod
    def _slices(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value == ():
            raise ValueError("is empty; leave it out for all comparisons, and those of equal quality")
        for name in value or ():
            column = name.partition("=")[0]
            if name not in ("all", "equal_quality") and ("=" not in name or column not in SLICE_COLUMNS):
                raise ValueError(
                    f"{name!r} is unknown; allowed are all, equal_quality and column=value "
                    f"with column one of {', '.join(SLICE_COLUMNS)}"
                )
        return value

    @model_validator(mode="after")
    def _labels(self) -> "Study":
        for what, keys in (
            ("datasets", [d.key for d in self.datasets]),
            ("base_models", [m.key for m in self.base_models]),
        ):
            twice = {k for k in keys if keys.count(k) > 1}
            if twice:
                raise ValueError(f"two {what} are called {min(twice)!r}; give one of them a label")
        return self

    @model_validator(mode="after")
    def _backends(self) -> "Study":
        from analysis.likelihood import backends

        for spec in self.base_models:
            try:
                backends.check(spec, self)
            except ValueError as error:
                raise ValueError(f"base model {spec.key!r}: {error}") from error
        return self

    @property
    def needs_unconditional(self) -> bool:
        """Whether log p(response) is to be scored, too."""
        return any(MEASURES[m].unconditional for m in self.measures) or any(
            SPECIFICATIONS[s].needs_unconditional for s in self.specifications
        )

    def narrowed(self, datasets: tuple[str, ...], base_models: tuple[str, ...], limit: int | None) -> "Study":
        """The study with only some of its datasets and base models, or fewer prompts of each; then it is not published.

        Raises
        ------
        StudyError
            If a name is not in the study, or the limit is not positive.
        """
        kept = _pick(self.datasets, datasets, "dataset", self.name)
        models = _pick(self.base_models, base_models, "base model", self.name)
        if limit is not None:
            kept = tuple(limited(d, limit) for d in kept)
        narrowed = bool(datasets or base_models or limit is not None)
        publish = None if narrowed else self.publish
        return self.model_copy(update={"datasets": kept, "base_models": models, "publish": publish})


SLICE_COLUMNS = ("split", "language", "domain", "source", "annotator", "rater")


def publishing_url(url: str) -> str:
    """Check a URL to publish to.

    Raises
    ------
    ValueError
        If it is none that fsspec knows, or holds a password.
    """
    from fsspec.registry import known_implementations

    protocol, found, rest = url.partition("://")
    if not found or not rest.strip("/"):
        raise ValueError(f'{url!r} is no URL to publish to, such as "s3://bucket/folder"')
    if protocol not in known_implementations:
        raise ValueError(f"{url!r} begins with {protocol}://, which fsspec does not know")
    if "@" in rest.partition("/")[0]:
        raise ValueError("holds a password; credentials are taken from the environment")
    return url


def _pick(specs: tuple[Any, ...], names: tuple[str, ...], what: str, study: str) -> tuple[Any, ...]:
    wanted: list[Any] = []
    for name in names:
        found = [s for s in specs if s.key == name] or [s for s in specs if s.name == name]
        if not found:
            raise StudyError(f"study {study!r} has no {what} {name!r}; it has {', '.join(s.key for s in specs)}")
        wanted += found
    return tuple(s for s in specs if s in wanted) if names else specs


def load(path: Path) -> Study:
    """Read and validate a study file; relative paths in it are taken from its folder.

    Raises
    ------
    StudyError
        If the file cannot be read or anything in it is wrong.
    """
    return parse(read_toml(path), path.parent, str(path))


def parse(values: dict[str, Any], folder: Path, name: str = "the study") -> Study:
    """Validate a study given as a dictionary; relative paths are taken from `folder`.

    Raises
    ------
    StudyError
        If anything in it is wrong.
    """
    try:
        study = Study.model_validate(_resolved(values, folder))
    except ValidationError as error:
        raise StudyError(f"{name}: {sentence(error, values, _keys, _SILENT)}") from error
    for dataset in study.datasets:
        if isinstance(dataset, OwnDataset) and dataset.path and not Path(dataset.path).is_file():
            raise StudyError(f"{name}: dataset {dataset.key!r}: there is no file {dataset.path}")
        if isinstance(dataset, CatalogueDataset):
            dataset.check()
    for model in study.base_models:
        if model.is_folder and not Path(model.name).is_dir():
            raise StudyError(f"{name}: base model {model.key!r}: there is no folder {model.name}")
    return study


def base_model(values: dict[str, Any]) -> BaseModelSpec:
    """Validate a base model that is given beside no study; a relative folder is taken from the current one.

    Raises
    ------
    StudyError
        If anything in it is wrong.
    """
    folder = Path.cwd()
    given = {**values, "name": absolute(values["name"], folder)} if _is_folder(values, "name", folder) else values
    try:
        found = BaseModelSpec.model_validate(given)
    except ValidationError as error:
        raise StudyError(f"the base model's {sentence(error, values, _keys, _SILENT)}") from error
    if found.is_folder and not Path(found.name).is_dir():
        raise StudyError(f"there is no folder {found.name} with a base model")
    return found


def _resolved(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The values with relative paths made absolute."""
    out = dict(values)

    def resolved(entry: Any, key: str, is_path: bool) -> Any:
        if not isinstance(entry, dict) or not isinstance(entry.get(key), str) or not is_path:
            return entry
        return {**entry, key: absolute(entry[key], folder)}

    for entry_key, key in (("datasets", "path"), ("base_models", "name"), ("base_models", "tokenizer")):
        entries = out.get(entry_key)
        if isinstance(entries, list):
            out[entry_key] = [resolved(e, key, key == "path" or _is_folder(e, key, folder)) for e in entries]
    return out


def _is_folder(entry: Any, key: str, folder: Path) -> bool:
    # What an endpoint calls its base model is no folder here, though it may look like one.
    if not isinstance(entry, dict) or (key == "name" and "endpoint" in entry):
        return False
    return looks_like_folder(entry.get(key), folder)


def _keys(where: tuple[Any, ...]) -> list[str]:
    kinds: dict[Any, type[BaseModel]] = {"catalogue": CatalogueDataset, "own": OwnDataset, "base_models": BaseModelSpec}
    model = next((kinds[part] for part in where if part in kinds), Study)
    return list(model.model_fields)
