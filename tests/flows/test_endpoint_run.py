"""A study whose base model is behind an endpoint, run and planned by the command."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.endpoint_stand_in import NAME, Endpoint, endpoint_stand_in
from tests.runs import PAIRS, Finished, pair_rows, run_command, write_rows

pytest.importorskip("openai")


@pytest.fixture(scope="module")
def endpoint(tiny: Path) -> Iterator[Endpoint]:
    with endpoint_stand_in(tiny) as serving:
        yield serving


@pytest.fixture(scope="module")
def study(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("endpoint")
    write_rows(folder / "pairs.jsonl", pair_rows(40))
    path = folder / "far.toml"
    path.write_text(
        f'name = "far"\nspecifications = ["rate", "bt"]\n[[base_models]]\nname = "{NAME}"\nlabel = "far-away"\n'
        f'backend = "completions"\nendpoint = "{endpoint.url}"\ndollars_per_million_tokens = 2.0\n{PAIRS}'
    )
    return path


def command(study: Path, name: str, *more: str) -> Finished:
    return run_command(study.parent, name, str(study), "--outputs", str(study.parent / "outputs"), *more)


@pytest.fixture(scope="module")
def planned(study: Path) -> list[Finished]:
    """What is said before a first run."""
    return [command(study, "plan"), command(study, "plan", "--json", "--price", "3", "--speed", "50")]


@pytest.fixture(scope="module")
def done(study: Path, planned: list[Finished]) -> Finished:
    return command(study, "run")


def test_a_plan_says_tokens_time_and_cost(planned: list[Finished], done: Finished) -> None:
    assert [made.status for made in planned] == [0, 0]
    (step,) = [s for s in json.loads(planned[1].out) if s["stage"] == "score"]
    assert step["dollars"] == pytest.approx(3 * step["n_tokens_sent"] / 1e6)
    assert step["endpoint_seconds"] == pytest.approx(step["n_tokens_sent"] / 50)
    assert step["n_tokens"] == step["n_tokens_sent"]
    # Without the endpoint's tokenizer the tokens are guessed from the bytes; the tiny model's are short.
    assert 0.3 < step["n_tokens"] / done.table("runs").iloc[0]["cells"][0]["tokens_now"] <= 1.0
    said = " ".join(planned[0].out.split())
    assert re.search(r"On an endpoint: about [\d,]+ tokens .* cost about \$0.00 at the stated price", said)
    assert "does not say which revision it serves" in said


def test_a_run_says_what_it_will_cost_and_reports_what_is_not_known(done: Finished) -> None:
    assert done.status == 0
    assert re.search(r"\d+ texts of pairs to score. On an endpoint: about [\d,]+ tokens", done.err)
    report = (done.folder / "outputs" / "reports" / "far" / "latest" / "report.md").read_text()
    assert "scored by the endpoint" in report and "does not say which revision" in report
    assert "parameters" not in report
    run = done.table("runs").iloc[0]
    assert run["base_models"][0] == {
        **{"base_model": "far-away", "location": NAME, "revision": "unknown", "dtype": "unknown", "parameters": 0}
    }
    assert done.table("scores")["mean_entropy"].isna().all()


def test_a_second_run_asks_for_nothing(study: Path, endpoint: Endpoint, done: Finished) -> None:
    n = len(endpoint.asked)
    again = command(study, "run")
    assert (again.status, len(endpoint.asked)) == (0, n)
    assert "whether tiny changed, its endpoint does not say" in again.out
    plan = command(study, "plan")
    assert "Nothing to do" in plan.out and "does not say which revision" in " ".join(plan.out.split())


def test_a_failing_endpoint_fails_its_cell(study: Path, endpoint: Endpoint, done: Finished) -> None:
    endpoint.always = "no logprobs"
    rows = pair_rows(40)
    write_rows(study.parent / "pairs.jsonl", [*rows, {**rows[0], "question": "A new one?"}])
    try:
        failed = command(study, "run")
        assert failed.status == 1
        assert "so it cannot score; vLLM does" in failed.err and "Traceback" not in failed.err
    finally:
        endpoint.always = ""
    endpoint.asked.clear()
    assert command(study, "run").status == 0
    assert len(endpoint.asked) == 2
    assert pd.read_parquet(study.parent / "outputs" / "runs")["state"].tolist().count("completed") == 2
