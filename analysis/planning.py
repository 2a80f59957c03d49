"""What a run of a study would do, and why, with an estimate of its tokens and its time."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from analysis import tables
from analysis.decisions import DatasetSpec, Decisions
from analysis.earlier import DIVERSITY, FETCH, FIT, SCORE, Earlier
from analysis.errors import CellError
from analysis.ids import file_sha256
from analysis.likelihood import backends
from analysis.likelihood.backends import Backend, Tokens
from analysis.likelihood.request import Block, blocks
from analysis.likelihood.scoring import stores_of
from analysis.likelihood.store import Store
from analysis.outputs import Outputs
from analysis.preferences import sources
from analysis.preferences.stage import fetch
from analysis.runs import check_name
from analysis.study import UNKNOWN, BaseModelSpec, Study

RESOLVE = "resolve"
ENCODED_TEXTS = 4096
LEAST_TOKENS = 10_000
# The share of its fastest matrix products that scoring reaches on a CPU.
EFFICIENCY = 0.5


@dataclass(frozen=True)
class Planned:
    """One step of a run.

    Attributes
    ----------
    stage, dataset, base_model
        Which one.
    why
        Why it is to be done; None where an earlier result is kept.
    error
        Why it will fail, if that is known already.
    n_comparisons, n_texts
        Of a dataset that was read to find out: its comparisons. Of scoring: the texts without a score.
    n_tokens
        Of scoring: about how many tokens the base model would read.
    seconds
        Of scoring: about how long that would take on this machine; None where its speed is not known.
    speed_from
        What the time is estimated from.
    n_tokens_sent
        Of scoring: about how many tokens an endpoint would read and bill, which is sent every response with its prompt.
    dollars, endpoint_seconds
        What that costs at the stated price, and how long it takes at the stated speed; None where none is stated.
    note
        What is to be known beside.
    """

    stage: str
    dataset: str
    base_model: str = ""
    why: str | None = None
    error: str = ""
    n_comparisons: int = 0
    n_texts: int = 0
    n_tokens: int = 0
    seconds: float | None = None
    speed_from: str = ""
    n_tokens_sent: int = 0
    dollars: float | None = None
    endpoint_seconds: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Offer:
    """What an endpoint is said to take: dollars for a million tokens, and tokens a second."""

    price: float | None = None
    speed: float | None = None

    def dollars(self, n_tokens: int, spec: BaseModelSpec) -> float | None:
        """The cost of tokens, at this price, else at the one that the study states for a base model."""
        price = self.price if self.price is not None else spec.dollars_per_million_tokens
        return None if price is None else price * n_tokens / 1e6


NO_OFFER = Offer()


def plan(
    study: Study,
    outputs: Outputs,
    say: Callable[[str], None] = lambda text: None,
    offer: Offer = NO_OFFER,
) -> list[Planned]:
    """What a run of a study would do now, in its order.

    Datasets that have changed are read, into a temporary folder, so that what has no score can be counted; of base
    models only the tokenizers are pulled.

    Parameters
    ----------
    study, outputs
        The study and the output folder.
    say
        Called with a few words before what may take a while.
    offer
        What an endpoint would take.

    Raises
    ------
    StudyError
        If the output folder holds a study of remedies of this name.
    """
    check_name(study, outputs)
    decisions = Decisions(study, outputs, Earlier.find(outputs, study.name))
    found = list(_resolved(decisions))
    if not any(step.error for step in found) and decisions.unchanged():
        return found
    with tempfile.TemporaryDirectory(prefix="typicality-plan-") as folder:
        planner = _Planner(decisions, Path(folder), say, offer)
        found += [planner.fetching(dataset) for dataset in study.datasets if dataset.key in decisions.datasets]
        for spec in study.base_models:
            for dataset in study.datasets:
                if spec.key in decisions.base_models and dataset.key in planner.read:
                    found += planner.cell(dataset, spec)
        found += [planner.measuring(dataset) for dataset in study.datasets if dataset.key in planner.read]
    return found


def _resolved(decisions: Decisions) -> Iterator[Planned]:
    """Ask where everything comes from; what cannot be had will fail."""
    for dataset in decisions.study.datasets:
        try:
            decisions.datasets[dataset.key] = sources.origin_of(dataset)
        except CellError as error:
            yield Planned(RESOLVE, dataset.key, error=str(error))
    for spec in decisions.study.base_models:
        try:
            origin = decisions.base_models[spec.key] = backends.origin_of(spec)
        except CellError as error:
            yield Planned(RESOLVE, "", spec.key, error=str(error))
            continue
        if origin.revision == UNKNOWN:
            note = "the endpoint does not say which revision it serves, so a change of it would not be seen"
            yield Planned(RESOLVE, "", spec.key, note=note)


@dataclass(frozen=True)
class _Read:
    """A dataset's comparisons: their file, its SHA-256 as decisions go by it, and the folder that has the responses."""

    path: Path
    sha256: str
    responses: Outputs


