"""Base models: found, described and loaded, or refused in one sentence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from analysis.errors import CellError
from analysis.likelihood.model import load, locate, tokenizer_of, tokenizer_sha256, window_of
from analysis.study import BaseModelSpec
from tests.likelihood.conftest import BASE_MODEL

Folder = Callable[..., Path]


@pytest.fixture
def folder(tiny_folder: Folder, tmp_path: Path) -> Path:
    """A tiny base model that a test may change."""
    return Path(shutil.copytree(tiny_folder(), tmp_path / "some-model"))


def spec_of(folder: Path, **options: Any) -> BaseModelSpec:
    return BaseModelSpec(name=str(folder), device="cpu", **options)


def configure(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


class TestLocate:
    def test_a_folder(self, folder: Path) -> None:
        found = locate(spec_of(folder, label="mine"))
        assert (found.name, found.folder) == ("some-model", folder)
        assert len(found.revision) == 64
        assert locate(spec_of(folder)) == found

    def test_where_the_folder_stands_does_not_matter(self, folder: Path, tmp_path: Path) -> None:
        other = Path(shutil.copytree(folder, tmp_path / "elsewhere" / "some-model"))
        assert locate(spec_of(other)).revision == locate(spec_of(folder)).revision

    @pytest.mark.parametrize("part", ["weights", "tokenizer.json", "config.json", "tokenizer_config.json"])
    def test_the_revision_changes_with_what_decides_scores(self, folder: Path, part: str) -> None:
        before = locate(spec_of(folder)).revision
        if part == "weights":
            weights = load_file(folder / "model.safetensors")
            weights["model.norm.weight"][0] += 1e-3
            save_file(weights, folder / "model.safetensors", {"format": "pt"})
        else:
            (folder / part).write_text((folder / part).read_text() + "\n")
        assert locate(spec_of(folder)).revision != before

    def test_the_revision_does_not_change_with_a_readme(self, folder: Path) -> None:
        before = locate(spec_of(folder)).revision
        (folder / "README.md").write_text("# mine")
        assert locate(spec_of(folder)).revision == before

    @pytest.mark.parametrize("options", [{}, {"tied": True}], ids=str)
    def test_parameters_are_those_of_torch(self, tiny_folder: Folder, options: dict[str, Any]) -> None:
        spec = spec_of(tiny_folder(**options))
        located = locate(spec)
        # torch, too, counts a tied matrix once.
        assert located.n_parameters == sum(p.numel() for p in load(located, spec).parameters())

    def test_parameters_of_the_real_base_model(self) -> None:
        assert locate(spec_of(BASE_MODEL)).n_parameters == 3_786_816  # as its README says

    def test_no_configuration(self, folder: Path) -> None:
        (folder / "config.json").unlink()
        with pytest.raises(CellError, match=r"no config\.json"):
            locate(spec_of(folder))

    def test_pickled_weights_are_not_loaded(self, folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        with pytest.raises(CellError, match="no weights as safetensors"):
            locate(spec_of(folder))

    def test_damaged_weights(self, folder: Path) -> None:
        data = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
        with pytest.raises(CellError, match="cannot be read"):
            locate(spec_of(folder))


class TestWindow:
    def test_of_the_configuration_unless_the_study_says_less(self, tiny_folder: Folder) -> None:
        located = locate(spec_of(tiny_folder(window=96)))
        assert window_of(located, None) == 96
        assert window_of(located, 96) == 96
        assert window_of(located, 40) == 40

    def test_more_than_there_is(self, tiny_folder: Folder) -> None:
        with pytest.raises(CellError, match="reads 96 tokens, and the study asks for context_window = 97"):
            window_of(locate(spec_of(tiny_folder(window=96))), 97)

    def test_a_model_that_does_not_say(self, folder: Path) -> None:
        (folder / "config.json").write_text(json.dumps({"model_type": "bloom", "hidden_size": 8, "n_head": 2}))
        located = locate(spec_of(folder))
        assert window_of(located, None) is None
        assert window_of(located, 5000) == 5000


class TestTokenizer:
    def test_the_hash_is_of_content(self, tiny_folder: Folder, folder: Path) -> None:
        one = tokenizer_sha256(tokenizer_of(locate(spec_of(tiny_folder()))))
        assert tokenizer_sha256(tokenizer_of(locate(spec_of(folder)))) == one
        others = [{"trim_offsets": False}, {"bos": False}, {"eos": False}, {"adds_bos": False}, {"chat_template": "x"}]
        hashes = {tokenizer_sha256(tokenizer_of(locate(spec_of(tiny_folder(**options))))) for options in others}
        assert len(hashes) == len(others) and one not in hashes

    def test_missing(self, folder: Path) -> None:
        for path in folder.glob("tokenizer*"):
            path.unlink()
        with pytest.raises(CellError, match="tokenizer of base model some-model cannot be loaded"):
            tokenizer_of(locate(spec_of(folder)))

    @pytest.mark.parametrize("text", ["{}", "not json", '{"version": "1.0", "model": {"type": "BPE", "vocab": 3}}'])
    def test_damaged(self, folder: Path, text: str) -> None:
        (folder / "tokenizer.json").write_text(text)
        with pytest.raises(CellError, match="tokenizer of base model some-model cannot be loaded"):
            tokenizer_of(locate(spec_of(folder)))


class TestLoad:
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_ready_to_score(self, tiny_folder: Folder, dtype: str) -> None:
        spec = spec_of(tiny_folder(), dtype=dtype)
        model = load(locate(spec), spec)
        assert {(str(p.dtype), p.device.type) for p in model.parameters()} == {(f"torch.{dtype}", "cpu")}
        assert not model.training and not any(p.requires_grad for p in model.parameters())

    def test_weights_are_those_of_the_file(self, tiny_folder: Folder) -> None:
        spec = spec_of(tiny_folder())
        state = load(locate(spec), spec).state_dict()
        for name, value in load_file(tiny_folder() / "model.safetensors").items():
            assert torch.equal(state[name], value)

    def test_an_unknown_architecture(self, folder: Path) -> None:
        configure(folder, model_type="nothing-known", architectures=["NothingKnown"])
        spec = spec_of(folder)
        with pytest.raises(CellError):
            load(locate(spec), spec)

    def test_code_that_comes_with_a_model_is_never_run(self, folder: Path, tmp_path: Path) -> None:
        trace = tmp_path / "was-run"
        code = f"from pathlib import Path\nPath({str(trace)!r}).write_text('')\nfrom transformers import *\n"
        (folder / "evil.py").write_text(code + "class C(LlamaConfig):\n    model_type = 'evil'\n")
        configure(
            folder,
            model_type="evil",
            auto_map={"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.LlamaForCausalLM"},
        )
        spec = spec_of(folder)
        located = locate(spec)
        told = "it needs code of its own, which is never run; choose one whose architecture transformers has itself$"
        with pytest.raises(CellError, match=f"^base model 'some-model' cannot be loaded on cpu: {told}"):
            load(located, spec)
        with pytest.raises(CellError, match=f"^the configuration of base model some-model cannot be read: {told}"):
            window_of(located, None)
        settings = {"tokenizer_class": "EvilTokenizer", "auto_map": {"AutoTokenizer": ["evil.EvilTokenizer", None]}}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        with pytest.raises(CellError, match=f"^the tokenizer of base model some-model cannot be loaded: {told}"):
            tokenizer_of(located)
        assert not trace.exists()

    def test_missing_weights_are_not_made_up(self, folder: Path) -> None:
        """transformers fills in random numbers for a matrix that is not in the file, with only a warning."""
        weights = load_file(folder / "model.safetensors")
        del weights["model.layers.1.mlp.down_proj.weight"]
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        spec = spec_of(folder)
        with pytest.raises(CellError):
            load(locate(spec), spec)

    def test_weights_of_another_shape(self, folder: Path) -> None:
        configure(folder, intermediate_size=100)
        spec = spec_of(folder)
        with pytest.raises(CellError):
            load(locate(spec), spec)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
    def test_a_device_that_is_not_there(self, tiny_folder: Folder) -> None:
        spec = BaseModelSpec(name=str(tiny_folder()), device="cuda")
        with pytest.raises(CellError, match="cannot be loaded on cuda"):
            load(locate(spec), spec)
