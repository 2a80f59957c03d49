"""The second stage: what is stored, what is never scored twice, and what is counted as left out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from analysis import tables
from analysis.errors import CellError
from analysis.likelihood import request, scoring
from analysis.likelihood.backends import transformers as local
from analysis.likelihood.encoding import NO_START, TOO_LONG, Encoded, Encoder
from analysis.likelihood.model import locate, tokenizer_sha256
from analysis.likelihood.scorer import Batch
from analysis.likelihood.scoring import NOT_FINITE
from analysis.likelihood.store import Store
from analysis.likelihood.templates import render
from analysis.outputs import Outputs
from analysis.preferences.records import Message, text_prompt
from analysis.preferences.rows import prompt_id
from analysis.schemas import TABLES
from analysis.study import Study
from tests.likelihood.cell import Row, excluded, in_work, pairs, scored, scores, shards, study_of
from tests.likelihood.conftest import Loaded, Watch, in_memory
from tests.reference_llama import token_by_token, weights_of
from tests.tiny import tiny_model

Folder = Callable[..., Path]


def references(outputs: Outputs, model: Loaded, template: str = "plain") -> dict[tuple[str, bool], Any]:
    """Tokens and brute-force likelihoods of every stored response, by id and whether conditional."""
    found = {}
    weights = weights_of(model.model)
    encoder = Encoder(model.tokenizer, model.window, "exclude", chat=template == "chat")
    for row in tables.read("responses", outputs.root).itertuples():
        prefix = render(template, tuple(Message(**m) for m in row.prompt), model.tokenizer)
        (made,) = encoder.encode([prefix], [row.response])
        if isinstance(made, Encoded):
            alone = encoder.unconditional(made)
            assert isinstance(alone, Encoded)
            for conditional, text in ((True, made), (False, alone)):
                found[row.response_id, conditional] = text, token_by_token(weights, text.ids, text.start)
    return found


@pytest.mark.parametrize("template", ["plain", "dialogue", "Q: {prompt} A: {response}"])
def test_rows(tiny_folder: Folder, tmp_path: Path, outputs: Outputs, template: str) -> None:
    model = tiny_folder()
    study = study_of(tmp_path, pairs(), model, template=template)
    found = scored(study, outputs)
    for path in tables.files("scores", outputs.root):
        assert pq.read_schema(path).equals(TABLES["scores"].schema, check_metadata=True)
    made = scores(outputs)
    expected = references(outputs, in_memory(model), template)
    assert set(made["response_id"]) == {r for r, _ in expected} and len(made) == 24
    for row in made.itertuples():
        text, wanted = expected[row.response_id, True]
        # The tolerances are explained in test_forward.py.
        assert row.sum_logprob == pytest.approx(wanted.sum_logprob, abs=1e-4 + 1e-6 * abs(wanted.sum_logprob), rel=0)
        assert row.mean_entropy == pytest.approx(wanted.mean_entropy, abs=1e-5, rel=0)
        assert (row.n_tokens, row.n_bytes, row.n_prompt_tokens) == (text.n_tokens, text.n_bytes, text.start)
        assert (row.straddles, row.start_token) == (text.straddles, "bos")
    constant = made.iloc[0]
    assert made["scoring_id"].unique().tolist() == [found.scoring_id]
    assert constant["base_model"] == found.location == model.name
    assert constant["revision"] == found.revision == locate(study.base_models[0]).revision
    assert constant["tokenizer"] == tokenizer_sha256(in_memory(model).tokenizer)
    assert (constant["template"], constant["context_window"], constant["dtype"]) == (template, 128, "float32")
    assert (constant["backend"], constant["device"], constant["long_responses"]) == ("transformers", "cpu", "exclude")
    assert made["conditional"].all() and not made["truncated"].any()
    assert (found.n_responses, found.n_scored, found.n_scored_now) == (24, 24, 24)
    # What is read: each prompt once, and all but the last token of every response.
    texts = [expected[r, True][0] for r in made["response_id"]]
    contexts = {t.ids[: t.start] for t in texts}
    assert found.n_tokens_now == sum(map(len, contexts)) + sum(t.n_tokens - 1 for t in texts)
    assert len(contexts) < len(texts)
    assert found.n_straddling == made["straddles"].sum()
    assert (found.n_truncated, found.n_cut, found.device) == (0, 0, "cpu")
    assert excluded(outputs, "likelihood") == {}


class TestNothingTwice:
    def test_a_second_run_does_not_touch_the_model(
        self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, no_scoring: Callable[[], None]
    ) -> None:
        study = study_of(tmp_path, pairs(), tiny_folder())
        first, before = scored(study, outputs), shards(outputs)
        no_scoring()
        again = scored(study, outputs)
        assert (again.n_scored, again.n_scored_now, again.n_tokens_now) == (first.n_scored, 0, 0)
        assert shards(outputs) == before

    def test_texts_shared_with_another_study(
        self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, no_scoring: Callable[[], None]
    ) -> None:
        rows = pairs()
        scored(study_of(tmp_path / "1", rows, tiny_folder()), outputs)
        first = scores(outputs)
        no_scoring()
        # The same texts, of which this dataset says something else: other responses with the same text_id.
        told = [{**row, "who": "someone"} for row in rows]
        other = study_of(
            tmp_path / "2", told, tiny_folder(), name="other", dataset={"source_a": "who", "source_b": "who"}
        )
        found = scored(other, outputs)
        assert (found.n_scored, found.n_scored_now) == (24, 0)
        new = scores(outputs)
        new = new[~new["response_id"].isin(first["response_id"])]
        comparisons = in_work("comparisons", outputs)
        assert set(new["response_id"]) == {*comparisons["response_a"], *comparisons["response_b"]}
        columns = ["text_id", "sum_logprob", "mean_entropy", "n_tokens", "n_bytes", "straddles", "n_prompt_tokens"]
        pd.testing.assert_frame_equal(
            *(frame[columns].sort_values("text_id", ignore_index=True) for frame in (first, new)), check_exact=True
        )
        # And once they are there, nothing is written any more.
        before = shards(outputs)
        scored(other, outputs)
        assert shards(outputs) == before

    def test_only_what_is_missing_is_written(
        self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, watch: Watch
    ) -> None:
        """A second dataset with half of the prompts of the first: some pairs are the same, some have another answer."""
        rows = pairs()
        options = {"base_model": {"batch_tokens": 64}}
        scored(study_of(tmp_path / "1", rows, tiny_folder(), **options), outputs)
        first, before = scores(outputs), shards(outputs)
        other = [*rows[:4], *({**row, "b": f"{row['b']} indeed"} for row in rows[4:6]), *pairs(6, seed=1)]
        run: list[tuple[Sequence[Encoded], Batch]] = []
        watch(lambda texts, batch: run.append((texts, batch)))
        found = scored(study_of(tmp_path / "2", other, tiny_folder(), name="more", **options), outputs)
        assert (found.n_scored, found.n_scored_now) == (24, 14)
        both = scores(outputs)
        assert len(both) == 24 + 14 and not both["response_id"].duplicated().any()
        pd.testing.assert_frame_equal(
            both[both["response_id"].isin(first["response_id"])].reset_index(drop=True), first, check_exact=True
        )
        assert before.items() < shards(outputs).items()
        # No text is run twice, and a batch whose texts are all stored is not run at all.
        seen = [i for _, batch in run for i in batch.texts]
        assert len(seen) == len(set(seen)) and 14 <= len(seen) <= 24
        assert found.n_tokens_now == sum(batch.n_tokens for _, batch in run)
        expected = references(outputs, in_memory(tiny_folder()))
        for row in both.itertuples():
            wanted = expected[row.response_id, True][1].sum_logprob
            assert row.sum_logprob == pytest.approx(wanted, abs=1e-4 + 1e-6 * abs(wanted), rel=0)

    def test_batches_that_hold_nothing_new_are_not_run(
        self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, watch: Watch
    ) -> None:
        rows = pairs(20)
        options = {"base_model": {"batch_tokens": 16}}  # about every prompt is a batch of its own
        whole = scored(study_of(tmp_path / "1", rows, tiny_folder(), **options), outputs)
        run: list[Batch] = []
        watch(lambda texts, batch: run.append(batch))
        found = scored(
            study_of(tmp_path / "2", [*rows, *pairs(2, seed=1)], tiny_folder(), name="more", **options), outputs
        )
        assert found.n_scored_now == 4
        assert found.n_tokens_now == sum(batch.n_tokens for batch in run) < whole.n_tokens_now / 2

    def test_what_a_dataset_grew_by_is_run_without_the_rest(
        self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs
    ) -> None:
        """Even where one batch would hold both, so that a little more costs a little."""
        more, alone = pairs(4, seed=1), Outputs(tmp_path / "alone")
        scored(study_of(tmp_path / "1", pairs(20), tiny_folder()), outputs)
        found = scored(study_of(tmp_path / "2", [*pairs(20), *more], tiny_folder()), outputs)
        wanted = scored(study_of(tmp_path / "3", more, tiny_folder()), alone)
        assert (found.n_scored_now, found.n_tokens_now) == (wanted.n_scored_now, wanted.n_tokens_now)
        made = scores(outputs)
        made = made[made["response_id"].isin(scores(alone)["response_id"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(made, scores(alone), check_exact=True)

    def test_one_text_in_two_responses_is_scored_once(
        self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, watch: Watch
    ) -> None:
        rows = [
            {"prompt": "What?", "a": "the dog", "b": "the sea", "best": "a", "x": "one", "y": "two"},
            {"prompt": "What?", "a": "the dog", "b": "the answer", "best": "b", "x": "three", "y": "two"},
        ]
        run: list[int] = []
        watch(lambda texts, batch: run.extend(batch.texts))
        study = study_of(tmp_path, rows, tiny_folder(), dataset={"source_a": "x", "source_b": "y"})
        found = scored(study, outputs)
        assert len(run) == 3
        assert (found.n_responses, found.n_scored) == (4, 4)
        made = scores(outputs)
        assert made["response_id"].nunique() == 4 and made["text_id"].nunique() == 3
        assert made.groupby("text_id")["sum_logprob"].nunique().eq(1).all()

    @pytest.mark.parametrize(
        "change",
        [
            {"template": "dialogue"},
            {"long_responses": "cut"},
            {"base_model": {"dtype": "bfloat16"}},
            {"base_model": {"context_window": 100}},
        ],
        ids=str,
    )
    def test_what_decides_a_score_is_never_mixed_up(
        self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, change: dict[str, Any]
    ) -> None:
        first = scored(study_of(tmp_path, pairs(), tiny_folder()), outputs)
        other = scored(study_of(tmp_path, pairs(), tiny_folder(), **change), outputs)
        assert other.scoring_id != first.scoring_id
        assert other.n_scored_now == 24
        assert scores(outputs).groupby("scoring_id").size().to_list() == [24, 24]

    def test_other_weights_or_tokenizers_are_other_scores(self, tmp_path: Path, outputs: Outputs) -> None:
        ids = set()
        for i, options in enumerate([{}, {"seed": 1}, {"bos": False}]):
            model = tiny_model(tmp_path / str(i) / "model", **options)  # the same name in another folder
            ids.add(scored(study_of(tmp_path, pairs(4), model), outputs).scoring_id)
        assert len(ids) == 3

    def test_labels_and_batches_do_not_decide(
        self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, no_scoring: Callable[[], None]
    ) -> None:
        scored(study_of(tmp_path, pairs(), tiny_folder()), outputs)
        no_scoring()
        options = {"label": "another", "batch_tokens": 64}
        found = scored(study_of(tmp_path, pairs(), tiny_folder(), base_model=options), outputs)
        assert (found.base_model, found.n_scored_now) == ("another", 0)


class TestShards:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(local, "SHARD_TOKENS", (150, 150))

    def make(self, tiny_folder: Folder, tmp_path: Path, **options: Any) -> Any:
        measures = ["mean_logprob", "mean_pmi"]
        return study_of(
            tmp_path, pairs(20), tiny_folder(), measures=measures, base_model={"batch_tokens": 64}, **options
        )

    @pytest.mark.parametrize("grown", [False, True])
    def test_removing_any_shard(self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, grown: bool) -> None:
        study = self.make(tiny_folder, tmp_path)
        if grown:
            less = {"measures": ["mean_logprob", "mean_pmi"], "base_model": {"batch_tokens": 64}}
            scored(study_of(tmp_path / "less", pairs(20)[::3], tiny_folder(), **less), outputs)
        scored(study, outputs)
        before = shards(outputs)
        assert len(before) > 4
        for name in list(before)[::2]:
            lost = pq.read_metadata(outputs.root / "scores" / name).num_rows
            (outputs.root / "scores" / name).unlink()
            assert scored(study, outputs).n_tokens_now > 0
            assert shards(outputs) == before  # to the byte
            assert len(scores(outputs)) >= lost

    @pytest.mark.parametrize("batches_done", [0, 1, 5, 9])
    @pytest.mark.parametrize("shares", [False, True])
    def test_an_interrupted_run_ends_as_an_uninterrupted_one(
        self,
        tiny_folder: Folder,
        tmp_path: Path,
        outputs: Outputs,
        watch: Watch,
        monkeypatch: pytest.MonkeyPatch,
        batches_done: int,
        shares: bool,
    ) -> None:
        study, whole = self.make(tiny_folder, tmp_path), Outputs(tmp_path / "whole")
        if shares:  # another study has scored every third pair before
            earlier = study_of(tmp_path / "earlier", pairs(20)[::3], tiny_folder(), name="earlier")
            scored(earlier, whole)
            scored(earlier, outputs)
        scored(study, whole)
        calls: list[Batch] = []

        def interrupted(texts: Sequence[Encoded], batch: Batch) -> None:
            if len(calls) == batches_done:
                raise KeyboardInterrupt
            calls.append(batch)

        watch(interrupted)
        with pytest.raises(KeyboardInterrupt):
            scored(study, outputs)
        assert len(shards(outputs)) < len(shards(whole))
        assert shards(outputs).items() <= shards(whole).items()
        monkeypatch.undo()
        monkeypatch.setattr(local, "SHARD_TOKENS", (150, 150))
        scored(study, outputs)
        assert shards(outputs) == shards(whole)

    @pytest.mark.parametrize("shards_done", [1, 2, 4])
    def test_killed_between_shards(
        self,
        tiny_folder: Folder,
        tmp_path: Path,
        outputs: Outputs,
        monkeypatch: pytest.MonkeyPatch,
        watch: Watch,
        shards_done: int,
    ) -> None:
        """What was written stays and is not run again, and the tables come out equal, row by row and bit by bit."""
        study, whole = self.make(tiny_folder, tmp_path), Outputs(tmp_path / "whole")
        uninterrupted = scored(study, whole)
        real, written = Store.write, []

        def killed(*args: Any) -> None:
            real(*args)
            written.append(args)
            if len(written) == shards_done:
                raise KeyboardInterrupt

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Store, "write", killed)
            scored(study, outputs)
        kept = shards(outputs)
        assert len(kept) == shards_done
        run: list[Batch] = []
        watch(lambda texts, batch: run.append(batch))
        resumed = scored(study, outputs)
        assert kept.items() < shards(outputs).items()
        assert 0 < resumed.n_tokens_now == sum(b.n_tokens for b in run) < uninterrupted.n_tokens_now
        pd.testing.assert_frame_equal(scores(outputs), scores(whole), check_exact=True)
        assert shards(outputs) == shards(whole)

    def test_no_shard_is_half_of_a_text(self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs) -> None:
        scored(self.make(tiny_folder, tmp_path), outputs)
        keys = scores(outputs)[["response_id", "conditional"]]
        assert not keys.duplicated().any() and len(keys) == 80

    def test_the_order_of_rows_changes_nothing(self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs) -> None:
        scored(self.make(tiny_folder, tmp_path), outputs)
        turned = [{**r, "a": r["b"], "b": r["a"], "best": {"a": "b", "b": "a"}[r["best"]]} for r in pairs(20)[::-1]]
        other = Outputs(tmp_path / "other")
        options = {"measures": ["mean_logprob", "mean_pmi"], "base_model": {"batch_tokens": 64}}
        scored(study_of(tmp_path / "turned", turned, tiny_folder(), **options), other)
        assert shards(other) == shards(outputs)

    def test_progress(self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs) -> None:
        ticks: list[tuple[int, int]] = []
        scored(self.make(tiny_folder, tmp_path), outputs, lambda done, total: ticks.append((done, total)))
        assert ticks[-1] == (20, 20) and {total for _, total in ticks} == {20}
        done = [done for done, _ in ticks]
        # More than one tick within a block.
        assert done == sorted(done) and len(set(done)) > 4


class TestBlocks:
    """Blocks bound the memory; but for the plan of batches, and so for rounding, they decide nothing."""

    PLAIN, PMI, CUT, EXCLUDE = (
        pytest.param({}, id="plain"),
        pytest.param({"measures": ["mean_logprob", "mean_pmi"], "base_model": {"batch_tokens": 64}}, id="pmi"),
        pytest.param({"long_responses": "cut", "base_model": {"context_window": 14}}, id="cut"),
        pytest.param({"long_responses": "exclude", "base_model": {"context_window": 14}}, id="exclude"),
    )
    ROUNDED = ("sum_logprob", "mean_entropy")

    @pytest.fixture
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Seven comparisons make a block, and some of these are too long for one."""
        monkeypatch.setattr(request, "BLOCK_COMPARISONS", 7)
        monkeypatch.setattr(request, "BLOCK_CHARS", 900)

    def study(self, folder: Path, model: Path, rows: Sequence[Row], **options: Any) -> Study:
        return study_of(folder, rows, model, template="Q: {prompt} A: {response}", **options)

    @pytest.mark.parametrize("options", [PLAIN, PMI, CUT, EXCLUDE])
    @pytest.mark.parametrize("limits", [(1, 10**6), (7, 900)], ids=str)
    def test_small_ones_give_the_same(
        self,
        tiny_folder: Folder,
        tmp_path: Path,
        outputs: Outputs,
        monkeypatch: pytest.MonkeyPatch,
        options: dict[str, Any],
        limits: tuple[int, int],
    ) -> None:
        study, one = self.study(tmp_path, tiny_folder(), pairs(20), **options), Outputs(tmp_path / "one")
        expected = scored(study, one)
        monkeypatch.setattr(request, "BLOCK_COMPARISONS", limits[0])
        monkeypatch.setattr(request, "BLOCK_CHARS", limits[1])
        n_blocks = 0
        real = scoring.Scoring.run

        def counted(*args: Any) -> Any:
            nonlocal n_blocks
            n_blocks += 1
            return real(*args)

        monkeypatch.setattr(scoring.Scoring, "run", counted)
        found = scored(study, outputs)
        assert n_blocks > 3
        made, wanted = scores(outputs), scores(one)
        pd.testing.assert_frame_equal(made.drop(columns=[*self.ROUNDED]), wanted.drop(columns=[*self.ROUNDED]))
        off = (made["sum_logprob"] - wanted["sum_logprob"]).abs()
        assert (off <= 1e-4 + 1e-6 * wanted["sum_logprob"].abs()).all()
        assert ((made["mean_entropy"] - wanted["mean_entropy"]).abs() <= 1e-5).all()
        # What is left of a prompt that is cut or left out may be shared by several, within a block only.
        shared = expected.n_truncated > 0 or "mean_pmi" in study.measures
        assert (found.n_tokens_now > expected.n_tokens_now) == shared
        assert replace(found, n_tokens_now=0) == replace(expected, n_tokens_now=0)
        assert excluded(outputs, "likelihood") == excluded(one, "likelihood")
        assert (expected.n_scored < expected.n_responses) == (options.get("long_responses") == "exclude")

    @pytest.mark.parametrize("options", [PMI, CUT, EXCLUDE])
    def test_counts_are_those_of_the_tables(
        self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, small: None, options: dict[str, Any]
    ) -> None:
        """Whatever else stands in them, and whether a row was made now or before."""
        rows = pairs(20, who="one")
        rows += [{**row, "who": "another"} for row in rows[:6]]
        options = {"dataset": {"source_a": "who", "source_b": "who"}, **options}
        scored(self.study(tmp_path / "1", tiny_folder(), rows[::4], name="part", **options), outputs)
        earlier = set(scores(outputs)["text_id"])
        scored(self.study(tmp_path / "2", tiny_folder(seed=1), rows, name="other", **options), outputs)
        found = scored(self.study(tmp_path / "3", tiny_folder(), [*rows, *rows[:2]], **options), outputs)
        comparisons = in_work("comparisons", outputs)
        asked = {*comparisons["response_a"], *comparisons["response_b"]}
        made = scores(outputs)
        made = made[(made["scoring_id"] == found.scoring_id) & made["conditional"] & made["response_id"].isin(asked)]
        assert found.n_responses == len(asked)
        assert found.n_scored == len(made) == made["response_id"].nunique()
        assert found.n_scored_now == (~made["text_id"].isin(earlier)).sum() < found.n_scored
        assert found.n_truncated == made["truncated"].sum()
        assert found.n_cut == (made["n_response_tokens_cut"] > 0).sum()
        assert found.n_straddling == made["straddles"].sum() > 0
        assert {found.device} == set(made["device"])
        lost = {unit: n for (unit, _), n in excluded(outputs, "likelihood").items()}
        has = comparisons["response_a"].isin(made["response_id"]) & comparisons["response_b"].isin(made["response_id"])
        assert lost.get("response", 0) == found.n_responses - found.n_scored
        assert lost.get("comparison", 0) == (~has).sum()

    @pytest.mark.parametrize("batches_done", [3, 9])
    def test_an_interrupted_run_ends_as_an_uninterrupted_one(
        self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, small: None, watch: Watch, batches_done: int
    ) -> None:
        options = {"measures": ["mean_logprob", "mean_pmi"], "base_model": {"batch_tokens": 64}}
        study, whole = self.study(tmp_path, tiny_folder(), pairs(20), **options), Outputs(tmp_path / "whole")
        scored(study, whole)
        n_run = 0

        def interrupted(texts: Sequence[Encoded], batch: Batch) -> None:
            nonlocal n_run
            n_run += 1
            if n_run == batches_done + 1:
                raise KeyboardInterrupt

        watch(interrupted)
        with pytest.raises(KeyboardInterrupt):
            scored(study, outputs)
        assert shards(outputs).items() < shards(whole).items()
        assert bool(shards(outputs)) == (batches_done == 9)
        scored(study, outputs)
        assert shards(outputs) == shards(whole)

    def test_a_part_first_and_then_the_whole(
        self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, small: None, watch: Watch
    ) -> None:
        """A block of which all is stored is not even tokenised; nothing is written twice."""
        rows, options = pairs(30), {"base_model": {"batch_tokens": 48}}
        ids = [prompt_id(text_prompt(row["prompt"])) for row in rows]
        part = [row for row, key in zip(rows, ids, strict=True) if key in sorted(set(ids))[:6]]
        scored(self.study(tmp_path / "1", tiny_folder(), part, name="part", **options), outputs)
        first, before = scores(outputs), shards(outputs)
        seen: list[Sequence[Encoded]] = []
        watch(lambda texts, batch: seen.append(texts))
        found = scored(self.study(tmp_path / "2", tiny_folder(), rows, **options), outputs)
        both = scores(outputs)
        assert (found.n_scored, found.n_scored_now) == (60, 60 - len(first))
        assert len(both) == 60 and not both["response_id"].duplicated().any()
        assert before.items() < shards(outputs).items()
        stored = both["response_id"].isin(first["response_id"])
        pd.testing.assert_frame_equal(both[stored].reset_index(drop=True), first, check_exact=True)
        tokenised = {id(texts): len(texts) for texts in seen}
        assert 60 - len(first) <= sum(tokenised.values()) < 60


