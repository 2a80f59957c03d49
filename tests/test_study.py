"""Studies: what a valid one means, and one sentence for everything that may be wrong with one."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.errors import StudyError
from analysis.preferences.spec import CatalogueDataset, OwnDataset
from analysis.study import BaseModelSpec, Study, load, parse

FULL = """
name = "harmlessness"
title = "Does harmlessness data reward the typical?"
seed = 7
template = "dialogue"
measures = ["mean_logprob", "mean_pmi"]
specifications = ["rate", "bt"]
slices = ["all", "equal_quality", "split=test"]
long_responses = "cut"

[[base_models]]
name = "HuggingFaceTB/SmolLM2-135M"
revision = "main"
dtype = "float32"
backend = "transformers"

[[base_models]]
name = "model"
label = "mine"

[[datasets]]
name = "hh-rlhf"
part = "harmless-base"
split = "test"
limit = 500

[[datasets]]
name = "hh-rlhf"
label = "helpful"
part = "helpful-base"

[[datasets]]
name = "truthfulqa"
path = "labels.jsonl"
shape = "graded"
rater = "human"
prompt = "question"
response = "answer"
outcome = "informative"
quality = ["truthful"]

[[datasets]]
name = "qa-feedback"
path = "../data/pairs.jsonl"
shape = "pairs"
rater = "human"
prompt = "question"
response_a = "response_1"
response_b = "response_2"
preference = "preference"
values = { "1" = "a", "2" = "b", "0" = "tie" }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a full study and all that it names."""
    found = tmp_path / "studies"
    (found / "model").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    for path in (found / "labels.jsonl", tmp_path / "data" / "pairs.jsonl"):
        path.write_text("{}\n", encoding="utf-8")
    (found / "full.toml").write_text(FULL, encoding="utf-8")
    return found


def test_a_full_study_means_what_it_says(folder: Path) -> None:
    study = load(folder / "full.toml")
    assert (study.name, study.seed, study.template) == ("harmlessness", 7, "dialogue")
    assert study.measures == ("mean_logprob", "mean_pmi")
    assert study.slices == ("all", "equal_quality", "split=test")
    assert [d.key for d in study.datasets] == ["hh-rlhf", "helpful", "truthfulqa", "qa-feedback"]
    assert [m.key for m in study.base_models] == ["HuggingFaceTB/SmolLM2-135M", "mine"]
    hh, _, graded, pairs = study.datasets
    assert isinstance(hh, CatalogueDataset)
    assert (hh.part, hh.split, hh.limit, hh.revision) == ("harmless-base", "test", 500, None)
    assert isinstance(graded, OwnDataset)
    assert graded.quality == ("truthful",)
    assert isinstance(pairs, OwnDataset)
    assert pairs.values == {"1": "a", "2": "b", "0": "tie"}


def test_relative_paths_are_taken_from_the_studys_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    for study in (load(folder / "full.toml"), load(Path("studies/full.toml"))):
        paths = [d.path for d in study.datasets if isinstance(d, OwnDataset)]
        assert paths == [str(folder / "labels.jsonl"), str(folder.parent / "data" / "pairs.jsonl")]
        assert study.base_models[1].name == str(folder / "model")
        assert study.base_models[1].is_folder
        assert not study.base_models[0].is_folder


def test_a_folder_where_the_command_is_run_is_no_base_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = folder.parent / "elsewhere"
    (elsewhere / "HuggingFaceTB" / "SmolLM2-135M").mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    hub = load(folder / "full.toml").base_models[0]
    assert not hub.is_folder
    assert hub.key == "HuggingFaceTB/SmolLM2-135M"


def test_a_home_folder_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    study = parse({**small(), "base_models": [{"name": "~/model"}]}, folder)
    assert study.base_models[0].name == str(folder / "model")


def small() -> dict[str, Any]:
    """A study of one base model, one dataset of the catalogue and one of the user's own."""
    return {
        "name": "small",
        "base_models": [{"name": "org/model"}],
        "datasets": [
            {"name": "ultrafeedback-binarized"},
            {
                **{"name": "mine", "path": "labels.jsonl", "shape": "graded", "rater": "human"},
                **{"prompt": "question", "response": "answer", "outcome": "rating"},
            },
        ],
    }


