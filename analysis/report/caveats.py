"""Caveats that this run calls for, by stated rules: none is boilerplate."""

from collections.abc import Iterator

from analysis.likelihood.precision import Precision
from analysis.likelihood.scoring import MEMORISED_TOKENS, MEMORISED_TRIES
from analysis.preferences.sample import OUTSIDE
from analysis.report.content import Content
from analysis.report.words import count, is_number, listed, share
from analysis.study import UNKNOWN, BaseModelSpec

FEW_CLUSTERS = 50
SMALL_MODEL = 1_000_000_000
MANY_TRUNCATED = 0.01
MANY_LEFT_OUT = 0.01
PLACEBOS = ("placebo_labels", "placebo_prompts")


def caveats(content: Content) -> list[str]:
    """What a reader must know before using the numbers of this run."""
    about_data = (*_cached(content), *_data(content), *_selected(content))
    found = (*about_data, *_models(content), *_placebos(content), *_cells(content))
    return list(dict.fromkeys(found))


def _placebos(content: Content) -> Iterator[str]:
    rows = [cell.rows[name] for cell in content.cells for name in PLACEBOS if name in cell.rows]
    known = [row for row in rows if is_number(row["estimate"])]
    missed = [row for row in known if not row["conf_low"] <= 0 <= row["conf_high"]]
    if missed:
        names = listed([f"{row['specification']} of {row['dataset']} under {row['base_model']}" for row in missed])
        yield (
            f"{len(missed)} of {count(len(known), 'placebo')} {'misses' if len(missed) == 1 else 'miss'} zero with the "
            f"95 % interval, where {len(known) / 20:.1f} would by chance: {names}."
        )


def _selected(content: Content) -> Iterator[str]:
    kept = {d.key for d in content.study.datasets if d.ties == "keep"}
    names = {c.dataset for c in content.cells if is_number(c.rows.get("ratings", {}).get("estimate"))}
    for name in sorted(names - kept):
        yield (
            f"{name}: the slope of ratings is that of prompts whose responses differ in rating, which makes it steeper "
            'than that of all prompts; ties = "keep" in the study brings in the others.'
        )


def _cached(content: Content) -> Iterator[str]:
    for name in content.run["from_cache"] or ():
        yield (
            f"{name}: the Hub could not be asked, so the copy in the local cache was used; it may not be the newest."
        )


def _data(content: Content) -> Iterator[str]:
    for data in content.run["datasets"]:
        name = data["dataset"]
        if data["rater"] == "simulated":
            yield f"{name}: the labels are simulated; they say nothing about people or real data."
        if data["rater"] in ("ai", "mixed"):
            yield (
                f"{name}: the labels come {'from' if data['rater'] == 'ai' else 'in part from'} a model, whose own "
                "likelihoods may resemble the base model's; read them apart from human ones."
            )
        yield from left_out(content, name, data["rows"])
    for spec in content.study.datasets:
        if spec.limit is not None:
            yield f"{spec.key}: only a sample of {spec.limit:,} prompts was used."


def left_out(content: Content, dataset: str, n_rows: int) -> Iterator[str]:
    """Rows of a dataset that became no comparison, where they are many, with the commonest reasons."""
    mine = [x for x in content.exclusions if (x["dataset"], x["unit"]) == (dataset, "row")]
    # Which prompts are sampled is told elsewhere.
    rows = [x for x in mine if not x["reason"].startswith(OUTSIDE)]
    n = sum(x["n"] for x in rows)
    if n > MANY_LEFT_OUT * n_rows:
        reasons = sorted(rows, key=lambda x: (-x["n"], x["reason"]))[:3]
        told = "; ".join(f"{x['reason']} ({x['n']:,})" for x in reasons)
        yield (
            f"{dataset}: {n:,} of {count(n_rows, 'row')} ({share(n, n_rows)}) {'was' if n == 1 else 'were'} left out, "
            f"which tilts the labels where it is not by chance: {told}."
        )


def _models(content: Content) -> Iterator[str]:
    endpoints = {spec.key: spec for spec in content.study.base_models if spec.endpoint}
    for model in content.run["base_models"]:
        if spec := endpoints.get(model["base_model"]):
            yield _endpoint(spec, model["revision"])
        elif 0 < model["parameters"] < SMALL_MODEL:
            yield (
                f"{model['base_model']} is small ({model['parameters'] / 1e6:,.2f} million parameters): what it finds "
                "typical is a coarse proxy. Confirm with a large base model before publishing."
            )


def _endpoint(spec: BaseModelSpec, revision: str) -> str:
    unseen = (
        "It does not say which revision that is, so a change of it is not seen: what was scored stays as it is, and "
        "what is scored later may be of another model"
        if revision == UNKNOWN
        else f"It says that its revision is {revision}, which nothing here can check"
    )
    return (
        f"{spec.key}: scored by the endpoint {spec.endpoint}, whose type of numbers is not known and whose entropies "
        f"cannot be had. {unseen}."
    )


def _cells(content: Content) -> Iterator[str]:
    for cell in content.cells:
        name, facts = f"{cell.dataset} under {cell.base_model}", cell.facts
        if cell.ok and cell.rate["n_prompts"] < FEW_CLUSTERS:
            yield (
                f"{name}: only {count(cell.rate['n_prompts'], 'prompt')}; clustered errors are unreliable below "
                f"{FEW_CLUSTERS}."
            )
        if not facts:
            continue
        if facts["precision"]:
            dtype = next(m["dtype"] for m in content.run["base_models"] if m["base_model"] == cell.base_model)
            yield f"{name}: run in {dtype}, which {Precision(**facts['precision'])}."
        if facts["truncated"] > MANY_TRUNCATED * facts["scored"]:
            yield (
                f"{name}: {share(facts['truncated'], facts['scored'])} of responses were scored with a prompt cut from "
                "its left to fit the context window."
            )
        if facts["cut"]:
            yield f"{name}: {count(facts['cut'], 'response')} longer than the context window scored only up to it."
        lost = facts["responses"] - facts["scored"]
        if lost > MANY_TRUNCATED * facts["responses"]:
            yield (
                f"{name}: {share(lost, facts['responses'])} of responses could not be scored (longer than the context "
                "window, mostly), so long responses are under-represented."
            )
        if facts["memorised"]:
            yield (
                f"{name}: contamination is suspected. {count(facts['memorised'], 'response')} of {MEMORISED_TOKENS} "
                f"tokens or more ({share(facts['memorised'], facts['scored'])}) the base model would write word for "
                f"word at least once in {MEMORISED_TRIES:,} tries, so it has seen them, or texts that say the same; "
                "that likelihood is memory, not typicality."
            )
        if cell.status != "ok" and cell.ok:
            yield f"{name}: a specification has no number: {cell.status}."
