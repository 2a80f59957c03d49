"""What an earlier run of a study left, and using it again where nothing that decides it has changed."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from analysis import tables
from analysis.errors import StudyError
from analysis.fingerprints import Parts
from analysis.ids import cell_name, file_sha256
from analysis.likelihood.precision import Precision
from analysis.likelihood.stage import Scored
from analysis.likelihood.store import score_files
from analysis.outputs import STUDY_TABLES, Outputs
from analysis.preferences.stage import Fetched
from analysis.report.content import latest_run
from analysis.runs import run_row

Row = dict[str, Any]
FETCH, SCORE, FIT, DIVERSITY, REPORT = "fetch", "score", "fit", "diversity", "report"


@dataclass(frozen=True)
class Earlier:
    """The newest run of a study of which not every cell failed, with the study's tables as that run left them.

    Attributes
    ----------
    outputs
        The output folder.
    run
        The run's row of `runs`.
    """

    outputs: Outputs
    run: Row

    @classmethod
    def find(cls, outputs: Outputs, study: str) -> Self | None:
        """The run; None where there is none, or the study's tables are not as it left them."""
        try:
            run = run_row(outputs, latest_run(outputs, study))
        except StudyError:
            return None
        found = {name: outputs.study_table(name, study) for name in STUDY_TABLES}
        hashes = {told["table"]: told["sha256"] for told in run["table_hashes"]}
        whole = all(path.is_file() and file_sha256(path) == hashes.get(name) for name, path in found.items())
        return cls(outputs, run) if whole else None

    def parts(self, stage: str, dataset: str = "", base_model: str = "") -> Parts | None:
        """What decided a stage's result; None where the run did not come to one."""
        key = stage, dataset, base_model
        rows = self.run["fingerprints"] or ()
        return {r["part"]: r["value"] for r in rows if (r["stage"], r["dataset"], r["base_model"]) == key} or None

    def fetched(self, dataset: str) -> Fetched:
        """What was recorded of a dataset."""
        row = next(d for d in self.run["datasets"] if d["dataset"] == dataset)
        return Fetched(
            dataset=dataset,
            location=row["location"],
            revision=row["revision"],
            from_cache=False,
            rater=row["rater"],
            n_rows=row["rows"],
            n_comparisons=row["comparisons"],
            n_prompts=row["prompts"],
        )

    def scored(self, dataset: str, base_model: str) -> Scored:
        """What was recorded of scoring a dataset under a base model; nothing was scored now."""
        cell = next(c for c in self.run["cells"] if (c["dataset"], c["base_model"]) == (dataset, base_model))
        model = next(m for m in self.run["base_models"] if m["base_model"] == base_model)
        facts = {f.name: cell[f"{f.name.removeprefix('n_')}"] for f in fields(Scored) if f.name in _COUNTED}
        precision = cell["precision"]
        return Scored(
            dataset=dataset,
            base_model=base_model,
            location=model["location"],
            revision=model["revision"],
            scoring_id=cell["scoring_id"],
            reference_id=cell["reference_id"],
            dtype=model["dtype"],
            device=self.run["device"],
            n_parameters=model["parameters"],
            from_cache=False,
            n_scored_now=0,
            n_tokens_now=0,
            note="",
            precision=Precision(**precision) if precision else None,
            **facts,
        )

    def has_responses(self, dataset: str) -> bool:
        """Whether the shared tables still hold every response of a dataset, and its features."""
        asked = self._responses(dataset)
        return all(
            len(_held(name, tables.files(name, self.outputs.root), asked)) >= len(asked)
            for name in ("responses", "features")
        )

    def stored(self, dataset: str, scoring_id: str) -> str:
        """How much the shared tables hold of a dataset's scores under one scoring_id, as a part of a fingerprint."""
        return stored(self.outputs, self._responses(dataset), scoring_id)

    def keep_fetched(self, dataset: str, work: Path) -> None:
        """Put the dataset's comparisons, and what was left out of them, among a run's unpublished tables."""
        self._keep("comparisons", work / "comparisons" / f"{dataset}.parquet", ds.field("dataset") == dataset)
        asked = (ds.field("dataset") == dataset) & (ds.field("stage") == "preferences")
        self._keep("exclusions", work / "exclusions" / f"preferences-{dataset}.parquet", asked)

    def keep_scored(self, dataset: str, base_model: str, work: Path) -> None:
        """Put what scoring left out of a cell among a run's unpublished tables."""
        asked = _cell(dataset, base_model) & (ds.field("stage") == "likelihood")
        self._keep("exclusions", work / "exclusions" / f"likelihood-{cell_name(dataset, base_model)}.parquet", asked)

    def keep_fitted(self, dataset: str, base_model: str, run_id: str, work: Path) -> int:
        """Put a cell's differences, exclusions and all that was estimated of it among a run's unpublished tables.

        Returns
        -------
        int
            Number of comparisons that have a difference.
        """
        name, cell = cell_name(dataset, base_model), _cell(dataset, base_model)
        for table in ("differences", "forecasts", "prompt_forecasts", "heterogeneity", "influences"):
            self._keep(table, work / table / f"{name}.parquet", cell)
        asked = cell & (ds.field("stage") == "regression")
        self._keep("exclusions", work / "exclusions" / f"regression-{name}.parquet", asked)
        rows = tables.scan("estimates", [self._path("estimates")], None, cell)
        at = rows.schema.get_field_index("run_id")
        renamed = rows.set_column(at, rows.schema.field(at), pa.repeat(pa.scalar(run_id), len(rows)))
        tables.write(work / "estimates" / f"{name}.parquet", "estimates", renamed)
        kept = tables.scan("differences", [work / "differences" / f"{name}.parquet"], ["comparison_id"])
        return int(pc.count_distinct(kept["comparison_id"]).as_py())

    def keep_diversity(self, dataset: str, work: Path) -> None:
        """Put the diversity of the dataset's sides among a run's unpublished tables."""
        self._keep("diversity", work / "diversity" / f"{dataset}.parquet", ds.field("dataset") == dataset)

    def _path(self, name: str) -> Path:
        return self.outputs.study_table(name, self.run["study"])

    def _responses(self, dataset: str) -> pa.Array:
        asked = ds.field("dataset") == dataset
        return _unique(tables.scan("comparisons", [self._path("comparisons")], ["response_a", "response_b"], asked))

    def _keep(self, name: str, path: Path, where: ds.Expression) -> None:
        with tables.writer(path, name) as add:
            for batch in tables.dataset(name, [self._path(name)]).to_batches(filter=where):
                add(pa.Table.from_batches([batch]))


