"""Scores by an endpoint: the same as the local backend's, or an error, never a value that only looks fine."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import tables
from analysis.errors import CellError, NetworkError, StudyError
from analysis.likelihood.endpoints import client, connection, echo
from analysis.likelihood.scoring import NOT_FINITE
from analysis.outputs import Outputs
from analysis.study import Study
from tests.endpoint_stand_in import NAME, Endpoint, endpoint_stand_in
from tests.likelihood.cell import Row, excluded, pairs, scored, scores, study_of

pytest.importorskip("openai")
Folder = Callable[..., Path]
KEY = "sk-a-secret"
SAME = ["response_id", "conditional", "n_tokens", "n_bytes", "straddles", "n_prompt_tokens", "truncated"]
CUT = ["n_prompt_tokens_cut", "n_response_tokens_cut", "start_token"]


@pytest.fixture(scope="module")
def serving(tiny_folder: Folder) -> Iterator[Endpoint]:
    with endpoint_stand_in(tiny_folder()) as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(serving: Endpoint) -> Endpoint:
    serving.faults.clear()
    serving.asked.clear()
    serving.keys.clear()
    serving.always, serving.partial, serving.revision, serving.key, serving.says_ids = "", "nothing", None, None, True
    return serving


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def remote(folder: Path, rows: list[Row], endpoint: Endpoint, base_model: Row | None = None, **options: Any) -> Study:
    """A study of pairs under the base model behind an endpoint."""
    made = study_of(folder, rows, endpoint.folder, **options)
    spec = {"name": NAME, "label": "tiny", "backend": "completions", "endpoint": endpoint.url, **(base_model or {})}
    values = made.model_dump(mode="json", exclude_unset=True)
    return Study.model_validate({**values, "base_models": [spec]})


def beside_local(
    folder: Path, rows: list[Row], endpoint: Endpoint, base_model: Row | None = None, **options: Any
) -> Any:
    """Scores of the endpoint and of the local backend, joined by response."""
    there, here = Outputs(folder / "there"), Outputs(folder / "here")
    found = scored(remote(folder / "1", rows, endpoint, base_model, **options), there)
    scored(study_of(folder / "2", rows, endpoint.folder, **options), here)
    both = scores(there).merge(scores(here), on=["response_id", "conditional"], suffixes=("", "_local"))
    assert len(both) == len(scores(here)) == len(scores(there))
    slack = 1e-4 + 1e-6 * both["sum_logprob_local"].abs()
    assert ((both["sum_logprob"] - both["sum_logprob_local"]).abs() <= slack).all()
    return found, both


class TestParity:
    @pytest.mark.parametrize("partial", ["nothing", "replacement", "bytes"])
    @pytest.mark.parametrize("template", ["plain", "dialogue", "Q: {prompt} A: {response}"])
    def test_texts(self, tmp_path: Path, endpoint: Endpoint, template: str, partial: str) -> None:
        endpoint.partial = partial
        found, both = beside_local(tmp_path, pairs(), endpoint, template=template)
        for column in SAME[2:]:
            assert (both[column] == both[f"{column}_local"]).all(), column
        assert both["straddles"].any() == (template != "plain")
        assert both["mean_entropy"].isna().all() and not both["mean_entropy_local"].isna().any()
        assert (found.n_scored, found.n_scored_now, found.revision) == (24, 24, "unknown")
        row = both.iloc[0]
        told = [row[name] for name in ("backend", "device", "dtype", "tokenizer")]
        assert told == ["completions", endpoint.url, "unknown", "endpoint"]
        assert (row.base_model, row.revision, row.start_token) == (NAME, "unknown", "other")
        assert row.scoring_id != row.scoring_id_local

    def test_tokens(self, tmp_path: Path, endpoint: Endpoint) -> None:
        """Everything that the local backend does: special tokens as text, prompts cut, responses cut, PMI."""
        rows = [
            *pairs(6),
            *pairs(4, seed=1, longest=60),
            {"prompt": "Which <s> is it? </s>", "a": "The </s> of course", "b": "<s>", "best": "a"},
            {"prompt": "the dog " * 60, "a": "and the sea 🌊", "b": "nobody " * 80, "best": "b"},
        ]
        options = {"measures": ["mean_logprob", "mean_pmi"], "long_responses": "cut", "token_logprobs": True}
        there = {"tokenizer": str(endpoint.folder)}
        study = study_of(tmp_path / "w", rows, endpoint.folder, base_model={"context_window": 126}, **options)
        found = scored(remote(tmp_path / "1", rows, endpoint, there, **options), Outputs(tmp_path / "there"))
        scored(study, Outputs(tmp_path / "here"))
        made, wanted = scores(Outputs(tmp_path / "there")), scores(Outputs(tmp_path / "here"))
        both = made.merge(wanted, on=["response_id", "conditional"], suffixes=("", "_local"))
        assert len(both) == len(made) == len(wanted) == 48
        slack = 1e-4 + 1e-6 * both["sum_logprob_local"].abs()
        assert ((both["sum_logprob"] - both["sum_logprob_local"]).abs() <= slack).all()
        for column in [*SAME[2:], *CUT, "tokenizer", "context_window"]:
            assert (both[column] == both[f"{column}_local"]).all(), column
        assert both["truncated"].any() and found.n_cut > 0
        tokens = [tables.read("token_logprobs", tmp_path / where) for where in ("there", "here")]
        pair = tokens[0].merge(tokens[1], on=["response_id", "conditional"], suffixes=("", "_local"))
        for row in pair.itertuples():
            assert np.allclose(row.token_logprobs, row.token_logprobs_local, rtol=1e-5, atol=1e-4)
            assert list(row.token_ends) == list(row.token_ends_local)

    # With U+FFFD for every part, where one of several characters in a row ends is not known.
    @pytest.mark.parametrize("partial", ["nothing", "bytes"])
    def test_ends_of_tokens(self, tmp_path: Path, endpoint: Endpoint, partial: str) -> None:
        endpoint.partial = partial
        beside_local(tmp_path, pairs(), endpoint, token_logprobs=True)
        ends = [tables.read("token_logprobs", tmp_path / where) for where in ("there", "here")]
        pair = ends[0].merge(ends[1], on="response_id", suffixes=("", "_local"))
        assert [list(e) for e in pair["token_ends"]] == [list(e) for e in pair["token_ends_local"]]


class TestIdentity:
    def test_never_mixed_with_local_scores(self, tmp_path: Path, endpoint: Endpoint, outputs: Outputs) -> None:
        scored(study_of(tmp_path / "1", pairs(), endpoint.folder), outputs)
        found = scored(remote(tmp_path / "2", pairs(), endpoint), outputs)
        assert (found.n_scored, found.n_scored_now) == (24, 24)
        assert scores(outputs).groupby("backend").size().to_dict() == {"completions": 24, "transformers": 24}

    def test_asked_once(self, tmp_path: Path, endpoint: Endpoint, outputs: Outputs) -> None:
        study = remote(tmp_path, pairs(), endpoint)
        first = scored(study, outputs)
        assert len(endpoint.asked) == 24
        again = scored(study, outputs)
        assert len(endpoint.asked) == 24
        assert (again.n_scored, again.n_scored_now, again.scoring_id) == (24, 0, first.scoring_id)

    def test_the_revision_is_what_the_server_says(self, tmp_path: Path, endpoint: Endpoint, outputs: Outputs) -> None:
        study = remote(tmp_path, pairs(2), endpoint)
        endpoint.revision = "abc123"
        first = scored(study, outputs)
        endpoint.revision = "def456"
        second = scored(study, outputs)
        assert (first.revision, second.revision) == ("abc123", "def456")
        assert (first.n_scored_now, second.n_scored_now) == (4, 4)


class TestFaults:
    @pytest.mark.parametrize("fault", ["429", "500", "503", "cut"])
    def test_what_goes_by_is_asked_again(
        self, tmp_path: Path, endpoint: Endpoint, outputs: Outputs, fault: str
    ) -> None:
        endpoint.faults.extend([fault] * 2)
        found = scored(remote(tmp_path, pairs(4), endpoint), outputs)
        assert (found.n_scored, len(endpoint.asked)) == (8, 10)

    @pytest.mark.parametrize("fault", ["429", "500", "cut"])
    def test_what_stays(
        self, tmp_path: Path, endpoint: Endpoint, outputs: Outputs, monkeypatch: pytest.MonkeyPatch, fault: str
    ) -> None:
        monkeypatch.setattr(connection, "RETRIES", 1)
        endpoint.always = fault
        with pytest.raises(NetworkError, match=r"what was scored is kept"):
            scored(remote(tmp_path, pairs(2), endpoint), outputs)

    @pytest.mark.parametrize(
        ("fault", "told"),
        [
            ("wrong index", "not the one completion"),
            ("no choices", "not the one completion"),
            ("two choices", "not the one completion"),
            ("other echo", "not the text that was sent"),
            ("no logprobs", "no log-probabilities"),
            ("generated only", "of generated tokens only"),
            ("short lists", "tokens where"),
            ("unequal lists", "different lengths"),
            ("out of order", "out of order"),
            ("a null", "no log-probability"),
            ("positive", "positive"),
            ("no usage", "how many tokens were read"),
            ("no json", "cannot be read"),
        ],
    )
    def test_a_broken_answer_is_an_error(
        self, tmp_path: Path, endpoint: Endpoint, outputs: Outputs, fault: str, told: str
    ) -> None:
        study = remote(tmp_path, pairs(6), endpoint, {"concurrency": 1})
        endpoint.faults.extend([""] * 5 + [fault])
        with pytest.raises(CellError, match=told) as caught:
            scored(study, outputs)
        assert endpoint.url in str(caught.value) and "\n" not in str(caught.value)
        # What came before is kept, and the next run asks for the rest alone.
        assert len(scores(outputs)) == 5
        endpoint.asked.clear()
        endpoint.faults.clear()
        assert scored(study, outputs).n_scored_now == 7
        assert len(endpoint.asked) == 7

    @pytest.mark.parametrize(
        ("fault", "reason"), [("nan", NOT_FINITE), ("clamped", NOT_FINITE), ("other tokens", echo.MISSPELLED)]
    )
    def test_a_text_without_a_likelihood_is_left_out(
        self, tmp_path: Path, endpoint: Endpoint, outputs: Outputs, fault: str, reason: str
    ) -> None:
        endpoint.faults.append(fault)
        found = scored(remote(tmp_path, pairs(4), endpoint, {"concurrency": 1}), outputs)
        assert found.n_scored == 7
        assert excluded(outputs, "likelihood") == {("response", reason): 1, ("comparison", reason): 1}

    def test_a_text_beyond_the_window(self, tmp_path: Path, endpoint: Endpoint, outputs: Outputs) -> None:
        rows = [*pairs(2), {"prompt": "the dog " * 60, "a": "and the sea", "b": "nobody " * 80, "best": "b"}]
        found = scored(remote(tmp_path, rows, endpoint), outputs)
        assert found.n_scored == 4
        assert excluded(outputs, "likelihood") == {("response", client.TOO_LONG): 2, ("comparison", client.TOO_LONG): 1}

    def test_a_server_that_does_not_say_what_it_read(
        self, tmp_path: Path, endpoint: Endpoint, outputs: Outputs
    ) -> None:
        endpoint.says_ids = False
        with pytest.raises(CellError, match="leave tokenizer out"):
            scored(remote(tmp_path, pairs(2), endpoint, {"tokenizer": str(endpoint.folder)}), outputs)

    def test_another_model(self, tmp_path: Path, endpoint: Endpoint, outputs: Outputs) -> None:
        with pytest.raises(CellError, match="serves no model other; it serves tiny"):
            scored(remote(tmp_path, pairs(2), endpoint, {"name": "other"}), outputs)

    def test_nobody_there(self, tmp_path: Path, endpoint: Endpoint, outputs: Outputs, monkeypatch: Any) -> None:
        monkeypatch.setattr(connection, "RETRIES", 0)
        with pytest.raises(NetworkError, match="cannot be reached"):
            scored(remote(tmp_path, pairs(2), endpoint, {"endpoint": "http://127.0.0.1:9/v1"}), outputs)

    def test_more_window_than_there_is(self, tmp_path: Path, endpoint: Endpoint, outputs: Outputs) -> None:
        more = {"tokenizer": str(endpoint.folder), "context_window": 127}
        with pytest.raises(CellError, match="the largest is 126"):
            scored(remote(tmp_path, pairs(2), endpoint, more), outputs)


class TestKey:
    def test_from_the_environment_alone(
        self, tmp_path: Path, endpoint: Endpoint, outputs: Outputs, monkeypatch: pytest.MonkeyPatch, caplog: Any
    ) -> None:
        endpoint.key = KEY
        monkeypatch.setenv("MY_KEY", KEY)
        with caplog.at_level("DEBUG"):
            scored(remote(tmp_path, pairs(2), endpoint, {"api_key_env": "MY_KEY"}), outputs)
        assert endpoint.keys == {f"Bearer {KEY}"}
        assert KEY not in caplog.text
        written = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert written and all(KEY.encode() not in path.read_bytes() for path in written)

    def test_refused(self, tmp_path: Path, endpoint: Endpoint, outputs: Outputs, monkeypatch: Any) -> None:
        endpoint.key = KEY
        monkeypatch.setenv("OPENAI_API_KEY", "another")
        with pytest.raises(CellError, match="environment variable OPENAI_API_KEY") as caught:
            scored(remote(tmp_path, pairs(2), endpoint), outputs)
        assert "another" not in str(caught.value)

    def test_with_a_line_break(
        self, tmp_path: Path, endpoint: Endpoint, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The client refuses such a header in a sentence that quotes it.
        endpoint.key = KEY
        monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
        scored(remote(tmp_path, pairs(2), endpoint), outputs)
        assert endpoint.keys == {f"Bearer {KEY}"}

    def test_that_is_none(
        self, tmp_path: Path, endpoint: Endpoint, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", f"\u201c{KEY}\u201d")
        with pytest.raises(CellError, match="variable OPENAI_API_KEY holds signs that no key has") as caught:
            scored(remote(tmp_path, pairs(2), endpoint), outputs)
        assert KEY not in str(caught.value)

    def test_that_the_endpoint_quotes(self, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        made = connection.Connection(endpoint.url, "OPENAI_API_KEY", None, "nothing is lost")
        with pytest.raises(connection.Refused, match=r"gave \[the key\]"), made.explained(connection.Refused):
            raise ValueError(f"gave {KEY}")


def test_requests_are_paced(tmp_path: Path, endpoint: Endpoint, outputs: Outputs, monkeypatch: Any) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(connection.time, "sleep", pauses.append)
    scored(remote(tmp_path, pairs(3), endpoint, {"requests_per_minute": 60, "concurrency": 1}), outputs)
    # Six requests a second apart: each waits for its turn, which no pause brings nearer here.
    assert max(pauses) == pytest.approx(5.0, abs=1.0)


@pytest.mark.parametrize(
    ("base_model", "options", "told"),
    [
        ({"endpoint": None}, {}, "needs endpoint"),
        ({"endpoint": "example.com/v1"}, {}, "needs endpoint"),
        ({"endpoint": "http://me:secret@example.com/v1"}, {}, "holds a key"),
        ({"dtype": "bfloat16"}, {}, "dtype is no key of backend completions"),
        ({"revision": "v1"}, {}, "revision is no key of backend completions"),
        ({"context_window": 100}, {}, "needs tokenizer"),
        ({}, {"template": "chat"}, "needs tokenizer"),
        ({}, {"long_responses": "cut"}, "needs tokenizer"),
        ({}, {"measures": ["mean_pmi"]}, "needs tokenizer"),
    ],
)
def test_what_a_study_cannot_ask(tmp_path: Path, endpoint: Endpoint, base_model: Row, options: Row, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        remote(tmp_path, pairs(2), endpoint, {**base_model}, **options)


def test_an_endpoint_is_for_completions_alone(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="endpoint is no key of backend transformers"):
        study_of(tmp_path, pairs(2), Path("org/name"), base_model={"endpoint": "http://127.0.0.1/v1"})
