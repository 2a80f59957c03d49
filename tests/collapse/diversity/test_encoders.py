"""Encoders of sentence-transformers: from a folder and from the Hub, with no code but the library's."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from analysis.collapse.diversity.encoders import Encoded, encode
from analysis.collapse.diversity.words import Corpus
from analysis.errors import CellError, StudyError
from tests.hub_stand_in import hub_stand_in, run_python

TEXTS = ["the cat sat on a mat", "the dog", "the cat sat on a mat", "the sea " * 30]


def encoded(texts: list[str], encoder: str) -> Encoded:
    return encode(Corpus.of(texts), texts, encoder)


@pytest.fixture(scope="module")
def folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base model with mean pooling, as sentence-transformers lays a model out."""
    made = tmp_path_factory.mktemp("encoder") / "pooled"
    shutil.copytree(tiny, made)
    settings = json.loads((made / "tokenizer_config.json").read_text()) | {"pad_token": "</s>"}
    (made / "tokenizer_config.json").write_text(json.dumps(settings))
    types = ("sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling")
    modules = [
        {"idx": k, "name": str(k), "path": p, "type": t}
        for k, (p, t) in enumerate(zip(("", "1_Pooling"), types, strict=True))
    ]
    (made / "modules.json").write_text(json.dumps(modules))
    (made / "sentence_bert_config.json").write_text('{"max_seq_length": 32}')
    (made / "1_Pooling").mkdir()
    size = json.loads((made / "config.json").read_text())["hidden_size"]
    pooling = {"word_embedding_dimension": size, "pooling_mode_mean_tokens": True}
    (made / "1_Pooling/config.json").write_text(json.dumps(pooling))
    return made


def test_a_folder_is_an_encoder(folder: Path):
    import torch
    from transformers import AutoModel, AutoTokenizer

    found = encoded(TEXTS, str(folder))
    name, _, commit = found.name.partition("@")
    assert name == "pooled"
    assert commit.endswith("(1 of 4 texts cut to 32 tokens)")
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(found.vectors[0], found.vectors[2], rtol=1e-6)
    tokens = AutoTokenizer.from_pretrained(folder)([TEXTS[1]], return_tensors="pt")
    with torch.inference_mode():
        mean = AutoModel.from_pretrained(folder)(**tokens).last_hidden_state.mean(1)[0].double().numpy()
    np.testing.assert_allclose(found.vectors[1], mean / np.linalg.norm(mean), rtol=1e-4, atol=1e-6)


def test_a_folder_that_brings_code_is_refused(folder: Path, tmp_path: Path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "custom.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(CellError, match=r"brings code of its own \(custom\.py\)"):
        encoded(TEXTS, str(copy))


def test_what_is_no_encoder_is_said_in_one_sentence(tmp_path: Path):
    with pytest.raises(CellError, match="cannot be loaded as an encoder of sentence-transformers"):
        encoded(TEXTS, str(tmp_path))


def test_without_the_library_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(StudyError, match=r"pip install 'typicality\[encoders\]'"):
        encoded(TEXTS, "org/encoder")


def test_an_encoder_of_the_hub_is_that_of_a_commit_and_its_code_is_left_there(folder: Path, tmp_path: Path):
    repository = shutil.copytree(folder, tmp_path / "hub/models/org/encoder")
    (repository / "custom.py").write_text("raise SystemExit('it was run')")
    snippet = """
import json, sys
from pathlib import Path
from analysis.collapse.diversity.encoders import encode
from analysis.collapse.diversity.words import Corpus
texts = json.loads(sys.argv[1])
found = encode(Corpus.of(texts), texts, "org/encoder")
code = [p.name for p in Path(sys.argv[2]).rglob("*.py")]
print(json.dumps([found.name, found.vectors.tolist(), code]))
"""
    with hub_stand_in(tmp_path / "hub") as endpoint:
        name, vectors, code = run_python(
            snippet, endpoint, tmp_path / "home", json.dumps(TEXTS), str(tmp_path / "home")
        )
    assert name.startswith("org/encoder@")
    assert len(name.split()[0].removeprefix("org/encoder@")) == 40
    assert code == []
    np.testing.assert_allclose(vectors, encoded(TEXTS, str(folder)).vectors, rtol=1e-6)