class TestLongTexts:
    def rows(self) -> list[dict[str, Any]]:
        """Twelve pairs that fit a window of 64; a is too long in two, b in one, both in one, a prompt in one."""
        rows = pairs(12, longest=8)
        for i, sides in ((1, "a"), (4, "a"), (6, "b"), (9, "ab")):
            rows[i] |= {side: f"{'the answer ' * 60} {i} {side}" for side in sides}
        rows[11]["prompt"] = "What is the capital? " * 30
        return rows

    def test_are_left_out_and_counted(self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs) -> None:
        study = study_of(tmp_path, self.rows(), tiny_folder(window=64))
        found = scored(study, outputs)
        assert excluded(outputs, "likelihood") == {("response", TOO_LONG): 5, ("comparison", TOO_LONG): 4}
        assert (found.n_responses, found.n_scored, found.n_scored_now) == (24, 19, 19)
        lost = in_work("exclusions", outputs)
        assert set(lost["base_model"]) == {"tiny"} and set(lost["dataset"]) == {"pairs"}
        comparisons = in_work("comparisons", outputs)
        examples = set(lost.loc[lost["unit"] == "comparison", "examples"].iloc[0])
        have = set(scores(outputs)["response_id"])
        gone = ~(comparisons["response_a"].isin(have) & comparisons["response_b"].isin(have))
        assert examples == set(comparisons.loc[gone, "comparison_id"]) and len(examples) == 4

    def test_are_counted_again_when_all_is_stored(
        self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, no_scoring: Callable[[], None]
    ) -> None:
        study = study_of(tmp_path, self.rows(), tiny_folder(window=64))
        scored(study, outputs)
        first = in_work("exclusions", outputs)
        no_scoring()
        assert scored(study, outputs).n_scored == 19
        pd.testing.assert_frame_equal(in_work("exclusions", outputs), first)

    def test_a_long_prompt_is_cut_and_recorded(self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs) -> None:
        model = tiny_folder(window=64)
        found = scored(study_of(tmp_path, self.rows(), model), outputs)
        made = scores(outputs)
        expected = references(outputs, in_memory(model))
        cut = made[made["n_prompt_tokens_cut"] > 0]
        assert len(cut) == cut["truncated"].sum() == made["truncated"].sum() == found.n_truncated == 2
        assert (cut["n_prompt_tokens"] + cut["n_tokens"] == 65).all()
        for row in cut.itertuples():
            text, wanted = expected[row.response_id, True]
            assert row.n_prompt_tokens_cut == text.n_prompt_tokens_cut
            assert row.sum_logprob == pytest.approx(wanted.sum_logprob, abs=1e-4 + 1e-6 * abs(wanted.sum_logprob))

    def test_cut_on_request(self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs) -> None:
        study = study_of(tmp_path, self.rows(), tiny_folder(window=64), long_responses="cut")
        found = scored(study, outputs)
        assert excluded(outputs, "likelihood") == {}
        assert (found.n_scored, found.n_truncated, found.n_cut) == (24, 7, 5)
        made = scores(outputs)
        cut = made[made["n_response_tokens_cut"] > 0]
        # BOS and 64 tokens of the response, the last of which is predicted and not read.
        assert (cut["n_prompt_tokens"] == 1).all() and (cut["n_tokens"] == 64).all()
        stored = tables.read("responses", outputs.root).set_index("response_id")["response"]
        assert (cut["n_bytes"].to_numpy() < stored[cut["response_id"]].str.len().to_numpy()).all()


