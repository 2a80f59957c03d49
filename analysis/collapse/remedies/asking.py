"""Prompts × methods → conversations, asked or taken from what was answered before → rows of `generations`."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from analysis.collapse.remedies.backends import Backend, Messages, Refused, Reply
from analysis.collapse.remedies.known import answer_of, known_answers
from analysis.collapse.remedies.methods import Method, Wordings
from analysis.collapse.remedies.parsing import OK, Item, Parsed, normalised, parse_list, parse_text
from analysis.collapse.remedies.specs import Prompt
from analysis.collapse.remedies.store import Answers, Request
from analysis.collapse.remedies.study import SampleStudy
from analysis.ids import content_id
from analysis.preferences.records import Message

Row = dict[str, Any]
Tick = Callable[[int, int], None]
NOT_ASKED = "not asked, because the turn before was not answered"
_SEEDS = 2**31


@dataclass(frozen=True)
class Conversation:
    """One conversation, or `size` of them that begin and end with the same request; `number` is that of the first."""

    method: Method
    prompt: Prompt
    number: int
    size: int


@dataclass(frozen=True)
class Exchange:
    """One request of a conversation, and what came back: completions, or the reason why there are none."""

    turn: int
    replies: tuple[Reply, ...] = ()
    reason: str = ""
    request_id: str | None = None
    seed: int | None = None


def conversations(study: SampleStudy, most: int) -> Iterator[Conversation]:
    """All conversations of a study with one model, so many that `n` responses to every prompt are asked for.

    Parameters
    ----------
    study
        The study.
    most
        Completions that one request may ask for.
    """
    for method in study.methods:
        needed = -(-study.n // method.per_conversation)
        size = most if method.n_turns == 1 else 1
        for prompt in study.prompts:
            for number in range(0, needed, size):
                yield Conversation(method, prompt, number, min(size, needed - number))


def ask(study: SampleStudy, model: str, backend: Backend, answers: Answers, tick: Tick) -> tuple[list[Row], int]:
    """Ask a model all that a study asks of it.

    Parameters
    ----------
    study, model
        The study, and the model's label.
    backend, answers
        Who is asked, and what was answered before.
    tick
        Called with how many conversations are done, and of how many.

    Returns
    -------
    tuple
        Rows of `generations`, and how many requests they rest on.

    Raises
    ------
    CellError
        If the model cannot be asked; what was answered is kept.
    """
    texts, planned = study.texts, list(conversations(study, backend.most))
    answers.find(_first_request(c, study, texts, backend)[0] for c in planned)
    pool = ThreadPoolExecutor(backend.concurrency)
    rows: list[Row] = []
    n_requests = 0
    try:
        found = pool.map(lambda c: _converse(c, study, texts, backend, answers), planned)
        for done, (conversation, exchanges) in enumerate(zip(planned, found, strict=True), 1):
            rows += _rows(conversation, exchanges, study, model, texts)
            n_requests += sum(exchange.request_id is not None for exchange in exchanges)
            tick(done, len(planned))
    finally:
        # What is on its way is waited for, and kept: closing a connection does not wake who reads from it.
        pool.shutdown(cancel_futures=True)
        backend.close()
    return rows, n_requests


def _first_request(
    conversation: Conversation, study: SampleStudy, texts: Wordings, backend: Backend
) -> tuple[Request, int]:
    first = (Message("user", texts.instruction(conversation.method, conversation.prompt.prompt)),)
    return _request(conversation, first, study, backend)


def _request(c: Conversation, messages: Messages, study: SampleStudy, backend: Backend) -> tuple[Request, int]:
    """The request for a conversation's next turn, and its seed: a hash of all that the study says of it."""
    said = [part for message in messages for part in message]
    parts = [str(study.seed), str(c.number), str(c.size), repr(sorted(c.method.decoding.steps.items())), *said]
    seed = int(content_id(*parts), 16) % _SEEDS
    return backend.request(messages, c.method.decoding, c.size, c.number, seed), seed


def _converse(
    c: Conversation, study: SampleStudy, texts: Wordings, backend: Backend, answers: Answers
) -> list[Exchange]:
    """All turns of a conversation."""
    messages: Messages = (Message("user", texts.instruction(c.method, c.prompt.prompt)),)
    made: list[Exchange] = []
    for turn in range(c.method.n_turns):
        request, seed = _request(c, messages, study, backend)
        try:
            answer = answers.get(request)
            if answer is None:
                answer = answers.add(request, backend.ask(request))
            replies = tuple(backend.read(request, answer))
        except Refused as reason:
            made.append(Exchange(turn, (), str(reason), request.id, seed))
            break
        made.append(Exchange(turn, replies, "", request.id, seed))
        written = replies[0].text
        if not written.strip():
            break
        messages = (*messages, Message("assistant", written), Message("user", texts.follow_up(c.method)))
    made += [Exchange(turn, (), NOT_ASKED) for turn in range(len(made), c.method.n_turns)]
    return made


def _rows(
    c: Conversation, exchanges: Sequence[Exchange], study: SampleStudy, model: str, texts: Wordings
) -> Iterator[Row]:
    """A row for every response that was asked for."""
    known, correct = known_answers(c.prompt.answers), known_answers([c.prompt.correct] if c.prompt.correct else [])
    keys = {
        "study": study.name,
        "model": model,
        "method": c.method.name,
        "prompt_id": c.prompt.id,
        "prompt": c.prompt.prompt,
    }
    for exchange in exchanges:
        for j in range(c.size):
            reply = exchange.replies[j] if j < len(exchange.replies) else None
            parsed = Parsed(exchange.reason) if reply is None else _parsed(reply, c.method, texts)
            items = parsed.items or (Item(None, parsed.status),) * c.method.per_request
            told = {
                **keys,
                "request_id": exchange.request_id,
                "seed": exchange.seed,
                "sample": c.number + j,
                "turn": exchange.turn,
                "form": parsed.form or None,
                **_counted(reply),
            }
            for index, (item, probability) in enumerate(zip(items, normalised(items), strict=True)):
                yield {**told, "index": index, **_said(item, probability), **_known(item, c.prompt, known, correct)}


def _parsed(reply: Reply, method: Method, texts: Wordings) -> Parsed:
    if method.kind == "direct":
        return parse_text(reply.text, reply.finish)
    return parse_list(reply.text, reply.finish, method.k, texts.unit(method) if method.verbalized else None)


def _counted(reply: Reply | None) -> Row:
    if reply is None:
        return {}
    return {
        "finish_reason": reply.finish,
        "n_prompt_tokens": reply.n_prompt_tokens,
        "n_completion_tokens": reply.n_completion_tokens,
        "entropy": reply.entropy,
    }


def _said(item: Item, probability: float | None) -> Row:
    return {
        "status": item.status,
        "response": item.text,
        "probability_raw": item.raw,
        "probability_stated": item.probability,
        "probability": probability,
        "probability_status": item.probability_status or None,
    }


def _known(item: Item, prompt: Prompt, known: dict[str, int], correct: dict[str, int]) -> Row:
    """Which of the prompt's answers a response gives, and whether it is right."""
    if item.status != OK or item.text is None:
        return {}
    row: Row = {}
    if known:
        found = answer_of(item.text, known)
        row = {"answer_status": found} if isinstance(found, str) else {"answer_status": OK}
        row["answer"] = None if isinstance(found, str) else prompt.answers[found][0]
    if correct:
        row["is_correct"] = answer_of(item.text, correct) == 0
    return row
