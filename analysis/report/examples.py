"""The most telling comparisons of a cell: where typicality and preference agree most, and where they clash most.

What users' data say is shown, so every text is cut to a sensible length and holds no character that hides or turns
text around; escaping is left to the templates.
"""

import math
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from analysis import tables
from analysis.likelihood.measures import MEASURES, wide
from analysis.likelihood.store import score_files
from analysis.outputs import Outputs

Row = dict[str, Any]
Cell = tuple[str, str, str]
Kind = Literal["agrees", "clashes"]
KINDS: tuple[tuple[Kind, bool], ...] = (("agrees", True), ("clashes", False))

POOL = 2048
LONG_ENOUGH = 8
STEPS = (1.0, 2.0, 4.0, 6.0, 8.0)

RESPONSE_CHARS, RESPONSE_LINES = 500, 20
LAST_TURN_CHARS, EARLIER_TURN_CHARS, TURN_LINES, TURNS = 300, 140, 10, 3
WORD = 30

_NOT_PLAIN = re.compile(r"[^\n\t -~]")
_HIDDEN = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
# Joiners make one emoji of several, and Persian and Indic words; they turn nothing around.
_JOINERS = "\u200c\u200d"


@dataclass(frozen=True)
class Piece:
    """A piece of a response: its text, and its surprisal in nats (None where its tokens are not known)."""

    text: str
    surprisal: float | None = None

    @property
    def step(self) -> int | None:
        """Which of the steps between `STEPS` the surprisal lies in: 0 is the least."""
        return None if self.surprisal is None else bisect_right(STEPS, self.surprisal)


@dataclass(frozen=True)
class Side:
    """One response of an example.

    `more` counts the characters that were cut; `value` is the measure, `mean_logprob` is in nats per token.
    """

    pieces: tuple[Piece, ...]
    more: int
    value: float
    mean_logprob: float
    n_tokens: int
    source: str | None

    @property
    def text(self) -> str:
        """The response as it is shown."""
        return "".join(piece.text for piece in self.pieces)


@dataclass(frozen=True)
class Turn:
    """One message of a prompt, cut from its left."""

    role: str
    text: str


@dataclass(frozen=True)
class Example:
    """A comparison to show; `difference` is the measure of the preferred response minus that of the other.

    `earlier` counts the messages of the prompt before those of `prompt`.
    """

    dataset: str
    base_model: str
    measure: str
    kind: Kind
    comparison_id: str
    difference: float
    prompt: tuple[Turn, ...]
    earlier: int
    preferred: Side
    other: Side

    @property
    def unit(self) -> str:
        """The measure's unit."""
        return MEASURES[self.measure].unit

    @property
    def coloured(self) -> bool:
        """Whether the surprisal of any token is known."""
        return any(p.surprisal is not None for side in (self.preferred, self.other) for p in side.pieces)


@dataclass(frozen=True)
class _Scored:
    response_id: str
    value: float
    mean_logprob: float
    n_tokens: int


@dataclass(frozen=True)
class _Pick:
    cell: Cell
    kind: Kind
    comparison_id: str
    prompt_id: str
    preferred: _Scored
    other: _Scored

    @property
    def long_enough(self) -> bool:
        return min(self.preferred.n_tokens, self.other.n_tokens) >= LONG_ENOUGH


def examples(outputs: Outputs, study: str, cells: Sequence[Cell], measure: str, each: int = 2) -> list[Example]:
    """The comparisons of each cell that tell most.

    Of the comparisons of which the preferred response is the more typical one, and of those of which it is the less
    typical one, the `each` with the largest differences; equal ones in the order of their ids. The largest differences
    are often those of responses of a word or two, so only comparisons of which both responses have at least
    `LONG_ENOUGH` tokens are taken, if there are `each` of them among the `POOL` largest; otherwise all are. A prompt
    gives at most one example of a cell.

    What cannot be shown truly is left out: a comparison whose texts are not there, or whose difference is not that of
    the scores under the cell's scoring (it is of another run). Where `token_logprobs` has no row of a response, it is
    one piece without a surprisal.

    Parameters
    ----------
    outputs, study
        The output folder, and the study's name.
    cells
        (dataset, base model, scoring_id) of each cell, as `cells` of the table `runs` has them.
    measure
        The measure to rank by, in practice the headline measure.
    each
        How many of each kind.

    Returns
    -------
    list of Example
        In the order of the cells; of a cell first those that agree, each kind by falling difference.
    """
    picks = [pick for cell in cells for pick in _choose(outputs, study, cell, measure, each)]
    texts = _by_id(_looked_up("responses", tables.files("responses", outputs.root), picks))
    tokens = {}
    for scoring_id in sorted({pick.cell[2] for pick in picks}):
        files = score_files(outputs, scoring_id, "token_logprobs")
        mine = [pick for pick in picks if pick.cell[2] == scoring_id]
        tokens[scoring_id] = _by_id(_looked_up("token_logprobs", files, mine))
    return [
        _example(pick, measure, texts, tokens[pick.cell[2]])
        for pick in picks
        if pick.preferred.response_id in texts and pick.other.response_id in texts
    ]


