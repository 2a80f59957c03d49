"""A study of remedies: wordings, sweeps, and what is refused, in one sentence that names the key."""

import json
from pathlib import Path

import pytest

from analysis.collapse.remedies.methods import Method, Wordings
from analysis.collapse.remedies.specs import endpoint_of
from analysis.collapse.remedies.study import load, parse
from analysis.errors import StudyError
from flows.sampling import built_in

CHAT = {"backend": "chat", "name": "made", "endpoint": "http://127.0.0.1:1/v1"}


def study(**more):
    values = {"name": "made", "models": [CHAT], "methods": [{"name": "direct"}], "prompts": [{"prompt": "Name it."}]}
    return parse({**values, **more})


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"methods": [{"name": "list", "kind": "list"}]}, "there is no method 'direct'; there are list"),
        (
            {"methods": [{"name": "direct", "temprature": 1}]},
            r"methods\[1\].temprature: is not a key here; did you mean",
        ),
        ({"methods": [{"name": "direct", "threshold": 0.1}]}, "a threshold needs probabilities"),
        ({"methods": [{"name": "direct"}, {"name": "direct"}]}, "two methods are 'direct'"),
        ({"methods": [{"name": "direct", "typical_p": 0.5}]}, "endpoints have no typical_p"),
        ({"methods": [{"name": "direct", "instruction": "Write!"}]}, r"lacks \$prompt"),
        ({"methods": [{"name": "direct", "instruction": "$prompt for $5"}]}, r"\$\$ is a dollar sign"),
        ({"methods": [{"name": "direct", "instruction": "$prompt $q"}]}, r"has \$q; allowed are \$prompt"),
        ({"methods": [{"name": "direct"}, {"name": "vs", "kind": "vs_cot", "definition": "x"}]}, "'x' is unknown"),
        ({"models": [{**CHAT, "endpoint": "http://me:secret@host/v1"}]}, "may hold no user, password"),
        ({"models": [{**CHAT, "endpoint": "host/v1"}]}, "an endpoint is an address such as"),
        ({"models": [{**CHAT, "backend": "echo"}]}, "models"),
        ({"models": [{**CHAT, "api_key": "k"}]}, "api_key: is not a key here; did you mean api_key_env"),
        ({"models": [{**CHAT, "tuned_from": "x"}]}, "tuned_from names no other model"),
        ({"prompts": [{"prompt": "A?", "answers": ["a"], "reference": [1, 2]}]}, "1 answers and a reference of 2"),
        ({"prompts": [{"prompt": "A?", "answers": ["a", "A"]}]}, "two answers are called 'A'"),
        ({"prompts": [{"prompt": "A?"}, {"prompt": "A?"}]}, "two prompts are 'A"),
        ({"base_model": {"name": "m", "backend": "completions", "endpoint": "http://h/v1"}}, "scored on this machine"),
        ({"bar": 1.0}, "there is no quality to hold to it"),
        ({"wordings": {"lst": "x"}}, "'lst' is unknown"),
        ({"judge": {"name": "j", "instruction": "$prompt"}}, r"lacks \$response"),
        ({"name": "No"}, "name: is 'No'; use lower-case"),
        ({"n": 1}, "n: input should be greater"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(more, told):
    with pytest.raises(StudyError, match=told) as error:
        study(**more)
    assert "\n" not in str(error.value)


def test_lists_are_swept():
    made = study(methods=[{"name": "direct"}, {"name": "cot", "kind": "vs_cot", "threshold": [0.1, 0.01], "k": [3, 5]}])
    assert [m.name for m in made.methods] == ["direct", *(f"cot p={p} k={k}" for p in (0.1, 0.01) for k in (3, 5))]


def test_wordings_are_filled_in_and_may_be_replaced():
    texts = study(
        definitions={"own": {"text": "how sure.", "unit": "percent"}}, wordings={"threshold": "Below $p, please."}
    ).texts
    method = Method(name="m", kind="vs_standard", k=7, threshold=0.05, definition="own")
    sent = texts.instruction(method, "Cost: $5 and ${x}?")
    assert "Cost: $5 and ${x}?" in sent
    assert "Write 7 responses" in sent
    assert 'its "probability": how sure. Below 5 per cent, please.' in sent
    assert texts.instruction(Method(name="d"), "  as it is \n") == "  as it is \n"
    assert texts.instruction(Method(name="d", instruction="Briefly: $prompt"), "Why?") == "Briefly: Why?"
    assert "4 more" in Wordings.of({}, {}).follow_up(Method(name="m", kind="vs_multi", k=4))


def test_a_file_of_prompts_and_an_endpoint_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "p.jsonl").write_text(json.dumps({"prompt": "A?", "answers": [["a", "b"], "c"]}) + "\n\n")
    text = (
        'name = "made"\nprompts = "p.jsonl"\n[[models]]\nbackend = "chat"\nname = "m"\n[[methods]]\nname = "direct"\n'
    )
    path = tmp_path / "made.toml"
    path.write_text(text)
    made = load(path)
    assert made.prompts[0].answers == (("a", "b"), ("c",))
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(StudyError, match="in the environment as OPENAI_BASE_URL"):
        endpoint_of(made.models[0])
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1/")
    assert endpoint_of(made.models[0]) == "http://127.0.0.1:9/v1"
    (tmp_path / "p.jsonl").write_text(json.dumps({"prompt": "A\u2028B?"}, ensure_ascii=False), encoding="utf-8")
    assert load(path).prompts[0].prompt == "A\u2028B?"
    (tmp_path / "p.jsonl").write_text("{")
    with pytest.raises(StudyError, match=r"line 1 of .* is not JSON"):
        load(path)


def test_other_models_may_be_asked_the_same():
    made = study(models=[{**CHAT, "label": "ours", "concurrency": 3}]).served_by("http://host/v1", ("a", "b"))
    assert [(m.key, m.endpoint, m.concurrency) for m in made.models] == [(n, "http://host/v1", 3) for n in ("a", "b")]
    with pytest.raises(StudyError, match="--served names 'a', which is among the models already"):
        study().served_by(None, ("a", "b", "a"))
    with pytest.raises(StudyError, match="no model 'c'; there are a, b"):
        made.narrowed(("c",), (), None)
    narrowed = study(methods=[{"name": "direct"}, {"name": "x"}, {"name": "y"}]).narrowed((), ("y",), 1)
    assert [m.name for m in narrowed.methods] == ["direct", "y"]


@pytest.mark.parametrize("path", built_in().values(), ids=list(built_in()))
def test_built_in_studies_are_valid(path: Path):
    assert load(path).name == path.stem