class TestNoFiniteLikelihood:
    def poisoned(self, folder: Path, options: Mapping[str, Any] = MappingProxyType({}), **values: Any) -> Path:
        """A tiny base model some of whose weights are NaN: `{name: row}`, or the whole matrix for None."""
        tiny_model(folder, **options)
        weights = load_file(folder / "model.safetensors")
        for name, row in values["weights"].items():
            weights[name][slice(None) if row is None else row] = torch.nan
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        return folder

    def test_everywhere(self, tmp_path: Path, outputs: Outputs) -> None:
        model = self.poisoned(tmp_path / "m", weights={"lm_head.weight": None})
        with pytest.raises(CellError, match=f"score none of the responses: 24 × response: {NOT_FINITE}"):
            scored(study_of(tmp_path, pairs(), model), outputs)
        assert excluded(outputs, "likelihood") == {("response", NOT_FINITE): 24, ("comparison", NOT_FINITE): 12}
        assert scores(outputs).empty

    def test_where_a_certain_token_is_read(self, tmp_path: Path, outputs: Outputs, tiny_folder: Folder) -> None:
        tokenizer = in_memory(tiny_folder()).tokenizer
        rows = pairs(8)
        for i, text in ((0, "we Zoom in"), (3, "a Z"), (5, "Z a")):
            rows[i]["a"] = text
        letter = tokenizer.convert_tokens_to_ids("Z")
        model = self.poisoned(tmp_path / "m", weights={"model.embed_tokens.weight": letter})
        scored(study_of(tmp_path, rows, model), outputs)
        # The last token of a text is predicted and never read, so the response that ends in it has its likelihood.
        assert excluded(outputs, "likelihood") == {("response", NOT_FINITE): 2, ("comparison", NOT_FINITE): 2}
        made = scores(outputs)
        assert len(made) == 14 and np.isfinite(made[["sum_logprob", "mean_entropy"]]).all(axis=None)

    def test_a_text_without_an_unconditional_one_is_not_scored_again(
        self, tmp_path: Path, outputs: Outputs, tiny_folder: Folder
    ) -> None:
        bos = in_memory(tiny_folder(adds_bos=False)).tokenizer.bos_token_id
        model = self.poisoned(tmp_path / "m", {"adds_bos": False}, weights={"model.embed_tokens.weight": bos})
        study = study_of(tmp_path, pairs(), model, measures=["mean_logprob", "mean_pmi"])
        assert [scored(study, outputs).n_scored_now for _ in range(2)] == [24, 0]


