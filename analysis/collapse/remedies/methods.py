"""Methods: what a model is asked, how often, and how its next tokens are drawn."""

import itertools
import string
import tomllib
from functools import lru_cache
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Kind = Literal["direct", "list", "vs_standard", "vs_cot", "vs_multi"]
Unit = Literal["fraction", "percent"]
VERBALIZED = ("vs_standard", "vs_cot", "vs_multi")
# Keys that may hold a list: a method for each value.
SWEPT = ("temperature", "top_p", "top_k", "min_p", "typical_p", "adaptive", "threshold", "definition", "k")
LOCAL_ONLY = ("typical_p", "adaptive")
_FIELDS = {"direct": {"prompt"}, "list": {"prompt", "k"}, "follow_up": {"k", "definition", "threshold"}}
_ALL = {"prompt", "k", "definition", "threshold"}


class Definition(BaseModel):
    """What a verbalized probability is said to be, and its unit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str = Field(min_length=1)
    unit: Unit


class Decoding(BaseModel):
    """How the next token is drawn; None leaves a step out (an endpoint then does as it does by default).

    In this order: temperature, or the temperature that adapts to the entropy; top-k; top-p; min-p; locally typical.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: Annotated[float, Field(gt=0, le=10)] | None = None
    adaptive: Annotated[float, Field(gt=0, le=10)] | None = None
    top_k: Annotated[int, Field(ge=1)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    min_p: Annotated[float, Field(ge=0, lt=1)] | None = None
    typical_p: Annotated[float, Field(gt=0, lt=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] = 512

    @property
    def steps(self) -> dict[str, Any]:
        """What is set, by name."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class Method(Decoding):
    """One method of a study.

    `k` responses are asked for at a time (in each of `turns` turns, for `vs_multi`); `definition` names what a
    probability is, and below `threshold` it shall be.
    """

    name: str = Field(min_length=1, max_length=80)
    kind: Kind = "direct"
    k: Annotated[int, Field(ge=2, le=100)] = 5
    turns: Annotated[int, Field(ge=2, le=20)] = 2
    definition: str = "full"
    threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    instruction: str | None = None
    follow_up: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> "Method":
        if self.threshold is not None and self.kind not in VERBALIZED:
            raise ValueError(f"method {self.name!r}: a threshold needs probabilities; {self.kind} asks for none")
        for text, which in ((self.instruction, self.kind), (self.follow_up, "follow_up")):
            if text is not None:
                check_wording(text, which)
        return self

    @property
    def decoding(self) -> Decoding:
        """How tokens are drawn."""
        return Decoding(**{name: getattr(self, name) for name in Decoding.model_fields})

    @property
    def verbalized(self) -> bool:
        """Whether it asks for probabilities."""
        return self.kind in VERBALIZED

    @property
    def per_request(self) -> int:
        """Responses that one request asks for."""
        return 1 if self.kind == "direct" else self.k

    @property
    def per_conversation(self) -> int:
        """Responses that all turns of a conversation ask for."""
        return self.per_request * (self.turns if self.kind == "vs_multi" else 1)

    @property
    def n_turns(self) -> int:
        """Requests of a conversation."""
        return self.turns if self.kind == "vs_multi" else 1


class Wordings(BaseModel):
    """All texts that are sent, and the definitions of a probability."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wordings: dict[str, str]
    definitions: dict[str, Definition]

    @model_validator(mode="after")
    def _known(self) -> "Wordings":
        known = _packaged()["wordings"]
        for name, text in self.wordings.items():
            if name not in known:
                raise ValueError(f"wordings: {name!r} is unknown; allowed are {', '.join(known)}")
            check_wording(text, name)
        return self

    @classmethod
    def of(cls, wordings: dict[str, Any], definitions: dict[str, Any]) -> "Wordings":
        """The packaged texts, with those of a study in their place."""
        packaged = _packaged()
        return cls.model_validate(
            {
                "wordings": {**packaged["wordings"], **wordings},
                "definitions": {**packaged["definitions"], **definitions},
            }
        )

    def instruction(self, method: Method, prompt: str) -> str:
        """What is asked in a conversation's first turn."""
        return self._filled(method.instruction or self.wordings[method.kind], method, prompt)

    def follow_up(self, method: Method) -> str:
        """What is asked in every further turn."""
        return self._filled(method.follow_up or self.wordings["follow_up"], method, "")

    def unit(self, method: Method) -> Unit:
        """The unit of the probabilities that a method asks for."""
        return self.definitions[method.definition].unit

    def _filled(self, text: str, method: Method, prompt: str) -> str:
        below = ""
        if method.threshold is not None:
            percent = self.unit(method) == "percent"
            p = f"{100 * method.threshold:g} per cent" if percent else f"{method.threshold:g}"
            below = string.Template(self.wordings["threshold"]).substitute(p=p)
        definition = self.definitions[method.definition].text if method.verbalized else ""
        made = string.Template(text).substitute(prompt=prompt, k=method.k, definition=definition, threshold=below)
        # A prompt goes out as it is; an instruction may be laid out for the eye.
        return made if text == "$prompt" else made.strip()


def check_wording(text: str, which: str) -> None:
    """Check that a text can be filled in.

    Raises
    ------
    ValueError
        If it names something unknown, or leaves the prompt out.
    """
    allowed = {"p"} if which == "threshold" else _FIELDS.get(which, _ALL)
    told = ", ".join(f"${name}" for name in sorted(allowed))
    template = string.Template(text)
    if not template.is_valid():
        raise ValueError(f"the wording of {which} has a $ that stands for nothing ($$ is a dollar sign)")
    found = set(template.get_identifiers())
    if unknown := found - allowed:
        raise ValueError(f"the wording of {which} has ${min(unknown)}; allowed are {told}")
    if needed := ({"prompt"} if "prompt" in allowed else {"p"} if "p" in allowed else set()) - found:
        raise ValueError(f"the wording of {which} lacks ${min(needed)}")


@lru_cache(maxsize=1)
def _packaged() -> dict[str, Any]:
    text = resources.files("analysis.collapse.remedies").joinpath("wordings.toml").read_text(encoding="utf-8")
    made = tomllib.loads(text)
    return {
        "wordings": {name: wording.strip() for name, wording in made["wordings"].items()},
        "definitions": made["definitions"],
    }


def expanded(entry: Any) -> list[Any]:
    """A method's entry in the file as one entry for each value of the keys that hold lists; the name tells which."""
    if not isinstance(entry, dict):
        return [entry]
    lists = {key: value for key, value in entry.items() if key in SWEPT and isinstance(value, list)}
    if not all(lists.values()):
        return [entry]
    made = []
    for values in itertools.product(*lists.values()):
        chosen = dict(zip(lists, values, strict=True))
        name = " ".join([str(entry.get("name", "")), *(_value(entry, k, v) for k, v in chosen.items())])
        made.append({**entry, **chosen, **({"name": name.strip()} if lists else {})})
    return made


_SHORT = {"temperature": "T", "threshold": "p", "adaptive": "θ"}


def _value(entry: dict[str, Any], key: str, value: Any) -> str:
    """A value for a method's name, with its key unless that is the name."""
    return f"{value}" if entry.get("name") == key.replace("_", "-") else f"{_SHORT.get(key, key)}={value}"