def _choose(outputs: Outputs, study: str, cell: Cell, measure: str, each: int) -> list[_Pick]:
    extremes = {kind: _extremes(outputs, study, cell, measure, agrees) for kind, agrees in KINDS}
    ids = [row["comparison_id"] for rows in extremes.values() for row in rows]
    comparisons = _comparisons(outputs, study, cell[0], ids)
    scores = _scores(outputs, cell[2], measure, comparisons.values())
    chosen: list[_Pick] = []
    for kind, _ in KINDS:
        taken = {pick.prompt_id for pick in chosen}
        found = [
            pick
            for row in extremes[kind]
            if row["prompt_id"] not in taken and (pick := _pick(cell, kind, row, comparisons, scores))
        ]
        enough = _one_a_prompt((pick for pick in found if pick.long_enough), each)
        chosen += enough if len(enough) == each else _one_a_prompt(found, each)
    return chosen


def _extremes(outputs: Outputs, study: str, cell: Cell, measure: str, agrees: bool) -> list[Row]:
    """The `POOL` largest differences of one kind, by falling size, without holding the others."""
    dataset, base_model, _ = cell
    where = (
        (ds.field("dataset") == dataset)
        & (ds.field("base_model") == base_model)
        & (ds.field("measure") == measure)
        & (ds.field("agrees") == agrees)
    )
    order = [("size", "descending"), ("comparison_id", "ascending")]
    columns = ["comparison_id", "prompt_id", "difference"]
    rows = tables.dataset("differences", _study_files(outputs, "differences", study))
    best: pa.Table | None = None
    for batch in rows.to_batches(columns=columns, filter=where):
        part = pa.Table.from_batches([batch])
        part = part.append_column("size", pc.abs(part["difference"]))
        both = part if best is None else pa.concat_tables([best, part])
        best = both.take(pc.select_k_unstable(both, min(POOL, len(both)), sort_keys=order))
    return [] if best is None else list(best.sort_by(order).to_pylist())


def _study_files(outputs: Outputs, name: str, study: str) -> list[Path]:
    path = outputs.study_table(name, study)
    return [path] if path.exists() else []


def _comparisons(outputs: Outputs, study: str, dataset: str, ids: Sequence[str]) -> dict[str, Row]:
    columns = ["comparison_id", "response_a", "response_b", "preference"]
    where = (ds.field("dataset") == dataset) & ds.field("comparison_id").isin(pa.array(ids, pa.string()))
    found = tables.scan("comparisons", _study_files(outputs, "comparisons", study), columns, where)
    return {row["comparison_id"]: row for row in found.to_pylist()}


def _scores(outputs: Outputs, scoring_id: str, measure: str, comparisons: Iterable[Row]) -> dict[str, _Scored]:
    ids = sorted({row[side] for row in comparisons for side in ("response_a", "response_b")})
    columns = ["response_id", "conditional", "sum_logprob", "n_tokens", "n_bytes"]
    where = ds.field("response_id").isin(pa.array(ids, pa.string()))
    rows = tables.scan("scores", score_files(outputs, scoring_id), columns, where).to_pandas()
    rows = rows.drop_duplicates(["response_id", "conditional"])
    conditional = rows[rows["conditional"]].set_index("response_id")
    values = wide(rows, (measure,))[measure]
    means = conditional["sum_logprob"] / conditional["n_tokens"]
    known = zip(conditional.index, values, means, conditional["n_tokens"], strict=True)
    return {name: _Scored(name, float(value), float(mean), int(n)) for name, value, mean, n in known}


def _pick(
    cell: Cell, kind: Kind, row: Row, comparisons: Mapping[str, Row], scores: Mapping[str, _Scored]
) -> _Pick | None:
    """The comparison of a row of `differences`, or None where the other tables do not bear it out."""
    comparison = comparisons.get(row["comparison_id"])
    if comparison is None or comparison["preference"] not in ("a", "b"):
        return None
    a, b = (scores.get(comparison[side]) for side in ("response_a", "response_b"))
    if a is None or b is None or not math.isclose(a.value - b.value, row["difference"], rel_tol=1e-6, abs_tol=1e-9):
        return None
    preferred, other = (a, b) if comparison["preference"] == "a" else (b, a)
    if (preferred.value > other.value) != (kind == "agrees"):
        return None
    return _Pick(cell, kind, row["comparison_id"], row["prompt_id"], preferred, other)


def _one_a_prompt(picks: Iterable[_Pick], each: int) -> list[_Pick]:
    first: dict[str, _Pick] = {}
    for pick in picks:
        if len(first) == each:
            break
        first.setdefault(pick.prompt_id, pick)
    return list(first.values())


def _looked_up(name: Literal["responses", "token_logprobs"], files: Sequence[Path], picks: Sequence[_Pick]) -> pa.Table:
    """The rows of the picks' responses; groups of rows that hold none of their prompts are not read."""
    columns = {
        "responses": ["response_id", "prompt", "response", "source"],
        "token_logprobs": ["response_id", "token_logprobs", "token_ends"],
    }[name]
    ids = sorted({side.response_id for pick in picks for side in (pick.preferred, pick.other)})
    prompts = sorted({pick.prompt_id for pick in picks})
    near = ds.field("prompt_id").isin(pa.array(prompts, pa.string()))
    where = near & ds.field("response_id").isin(pa.array(ids, pa.string()))
    if name == "token_logprobs":
        where = where & ds.field("conditional")
    return tables.scan(name, files, columns, where)


