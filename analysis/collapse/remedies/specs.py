"""What a study of remedies is made of: prompts, models that are asked, a judge."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Discriminator, Field, field_validator, model_validator

from analysis.collapse.remedies.known import known_answers
from analysis.errors import StudyError
from analysis.ids import content_id
from analysis.likelihood.templates import check_template
from analysis.study import BaseModelSpec

ENDPOINT_VARIABLE = "OPENAI_BASE_URL"


class Prompt(BaseModel):
    """A prompt.

    `answers` are all answers it has, each with its other names after it; `reference` is how they are distributed, in
    shares or counts. `correct` are the right answers of a question that has one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str = Field(min_length=1)
    answers: tuple[tuple[str, ...], ...] = ()
    reference: tuple[Annotated[float, Field(ge=0)], ...] = ()
    correct: tuple[str, ...] = ()

    @field_validator("answers", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return [[one] if isinstance(one, str) else one for one in value] if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.answers and not all(self.answers):
            raise ValueError("an answer has no name")
        try:
            known_answers(self.answers)
            known_answers([self.correct] if self.correct else [])
        except ValueError as error:
            raise ValueError(f"prompt {self.prompt[:40]!r}: {error}") from error
        if self.reference and len(self.reference) != len(self.answers):
            raise ValueError(
                f"prompt {self.prompt[:40]!r} has {len(self.answers)} answers and a reference of {len(self.reference)}"
            )
        if self.reference and not sum(self.reference) > 0:
            raise ValueError(f"prompt {self.prompt[:40]!r} has a reference that sums to nothing")
        return self

    @property
    def id(self) -> str:
        """Hash of the prompt's text."""
        return content_id("prompt", self.prompt)


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    label: str | None = None
    parameters: Annotated[float, Field(gt=0)] | None = None
    tuned_from: str | None = None

    @property
    def key(self) -> str:
        """The label in tables: as declared, else the model's name, else its folder's."""
        folder = self.name.startswith(("/", "./", "../", "~"))
        return self.label or (Path(self.name).name if folder else self.name)


class ChatModel(_Asked):
    """A model behind an OpenAI-compatible endpoint; without `endpoint` that of the environment."""

    backend: Literal["chat"]
    endpoint: str = ""
    api_key_env: str = Field("OPENAI_API_KEY", min_length=1)
    concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    seeded: bool = True
    extra: dict[str, Any] = {}

    @field_validator("endpoint")
    @classmethod
    def _plain(cls, value: str) -> str:
        return checked_endpoint(value) if value else value


class LocalModel(_Asked):
    """A model of `transformers` on this machine."""

    backend: Literal["transformers"]
    revision: str = "main"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    template: str = "chat"
    batch: Annotated[int, Field(ge=1, le=1024)] = 32

    @field_validator("template")
    @classmethod
    def _template(cls, value: str) -> str:
        check_template(value)
        return value

    @property
    def spec(self) -> BaseModelSpec:
        """As the rest of the project loads models."""
        return BaseModelSpec.model_validate(
            self.model_dump(include={"name", "label", "revision", "dtype", "device"}, exclude_none=True)
        )


Model = Annotated[ChatModel | LocalModel, Discriminator("backend")]


class Judge(BaseModel):
    """A model that rates every response from `least` to `most`; $prompt and $response are filled in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    instruction: str
    endpoint: str = ""
    api_key_env: str = Field("OPENAI_API_KEY", min_length=1)
    concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    max_tokens: Annotated[int, Field(ge=1)] = 64
    temperature: Annotated[float, Field(ge=0, le=10)] | None = 0.0
    least: float = 1
    most: float = 10
    extra: dict[str, Any] = {}

    @field_validator("endpoint")
    @classmethod
    def _plain(cls, value: str) -> str:
        return checked_endpoint(value) if value else value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for name in ("prompt", "response"):
            if f"${name}" not in self.instruction and f"${{{name}}}" not in self.instruction:
                raise ValueError(f"the judge's instruction lacks ${name}")
        if self.least >= self.most:
            raise ValueError("the judge's scale needs least below most")
        return self


def checked_endpoint(url: str) -> str:
    """An endpoint's address, which holds no key: it stands in tables.

    Raises
    ------
    ValueError
        If it is no address of HTTP, or has a user, a password or a query.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise ValueError(f"{url[:60]!r} is no address") from error
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("an endpoint is an address such as http://127.0.0.1:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("an endpoint's address may hold no user, password or query; the key belongs in api_key_env")
    return url.rstrip("/")


def endpoint_of(spec: ChatModel | Judge) -> str:
    """Where a model is asked: as the study says, else as the environment does.

    Raises
    ------
    StudyError
        If neither says.
    """
    if spec.endpoint:
        return spec.endpoint
    told = os.environ.get(ENDPOINT_VARIABLE, "")
    if not told:
        raise StudyError(
            f"{spec.name!r} has no endpoint: give it in the study, or in the environment as {ENDPOINT_VARIABLE}"
        )
    try:
        return checked_endpoint(told)
    except ValueError as error:
        raise StudyError(f"{ENDPOINT_VARIABLE}: {error}") from error