_COUNTED = {"n_responses", "n_scored", "n_truncated", "n_cut", "n_straddling", "n_memorised"}


def stored(outputs: Outputs, responses: pa.Array, scoring_id: str) -> str:
    """How many likelihoods the shared tables hold of some responses under one scoring_id.

    Returns
    -------
    str
        The numbers of conditional likelihoods, unconditional ones, and lists of those of each token.
    """
    kinds = _held("scores", score_files(outputs, scoring_id), responses, ["response_id", "conditional"])["conditional"]
    tokens = _held("token_logprobs", score_files(outputs, scoring_id, "token_logprobs"), responses)
    given = pc.sum(kinds).as_py() or 0
    return f"{given}, {len(kinds) - given}, {len(tokens)}"


def responses_of(path: Path) -> pa.Array:
    """The ids of all responses in a file of comparisons."""
    return _unique(tables.scan("comparisons", [path], ["response_a", "response_b"]))


def _unique(pairs: pa.Table) -> pa.Array:
    return pc.unique(pa.chunked_array([*pairs["response_a"].chunks, *pairs["response_b"].chunks], pa.string()))


def _held(name: str, paths: Sequence[Path], responses: pa.Array, columns: Sequence[str] = ("response_id",)) -> pa.Table:
    """The rows of some responses, each once."""
    rows = tables.scan(name, paths, columns)
    rows = rows.filter(pc.is_in(rows["response_id"], value_set=responses))
    return rows.group_by(list(columns)).aggregate([])


def _cell(dataset: str, base_model: str) -> ds.Expression:
    return (ds.field("dataset") == dataset) & (ds.field("base_model") == base_model)
