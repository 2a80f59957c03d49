"""The log-probability of every token, on request: the terms of the sums that are stored, beside them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from analysis import tables
from analysis.likelihood import request
from analysis.likelihood.backends import transformers as local
from analysis.likelihood.encoding import Encoded, Encoder
from analysis.likelihood.store import Store
from analysis.likelihood.templates import render
from analysis.outputs import Outputs
from analysis.preferences.records import Message
from analysis.schemas import TABLES
from tests.likelihood.cell import excluded, pairs, scored, scores, shards, study_of
from tests.likelihood.conftest import Watch, in_memory
from tests.reference_llama import each_token, weights_of

Folder = Callable[..., Path]
KEY = ["response_id", "conditional"]
DENSE = ("🌊🌞 日本語の文章 👩‍👩‍👧é", "naïve e\u0301 “café”🌊", "日本 the sea")


def rows_of(n: int = 12) -> list[dict[str, Any]]:
    """Pairs, some of characters that take several tokens each."""
    return [{**row, "a": f"{DENSE[i % 3]} {row['a']}"} if i % 3 else row for i, row in enumerate(pairs(n))]


def tokens(outputs: Outputs) -> pd.DataFrame:
    return tables.read("token_logprobs", outputs.root).sort_values(KEY, ignore_index=True)


def files(outputs: Outputs) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in tables.files("token_logprobs", outputs.root)}


def agree(outputs: Outputs) -> pd.DataFrame:
    """Tokens have a row for every score, and only those; returns them with the scores and the texts."""
    made = tokens(outputs)
    columns = [*KEY, "text_id", "prompt_id", "scoring_id"]
    stored = scores(outputs).sort_values(KEY, ignore_index=True)
    pd.testing.assert_frame_equal(made[columns], stored[columns], check_exact=True)
    assert not made.duplicated(KEY).any()
    texts = tables.read("responses", outputs.root)[["response_id", "prompt", "response"]]
    return stored.assign(made=made["token_logprobs"], ends=made["token_ends"]).merge(texts, on="response_id")


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ({}, {"measures": ["mean_logprob"]}),
        ({}, {"measures": ["mean_logprob", "mean_pmi"], "base_model": {"batch_tokens": 64}}),
        ({"pieces": "metaspace", "bos": False}, {"measures": ["mean_pmi"]}),
        ({"window": 20}, {"measures": ["mean_pmi"], "long_responses": "cut"}),
        ({"window": 20, "pieces": "metaspace"}, {"measures": ["mean_logprob"], "long_responses": "cut"}),
        ({"window": 20}, {"measures": ["mean_pmi"], "long_responses": "exclude"}),
    ],
    ids=["conditional", "both", "metaspace", "cut", "cut metaspace", "excluded"],
)
def test_rows(
    tiny_folder: Folder, tmp_path: Path, outputs: Outputs, model: dict[str, Any], options: dict[str, Any]
) -> None:
    """Each token's number is that of a float64 Llama; they add up, to the bit, to what is stored."""
    template = "Q: {prompt} A: {response}"
    study = study_of(tmp_path, rows_of(), tiny_folder(**model), template=template, token_logprobs=True, **options)
    found = scored(study, outputs)
    for path in tables.files("token_logprobs", outputs.root):
        assert pq.read_schema(path).equals(TABLES["token_logprobs"].schema)
    used = in_memory(tiny_folder(**model))
    weights, encoder = weights_of(used.model), Encoder(used.tokenizer, used.window, study.long_responses, chat=False)
    both = agree(outputs)
    assert len(both) == found.n_scored * (1 + ("mean_pmi" in study.measures)) > 0
    for row in both.itertuples():
        assert row.made.dtype == np.float32 and len(row.made) == len(row.ends) == row.n_tokens
        assert row.made.sum(dtype=np.float64) == row.sum_logprob
        assert row.ends[0] > 0 and (np.diff(row.ends) >= 0).all()
        # Without what was cut, of which only whole characters are.
        assert row.ends[-1] == len(row.response.encode()[: row.n_bytes].decode())
        prefix = render(template, tuple(Message(**m) for m in row.prompt))
        (text,) = encoder.encode([prefix], [row.response])
        assert isinstance(text, Encoded)
        if not row.conditional:
            text = encoder.unconditional(text)
            assert isinstance(text, Encoded)
        # The tolerance of a sum is explained in test_forward.py.
        np.testing.assert_allclose(row.made, each_token(weights, text.ids, text.start), rtol=1e-6, atol=1e-4)
    assert (found.n_cut > 0) == (study.long_responses == "cut")
    assert bool(excluded(outputs, "likelihood")) == ("window" in model and study.long_responses == "exclude")
    whole = both["n_response_tokens_cut"] == 0
    assert (both.loc[whole, "ends"].str[-1] == both.loc[whole, "response"].str.len()).all()