class TestUnconditional:
    def test_rows_of_both_kinds(self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs) -> None:
        model = tiny_folder()
        found = scored(study_of(tmp_path, pairs(), model, measures=["mean_pmi"]), outputs)
        made = scores(outputs)
        expected = references(outputs, in_memory(model))
        assert made.groupby("conditional").size().to_dict() == {False: 24, True: 24}
        for row in made.itertuples():
            text, wanted = expected[row.response_id, row.conditional]
            assert row.sum_logprob == pytest.approx(wanted.sum_logprob, abs=1e-4 + 1e-6 * abs(wanted.sum_logprob))
            assert (row.n_tokens, row.n_prompt_tokens) == (text.n_tokens, text.start)
        assert (made.loc[~made["conditional"], "n_prompt_tokens"] == 1).all()
        assert found.n_scored == 24  # responses, not rows

    def test_counts_are_of_responses(self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs) -> None:
        found = scored(study_of(tmp_path, pairs(), tiny_folder(), measures=["mean_pmi"]), outputs)
        assert found.n_scored_now <= found.n_scored

    def test_are_added_to_what_is_there(self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs) -> None:
        scored(study_of(tmp_path, pairs(), tiny_folder()), outputs)
        first = shards(outputs)
        found = scored(study_of(tmp_path, pairs(), tiny_folder(), measures=["mean_pmi"]), outputs)
        assert found.n_scored_now == 24
        assert first.items() < shards(outputs).items()

    def test_without_bos_they_start_from_eos(self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs) -> None:
        scored(study_of(tmp_path, pairs(), tiny_folder(bos=False), measures=["mean_pmi"]), outputs)
        made = scores(outputs)
        assert made.groupby("conditional")["start_token"].unique().map(list).to_dict() == {
            False: ["eos"],
            True: ["none"],
        }

    @pytest.mark.parametrize("before", [False, True])
    def test_without_bos_and_eos_the_other_measures_remain(
        self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, before: bool
    ) -> None:
        """One measure that cannot be had takes no other with it, and what ran before decides nothing."""
        model = tiny_folder(bos=False, eos=False)
        if before:
            scored(study_of(tmp_path, pairs(), model), outputs)
        scored(study_of(tmp_path, pairs(), model, measures=["mean_logprob", "mean_pmi"]), outputs)
        made = scores(outputs)
        assert made["conditional"].all() and len(made) == 24
        assert any(NO_START in reason for _, reason in excluded(outputs, "likelihood"))


