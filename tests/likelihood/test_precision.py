"""How far a short floating-point type is from float32: recomputed from the table, recorded, and said in the report."""

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from analysis import runs, tables
from analysis.errors import CellError
from analysis.likelihood import request, scorer
from analysis.likelihood.backends import transformers as local
from analysis.likelihood.precision import SAMPLE_PROMPTS, Precision
from analysis.likelihood.scoring import NOT_FINITE
from analysis.likelihood.stage import Scored, score
from analysis.outputs import Outputs
from analysis.preferences.stage import fetch
from analysis.regression.stage import estimate
from analysis.report.stage import report
from analysis.study import Study
from tests.likelihood.cell import excluded, in_work, pairs, scored, scores, shards, study_of
from tests.tiny import tiny_model

Folder = Callable[..., Path]
SHORT = {"base_model": {"dtype": "bfloat16"}}


def alike(n: int) -> list[dict[str, Any]]:
    """Pairs whose responses differ in their last character, so that rounding turns some of them."""
    return [{**row, "b": f"{row['a'][:-1]}#"} for row in pairs(n)]


def recomputed(outputs: Outputs, found: Scored) -> Precision:
    """The same numbers from the two sets of rows of the table, in plain pandas."""
    comparisons = in_work("comparisons", outputs)
    first = sorted(comparisons["prompt_id"].unique())[:SAMPLE_PROMPTS]
    comparisons = comparisons[comparisons["prompt_id"].isin(first)]
    made = scores(outputs)
    made = made[
        made["conditional"] & made["response_id"].isin({*comparisons["response_a"], *comparisons["response_b"]})
    ]
    assert set(made.loc[made["dtype"] == "bfloat16", "scoring_id"]) == {found.scoring_id}
    both = made.pivot(index="response_id", columns="dtype", values=["sum_logprob", "n_tokens"]).dropna()
    off = (both["sum_logprob", "bfloat16"] - both["sum_logprob", "float32"]).abs()
    mean = both["sum_logprob"] / both["n_tokens"]
    known = comparisons[comparisons["response_a"].isin(mean.index) & comparisons["response_b"].isin(mean.index)]
    signs = np.sign(mean.loc[known["response_a"]].to_numpy() - mean.loc[known["response_b"]].to_numpy())
    turned = int((signs[:, 0] != signs[:, 1]).sum())
    return Precision("ok", len(off), float(off.mean()), float(off.max()), len(known), turned)


def same(found: Precision | None, expected: Precision) -> None:
    """Numbers of a few sums in another order."""
    assert found is not None
    assert (found.mean, found.largest) == pytest.approx((expected.mean, expected.largest), rel=1e-12)
    counts = ("status", "n_responses", "n_comparisons", "n_turned")
    assert [getattr(found, name) for name in counts] == [getattr(expected, name) for name in counts]


