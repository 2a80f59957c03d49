"""Scoring on a local Ray cluster: the same rows as in one process, also where a worker dies."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from analysis.errors import CellError
from analysis.likelihood.backends import ray as backend
from analysis.likelihood.backends.ray import Done, Shard, score_shard
from analysis.likelihood.stage import Scored, score
from analysis.outputs import Outputs
from analysis.study import Study
from tests.likelihood.cell import fetched, pairs, scored, scores, shards, study_of

MARK = "TYPICALITY_TEST_MARK"


def dying(shard: Shard) -> Done:
    """Kill the first worker that comes by; later ones work."""
    mark = Path(os.environ[MARK])
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return score_shard(shard)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def counting(shard: Shard) -> Done:
    """Note which process loads a base model how often."""
    before = backend.transformers.scorer_of.cache_info().misses
    done = score_shard(shard)
    loaded = backend.transformers.scorer_of.cache_info().misses - before
    with Path(os.environ[MARK]).open("a") as file:
        file.write(f"{os.getpid()} {loaded}\n")
    return done


def on_cluster(study: Study, outputs: Outputs) -> Scored:
    from flows.cluster import workers

    work = fetched(study, outputs)
    with workers() as cluster:
        return score(study.base_models[0], study.datasets[0].key, study, outputs, work, workers=cluster)


def ray_study(folder: Path, tiny: Path, **base_model: Any) -> Study:
    return study_of(folder, pairs(60), tiny, base_model={"backend": "ray", **base_model}, measures=["mean_pmi"])


@pytest.fixture
def several_shards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Shards of few tokens, and the file that workers leave a mark in."""
    monkeypatch.setattr(backend, "SHARD_TOKENS", 600)
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")
    monkeypatch.setenv(MARK, str(tmp_path / "mark"))
    return tmp_path / "mark"


def test_a_worker_that_dies_changes_nothing(
    tiny: Path, tmp_path: Path, several_shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("prefect_ray")
    local = study_of(tmp_path / "1", pairs(60), tiny, measures=["mean_pmi"])
    here = scored(local, Outputs(tmp_path / "here"))
    monkeypatch.setattr(backend, "score_shard", dying)
    there = on_cluster(ray_study(tmp_path / "2", tiny), Outputs(tmp_path / "there"))
    assert several_shards.exists()
    assert len(shards(Outputs(tmp_path / "there"))) > 4
    wanted, made = scores(Outputs(tmp_path / "here")), scores(Outputs(tmp_path / "there"))
    exact = [name for name in wanted if name not in ("sum_logprob", "mean_entropy", "response_id", "prompt_id")]
    both = made.merge(wanted, on=["response_id", "conditional"], suffixes=("", "_here"))
    assert len(both) == len(made) == len(wanted) == 240
    for name in set(exact) - {"conditional"}:
        same = both[name].eq(both[f"{name}_here"]) | both[name].isna()
        assert same.all(), name
    slack = 1e-4 + 1e-6 * both["sum_logprob_here"].abs()
    assert ((both["sum_logprob"] - both["sum_logprob_here"]).abs() <= slack).all()
    assert (there.scoring_id, there.n_parameters, there.device) == (here.scoring_id, here.n_parameters, "cpu")


def test_the_base_model_is_loaded_once_a_worker(
    tiny: Path, tmp_path: Path, several_shards: Path, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("prefect_ray")
    monkeypatch.setattr(backend, "score_shard", counting)
    on_cluster(ray_study(tmp_path / "2", tiny), outputs)
    loads: dict[str, int] = {}
    for line in several_shards.read_text().splitlines():
        process, loaded = line.split()
        loads[process] = loads.get(process, 0) + int(loaded)
    assert set(loads.values()) == {1}


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    return Outputs(tmp_path / "outputs")


class _Here:
    """Workers that are this process."""

    def map(self, function: Any, items: Any, spec: Any) -> Any:
        return map(function, items)


def test_shards_hold_whole_prompts(tiny: Path, tmp_path: Path, several_shards: Path, outputs: Outputs) -> None:
    study = ray_study(tmp_path, tiny)
    work = fetched(study, outputs)
    score(study.base_models[0], study.datasets[0].key, study, outputs, work, workers=_Here())
    first = shards(outputs)
    made = scores(outputs)
    assert len(made) == 240 and len(first) > 4
    # A second run has nothing to send; nor has the local backend, whose scores these are.
    scored(study_of(tmp_path / "again", pairs(60), tiny, measures=["mean_pmi"]), outputs)
    assert shards(outputs) == first


def test_a_folder_that_is_another_on_a_worker(tiny: Path, tmp_path: Path, outputs: Outputs) -> None:
    study = ray_study(tmp_path, tiny)
    spec = study.base_models[0].model_copy(update={"backend": "transformers"})
    origin = backend.origin_of(spec)._replace(revision="0" * 64)
    with pytest.raises(CellError, match="is another on a worker"):
        score_shard(Shard(spec, origin, ()))


def test_only_a_run_has_workers(tiny: Path, tmp_path: Path, outputs: Outputs) -> None:
    with pytest.raises(CellError, match="only a run starts"):
        scored(ray_study(tmp_path, tiny), outputs)


def test_an_address_that_is_none(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="allowed are local, auto and"):
        ray_study(tmp_path, tiny, address="somewhere")
