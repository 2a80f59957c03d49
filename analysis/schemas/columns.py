"""What a table is made of: columns as data, the Arrow types they use, and the keys that tables share."""

from dataclasses import dataclass

import pyarrow as pa

SCHEMA_VERSION = 1

TEXT = pa.string()
REAL = pa.float64()
COUNT = pa.int64()
FLAG = pa.bool_()
MESSAGES = pa.list_(pa.struct([("role", TEXT), ("content", TEXT)]))
RATINGS = pa.list_(pa.struct([("name", TEXT), ("value", REAL)]))
QUALITY = pa.list_(pa.struct([("name", TEXT), ("a", REAL), ("b", REAL)]))
PAIRS = pa.list_(pa.struct([("name", TEXT), ("value", TEXT)]))
TEXTS = pa.list_(TEXT)
PRECISION = pa.struct(
    [
        ("status", TEXT),
        ("n_responses", COUNT),
        ("mean", REAL),
        ("largest", REAL),
        ("n_comparisons", COUNT),
        ("n_turned", COUNT),
    ]
)
TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Column:
    """One column: its name, Arrow type, meaning, unit (empty where it has none), and whether it may be null."""

    name: str
    type: pa.DataType
    description: str
    unit: str = ""
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """One table: what a row is, its columns, and how many rows a reader must decode together."""

    name: str
    row: str
    columns: tuple[Column, ...]
    row_group: int = 65_536

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema, with a description and a unit on every field."""
        fields = [
            pa.field(c.name, c.type, c.nullable, {"description": c.description, "unit": c.unit}) for c in self.columns
        ]
        return pa.schema(fields, {"table": self.name, "row": self.row, "schema_version": str(SCHEMA_VERSION)})


def optional(name: str, kind: pa.DataType, description: str, unit: str = "") -> Column:
    return Column(name, kind, description, unit, nullable=True)


STUDY = Column("study", TEXT, "name of the study")
DATASET = Column("dataset", TEXT, "label of the dataset, unique in its study")
MODEL = Column("base_model", TEXT, "label of the base model, unique in its study")
MEASURE = Column("measure", TEXT, "measure of typicality: mean_logprob, logprob_per_byte, sum_logprob or mean_pmi")
RESPONSE = Column("response_id", TEXT, "hash of the prompt, the response and what the dataset says of it")
TEXT_ID = Column("text_id", TEXT, "hash of the prompt and the response alone: equal texts are scored once")
SCORING = Column("scoring_id", TEXT, "hash of all that decides a score but the text; equal ids may be compared")
CONDITIONAL = Column("conditional", FLAG, "true: log p(response | prompt); false: log p(response)")
PROMPT = Column("prompt_id", TEXT, "hash of the prompt's messages")
COMPARISON = Column("comparison_id", TEXT, "hash of the judgement; the same whichever response stands first")