class TestChat:
    TEMPLATE = (
        "{% for m in messages %}{% if 'capital' in m['content'] %}{{ raise_exception('no capitals') }}{% endif %}"
        "[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}[assistant] "
    )

    def test_a_prompt_the_template_refuses(self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs) -> None:
        rows = pairs(12, seed=4)
        refused = sum("capital" in row["prompt"] for row in rows)
        assert 0 < refused < 12
        found = scored(study_of(tmp_path, rows, tiny_folder(chat_template=self.TEMPLATE), template="chat"), outputs)
        reason = "the chat template refuses the prompt: no capitals"
        assert excluded(outputs, "likelihood") == {("response", reason): 2 * refused, ("comparison", reason): refused}
        assert found.n_scored == 24 - 2 * refused

    def test_every_prompt_refused(self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs) -> None:
        rows: list[Mapping[str, Any]] = [{**row, "prompt": "the capital?"} for row in pairs(4)]
        study = study_of(tmp_path, rows, tiny_folder(chat_template=self.TEMPLATE), template="chat")
        with pytest.raises(CellError, match="could score none of the responses: 8 × response: the chat template"):
            scored(study, outputs)

    def test_scores(self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs) -> None:
        model = tiny_folder(chat_template=self.TEMPLATE.replace("capital", "nothing"))
        scored(study_of(tmp_path, pairs(6), model, template="chat"), outputs)
        expected = references(outputs, in_memory(model), "chat")
        for row in scores(outputs).itertuples():
            _, wanted = expected[row.response_id, True]
            assert row.sum_logprob == pytest.approx(wanted.sum_logprob, abs=1e-4 + 1e-6 * abs(wanted.sum_logprob))
