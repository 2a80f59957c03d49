"""A study of remedies: prompts × methods × models, validated from a TOML file."""

import json
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from analysis.collapse.remedies.methods import LOCAL_ONLY, Definition, Method, Wordings, expanded
from analysis.collapse.remedies.specs import ChatModel, Judge, LocalModel, Model, Prompt, checked_endpoint
from analysis.definitions import absolute, looks_like_folder, read_toml, sentence
from analysis.errors import StudyError
from analysis.likelihood.templates import check_template
from analysis.study import NAME, BaseModelSpec

_SILENT = ("chat", "transformers")


class SampleStudy(BaseModel):
    """A validated study of remedies: `n` responses to every prompt by every method of every model.

    `forecast` names a study of labels in the same output folder, whose forecasts stand beside what tuning left.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=NAME, max_length=80)
    title: str = ""
    seed: int = 0
    n: Annotated[int, Field(ge=2)] = 30
    baseline: str = "direct"
    encoder: str = "tfidf"
    template: str = "plain"
    bar: float | None = None
    forecast: str | None = None
    wordings: dict[str, str] = {}
    definitions: dict[str, Definition] = {}
    base_model: BaseModelSpec | None = None
    judge: Judge | None = None
    models: tuple[Model, ...] = Field(min_length=1)
    methods: tuple[Method, ...] = Field(min_length=1)
    prompts: tuple[Prompt, ...] = Field(min_length=1)

    @field_validator("methods", mode="before")
    @classmethod
    def _swept(cls, value: Any) -> Any:
        return [one for entry in value for one in expanded(entry)] if isinstance(value, list) else value

    @field_validator("template")
    @classmethod
    def _template(cls, value: str) -> str:
        check_template(value)
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for what, keys in (
            ("models", [m.key for m in self.models]),
            ("methods", [m.name for m in self.methods]),
            ("prompts", [p.prompt for p in self.prompts]),
        ):
            if twice := {k for k in keys if keys.count(k) > 1}:
                raise ValueError(f"two {what} are {min(twice)[:60]!r}")
        names = [m.name for m in self.methods]
        if self.baseline not in names:
            raise ValueError(f"baseline: there is no method {self.baseline!r}; there are {', '.join(names)}")
        for method in self.methods:
            self._check(method)
        for model in self.models:
            others = [m.key for m in self.models if m is not model]
            if model.tuned_from is not None and model.tuned_from not in others:
                raise ValueError(f"model {model.key!r}: tuned_from names no other model of the study")
        if self.base_model is not None and self.base_model.backend != "transformers":
            raise ValueError("base_model: quality is scored on this machine, by backend transformers")
        if self.bar is not None and self.judge is None and self.base_model is None:
            raise ValueError("bar: there is no quality to hold to it; give a base_model or a judge")
        return self

    def _check(self, method: Method) -> None:
        known = self.texts.definitions
        if method.definition not in known:
            raise ValueError(
                f"method {method.name!r}: definition {method.definition!r} is unknown; allowed are "
                f"{', '.join(known)}, and your own as [definitions.NAME]"
            )
        chat = [m.key for m in self.models if isinstance(m, ChatModel)]
        local = [name for name in LOCAL_ONLY if getattr(method, name) is not None]
        if local and chat:
            raise ValueError(
                f"method {method.name!r}: endpoints have no {local[0]}; only models of transformers do, and "
                f"{chat[0]!r} is none"
            )

    @property
    def texts(self) -> Wordings:
        """What is sent."""
        return Wordings.of(dict(self.wordings), {k: v.model_dump() for k, v in self.definitions.items()})

    @property
    def quality(self) -> str | None:
        """What quality is measured by: the judge's score, else the base model's likelihood; None where neither is."""
        return "judge" if self.judge is not None else "mean_logprob" if self.base_model is not None else None

    def narrowed(self, models: tuple[str, ...], methods: tuple[str, ...], limit: int | None) -> "SampleStudy":
        """The study with only some of its models and methods, or its first prompts alone.

        Raises
        ------
        StudyError
            If a name is not in the study, or the limit is not positive.
        """
        if limit is not None and limit < 1:
            raise StudyError(f"the limit must be 1 or more, not {limit}")
        kept = _pick(self.models, [m.key for m in self.models], models, "model")
        # What others are compared with stays.
        wanted = (*methods, self.baseline) if methods else methods
        return self.model_copy(
            update={
                "models": kept,
                "methods": _pick(self.methods, [m.name for m in self.methods], wanted, "method"),
                "prompts": self.prompts[:limit],
            }
        )

    def served_by(self, endpoint: str | None, names: tuple[str, ...]) -> "SampleStudy":
        """The study with the same questions asked elsewhere: of these models of an endpoint, in place of its own.

        Parameters
        ----------
        endpoint
            Its address; None: where the study or the environment says.
        names
            Models as the endpoint calls them; those of the study where empty.

        Raises
        ------
        StudyError
            If the study asks no endpoint, the address is none, or two models have one name.
        """
        served = [m for m in self.models if isinstance(m, ChatModel)]
        if not served:
            raise StudyError(f"study {self.name!r} asks no endpoint, only models on this machine")
        try:
            where = {} if endpoint is None else {"endpoint": checked_endpoint(endpoint)}
        except ValueError as error:
            raise StudyError(f"--endpoint: {error}") from error
        kept = [m for m in self.models if m not in served]
        if names:
            alone = {"label": None, "parameters": None, "tuned_from": None}
            served = [served[0].model_copy(update={"name": name, **alone}) for name in names]
            keys = [m.key for m in (*kept, *served)]
            if twice := next((name for name in names if keys.count(name) > 1), None):
                raise StudyError(f"--served names {twice!r}, which is among the models already")
        return self.model_copy(update={"models": (*kept, *(m.model_copy(update=where) for m in served))})


def _pick(things: tuple[Any, ...], keys: list[str], names: tuple[str, ...], what: str) -> tuple[Any, ...]:
    for name in names:
        if name not in keys:
            raise StudyError(f"there is no {what} {name!r}; there are {', '.join(keys)}")
    return tuple(thing for thing, key in zip(things, keys, strict=True) if key in names) if names else things


def load(path: Path) -> SampleStudy:
    """Read and validate a study file; relative paths in it are taken from its folder.

    Raises
    ------
    StudyError
        If the file cannot be read or anything in it is wrong.
    """
    values, folder = read_toml(path), path.parent
    return parse(_with_prompts(_resolved(values, folder), folder, str(path)), str(path))


def parse(values: dict[str, Any], name: str = "the study") -> SampleStudy:
    """Validate a study given as a dictionary.

    Raises
    ------
    StudyError
        If anything in it is wrong.
    """
    try:
        study = SampleStudy.model_validate(values)
    except ValidationError as error:
        raise StudyError(f"{name}: {sentence(error, values, _keys, _SILENT)}") from error
    for model in [m for m in study.models if isinstance(m, LocalModel)]:
        if model.spec.is_folder and not Path(model.name).is_dir():
            raise StudyError(f"{name}: model {model.key!r}: there is no folder {model.name}")
    if study.base_model and study.base_model.is_folder and not Path(study.base_model.name).is_dir():
        raise StudyError(f"{name}: base_model: there is no folder {study.base_model.name}")
    return study


def _resolved(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    def local(entry: Any) -> Any:
        if isinstance(entry, dict) and entry.get("backend") != "chat" and looks_like_folder(entry.get("name"), folder):
            return {**entry, "name": absolute(entry["name"], folder)}
        return entry

    models = values.get("models")
    more = {"models": [local(m) for m in models]} if isinstance(models, list) else {}
    return {**values, **more, **({"base_model": local(values["base_model"])} if "base_model" in values else {})}


def _with_prompts(values: dict[str, Any], folder: Path, name: str) -> dict[str, Any]:
    """The prompts of the file that `prompts` names, one JSON object a line, in its place."""
    told = values.get("prompts")
    if not isinstance(told, str):
        return values
    path = Path(absolute(told, folder))
    found = []
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{name}: prompts: cannot read {path} as UTF-8 text") from error
    for k, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(json.loads(line))
        except ValueError as error:
            raise StudyError(f"{name}: prompts: line {k} of {path} is not JSON") from error
    return {**values, "prompts": found}


def _keys(where: tuple[Any, ...]) -> list[str]:
    kinds: dict[Any, type[BaseModel]] = {
        **{"chat": ChatModel, "transformers": LocalModel, "judge": Judge, "base_model": BaseModelSpec},
        **{"methods": Method, "prompts": Prompt, "definitions": Definition},
    }
    return list(next((kinds[part] for part in where if part in kinds), SampleStudy).model_fields)