def _by_id(rows: pa.Table) -> dict[str, Row]:
    return {row["response_id"]: row for row in rows.to_pylist()}


def _example(pick: _Pick, measure: str, texts: Mapping[str, Row], tokens: Mapping[str, Row]) -> Example:
    sides = []
    for scored in (pick.preferred, pick.other):
        row, known = texts[scored.response_id], tokens.get(scored.response_id)
        pieces = _pieces(row["response"], known["token_ends"], known["token_logprobs"]) if known else ()
        kept, more = _cut(row["response"], pieces or (Piece(row["response"]),))
        shown = tuple(replace(piece, text=visible(piece.text)) for piece in kept)
        source = visible(row["source"]) if row["source"] else None
        sides.append(Side(shown, more, scored.value, scored.mean_logprob, scored.n_tokens, source))
    prompt = texts[pick.preferred.response_id]["prompt"]
    dataset, base_model, _ = pick.cell
    difference = pick.preferred.value - pick.other.value
    turns, earlier = _turns(prompt)
    return Example(
        dataset, base_model, measure, pick.kind, pick.comparison_id, difference, turns, earlier, sides[0], sides[1]
    )


def _pieces(text: str, ends: Sequence[int], logprobs: Sequence[float]) -> tuple[Piece, ...]:
    """A response by its tokens.

    Of a token that begins in the prompt only the part in the response is shown, with all of its surprisal. Tokens that
    share a character make one piece, whose surprisal is theirs together. What was not scored is the last piece.
    """
    pieces: list[Piece] = []
    start = 0
    for end, logprob in zip(ends, logprobs, strict=False):
        # Zero has a sign: that of a certain token is not to be shown.
        surprisal = max(0.0, -logprob) if math.isfinite(logprob) else None
        stop = min(end, len(text))
        if stop > start:
            pieces.append(Piece(text[start:stop], surprisal))
            start = stop
        elif pieces:
            before = pieces[-1].surprisal
            together = None if before is None or surprisal is None else before + surprisal
            pieces[-1] = replace(pieces[-1], surprisal=together)
    if start < len(text):
        pieces.append(Piece(text[start:]))
    return tuple(pieces)


def _cut(text: str, pieces: Sequence[Piece]) -> tuple[list[Piece], int]:
    """The pieces that fit, and how many characters do not; only text without tokens is cut within a piece."""
    limit = _limit(text, RESPONSE_CHARS, RESPONSE_LINES)
    kept: list[Piece] = []
    room = limit
    for piece in pieces:
        if len(piece.text) > room:
            if piece.surprisal is None or not kept:
                kept.append(replace(piece, text=_head(piece.text, room)))
            break
        kept.append(piece)
        room -= len(piece.text)
    return kept, len(text) - sum(len(piece.text) for piece in kept)


def _limit(text: str, chars: int, lines: int) -> int:
    """How many of a text's first characters are within both limits."""
    whole = text.split("\n")
    return min(chars, len(text), len("\n".join(whole[:lines])))


def _head(text: str, room: int) -> str:
    """The first characters of a text, up to the end of a word where there is one nearby."""
    head = text[:room]
    end = max(head.rfind(" "), head.rfind("\n"))
    in_word = not text[room : room + 1].isspace()
    return head[:end] if in_word and end > room - WORD else head


def _turns(messages: Sequence[Mapping[str, str]]) -> tuple[tuple[Turn, ...], int]:
    """The last messages of a prompt, and how many there are before them."""
    last = messages[-TURNS:]
    shown = []
    for number, message in enumerate(last, start=1):
        chars = LAST_TURN_CHARS if number == len(last) else EARLIER_TURN_CHARS
        shown.append(Turn(visible(message["role"]), visible(_tail(message["content"].strip(), chars))))
    return tuple(shown), len(messages) - len(last)


def _tail(text: str, chars: int) -> str:
    """The end of a text from the start of a word, with an ellipsis where anything stands before it."""
    tail = text[::-1][: _limit(text[::-1], chars, TURN_LINES)][::-1]
    if tail == text:
        return text
    begin = tail.find(" ") + 1
    return "… " + (tail[begin:] if begin < WORD else tail)


def visible(text: str) -> str:
    """A text whose control and format characters are shown by name, so that none hides or turns the text around.

    Line feeds and tabs stay, and a carriage return before a line feed goes.
    """
    return _NOT_PLAIN.sub(_shown, text.replace("\r\n", "\n"))


def _shown(found: re.Match[str]) -> str:
    character = found[0]
    if character in _JOINERS or unicodedata.category(character) not in _HIDDEN:
        return character
    pictures = 0x2400
    return chr(pictures + ord(character)) if character < " " else f"⟨U+{ord(character):04X}⟩"