class TestNumbers:
    @pytest.mark.parametrize(
        ("rows_a_block", "measures"), [(9, ["mean_logprob"]), (1024, ["logprob_per_byte", "mean_pmi"])], ids=str
    )
    def test_those_of_the_first_prompts(
        self,
        tiny_folder: Folder,
        tmp_path: Path,
        outputs: Outputs,
        monkeypatch: pytest.MonkeyPatch,
        rows_a_block: int,
        measures: list[str],
    ) -> None:
        monkeypatch.setattr(request, "BLOCK_COMPARISONS", rows_a_block)
        n_prompts = SAMPLE_PROMPTS + 4
        found = scored(study_of(tmp_path, alike(2 * n_prompts), tiny_folder(), measures=measures, **SHORT), outputs)
        assert found.precision is not None
        same(found.precision, recomputed(outputs, found))
        assert (found.precision.n_responses, found.precision.n_comparisons) == (4 * SAMPLE_PROMPTS, 2 * SAMPLE_PROMPTS)
        assert 0 < found.precision.n_turned < found.precision.n_comparisons / 2
        assert 0 < found.precision.mean < found.precision.largest < 3
        # What is scored in float32 is the sample, and is not counted with the rest.
        n = scores(outputs).query("conditional").groupby("dtype").size().to_dict()
        assert n == {"bfloat16": 4 * n_prompts, "float32": 4 * SAMPLE_PROMPTS}
        assert found.n_responses == found.n_scored == found.n_scored_now == 4 * n_prompts

    def test_what_cannot_be_scored_is_no_part_of_them(
        self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs
    ) -> None:
        rows = alike(20)
        rows[3]["a"] = rows[8]["b"] = rows[10]["b"] = "the answer " * 60
        found = scored(study_of(tmp_path, rows, tiny_folder(window=64), **SHORT), outputs)
        same(found.precision, recomputed(outputs, found))
        assert found.precision is not None
        assert (found.precision.n_responses, found.precision.n_comparisons) == (37, 17)
        # They are counted once.
        assert {unit: n for (unit, _), n in excluded(outputs, "likelihood").items()} == {"response": 3, "comparison": 3}

    def test_a_second_run_computes_nothing(
        self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, no_scoring: Callable[[], None]
    ) -> None:
        study = study_of(tmp_path, alike(12), tiny_folder(), **SHORT)
        first, before = scored(study, outputs), shards(outputs)
        no_scoring()
        again = scored(study, outputs)
        assert (again.precision, again.n_scored_now) == (first.precision, 0)
        assert shards(outputs) == before

    def test_what_is_there_in_float32_is_taken(
        self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scored(study_of(tmp_path, alike(12), tiny_folder()), outputs)
        types: list[str] = []
        real = local.load
        monkeypatch.setattr(local, "load", lambda located, spec: types.append(spec.dtype) or real(located, spec))
        found = scored(study_of(tmp_path, alike(12), tiny_folder(), **SHORT), outputs)
        assert types == ["bfloat16"]
        same(found.precision, recomputed(outputs, found))

    def test_none_of_float32(self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs) -> None:
        assert scored(study_of(tmp_path, alike(4), tiny_folder()), outputs).precision is None

    def test_no_finite_likelihood_at_all(self, tmp_path: Path, outputs: Outputs) -> None:
        folder = tiny_model(tmp_path / "model")
        weights = load_file(folder / "model.safetensors")
        weights["lm_head.weight"].fill_(torch.nan)
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        # The cell has failed: there is nothing to compare with float32.
        with pytest.raises(CellError, match=f"score none of the responses: 8 × response: {NOT_FINITE}"):
            scored(study_of(tmp_path, alike(4), folder, **SHORT), outputs)

    def test_no_finite_likelihood_in_float32(
        self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = local.load

        def load(located: Any, spec: Any) -> Any:
            model = real(located, spec)
            if spec.dtype == "float32":
                model.lm_head.weight.fill_(torch.nan)
            return model

        monkeypatch.setattr(local, "load", load)
        found = scored(study_of(tmp_path, alike(4), tiny_folder(), **SHORT), outputs)
        assert (found.n_scored, found.precision) == (8, Precision("none of the sample could be scored in both"))


@pytest.fixture
def no_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    real = local.load

    def load(located: Any, spec: Any) -> Any:
        if spec.dtype == "float32":
            raise CellError("base model 'tiny' cannot be loaded on cpu: not enough memory")
        return real(located, spec)

    monkeypatch.setattr(local, "load", load)


class TestWhereFloat32CannotBeHad:
    def test_the_scores_stand(self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, no_float32: None) -> None:
        found = scored(study_of(tmp_path, alike(12), tiny_folder(), **SHORT), outputs)
        assert found.precision == Precision("base model 'tiny' cannot be loaded on cpu: not enough memory")
        assert (found.n_scored, found.n_scored_now) == (24, 24)
        assert scores(outputs)["dtype"].unique().tolist() == ["bfloat16"]
        assert excluded(outputs, "likelihood") == {}

    def test_no_memory_to_run_it(
        self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = scorer.score_batch

        def batch(model: Any, device: str, texts: Any) -> Any:
            if model.dtype is torch.float32:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return real(model, device, texts)

        monkeypatch.setattr(scorer, "score_batch", batch)
        found = scored(study_of(tmp_path, alike(12), tiny_folder(), **SHORT), outputs)
        assert found.precision == Precision(
            "base model 'tiny' cannot be run on cpu: CUDA out of memory. Tried to allocate 2.00 GiB"
        )
        assert found.n_scored == 24


def test_the_other_model_is_gone_before_float32_is_loaded(
    tiny_folder: Folder, tmp_path: Path, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Any] = []
    real = local.load

    def load(located: Any, spec: Any) -> Any:
        assert all(earlier() is None for earlier in loaded)
        model = real(located, spec)
        loaded.append(weakref.ref(model))
        return model

    monkeypatch.setattr(local, "load", load)
    scored(study_of(tmp_path, alike(4), tiny_folder(), **SHORT), outputs)
    assert len(loaded) == 2


def test_float32_gives_what_is_compared_and_no_more(tiny_folder: Folder, tmp_path: Path, outputs: Outputs) -> None:
    options: dict[str, Any] = {"measures": ["mean_logprob", "mean_pmi"], "token_logprobs": True}
    found = scored(study_of(tmp_path, alike(4), tiny_folder(), **options, **SHORT), outputs)
    made = scores(outputs)
    assert made.groupby(["dtype", "conditional"]).size().to_dict() == {
        ("bfloat16", False): 8,
        ("bfloat16", True): 8,
        ("float32", True): 8,
    }
    assert set(tables.read("token_logprobs", outputs.root)["scoring_id"]) == {found.scoring_id}


class TestWords:
    def test_large_numbers(self) -> None:
        assert "by 123 nats a response on average and 1,235 at most" in str(
            Precision("ok", 64, 123.4, 1234.5001, 32, 1)
        )

    def test_numbers(self) -> None:
        assert str(Precision("ok", 1234, 0.01234, 0.5678, 5678, 1001)) == (
            "differs from float32 by 0.012 nats a response on average and 0.57 at most (on a sample of 1,234), which "
            "turns 1,001 of 5,678 comparisons"
        )

    def test_none(self) -> None:
        reason = "base model 'tiny' cannot be loaded on cpu: not enough memory"
        assert str(Precision(reason)) == f"was not compared with float32: {reason}"


def told(study: Study, outputs: Outputs) -> tuple[dict[str, Any], str]:
    """A whole run without Prefect: what is recorded of its cell, and the report's one line that names the type."""
    run = runs.start(study)
    work, (data,), (model,) = outputs.work(run.run_id), study.datasets, study.base_models
    run.fetched[data.key] = fetch(data, study.name, study.seed, outputs, work)
    found = run.scored[data.key, model.key] = score(model, data.key, study, outputs, work)
    estimate(data.key, model.key, found.scoring_id, study, run.run_id, outputs, work)
    run.estimated.add((data.key, model.key))
    runs.publish(run, outputs)
    markdown = report(outputs, run.run_id).markdown.read_text(encoding="utf-8").replace("\\", "")
    (line,) = [line for line in markdown.splitlines() if "run in " in line] or [""]
    (cell,) = pd.read_parquet(outputs.root / "runs")["cells"].iloc[0]
    return cell["precision"], line


class TestRecorded:
    def test_numbers(self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs) -> None:
        study = study_of(tmp_path, alike(12), tiny_folder(), specifications=["rate"], **SHORT)
        recorded, line = told(study, outputs)
        assert set(recorded) == {"status", "n_responses", "mean", "largest", "n_comparisons", "n_turned"}
        made = Precision(**recorded)
        assert (made.status, made.n_responses, made.n_comparisons) == ("ok", 24, 12)
        assert line == f"- pairs under tiny: run in bfloat16, which {made}."

    def test_why_there_are_none(self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs, no_float32: None) -> None:
        study = study_of(tmp_path, alike(12), tiny_folder(), specifications=["rate"], **SHORT)
        recorded, line = told(study, outputs)
        assert recorded["status"] == "base model 'tiny' cannot be loaded on cpu: not enough memory"
        assert recorded["mean"] is None or np.isnan(recorded["mean"])
        assert line == (
            "- pairs under tiny: run in bfloat16, which was not compared with float32: base model 'tiny' cannot be "
            "loaded on cpu: not enough memory."
        )

    def test_float32_needs_no_word(self, tiny_folder: Folder, tmp_path: Path, outputs: Outputs) -> None:
        recorded, line = told(study_of(tmp_path, alike(12), tiny_folder(), specifications=["rate"]), outputs)
        assert recorded is None and line == ""