def test_none_without_the_option(tiny_folder: Folder, tmp_path: Path, outputs: Outputs) -> None:
    scored(study_of(tmp_path, pairs(), tiny_folder()), outputs)
    assert not (outputs.root / "token_logprobs").exists()


def only_tokens(write: Callable[..., None]) -> Callable[..., None]:
    """A `Store.write` that is killed when it comes to scores."""

    def killed(store: Store, rows: Sequence[dict[str, Any]]) -> None:
        if rows and store.name == "scores":
            raise KeyboardInterrupt
        write(store, rows)

    return killed


class TestAskedLater:
    """Tokens are added to scores that are there, which stay as they are."""

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(request, "BLOCK_COMPARISONS", 8)
        monkeypatch.setattr(local, "SHARD_TOKENS", (150, 150))

    def study(self, folder: Path, model: Path, rows: Sequence[dict[str, Any]], asked: bool, **options: Any) -> Any:
        options = {"measures": ["mean_logprob", "mean_pmi"], "base_model": {"batch_tokens": 64}, **options}
        return study_of(folder, rows, model, token_logprobs=asked, **options)

    def test_only_tokens_are_added(
        self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, no_scoring: Callable[[], None]
    ) -> None:
        rows, at_once = rows_of(20), Outputs(tmp_path / "at once")
        first = scored(self.study(tmp_path, tiny_folder(), rows, False), outputs)
        before = shards(outputs)
        study = self.study(tmp_path, tiny_folder(), rows, True)
        found = scored(study, outputs)
        assert shards(outputs) == before
        assert found.scoring_id == first.scoring_id
        assert (found.n_responses, found.n_scored, found.device) == (40, 40, "cpu")
        assert found.n_tokens_now == first.n_tokens_now
        both = agree(outputs)
        assert all(row.made.sum(dtype=np.float64) == row.sum_logprob for row in both.itertuples())
        # The tables are those of a run that asked for both at once.
        scored(study, at_once)
        assert (shards(at_once), files(at_once)) == (before, files(outputs))
        # And then nothing is left to do, with the option or without.
        no_scoring()
        for again in (study, self.study(tmp_path, tiny_folder(), rows, False)):
            done = scored(again, outputs)
            assert (done.n_scored, done.n_scored_now, done.n_tokens_now) == (40, 0, 0)
        assert (shards(at_once), files(at_once)) == (shards(outputs), files(outputs))

    def test_of_a_part_first(self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs) -> None:
        """Some texts have both, some a score alone, some neither: each gets what it lacks."""
        rows = rows_of(24)
        scored(self.study(tmp_path / "1", tiny_folder(), rows[:6], True, name="one"), outputs)
        scored(self.study(tmp_path / "2", tiny_folder(), rows[3:16], False, name="two"), outputs)
        stored, had = scores(outputs), tokens(outputs)
        scored(self.study(tmp_path / "3", tiny_folder(), rows, True), outputs)
        both = agree(outputs)
        assert len(both) == 96
        for before, after in ((stored, scores(outputs)), (had, tokens(outputs))):
            kept = after.merge(before[[*KEY, "scoring_id"]])[before.columns]
            pd.testing.assert_frame_equal(*(f.sort_values(KEY, ignore_index=True) for f in (kept, before)))
        # What was computed in another batch is the same but for rounding.
        off = (both["made"].map(lambda made: made.sum(dtype=np.float64)) - both["sum_logprob"]).abs()
        assert (off <= 1e-4 + 1e-6 * both["sum_logprob"].abs()).all()

    @pytest.mark.parametrize("asked_later", [False, True])
    @pytest.mark.parametrize("written", [1, 2])
    def test_killed_between_two_files(
        self,
        tiny_folder: Folder,
        tmp_path: Path,
        outputs: Outputs,
        monkeypatch: pytest.MonkeyPatch,
        asked_later: bool,
        written: int,
    ) -> None:
        """Also between the tokens of a shard and its scores."""
        study, whole = self.study(tmp_path, tiny_folder(), rows_of(), True), Outputs(tmp_path / "whole")
        scored(study, whole)
        if asked_later:
            scored(self.study(tmp_path, tiny_folder(), rows_of(), False), outputs)
        real, done = tables.write, 0

        def killed(path: Path, name: str, rows: Any) -> None:
            nonlocal done
            real(path, name, rows)
            done += name in ("scores", "token_logprobs")
            if done == written:
                raise KeyboardInterrupt

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(tables, "write", killed)
            scored(study, outputs)
        assert files(outputs).items() < files(whole).items()
        scored(study, outputs)
        assert (shards(outputs), files(outputs)) == (shards(whole), files(whole))

    def test_killed_between_two_files_of_a_part(
        self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Texts whose tokens are there and whose scores are not get scores alone, in whatever shard they are."""
        rows = rows_of(20)
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Store, "write", only_tokens(Store.write))
            scored(self.study(tmp_path / "1", tiny_folder(), rows[:6], True, name="part"), outputs)
        assert len(tokens(outputs)) > 0 and scores(outputs).empty
        scored(self.study(tmp_path / "2", tiny_folder(), rows, True), outputs)
        assert len(agree(outputs)) == 80


class TestEqualTexts:
    def rows(self) -> list[dict[str, Any]]:
        return [
            {"prompt": "What?", "a": "the dog", "b": "the sea", "best": "a", "x": "one", "y": "two"},
            {"prompt": "What?", "a": "the dog", "b": "the answer", "best": "b", "x": "three", "y": "two"},
        ]

    def test_of_two_responses(self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, watch: Watch) -> None:
        """A row each, computed once."""
        run: list[int] = []
        watch(lambda texts, batch: run.extend(batch.texts))
        options: dict[str, Any] = {"dataset": {"source_a": "x", "source_b": "y"}}
        scored(study_of(tmp_path, self.rows(), tiny_folder(), token_logprobs=True, **options), outputs)
        assert len(run) == 3
        both = agree(outputs)
        assert len(both) == 4 and both["text_id"].nunique() == 3
        one, other = both[both["text_id"].duplicated(keep=False)].itertuples()
        assert (one.made == other.made).all() and (one.ends == other.ends).all()

    def test_of_another_study(
        self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, no_scoring: Callable[[], None]
    ) -> None:
        scored(study_of(tmp_path / "1", self.rows(), tiny_folder(), token_logprobs=True), outputs)
        no_scoring()
        options: dict[str, Any] = {"dataset": {"source_a": "x", "source_b": "y"}, "name": "other"}
        scored(study_of(tmp_path / "2", self.rows(), tiny_folder(), token_logprobs=True, **options), outputs)
        both = agree(outputs)
        assert len(both) == 7 and both["text_id"].nunique() == 3
        assert all(row.made.sum(dtype=np.float64) == row.sum_logprob for row in both.itertuples())