class _Planner:
    def __init__(self, decisions: Decisions, folder: Path, say: Callable[[str], None], offer: Offer) -> None:
        self.decisions, self.folder, self.say, self.offer = decisions, folder, say, offer
        self.study, self.outputs = decisions.study, decisions.outputs
        self.read: dict[str, _Read] = {}

    def fetching(self, spec: DatasetSpec) -> Planned:
        """The step of reading a dataset."""
        decision = self.decisions.fetching(spec)
        path = self.folder / "comparisons" / f"{spec.key}.parquet"
        if decision.why is None and self.decisions.earlier:
            self.decisions.earlier.keep_fetched(spec.key, self.folder)
            known = (self.decisions.before(FETCH, spec.key) or {})["comparisons"]
            self.read[spec.key] = _Read(path, known, self.outputs)
            return Planned(FETCH, spec.key)
        self.say(f"reading {spec.key}")
        apart = Outputs(self.folder / "apart")
        origin = self.decisions.datasets[spec.key]
        try:
            made = fetch(spec, self.study.name, self.study.seed, apart, self.folder, origin=origin)
        except CellError as error:
            return Planned(FETCH, spec.key, why=decision.why, error=str(error))
        self.read[spec.key] = _Read(path, file_sha256(path), apart)
        return Planned(FETCH, spec.key, why=decision.why, n_comparisons=made.n_comparisons)

    def cell(self, dataset: DatasetSpec, spec: BaseModelSpec) -> Iterator[Planned]:
        """The steps of one cell."""
        scoring = self.decisions.scoring(dataset.key, spec, self.read[dataset.key].sha256)
        step = Planned(SCORE, dataset.key, spec.key, scoring.why)
        if scoring.why is not None:
            self.say(f"counting tokens of {dataset.key} for {spec.key}")
            try:
                step = self._counted(step, spec)
            except CellError as error:
                yield replace(step, error=str(error))
                return
        yield step
        yield Planned(FIT, dataset.key, spec.key, self.decisions.fitting(dataset, spec, scoring).why)

    def measuring(self, dataset: DatasetSpec) -> Planned:
        """The step of measuring how diverse a dataset's sides are."""
        comparisons, known = self.read[dataset.key].sha256, self.decisions.base_models
        scorings = {
            spec.key: self.decisions.scoring(dataset.key, spec, comparisons).parts if spec.key in known else None
            for spec in self.study.base_models
        }
        why = self.decisions.measuring(dataset.key, comparisons, scorings).why
        return Planned(DIVERSITY, dataset.key, why=why)

    def _counted(self, step: Planned, spec: BaseModelSpec) -> Planned:
        backend = backends.ready(spec, self.study, self.decisions.base_models[spec.key], weights=False)
        read = self.read[step.dataset]
        n_texts, tokens = to_score(backend, self.study, self.outputs, blocks(read.path, read.responses))
        step = replace(step, n_texts=n_texts, n_tokens=tokens.read, n_tokens_sent=tokens.sent)
        if not n_texts:
            return step
        if speed := measured_speed(self.outputs, spec, backend) or _estimated_speed(backend.located.n_parameters):
            step = replace(step, seconds=tokens.read / speed[0], speed_from=speed[1])
        seconds = tokens.sent / self.offer.speed if self.offer.speed else step.seconds if spec.endpoint else None
        return replace(step, dollars=self.offer.dollars(tokens.sent, spec), endpoint_seconds=seconds)


