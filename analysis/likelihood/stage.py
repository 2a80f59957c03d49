"""The second stage: the responses of a dataset under a base model → `scores`, `exclusions`.

Scores are shared by all studies and added in shards. The plan of shards covers all that one fetch of a dataset added,
block by block, whatever has a score already; a shard is written whole, and what it holds is never scored again. So a
run that was killed and run again does the same arithmetic as one that was not, and of a dataset that grew only the new
texts are run.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from analysis import tables
from analysis.errors import CellError
from analysis.exclusions import Tally
from analysis.hub import Origin
from analysis.ids import cell_name
from analysis.likelihood.backends import Workers
from analysis.likelihood.precision import SAMPLE_PROMPTS, Precision, deviation
from analysis.likelihood.request import Block, blocks
from analysis.likelihood.scoring import Scoring
from analysis.outputs import Outputs
from analysis.study import UNKNOWN, BaseModelSpec, Study


@dataclass(frozen=True)
class Scored:
    """What scoring a dataset under a base model took and gave."""

    dataset: str
    base_model: str
    location: str
    revision: str
    scoring_id: str
    reference_id: str | None
    dtype: str
    device: str
    n_parameters: int
    from_cache: bool
    n_responses: int
    n_scored: int
    n_scored_now: int
    n_tokens_now: int
    note: str
    n_truncated: int
    n_cut: int
    n_straddling: int
    n_memorised: int
    precision: Precision | None


def score(
    spec: BaseModelSpec,
    dataset: str,
    study: Study,
    outputs: Outputs,
    work: Path,
    tick: Callable[[int, int], None] = lambda done, total: None,
    origin: Origin | None = None,
    workers: Workers | None = None,
) -> Scored:
    """Score the responses of a dataset under a base model, as far as they are not in the table yet.

    Parameters
    ----------
    spec, dataset, study
        The base model, the dataset's label, and the study they belong to.
    outputs, work
        The output folder, and the run's folder of unpublished tables (which holds the dataset's comparisons).
    tick
        Called with the comparisons done and the comparisons there are.
    origin
        What the base model's revision stands for, where that is known already.
    workers
        Processes that work for the backend, if it needs some.

    Raises
    ------
    CellError
        If the base model cannot be had, cannot score this template, or can score no response at all.
    """
    path = work / "comparisons" / f"{dataset}.parquet"
    total, done = tables.n_rows(path), 0
    scoring = Scoring(spec, study, outputs, origin, workers)
    tally = Tally(study.name, dataset, "likelihood", spec.key)
    for block in blocks(path, outputs):
        for share in scoring.run(block):
            tick(done + int(share * len(block.comparisons)), total)
        done += len(block.comparisons)
        tick(done, total)
        _account(block, tally)
    name = f"likelihood-{cell_name(dataset, spec.key)}.parquet"
    tables.write(work / "exclusions" / name, "exclusions", tally.rows())
    counts = asdict(scoring.counts)
    if not counts["n_scored"]:
        raise CellError(f"base model {spec.key!r} could score none of the responses: {tally.summary()}")
    reference_id, precision = _precision(scoring, study, path, outputs, workers)
    return Scored(
        dataset=dataset,
        base_model=spec.key,
        location=scoring.located.name,
        revision=scoring.located.revision,
        scoring_id=scoring.scoring_id,
        reference_id=reference_id,
        dtype=str(scoring.backend.columns["dtype"]),
        device=", ".join(sorted(counts.pop("devices"))),
        n_parameters=scoring.located.n_parameters,
        from_cache=scoring.located.from_cache,
        note=scoring.backend.note,
        precision=precision,
        **counts,
    )


def _precision(
    scoring: Scoring, study: Study, path: Path, outputs: Outputs, workers: Workers | None
) -> tuple[str | None, Precision | None]:
    """How far the scores are from those in float32, on a sample that is scored in both, and the latter's scoring_id.

    There is neither where the scores are in float32 themselves, or in a type that nobody can tell.
    """
    if scoring.backend.columns["dtype"] in ("float32", UNKNOWN):
        return None, None
    sample = list(blocks(path, outputs, SAMPLE_PROMPTS))
    alone = {"measures": ("mean_logprob",), "specifications": ("rate",), "token_logprobs": False}
    needed = study.model_copy(update=alone)
    spec, located = scoring.spec.model_copy(update={"dtype": "float32"}), scoring.located
    origin = Origin(located.name, located.revision, located.from_cache)
    try:
        reference = Scoring(spec, needed, outputs, origin, workers)
        for block in sample:
            for _ in reference.run(block):
                pass
    except CellError as error:
        return None, Precision(status=str(error))
    return reference.scoring_id, deviation(sample, outputs, scoring.scoring_id, reference.scoring_id)


def _account(block: Block, tally: Tally) -> None:
    """Count the responses that could not be scored, and the comparisons lost with them to every measure."""
    reasons = {r["response_id"]: block.unscorable.get(r["text_id"]) for r in block.responses}
    for row in block.responses:
        if reason := reasons[row["response_id"]]:
            tally.add("response", reason, row["response_id"])
        elif lacking := block.unpaired.get(row["text_id"]):
            tally.add("response", f"no unconditional likelihood: {lacking}", row["response_id"])
    for comparison, a, b in zip(
        *(block.comparisons[c].to_pylist() for c in ("comparison_id", "response_a", "response_b")), strict=True
    ):
        if lost := reasons[a] or reasons[b]:
            tally.add("comparison", lost, comparison)
