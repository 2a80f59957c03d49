"""Endpoints, over HTTP with the real client: known distributions are found again, and nothing is asked twice."""

import json
import time

import numpy as np
import pytest

from analysis.collapse.remedies import asking, store
from analysis.collapse.remedies.backends import Refused
from analysis.collapse.remedies.backends.chat import Chat
from analysis.collapse.remedies.known import ideal, kl, smoothed
from analysis.collapse.remedies.methods import Decoding
from analysis.collapse.remedies.study import parse
from analysis.errors import CellError, NetworkError
from analysis.likelihood.endpoints import connection
from analysis.outputs import Outputs
from analysis.preferences.records import Message
from tests.chat_stand_in import chat_stand_in

REFERENCE = {"red": 0.5, "green": 0.25, "blue": 0.15, "black": 0.07, "white": 0.03}
PROMPT = "Name a colour."
METHODS = [
    {"name": "direct", "temperature": 0.7},
    {"name": "list", "kind": "list"},
    {"name": "vs", "kind": "vs_standard", "threshold": 0.5},
    {"name": "cot", "kind": "vs_cot", "definition": "percent"},
    {"name": "multi", "kind": "vs_multi", "turns": 3, "definition": "confidence"},
]


def study_of(endpoint, n=60, methods=METHODS, **more):
    prompt = {"prompt": PROMPT, "answers": list(REFERENCE), "reference": list(REFERENCE.values())}
    model = {"backend": "chat", "name": "made", "endpoint": endpoint.url, "concurrency": 4, **more}
    return parse({"name": "made", "n": n, "models": [model], "methods": methods, "prompts": [prompt]})


def ask(study, folder):
    outputs = Outputs(folder)
    with store.opened(outputs) as answers:
        backend = Chat(study.models[0])
        return asking.ask(study, "made", backend, answers, lambda done, of: None), answers.n_asked


def message(endpoint, **more):
    backend = Chat(study_of(endpoint, **more).models[0])
    return backend, backend.request((Message("user", PROMPT),), Decoding(), 1, 0, 0)


@pytest.fixture(autouse=True)
def _no_second_try(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "RETRIES", 0)


def test_a_known_distribution_is_found_again_and_direct_prompting_collapses(tmp_path):
    with chat_stand_in({PROMPT: REFERENCE}, sharpness=4.0) as endpoint:
        (rows, n_requests), n_asked = ask(study_of(endpoint, 200), tmp_path)
        assert n_asked == n_requests == len(endpoint.bodies) == 200 + 2 * 40 + 40 + 3 * 14
        (again, _), n_asked = ask(study_of(endpoint, 200), tmp_path)
        assert (again, n_asked) == (rows, 0)
        assert len(endpoint.bodies) == n_requests
    assert {row["status"] for row in rows} == {"ok"}
    assert {row["form"] for row in rows if row["method"] == "vs"} == {"json", "tagged", "numbered"}
    q = smoothed(list(REFERENCE.values()))
    shares = {}
    for method in ("direct", "vs", "cot", "multi", "list"):
        given = [row["answer"] for row in rows if row["method"] == method]
        assert len(given) in (200, 210)
        shares[method] = np.array([given.count(name) for name in REFERENCE]) / len(given)
    sharp = np.array([*REFERENCE.values()]) ** 4
    # Ten times what 200 draws of the right distribution have on average is a chance below 1e-6 (2nKL is near χ² of 4).
    limit = 10 * ideal(q, 200, np.random.default_rng(0))[1]
    assert kl(shares["direct"], sharp / sharp.sum()) < limit
    assert all(kl(shares[method], q) < limit for method in ("vs", "cot", "multi"))
    assert kl(shares["direct"], q) > 5 * limit
    np.testing.assert_allclose(shares["list"], 0.2)
    # The probabilities are those that the endpoint knows, in whatever unit they were asked for.
    for row in (row for row in rows if row["probability_stated"] is not None):
        assert row["probability_stated"] == pytest.approx(REFERENCE[row["response"]], abs=1e-6)


def test_turns_go_on_from_what_was_answered(tmp_path):
    with chat_stand_in({PROMPT: REFERENCE}) as endpoint:
        (rows, _), _ = ask(study_of(endpoint, 15, [{"name": "direct"}, METHODS[-1]]), tmp_path)
        turns = sorted((b["messages"] for b in endpoint.bodies), key=len)[-3:]
    assert [len(m) for m in turns] == [1, 3, 5]
    assert [m["role"] for m in turns[-1]] == ["user", "assistant", "user", "assistant", "user"]
    assert turns[-1][:3] == turns[-2]
    assert sorted({row["turn"] for row in rows if row["method"] == "multi"}) == [0, 1, 2]


