"""What came from the local cache because the Hub could not be asked: recorded with the run, and a caveat of the report.

The stages are called in a process without Prefect, which this is not about.
"""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from analysis.report.caveats import caveats
from analysis.report.content import Content
from analysis.study import parse
from tests.hub_stand_in import closed_endpoint, hub_stand_in, run_python
from tests.preferences.made import write_rows

STUDY = """
name = "cached"
specifications = ["rate"]
[[base_models]]
name = "made/tiny"
[[datasets]]
name = "hh-rlhf"
part = "harmless-base"
split = "test"
[[datasets]]
name = "ours"
path = "rows.jsonl"
rater = "human"
shape = "pairs"
prompt = "question"
response_a = "first"
response_b = "second"
preference = "label"
values = { "1" = "a", "2" = "b" }
"""
PULL = """
import json, sys
from pathlib import Path
from analysis.likelihood.model import locate
from analysis.outputs import Outputs
from analysis.preferences.stage import fetch
from analysis.study import load

study, outputs = load(Path(sys.argv[1])), Outputs(Path(sys.argv[2]))
fetched = fetch(study.datasets[0], study.name, 0, outputs, outputs.work("first"))
print(json.dumps([fetched.from_cache, locate(study.base_models[0]).from_cache]))
"""
RUN = """
import json, sys
from pathlib import Path
from analysis import runs
from analysis.likelihood.stage import score
from analysis.outputs import Outputs
from analysis.preferences.stage import fetch
from analysis.regression.stage import estimate
from analysis.report.stage import report
from analysis.study import load

study, outputs = load(Path(sys.argv[1])), Outputs(Path(sys.argv[2]))
run = runs.start(study)
work = outputs.work(run.run_id)
for spec in study.datasets:
    run.fetched[spec.key] = fetch(spec, study.name, 0, outputs, work)
    for model in study.base_models:
        scored = run.scored[spec.key, model.key] = score(model, spec.key, study, outputs, work)
        estimate(spec.key, model.key, scored.scoring_id, study, run.run_id, outputs, work)
        run.estimated.add((spec.key, model.key))
runs.publish(run, outputs)
markdown = report(outputs, run.run_id).markdown.read_text(encoding="utf-8")
told = [line for line in markdown.splitlines() if "the Hub could not be asked" in line]
print(json.dumps([runs.run_row(outputs, run.run_id)["from_cache"], told]))
"""


def write_hub(root: Path, tiny: Path) -> None:
    folder = root / "datasets" / "Anthropic" / "hh-rlhf" / "harmless-base"
    folder.mkdir(parents=True)
    prompts = [f"\n\nHuman: Is it {i} miles?\n\nAssistant:" for i in range(6)]
    rows = [{"chosen": f"{p} Yes, it is.", "rejected": f"{p} I do not know."} for p in prompts]
    write_rows(folder / "test.jsonl.gz", rows)
    shutil.copytree(tiny, root / "models" / "made" / "tiny")


def test_a_run_without_a_network_says_what_came_from_the_cache(tiny: Path, tmp_path: Path) -> None:
    write_hub(tmp_path / "hub", tiny)
    write_rows(
        tmp_path / "rows.jsonl",
        [{"question": f"Q{i}?", "first": "Yes.", "second": "No.", "label": 1 + i % 2} for i in range(6)],
    )
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    arguments = (str(tmp_path / "study.toml"), str(tmp_path / "outputs"))
    with hub_stand_in(tmp_path / "hub") as endpoint:
        assert run_python(PULL, endpoint, tmp_path / "home", *arguments) == [False, False]
    recorded, told = run_python(RUN, closed_endpoint(), tmp_path / "home", *arguments)
    assert recorded == ["hh-rlhf", "made/tiny"]
    assert len(told) == 2
    for name, line in zip(recorded, told, strict=True):
        assert f"{name}: the Hub could not be asked" in line.replace("\\", "")


@pytest.mark.parametrize(("recorded", "n"), [(None, 0), ([], 0), (["a"], 1), (["a", "b"], 2)])
def test_the_caveat_is_only_for_what_was_recorded(tmp_path: Path, recorded: list[str] | None, n: int) -> None:
    """Runs recorded before there was such a column have none, either."""
    study = parse({"name": "x", "base_models": [{"name": "org/base"}], "datasets": [{"name": "shp"}]}, tmp_path)
    run = {"from_cache": recorded, "datasets": [], "base_models": []}
    assert len(caveats(Content(study, run, [], [], [], [], [], pa.table({})))) == n