def _missing(block: Block, backend: Backend, stores: list[Store]) -> Block:
    """The block with only those of its responses of which some likelihood is not stored."""
    held = [
        {(row["text_id"], row["conditional"]) for row in store.rows(block, ["text_id", "conditional"]).to_pylist()}
        for store in stores
    ]
    done = set.intersection(*held)
    lacking = {t for t in block.ids if any((t, conditional) not in done for conditional in backend.needed)}
    return Block(block.comparisons, [row for row in block.responses if row["text_id"] in lacking])


def to_score(backend: Backend, study: Study, outputs: Outputs, asked: Iterable[Block]) -> tuple[int, Tokens]:
    """Texts of blocks that have no score yet, and about how many tokens they take.

    Some thousand texts are turned into tokens; the tokens of the rest are taken to be as many by length.
    """
    stores = list(stores_of(study, outputs, str(backend.columns["scoring_id"])).values())
    n_texts = encoded_texts = n_chars = encoded_chars = read = sent = 0
    for block in (_missing(block, backend, stores) for block in asked):
        size = sum(len(r["response"]) for r in block.texts.values())
        n_texts, n_chars = n_texts + len(block.texts), n_chars + size
        if encoded_texts < ENCODED_TEXTS and block.texts:
            tokens = backend.n_tokens(backend.jobs(block), block)
            read, sent = read + tokens.read, sent + tokens.sent
            encoded_texts, encoded_chars = encoded_texts + len(block.texts), encoded_chars + size
    share = n_chars / encoded_chars if encoded_chars else 1.0
    return n_texts, Tokens(round(read * share), round(sent * share))


def measured_speed(outputs: Outputs, spec: BaseModelSpec, backend: Backend) -> tuple[float, str] | None:
    """Tokens a second at which the newest run that scored much under a base model did so, and which run that was."""
    rows = tables.scan(
        "runs", tables.files("runs", outputs.root), ["run_id", "started", "cells", "stages", "base_models"]
    )
    for run in sorted(rows.to_pylist(), key=lambda row: row["started"], reverse=True):
        alike = {m["base_model"] for m in run["base_models"] if m["dtype"] == backend.columns["dtype"]} & {spec.key}
        scored = {c["dataset"]: c["tokens_now"] or 0 for c in run["cells"] if c["base_model"] in alike}
        took = [
            s["seconds"]
            for s in run["stages"]
            if (s["stage"], s["base_model"]) == (SCORE, spec.key) and scored.get(s["dataset"])
        ]
        n_tokens = sum(scored.values())
        if n_tokens >= LEAST_TOKENS and sum(took) > 0:
            return n_tokens / sum(took), f"run {run['run_id']}"
    return None


def _estimated_speed(n_parameters: int) -> tuple[float, str] | None:
    """Tokens a second, from how fast this machine multiplies matrices; None where the parameters are not known."""
    if not n_parameters:
        return None
    import torch

    a = torch.rand(1024, 1024)
    a @ a
    began = time.perf_counter()
    n = 0
    while time.perf_counter() - began < 0.3:
        a @ a
        n += 1
    flop = 2 * 1024**3 * n / (time.perf_counter() - began)
    return EFFICIENCY * flop / (2 * n_parameters), "the speed of this machine's matrix products"
