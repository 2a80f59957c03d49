"""What a study says of a dataset: a name of the catalogue with its options, or columns of the user's own data."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from analysis.errors import StudyError
from analysis.preferences.records import Ties

LABEL = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Rater = Literal["human", "ai", "mixed", "simulated"]
Limit = Annotated[int, Field(ge=1)]


class CatalogueDataset(BaseModel):
    """A dataset of the catalogue, with its own options.

    `outcome` and `quality` choose among the ratings of a dataset that has several; `ties` says what becomes of pairs of
    equal rating or rank; `annotators = "each"` takes every annotator's own judgement in place of the aggregate.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    label: str | None = Field(default=None, pattern=LABEL)
    part: str | None = None
    split: str | None = None
    revision: str | None = None
    limit: Limit | None = None
    outcome: str | None = None
    quality: tuple[str, ...] | None = None
    ties: Ties | None = None
    annotators: Literal["aggregate", "each"] = "aggregate"

    @property
    def key(self) -> str:
        """The label in tables."""
        return self.label or self.name

    @property
    def rater(self) -> str:
        """Who judged, as the catalogue says."""
        from analysis.preferences.catalogue import entry

        return entry(self.name).rater

    @property
    def judged(self) -> str:
        """What was judged: `pairs`, or responses that are `graded` or `ranked`."""
        from analysis.preferences.catalogue import entry

        return entry(self.name).shape

    @property
    def outcome_rating(self) -> str | None:
        """The rating of each response that is the outcome; None where none is."""
        from analysis.preferences.catalogue import entry

        found = entry(self.name)
        return (self.outcome or found.default_outcome) if found.shape == "graded" else None

    def check(self) -> None:
        """Check the options against the catalogue.

        Raises
        ------
        StudyError
            If the name, or a choice, is not in the catalogue; the message lists those that are.
        """
        from analysis.preferences.catalogue import entry

        found = entry(self.name)
        chosen = [("part", self.part, found.parts), ("split", self.split, found.splits)]
        chosen += [("outcome", self.outcome, found.outcomes)]
        chosen += [("quality", name, found.ratings) for name in self.quality or ()]
        for what, value, allowed in chosen:
            if value is not None and value not in allowed:
                if not allowed:
                    raise StudyError(f"dataset {self.key!r} takes no {what}; leave it out")
                raise StudyError(f"dataset {self.key!r}: there is no {what} {value!r}; it has {', '.join(allowed)}")
        outcome = self.outcome or found.default_outcome
        if outcome in (self.quality or ()):
            raise StudyError(f"dataset {self.key!r}: {outcome!r} is the outcome, so it cannot be a quality control too")
        if self.ties is not None and found.shape == "pairs":
            raise StudyError(f"dataset {self.key!r}: ties is for ratings and ranks; the ties among pairs are kept")
        if self.annotators == "each" and not found.individual:
            raise StudyError(f"dataset {self.key!r} does not hold each annotator's own judgement; leave annotators out")


