"""What a run of a study is to do again, and why: what decides each stage now beside what decided it before."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from analysis import fingerprints
from analysis.earlier import DIVERSITY, FETCH, FIT, REPORT, SCORE, Earlier
from analysis.fingerprints import Parts
from analysis.hub import Origin
from analysis.outputs import Outputs
from analysis.preferences.spec import CatalogueDataset, OwnDataset
from analysis.study import BaseModelSpec, Study

DatasetSpec = CatalogueDataset | OwnDataset


@dataclass(frozen=True)
class Decision:
    """What decides a stage's result, and why it is to be done again; None where an earlier result will do."""

    parts: Parts
    why: str | None


@dataclass(frozen=True)
class Decisions:
    """All that a run goes by.

    Attributes
    ----------
    study, outputs
        The study and the output folder.
    earlier
        The run whose results may be used again, if there is one.
    datasets, base_models
        By label, where each comes from now; those that could not be had are missing.
    """

    study: Study
    outputs: Outputs
    earlier: Earlier | None
    datasets: dict[str, Origin] = field(default_factory=dict)
    base_models: dict[str, Origin] = field(default_factory=dict)

    def fetching(self, spec: DatasetSpec) -> Decision:
        """Of reading a dataset."""
        now = fingerprints.fetching(spec, self.study, self.datasets[spec.key])
        why = fingerprints.reason(self.before(FETCH, spec.key), now)
        if why is None and self.earlier and not self.earlier.has_responses(spec.key):
            why = "some of its responses are no longer in the table"
        return Decision(now, why)

    def scoring(self, dataset: str, spec: BaseModelSpec, comparisons: str) -> Decision:
        """Of scoring a dataset, whose comparisons have this SHA-256."""
        now = fingerprints.scoring(spec, self.study, self.base_models[spec.key], comparisons)
        before = self.before(SCORE, dataset, spec.key)
        why = fingerprints.reason(before, now)
        if why is None and self.earlier:
            scoring_id = self.earlier.scored(dataset, spec.key).scoring_id
            why = fingerprints.reason(before, {"stored": self.earlier.stored(dataset, scoring_id)})
        return Decision(now, why)

    def fitting(self, dataset: DatasetSpec, spec: BaseModelSpec, scoring: Decision) -> Decision:
        """Of fitting a cell; what is scored anew may be more than there was, so it is fitted again, too."""
        now = fingerprints.fitting(dataset.outcome_rating, self.study, scoring.parts)
        return Decision(now, fingerprints.reason(self.before(FIT, dataset.key, spec.key), now) or scoring.why)

    def measuring(self, dataset: str, comparisons: str, scorings: Mapping[str, Parts | None]) -> Decision:
        """Of how diverse a dataset's sides are; `scorings`: by base model what decided its scores, None where none."""
        now = fingerprints.measuring(self.study, comparisons, scorings)
        return Decision(now, fingerprints.reason(self.before(DIVERSITY, dataset), now))

    def reporting(self) -> Decision:
        """Of the report."""
        now = fingerprints.reporting(self.study)
        return Decision(now, fingerprints.reason(self.before(REPORT), now))

    def before(self, stage: str, dataset: str = "", base_model: str = "") -> Parts | None:
        """What decided a stage's result before."""
        return self.earlier.parts(stage, dataset, base_model) if self.earlier else None

    def unchanged(self) -> bool:
        """Whether the study's tables and its report are what a run would make."""
        study = self.study
        had = len(self.datasets) == len(study.datasets) and len(self.base_models) == len(study.base_models)
        if self.earlier is None or not had or not self._is_latest(self.earlier.run["run_id"]) or self.reporting().why:
            return False
        if any(self.fetching(dataset).why for dataset in study.datasets):
            return False
        for dataset in study.datasets:
            comparisons = (self.before(FETCH, dataset.key) or {})["comparisons"]
            scorings = {spec.key: self.scoring(dataset.key, spec, comparisons) for spec in study.base_models}
            if any(self.fitting(dataset, spec, scorings[spec.key]).why for spec in study.base_models):
                return False
            if self.measuring(dataset.key, comparisons, {key: made.parts for key, made in scorings.items()}).why:
                return False
        return True

    def _is_latest(self, run_id: str) -> bool:
        latest = self.outputs.report(self.study.name, "latest")
        return (latest / "index.html").is_file() and latest.resolve().name == run_id
