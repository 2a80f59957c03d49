"""Quality beside diversity: how likely a base model finds each response, and what a judge says of it."""

import json
import re
import string
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from analysis.collapse.remedies.backends import Refused
from analysis.collapse.remedies.backends.chat import Chat
from analysis.collapse.remedies.methods import Decoding
from analysis.collapse.remedies.parsing import OK
from analysis.collapse.remedies.specs import Judge
from analysis.collapse.remedies.store import Answers, Request
from analysis.likelihood.backends.transformers import reader_of
from analysis.likelihood.model import locate
from analysis.likelihood.texts import BaseModel, Rules
from analysis.preferences.records import Message
from analysis.study import BaseModelSpec

if TYPE_CHECKING:
    from analysis.likelihood.texts import Scored

Row = dict[str, Any]
Pair = tuple[str, str]
Tick = Callable[[int, int], None]
CUT = "prompt and response exceed the context window"
NO_SCORE, OUT_OF_SCALE = "no score in the judge's answer", "the judge's score is off its scale"
_SCORE = re.compile(r"[^\w+-]*(?:(?:score|rating)[^\w+-]*)?([-+]?\d+(?:\.\d+)?)(?:\s*/\s*(\d+(?:\.\d+)?))?\W*", re.I)


def pairs(rows: Sequence[Row]) -> list[Pair]:
    """The different prompts with their responses, in the order of their first row."""
    return list(dict.fromkeys((row["prompt"], row["response"]) for row in rows if row["status"] == OK))


def likelihoods(
    wanted: Sequence[Pair], spec: BaseModelSpec, template: str, known: Sequence[Row], tick: Tick
) -> dict[Pair, Row]:
    """How likely a base model finds responses.

    Parameters
    ----------
    wanted
        Prompts and responses.
    spec, template
        The base model, and how prompt and response become one text.
    known
        Rows of `generations` with likelihoods of an earlier run, which are taken where they are of the same scoring.
    tick
        Called with the tokens read and the tokens there are.

    Returns
    -------
    dict
        The columns of `generations` on it.

    Raises
    ------
    CellError
        If the base model cannot be had or run.
    """
    scoring_id = str(reader_of(spec, Rules(template), locate(spec))[1]["scoring_id"])
    columns = ("mean_logprob", "sum_logprob", "logprob_status", "scoring_id")
    made: dict[Pair, Row] = {
        (row["prompt"], row["response"]): {name: row[name] for name in columns}
        for row in known
        if row["scoring_id"] == scoring_id
    }
    left = [pair for pair in wanted if pair not in made]
    if not left:
        return made
    texts = [((Message("user", prompt),), response) for prompt, response in left]
    for pair, one in zip(left, BaseModel.of(spec, template).score(texts, tick), strict=True):
        told: Row = {"logprob_status": one} if isinstance(one, str) else _told(one)
        made[pair] = {**told, "scoring_id": scoring_id}
    return made


def _told(one: "Scored") -> Row:
    if one.truncated:
        # Likelihoods given a part of the prompt would stand beside those given all of it.
        return {"logprob_status": CUT}
    total = one.likelihood.sum_logprob
    mean = total / len(one.likelihood.token_logprobs)
    return {"logprob_status": OK, "sum_logprob": total, "mean_logprob": mean}


def judgements(wanted: Sequence[Pair], judge: Judge, answers: Answers, tick: Tick) -> dict[Pair, Row]:
    """What a judge says of responses: columns of `generations`.

    Raises
    ------
    CellError
        If the judge cannot be asked.
    """
    backend = Chat(judge)
    decoding = Decoding(max_tokens=judge.max_tokens)
    requests = [_request(backend, judge, decoding, pair) for pair in wanted]
    answers.find(requests)
    pool = ThreadPoolExecutor(backend.concurrency)
    made: dict[Pair, Row] = {}
    try:
        found = pool.map(lambda request: _judged(backend, request, judge, answers), requests)
        for pair, row in zip(wanted, found, strict=True):
            made[pair] = row
            tick(len(made), len(wanted))
    finally:
        pool.shutdown(cancel_futures=True)
        backend.close()
    return made


def _request(backend: Chat, judge: Judge, decoding: Decoding, pair: Pair) -> Request:
    text = string.Template(judge.instruction).safe_substitute(prompt=pair[0], response=pair[1])
    request = backend.request((Message("user", text),), decoding, 1, 0, 0)
    if judge.temperature is None:
        return request
    values = request.values
    values["body"]["temperature"] = judge.temperature
    return Request.of(request.backend, request.model, values)


def _judged(backend: Chat, request: Request, judge: Judge, answers: Answers) -> Row:
    try:
        answer = answers.get(request)
        if answer is None:
            answer = answers.add(request, backend.ask(request))
        score = read_score(backend.read(request, answer)[0].text, judge.least, judge.most)
    except Refused as reason:
        return {"judgement_status": str(reason)}
    return {"judgement_status": score} if isinstance(score, str) else {"judgement_status": OK, "judgement": score}


def read_score(text: str, least: float, most: float) -> float | str:
    """The score in a judge's answer: a number alone, `Score: 7`, `7/10`, or JSON with "score"; or why there is none.

    "7/10" is taken only where 10 is the top of the scale.
    """
    raw: Any = text
    if (begin := text.find("{")) >= 0:
        try:
            told, _ = json.JSONDecoder().raw_decode(text, begin)
        except ValueError:
            return NO_SCORE
        raw = told.get("score", told.get("rating")) if isinstance(told, Mapping) else None
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return NO_SCORE
    found = _SCORE.fullmatch(str(raw))
    if found is None or (found[2] is not None and float(found[2]) != most):
        return NO_SCORE
    value = float(found[1])
    return value if least <= value <= most else OUT_OF_SCALE