class OwnDataset(BaseModel):
    """The user's own data: a file or a Hub dataset, with every column declared.

    Shapes: `pairs` (a prompt, two responses and which was preferred; or a chosen and a rejected one), `graded` (a
    prompt, a response and the rating that is the outcome; pairs are formed within the prompt) and `ranked` (a prompt,
    a response and its rank, 1 the best; or lists of responses and ranks).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=LABEL)
    label: str | None = Field(default=None, pattern=LABEL)
    path: str | None = None
    hub: str | None = None
    revision: str = "main"
    config: str | None = None
    data_dir: str | None = None
    load_split: str | None = None
    shape: Literal["pairs", "graded", "ranked"]
    rater: Rater
    limit: Limit | None = None
    ties: Ties | None = None
    order_known: bool = False
    planted_alpha: float | None = None

    prompt: str | None = None
    response: str | None = None
    responses: str | None = None
    outcome: str | None = None
    rank: str | None = None
    ranks: str | None = None
    response_a: str | None = None
    response_b: str | None = None
    preference: str | None = None
    values: dict[str, Literal["a", "b", "tie"]] | None = None
    positive: Literal["a", "b"] | None = None
    chosen: str | None = None
    rejected: str | None = None

    quality: tuple[str, ...] = ()
    quality_a: tuple[str, ...] = ()
    quality_b: tuple[str, ...] = ()
    source: str | None = None
    source_a: str | None = None
    source_b: str | None = None
    strength: str | None = None
    annotator: str | None = None
    split: str | None = None
    language: str | None = None
    domain: str | None = None

    @property
    def key(self) -> str:
        """The label in tables."""
        return self.label or self.name

    @property
    def judged(self) -> str:
        """What was judged: `pairs`, or responses that are `graded` or `ranked`."""
        return self.shape

    @property
    def outcome_rating(self) -> str | None:
        """The rating of each response that is the outcome; None where none is."""
        return self.outcome if self.shape == "graded" else None

    @field_validator("values", mode="before")
    @classmethod
    def _text_keys(cls, value: Any) -> Any:
        return {canonical(k): v for k, v in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _consistent(self) -> "OwnDataset":
        if (self.path is None) == (self.hub is None):
            raise ValueError("give either path (a file) or hub (org/name), and not both")
        if self.path and (self.config or self.data_dir or self.load_split or self.revision != "main"):
            raise ValueError("revision, config, data_dir and load_split belong to data on the Hub, not to a path")
        if self.planted_alpha is not None and self.rater != "simulated":
            raise ValueError('planted_alpha belongs to simulated data: set rater = "simulated" or leave it out')
        {"pairs": self._check_pairs, "graded": self._check_graded, "ranked": self._check_ranked}[self.shape]()
        return self

    def _check_pairs(self) -> None:
        binary = self.chosen is not None or self.rejected is not None
        if binary:
            self._need("chosen", "rejected")
            if self.order_known:
                raise ValueError(
                    "order_known does not belong to chosen and rejected: the chosen one always comes first"
                )
            self._refuse("response_a", "response_b", "preference", "values", "positive")
        else:
            self._need("prompt", "response_a", "response_b", "preference")
            if (self.values is None) == (self.positive is None):
                raise ValueError(
                    'say how to read preference: either values = { "1" = "a", "2" = "b", "0" = "tie" } or, '
                    'for a signed number, positive = "a" or "b"'
                )
        self._refuse("response", "responses", "outcome", "rank", "ranks", "source", "quality", "ties")
        if len(self.quality_a) != len(self.quality_b):
            raise ValueError("quality_a and quality_b must name the same number of columns, in the same order")

    def _check_graded(self) -> None:
        self._need("prompt", "response", "outcome")
        self._refuse("responses", "rank", "ranks", "strength", *_PAIR_KEYS)
        if self.outcome in self.quality:
            raise ValueError(f"{self.outcome!r} is the outcome, so it cannot be a quality control too")

    def _check_ranked(self) -> None:
        if self.responses is not None or self.ranks is not None:
            self._need("prompt", "responses", "ranks")
            self._refuse("response", "rank", "quality", "source")
        else:
            self._need("prompt", "response", "rank")
        self._refuse("outcome", "strength", *_PAIR_KEYS)

    def _need(self, *keys: str) -> None:
        missing = [k for k in keys if getattr(self, k) is None]
        if missing:
            raise ValueError(f"{missing[0]} is missing: shape {self.shape!r} needs the columns {', '.join(keys)}")

    def _refuse(self, *keys: str) -> None:
        for key in keys:
            if getattr(self, key) not in (None, ()):
                raise ValueError(f"{key} does not belong to shape {self.shape!r} with the other keys given")


_PAIR_KEYS = (
    *("response_a", "response_b", "preference", "values", "positive", "chosen", "rejected"),
    *("quality_a", "quality_b", "source_a", "source_b"),
)


def limited(spec: "CatalogueDataset | OwnDataset", limit: int) -> "CatalogueDataset | OwnDataset":
    """The dataset with at most `limit` prompts.

    Raises
    ------
    StudyError
        If the limit is not positive.
    """
    if limit < 1:
        raise StudyError(f"--limit is {limit}; it must be 1 or more")
    return spec.model_copy(update={"limit": min(limit, spec.limit or limit)})


def canonical(value: Any) -> str:
    """A label value as text: 1, 1.0 and "1" are one value; true and True are one value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    return text.lower() if text in ("True", "False") else text


def _kind(value: Any) -> str:
    if isinstance(value, OwnDataset):
        return "own"
    own = isinstance(value, dict) and not {"path", "hub", "shape"}.isdisjoint(value)
    return "own" if own else "catalogue"


DatasetSpec = Annotated[
    Annotated[CatalogueDataset, Tag("catalogue")] | Annotated[OwnDataset, Tag("own")], Discriminator(_kind)
]
