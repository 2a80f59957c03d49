"""`typicality temperature` and `typicality monitor` from files to tables, figures and exit statuses."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from analysis.manifest import verify
from tests.flows.test_cli import one_sentence
from tests.runs import Finished, run_command, write_rows
from tests.tiny import SENTENCES

FORM = "{prompt}{response}"


def temperature(folder: Path, model: Path, *more: str) -> Finished:
    rows = [{"question": s[:10], "answer": s[10:30]} for s in SENTENCES]
    path = write_rows(folder / "asked.jsonl", rows)
    fixed = ("--base-model", str(model), "--prompt", "question", "--template", FORM, "--samples", "2")
    where = ("--max-tokens", "6", "--outputs", str(folder / "outputs"), "--device", "cpu")
    return run_command(folder, "temperature", str(path), *fixed, *where, *more)


def test_a_sweep_leaves_its_table_figure_and_draws(tiny: Path, tmp_path: Path):
    figure, draws = tmp_path / "figure.svg", tmp_path / "draws.jsonl"
    made = temperature(
        tmp_path, tiny, "--temperatures", "1,0.4,2", "--figure", str(figure), "--draws", str(draws), "--json"
    )
    assert made.status == 0, made.err
    told, table = pd.DataFrame(json.loads(made.out)), made.table("temperature")
    assert len(told) == len(table) and (told["estimate"].dropna().to_numpy() == table["estimate"].dropna()).all()
    assert set(table["temperature"]) == {0.4, 1.0, 2.0} and set(table["name"]) == {"asked"}
    alone = table[table["other_temperature"].isna() & (table["quantity"] == "entropy")].sort_values("temperature")
    assert alone["estimate"].is_monotonic_increasing and (alone["n_prompts"] == 8).all()
    assert verify(made.outputs) == []
    assert ElementTree.parse(figure).getroot().get("role") == "img"
    lines = [json.loads(line) for line in draws.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 8 * 3 * 2 and {line["group"] for line in lines} == {"T=0.4", "T=1", "T=2"}
    again = temperature(tmp_path, tiny, "--temperatures", "2,1,0.4", "--name", "again")
    assert again.status == 0
    told_ = " ".join(again.out.split())
    assert "dH/dT = Var(logits) / T³, a theorem." in told_ and "Along the draws it" in told_
    both = again.table("temperature")
    first, second = (
        both[both["name"] == name].drop(columns="name").reset_index(drop=True) for name in ("asked", "again")
    )
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_entropy_along_given_responses(tiny: Path, tmp_path: Path):
    made = temperature(tmp_path, tiny, "--temperatures", "1", "--response", "answer", "--limit", "5")
    assert made.status == 0, made.err
    assert "Fixed contexts: responses of the file" in made.out
    table = made.table("temperature")
    assert set(table["contexts"]) == {"responses"} and table["n_prompts"].max() == 5


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--temperatures", "0,1"), "every temperature must be above zero"),
        (("--temperatures", "1,hot"), "give numbers with commas between"),
        (("--temperatures", "1,1.0"), "which names one twice"),
        (("--prompt", "nothing"), "has no column 'nothing'; it has question, answer"),
        (("--template", "{response}"), "is not a template"),
        (("--base-model", "./nowhere"), "with a base model"),
        (("--max-tokens", "500"), "no prompt can be drawn from: the prompt leaves no room for 500 tokens"),
        (("--name", "a/b"), "--name is 'a/b'"),
    ],
)
def test_mistakes_are_told_in_one_sentence(more: tuple[str, ...], told: str, tiny: Path, tmp_path: Path):
    made = temperature(tmp_path, tiny, *more)
    assert made.status == 2 and told in made.err
    assert one_sentence(made.err)
    assert not (tmp_path / "outputs" / "temperature").exists()


def log(folder: Path, name: str, texts: dict[str, list[str]], **more: str) -> Path:
    rows = [{"prompt": prompt, "response": text, **more} for prompt, mine in texts.items() for text in mine]
    return write_rows(folder / name, rows)


def monitor(folder: Path, path: Path, model: Path, *more: str) -> Finished:
    where = ("--outputs", str(folder / "outputs"), "--device", "cpu")
    return run_command(folder, "monitor", str(path), "--base-model", str(model), *where, *more)


VARIED = {f"prompt {k}": [SENTENCES[(k + j) % 8] for j in range(3)] for k in range(4)}
SAME = {f"prompt {k}": ["the dog and the dog and the dog and the dog and the dog"] * 3 for k in range(4)}


def test_a_baseline_is_saved_and_a_collapse_found(tiny: Path, tmp_path: Path):
    base, old, new = tmp_path / "base.json", log(tmp_path, "old.jsonl", VARIED), log(tmp_path, "new.jsonl", SAME)
    saved = monitor(tmp_path, old, tiny, "--save-baseline", str(base))
    assert saved.status == 0, saved.err
    assert "all: no sign of collapse" in saved.out and "no entropy, or none of a baseline" in saved.out
    before = base.read_bytes()
    assert monitor(tmp_path, old, tiny, "--save-baseline", str(base)).status == 0 and base.read_bytes() == before
    found = monitor(tmp_path, new, tiny, "--baseline", str(base))
    assert found.status == 0, found.err
    assert "all: collapsed (two or more of the signs are there)" in found.out
    assert "compared on the 4 prompts that both have" in found.out
    failing = monitor(tmp_path, new, tiny, "--baseline", str(base), "--fail-on", "collapsed", "--json")
    assert failing.status == 1 and failing.err.count("typicality:") == 0
    (group,) = json.loads(failing.out)["groups"]
    assert group["verdict"] == "collapsed" and len(group["requests"]) == 12
    signs = failing.table("signs").query("name == 'new'").set_index("sign")["there"]
    assert signs["self_bleu"] and signs["cluster_dominance"] and signs["repetition"]
    rows = failing.table("monitor").query("name == 'new'")
    assert len(rows) == 12 and rows["baseline_of"].eq("prompt").all()
    assert (rows["flagged"] == (rows["drop"] > 0.3)).all()
    assert verify(failing.outputs) == []
    calm = monitor(tmp_path, old, tiny, "--baseline", str(base), "--fail-on", "narrowing")
    assert calm.status == 0 and "all: no sign of collapse" in calm.out
    other = monitor(tmp_path, new, tiny, "--baseline", str(base), "--template", "dialogue")
    assert other.status == 2 and one_sentence(other.err)
    assert "cannot be compared: it was made with template plain, not dialogue; make it anew" in other.err


def test_a_group_is_the_baseline(tiny: Path, tmp_path: Path):
    rows = [*log(tmp_path, "a", VARIED, model="old").read_text().splitlines()]
    rows += log(tmp_path, "b", SAME, model="new").read_text().splitlines()
    path = tmp_path / "both.jsonl"
    path.write_text("\n".join(rows) + "\n")
    made = monitor(tmp_path, path, tiny, "--group", "model", "--baseline-group", "old", "--json")
    assert made.status == 0, made.err
    told = json.loads(made.out)
    assert [g["group"] for g in told["groups"]] == ["new"] and told["baseline"] == "group old"
    assert told["groups"][0]["verdict"] == "collapsed"
    wrong = monitor(tmp_path, path, tiny, "--group", "model", "--baseline-group", "older")
    assert wrong.status == 2 and "there is no group 'older'; there are new, old" in wrong.err
    which = monitor(tmp_path, path, tiny, "--group", "model", "--save-baseline", str(tmp_path / "x"))
    assert which.status == 2 and "say which is the baseline with --baseline-group" in which.err


def test_the_base_model_s_own_samples_are_the_baseline(tiny: Path, tmp_path: Path):
    path = log(tmp_path, "new.jsonl", SAME)
    made = monitor(tmp_path, path, tiny, "--baseline-draws", "2", "--max-tokens", "12")
    assert made.status == 0, made.err
    assert "own samples, 2 a prompt of at most 12 tokens" in " ".join(made.out.split())
    signs = made.table("signs").set_index("sign")
    assert signs["there"].notna().all() and signs["baseline_value"].notna().sum() == 2


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--baseline", "x", "--baseline-draws", "2"), "--baseline and --baseline-draws name 2 baselines; give one"),
        (("--baseline", "x", "--save-baseline", "y"), "give one of them"),
        (("--baseline", "x"), "there is no baseline x"),
        (("--response", "text"), "has no column 'text'; it has prompt, response"),
        (("--baseline-group", "all"), "'all' is the only group"),
    ],
)
def test_mistakes_with_monitor(more: tuple[str, ...], told: str, tiny: Path, tmp_path: Path):
    made = monitor(tmp_path, log(tmp_path, "new.jsonl", SAME), tiny, *more)
    assert made.status == 2 and told in made.err
    assert one_sentence(made.err)


def test_nothing_to_watch(tiny: Path, tmp_path: Path):
    made = monitor(tmp_path, log(tmp_path, "new.jsonl", {"a": ["", " "]}), tiny)
    assert made.status == 2 and "no generation has any text" in made.err