def test_what_is_sent_is_what_the_study_says(tmp_path):
    method = {"name": "direct", "temperature": 0.7, "top_p": 0.9, "min_p": 0.1, "top_k": 5, "max_tokens": 9}
    more = {"token_limit": "max_completion_tokens", "seeded": False, "extra": {"reasoning_effort": "low"}}
    with chat_stand_in({PROMPT: REFERENCE}) as endpoint:
        ask(study_of(endpoint, 2, [method], **more), tmp_path)
        sent = endpoint.bodies[0]
    told = {"temperature": 0.7, "top_p": 0.9, "min_p": 0.1, "top_k": 5, "max_completion_tokens": 9}
    messages = [{"role": "user", "content": PROMPT}]
    assert sent == {"model": "made", "messages": messages, "reasoning_effort": "low", **told}


def test_a_refused_request_is_a_failure_with_its_reason_and_is_asked_again(tmp_path):
    with chat_stand_in({PROMPT: REFERENCE}, faults=[400]) as endpoint:
        study = study_of(endpoint, 3, [{"name": "direct"}], concurrency=1)
        (rows, _), n_asked = ask(study, tmp_path)
        assert n_asked == 2
        refused = [row for row in rows if row["status"] != "ok"]
        assert [row["status"] for row in refused] == ["the endpoint refuses the request: made to fail with 400"]
        assert "response" not in refused[0] or refused[0]["response"] is None
        (rows, _), n_asked = ask(study, tmp_path)
        assert n_asked == 1
        assert {row["status"] for row in rows} == {"ok"}


def test_a_busy_endpoint_is_asked_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "RETRIES", 2)
    with chat_stand_in({PROMPT: REFERENCE}, faults=[429, 503]) as endpoint:
        backend, request = message(endpoint)
        assert backend.read(request, backend.ask(request))[0].text in REFERENCE
        monkeypatch.setattr(connection, "RETRIES", 0)
        endpoint.faults[:] = [503]
        backend, request = message(endpoint)
        with pytest.raises(NetworkError, match=r"busy or out of order \(made to fail with 503\); run again"):
            backend.ask(request)


def test_an_endpoint_that_dies_loses_nothing(tmp_path):
    with chat_stand_in({PROMPT: REFERENCE}, dies_after=20) as endpoint:
        study = study_of(endpoint)
        with pytest.raises(NetworkError, match="cannot be reached"):
            ask(study, tmp_path)
        endpoint.dies_after = None
        before = len(endpoint.bodies)
        (rows, n_requests), n_asked = ask(study, tmp_path)
        assert {row["status"] for row in rows} == {"ok"}
        assert n_asked == n_requests - 20
        assert len(endpoint.bodies) == before + n_asked


def test_the_key_is_sent_and_stands_nowhere(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MADE_KEY", "sk-very-secret")
    with chat_stand_in({PROMPT: REFERENCE}, key="sk-very-secret") as endpoint:
        (rows, _), _ = ask(study_of(endpoint, 3, [{"name": "direct"}], api_key_env="MADE_KEY"), tmp_path)
        assert endpoint.keys == {"sk-very-secret"}
        monkeypatch.setenv("MADE_KEY", "wrong")
        backend, request = message(endpoint, api_key_env="MADE_KEY")
        with pytest.raises(CellError, match="put yours into the environment variable MADE_KEY") as error:
            backend.ask(request)
    assert "wrong" not in str(error.value)
    assert not any(b"secret" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert "secret" not in json.dumps(rows)


@pytest.mark.parametrize("answer", ["", "[]", "{}", '{"choices": []}', '{"choices": [{"message": {"content": 3}}]}'])
def test_what_is_no_completion_is_no_answer(answer):
    with chat_stand_in({PROMPT: REFERENCE}) as endpoint:
        backend, request = message(endpoint)
        with pytest.raises(Refused, match="no chat completion"):
            backend.read(request, answer)


def test_requests_keep_their_distance():
    paced, began = connection.Connection("http://127.0.0.1:9/v1", "NO_KEY", 1200, "nothing"), time.monotonic()
    for _ in range(5):
        paced.wait()
    assert time.monotonic() - began >= 4 * 0.05 - 0.005