def test_what_a_study_leaves_out_has_defaults(folder: Path) -> None:
    study = parse(small(), folder)
    assert (study.template, study.measures, study.seed) == ("plain", ("mean_logprob",), 0)
    assert study.slices is None
    assert study.base_models[0].revision == "main"


def test_a_study_survives_its_own_record(folder: Path) -> None:
    study = load(folder / "full.toml")
    assert Study.model_validate(study.model_dump(mode="json", exclude_defaults=True)) == study
    assert parse(study.model_dump(mode="json", exclude_defaults=True), folder) == study


def sets(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda study: study.update(values)


def drops(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda study: study.pop(key)


def dataset(i: int, **values: Any) -> Callable[[dict[str, Any]], None]:
    def change(study: dict[str, Any]) -> None:
        entry = {**study["datasets"][i], **values}
        study["datasets"][i] = {k: v for k, v in entry.items() if v is not None}

    return change


def model(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda study: study["base_models"][0].update(values)


def twice(key: str, i: int = 0) -> Callable[[dict[str, Any]], None]:
    return lambda study: study[key].append(dict(study[key][i]))


BAD: list[tuple[str, Callable[[dict[str, Any]], None], str]] = [
    ("unknown key", sets(meazures=["x"]), "meazures: is not a key here; did you mean measures?"),
    ("unknown key, nothing like it", sets(zzz=1), "zzz: is not a key here; allowed are name, title, seed"),
    ("unknown key of a dataset", dataset(1, promt="x"), "datasets[2].promt: is not a key here; did you mean prompt?"),
    ("unknown key of a model", model(revison="x"), "base_models[1].revison: is not a key here; did you mean revision?"),
    ("column of the catalogue's", dataset(0, prompt="x"), "datasets[1].prompt: is not a key here"),
    ("part of own data", dataset(1, part="x"), "datasets[2].part: is not a key here"),
    ("no name", drops("name"), "name: is missing"),
    ("no datasets", drops("datasets"), "datasets: is missing"),
    ("empty datasets", sets(datasets=[]), "datasets: "),
    ("no base models", drops("base_models"), "base_models: is missing"),
    ("empty base models", sets(base_models=[]), "base_models: "),
    ("datasets as text", sets(datasets="hh-rlhf"), "datasets: "),
    ("a dataset as text", sets(datasets=["hh-rlhf"]), "datasets[1]: "),
    ("one dataset as a table", sets(datasets={"name": "hh-rlhf"}), "datasets"),
    ("bad name", sets(name="Harm less"), "name: is 'Harm less'; use lower-case letters, digits and hyphens"),
    ("name that leaves the folder", sets(name="../x"), "name: is '../x'; use lower-case"),
    ("empty name", sets(name=""), "name: is ''; use lower-case"),
    ("name with a line break", sets(name="a\n"), "name: is 'a\\n'; use lower-case"),
    ("long name", sets(name="a" * 81), "name: "),
    ("number for a name", sets(name=3), "name: "),
    ("bad template", sets(template="fancy"), "'fancy' is not a template; allowed are plain, dialogue, chat"),
    ("template without a response", sets(template="{prompt}: "), "is not a template"),
    ("template that goes on", sets(template="{prompt} {response}."), "is not a template"),
    ("template of one side", sets(template="{response}"), "is not a template"),
    ("template with a brace", sets(template="{prompt} {"), "is not a template"),
    ("template that reaches in", sets(template="{prompt.__class__} {response}"), "is not a template"),
    ("unknown measure", sets(measures=["logprob"]), "'logprob' is unknown; allowed are mean_logprob, logprob_per_byte"),
    ("no measure", sets(measures=[]), "measures: is empty; allowed are mean_logprob"),
    ("a measure twice", sets(measures=["mean_pmi", "mean_pmi"]), "measures: names something twice"),
    ("unknown specification", sets(specifications=["ols"]), "specifications: 'ols' is unknown; allowed are rate, "),
    ("unknown slice", sets(slices=["hard"]), "slices: 'hard' is unknown; allowed are all, equal_quality and column="),
    ("slice of another column", sets(slices=["prompt=x"]), "slices: 'prompt=x' is unknown"),
    ("what to do with long ones", sets(long_responses="keep"), "long_responses: "),
    ("seed", sets(seed="x"), "seed: "),
    ("two datasets of one name", twice("datasets"), "two datasets are called 'ultrafeedback-binarized'; give one"),
    (
        "two models of one name",
        twice("base_models"),
        "two base_models are called 'org/model'; give one of them a label",
    ),
    ("unknown catalogue name", dataset(0, name="ultrafeedback-binary"), "did you mean ultrafeedback-binarized or "),
    ("unknown part", dataset(0, name="hh-rlhf", part="harmful"), "there is no part 'harmful'; it has harmless-base"),
    ("unknown split", dataset(0, split="dev"), "there is no split 'dev'; it has train_prefs, test_prefs"),
    (
        "unknown outcome",
        dataset(0, name="nectar", split=None, outcome="rank"),
        "takes no outcome; leave it out",
    ),
    ("ties of pairs", dataset(0, ties="keep"), "ties is for ratings and ranks"),
    ("limit", dataset(0, limit=0), "datasets[1].limit: "),
    ("missing shape column", dataset(1, outcome=None), "datasets[2]: outcome is missing: shape 'graded' needs"),
    ("no shape", dataset(1, shape=None), "datasets[2].shape: is missing"),
    ("no rater", dataset(1, rater=None), "datasets[2].rater: is missing"),
    ("unknown rater", dataset(1, rater="cat"), "datasets[2].rater: input should be 'human', 'ai', 'mixed' or"),
    (
        "path and hub",
        dataset(1, hub="org/name"),
        "datasets[2]: give either path (a file) or hub (org/name), and not both",
    ),
    ("neither path nor hub", dataset(1, path=None), "datasets[2]: give either path (a file) or hub (org/name)"),
    ("planted bias in people", dataset(1, planted_alpha=1.0), "datasets[2]: planted_alpha belongs to simulated data"),
    ("missing file", dataset(1, path="gone.csv"), "dataset 'mine': there is no file "),
    ("folder for a file", dataset(1, path="model"), "dataset 'mine': there is no file "),
    ("nobody's home", dataset(1, path="~no-such-person/x.csv"), "dataset 'mine': there is no file "),
    ("path with a null", dataset(1, path="a\0b.csv"), "dataset 'mine': there is no file "),
    ("missing model folder", model(name="./gone"), "base model 'gone': there is no folder "),
    ("unknown dtype", model(dtype="int8"), "base_models[1].dtype: input should be 'float32', 'bfloat16' or 'float16'"),
    ("unknown backend", model(backend="magic"), "base_models[1].backend: "),
    ("tiny window", model(context_window=1), "base_models[1].context_window: "),
    ("empty model name", model(name=""), "base_models[1].name: "),
]


@pytest.mark.parametrize(("change", "said"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_a_bad_study_is_one_sentence_that_names_the_key(
    folder: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    values = copy.deepcopy(small())
    change(values)
    with pytest.raises(StudyError) as caught:
        parse(values, folder, "my.toml")
    text = str(caught.value)
    assert said in text
    assert "\n" not in text
    key = re.search(r"(\w+): is not a key here; did you mean (\w+)\?", text)
    assert key is None or key[1] != key[2], text


def test_several_mistakes_are_counted(folder: Path) -> None:
    values = {**small(), "zzz": 1, "template": "fancy"}
    with pytest.raises(StudyError, match=r"\(and 1 more\)$"):
        parse(values, folder)


def _written(path: Path, content: bytes | None) -> Path:
    if content is not None:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read the study file "),
        (b"name = ", "is not valid TOML: "),
        (b"name = 'a'\nname = 'b'\n", "is not valid TOML: "),
        ("name = 'é'".encode("latin-1"), "is not UTF-8 text"),
        (b"", "is missing"),
    ],
    ids=["no file", "cut off", "a key twice", "Latin-1", "empty"],
)
def test_a_bad_file_is_one_sentence_that_names_it(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = _written(tmp_path / "my.toml", content)
    with pytest.raises(StudyError) as caught:
        load(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_study_file(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="cannot read the study file"):
        load(tmp_path)


def test_a_byte_order_mark_does_no_harm(folder: Path) -> None:
    path = _written(folder / "marked.toml", FULL.encode("utf-8-sig"))
    assert load(path).name == "harmlessness"


# Narrowing.


@pytest.fixture
def study(folder: Path) -> Study:
    return load(folder / "full.toml")


def test_narrowing_to_nothing_keeps_everything(study: Study) -> None:
    assert study.narrowed((), (), None) == study


def test_narrowing_keeps_the_studys_order(study: Study) -> None:
    narrow = study.narrowed(("qa-feedback", "truthfulqa"), ("mine",), None)
    assert [d.key for d in narrow.datasets] == ["truthfulqa", "qa-feedback"]
    assert [m.key for m in narrow.base_models] == ["mine"]


def test_a_limit_narrows_and_never_widens(study: Study) -> None:
    assert [d.limit for d in study.narrowed((), (), 600).datasets] == [500, 600, 600, 600]
    assert [d.limit for d in study.narrowed((), (), 5).datasets] == [5, 5, 5, 5]


@pytest.mark.parametrize(
    ("datasets", "models", "limit", "said"),
    [
        (
            ("hh",),
            (),
            None,
            "study 'harmlessness' has no dataset 'hh'; it has hh-rlhf, helpful, truthfulqa, qa-feedback",
        ),
        ((), ("gpt2",), None, "has no base model 'gpt2'; it has HuggingFaceTB/SmolLM2-135M, mine"),
        ((), (), 0, "--limit is 0; it must be 1 or more"),
        ((), (), -3, "--limit is -3; it must be 1 or more"),
    ],
)
def test_narrowing_to_what_is_not_there(
    study: Study, datasets: tuple[str, ...], models: tuple[str, ...], limit: int | None, said: str
) -> None:
    with pytest.raises(StudyError) as caught:
        study.narrowed(datasets, models, limit)
    assert said in str(caught.value)


def test_a_label_comes_before_another_entrys_name(study: Study) -> None:
    """`hh-rlhf` is the label of the first entry, and only the name behind the second one's."""
    assert [d.key for d in study.narrowed(("hh-rlhf",), (), None).datasets] == ["hh-rlhf"]


def test_a_name_that_several_entries_share_is_not_silently_one_of_them(folder: Path) -> None:
    values = small()
    values["datasets"] = [
        {"name": "hh-rlhf", "part": part, "label": label}
        for part, label in (("harmless-base", "one"), ("helpful-base", "two"))
    ]
    both = parse(values, folder)
    try:
        kept = both.narrowed(("hh-rlhf",), (), None).datasets
    except StudyError:
        return
    assert [d.key for d in kept] == ["one", "two"]


def test_a_model_is_called_by_its_label_else_its_id_else_its_folder(folder: Path) -> None:
    assert BaseModelSpec(name="org/model").key == "org/model"
    assert BaseModelSpec(name="org/model", label="x").key == "x"
    assert BaseModelSpec(name=str(folder / "model")).key == "model"
