"""The scorer: packed where the model's own numbers come out, padded where not, and the same scores either way."""

import copy
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.errors import CellError
from analysis.likelihood import linear, scorer
from analysis.likelihood.encoding import Encoded
from analysis.likelihood.forward import Likelihood
from analysis.likelihood.scorer import Batch, Scorer
from tests.likelihood.architectures import (
    BOS,
    PACKED,
    PADDED,
    VOCABULARY,
    agree,
    exact,
    expected,
    made_texts,
    model_of,
    text,
)
from tests.likelihood.conftest import Loaded


def score_all(used: Scorer, texts: Sequence[Encoded]) -> list[Likelihood]:
    """Scores in the order of the texts; each must come exactly once."""
    found: dict[int, Likelihood] = {}
    for batch in used.batches(texts):
        made = used.score(texts, batch)
        assert sorted(i for i, _ in made) == sorted(batch.texts) and not found.keys() & set(batch.texts)
        found |= dict(made)
    return [found[i] for i in range(len(texts))]


@pytest.mark.parametrize("name", PACKED)
def test_packed(name: str) -> None:
    texts, wanted = expected(name)
    used = Scorer(model_of(name), 256)
    assert used.why_padded == ""
    assert all(batch.pack is not None for batch in used.batches(texts))
    agree(score_all(used, texts), wanted)


REASONS = {
    "bloom": "change its numbers",
    "falcon": "change its numbers",
    "gptj": "change its numbers",
    "opt": "called in another way",
    "llama_dynamic": "length of the whole row",
    "phi3_long": "length of the whole row",
}


@pytest.mark.parametrize("name", PADDED)
def test_padded(name: str) -> None:
    texts, wanted = expected(name)
    model = model_of(name)
    before = model.config._attn_implementation
    used = Scorer(model, 256)
    assert REASONS[name] in used.why_padded
    assert model.config._attn_implementation == before
    assert all(batch.pack is None for batch in used.batches(texts))
    agree(score_all(used, texts), wanted)


@pytest.fixture(scope="module")
def llama() -> Scorer:
    return Scorer(model_of("llama"))


@given(order=st.permutations(range(len(made_texts()))), budget=st.sampled_from([64, 100, 256, 1024, 4096]))
@settings(max_examples=20, deadline=None)
def test_order_and_budget(llama: Scorer, order: list[int], budget: int) -> None:
    texts, wanted = expected("llama")
    llama.budget = budget
    agree(score_all(llama, [texts[i] for i in order]), [wanted[i] for i in order])


def test_a_budget_of_the_device_unless_one_is_asked_for() -> None:
    model = model_of("gpt2")
    assert (Scorer(model).budget, Scorer(model_of("gpt2"), 64).budget) == (2048, 64)


def test_a_large_model_has_smaller_batches_on_a_cpu() -> None:
    """What is lost when a run is killed is a batch, at most."""
    sizes = [135_000_000, 488_281_250, 1_700_000_000, 8_000_000_000]
    assert [scorer.batch_tokens(n, "cpu") for n in sizes] == [2048, 2048, 588, 512]
    assert scorer.batch_tokens(sizes[-1], "cuda") == scorer.GPU_TOKENS


@pytest.mark.parametrize("budget", [64, 2048])
def test_real_base_model(base_model: Loaded, budget: int) -> None:
    """Texts of hundreds of tokens, with the context shared by several responses, under a trained model."""
    random = np.random.default_rng(0)
    texts = []
    for n_context, lengths in ((1, (40,)), (120, (200, 3, 60)), (30, (1, 90))):
        context = [base_model.tokenizer.bos_token_id, *(int(i) for i in random.integers(5, 2000, n_context - 1))]
        texts += [text(random, context, n) for n in lengths]
    used = Scorer(copy.deepcopy(base_model.model), budget)
    assert used.why_padded == ""
    agree(score_all(used, texts), exact(copy.deepcopy(base_model.model).double(), texts))


KINDS = ("GPU", "allocator", "bad_alloc", "MemoryError", "numpy")
# What torch says where memory does not suffice: on a GPU, and in two ways on a CPU; and what others say.
NO_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nGPU 0 has a total capacity of 1 GiB"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: not enough memory: you tried to allocate "
        "2147483648 bytes. Error code 12 (Cannot allocate memory)"
    ),
    RuntimeError("std::bad_alloc"),
    MemoryError(),
    MemoryError("Unable to allocate 2.00 GiB for an array"),
)


class TestMemory:
    """What is raised where more than so many tokens are run at once."""

    def limited(self, monkeypatch: pytest.MonkeyPatch, largest: int, error: Exception = NO_MEMORY[0]) -> list[int]:
        real_pack, real_batch = scorer.score_pack, scorer.score_batch
        run: list[int] = []

        def pack(head: Any, texts: Sequence[Encoded], pack: Any, entropy: bool = True) -> Any:
            run.append(pack.n_tokens)
            if pack.n_tokens > largest:
                raise error
            return real_pack(head, texts, pack, entropy)

        def batch(model: Any, device: str, texts: Sequence[Encoded]) -> Any:
            run.append(len(texts) * (max(len(t.ids) for t in texts) - 1))
            if run[-1] > largest:
                raise error
            return real_batch(model, device, texts)

        monkeypatch.setattr(scorer, "score_pack", pack)
        monkeypatch.setattr(scorer, "score_batch", batch)
        return run

    @pytest.mark.parametrize("name", ["llama", "bloom"])
    @pytest.mark.parametrize("largest", [48, 100, 150])
    def test_halves_and_goes_on(self, name: str, largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
        texts, wanted = expected(name)
        used = Scorer(model_of(name), 4096)
        run = self.limited(monkeypatch, largest)
        agree(score_all(used, texts), wanted)
        assert max(run) > largest

    @pytest.mark.parametrize("name", ["llama", "bloom"])
    @pytest.mark.parametrize("error", NO_MEMORY[1:], ids=KINDS[1:])
    def test_a_cpu_says_so_in_other_words(self, name: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
        texts, wanted = expected(name)
        used = Scorer(model_of(name), 4096)
        run = self.limited(monkeypatch, 100, error)
        found = dict(pair for part in used.score_all(texts, used.batches(texts)) for pair in part)
        agree([found[i] for i in range(len(texts))], wanted)
        assert max(run) > 100

    @pytest.mark.parametrize("name", ["llama", "bloom"])
    @pytest.mark.parametrize("error", NO_MEMORY, ids=KINDS)
    def test_a_single_text_that_does_not_fit(
        self, name: str, error: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        texts, _ = expected(name)
        used = Scorer(model_of(name), 4096)
        self.limited(monkeypatch, 30, error)
        words = re.escape(str(error).split("\n")[0] or "MemoryError")
        with pytest.raises(CellError, match=f"^a text of 4[0-9] tokens does not fit in memory: {words}$"):
            score_all(used, texts)

    @pytest.mark.parametrize("name", ["llama", "bloom"])
    @pytest.mark.parametrize("error", [RuntimeError("shapes cannot be multiplied"), ValueError("no memory")], ids=repr)
    def test_any_other_error_is_raised_as_it_is(
        self, name: str, error: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        texts, _ = expected(name)
        used = Scorer(model_of(name), 4096)
        run = self.limited(monkeypatch, 0, error)
        with pytest.raises(type(error)) as raised:
            used.score(texts, used.batches(texts)[0])
        assert raised.value is error and len(run) == 1


class TestGuards:
    """What would change numbers unseen is found out when a model is loaded, or falls back."""

    def sliding(self, name: str, window: int) -> Any:
        sizes = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
        sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}
        sizes |= {"bos_token_id": BOS, "eos_token_id": BOS, "pad_token_id": BOS}
        torch.manual_seed(0)
        config = {
            # Its mask slides, and its attention is not told.
            "phimoe": lambda: tf.PhimoeConfig(**sizes, num_local_experts=2, sliding_window=window),
            "mistral": lambda: tf.MistralConfig(**sizes, sliding_window=window),
        }[name]()
        model = tf.AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
        for parameter in model.parameters():
            parameter.mul_(8.0 if parameter.dim() > 1 else 1.0)
        return model

    @pytest.mark.parametrize("name", ["phimoe", "mistral"])
    def test_a_window_longer_than_the_trial(self, name: str) -> None:
        """The few tokens of the trial fit in the window, and the texts do not."""
        random = np.random.default_rng(0)
        texts = [text(random, (BOS, *range(1, 30)), n) for n in (50, 60, 3)]
        model = self.sliding(name, 40)
        # Mixtures of experts do not run in float64 here.
        wanted = exact(model, texts)
        used = Scorer(model, 256)
        assert bool(used.why_padded) == (name == "phimoe")
        agree(score_all(used, texts), wanted)

    def test_angles_that_grow_with_the_longest_text(self) -> None:
        """Phi-3 of a long window turns short texts in another way than long ones, even in a padded batch."""
        texts, wanted = expected("phi3_long")
        assert any(len(t.ids) < 16 for t in texts) and any(len(t.ids) > 17 for t in texts)
        agree(score_all(Scorer(model_of("phi3_long"), 4096), texts), wanted)

    def test_weights_that_are_used_without_their_layer(self) -> None:
        """Mamba multiplies by a layer's weights itself: they are not given up."""
        torch.manual_seed(0)
        sizes = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}
        model = tf.MambaForCausalLM(tf.MambaConfig(**sizes)).eval().requires_grad_(False)
        for parameter in model.parameters():
            parameter.mul_(2.0 if parameter.dim() > 1 else 1.0)
        texts = made_texts()
        wanted = exact(copy.deepcopy(model).double(), texts)
        used = Scorer(model, 256)
        assert used.why_padded
        assert all(p.isfinite().all() for p in model.parameters())
        agree(score_all(used, texts), wanted)

    def test_weights_that_are_no_numbers(self) -> None:
        """A broken model is no reason to stop: its responses have no finite likelihood, and are counted as such."""
        model = model_of("llama")
        model.lm_head.weight.fill_(torch.nan)
        used = Scorer(model, 256)
        assert used.why_padded == ""
        assert all(np.isnan(made.sum_logprob) for made in score_all(used, made_texts()))

    def test_a_model_without_the_usual_parts(self) -> None:
        """Where the layers are not found under the name that the architecture gives, batches are padded."""
        model = model_of("llama")
        texts, wanted = expected("llama")
        model.base_model_prefix = "nothing"
        used = Scorer(model, 256)
        assert "nothing" in used.why_padded
        agree(score_all(used, texts), wanted)


@cache
def _bfloat16() -> bool:
    return linear._supported(torch.zeros(8, 8, dtype=torch.bfloat16))


@pytest.mark.parametrize("name", ["llama", "gemma2", "bloom"])
def test_bfloat16(name: str, record_property: Callable[[str, object], None]) -> None:
    """Numbers of eight bits: each is off by up to 2⁻⁹ of itself, a logit of 6 by 0.012, and what the layers before it
    were off by comes on top. Errors of tokens have random signs, so a sum goes with the root of their number: a tenth
    of a nat is measured, and half of one is the bound. Another token in the context would move it by about one.
    """
    texts, wanted = expected(name)
    used = Scorer(model_of(name, torch.bfloat16), 256)
    assert (used.why_padded == "") == (name in PACKED)
    found = score_all(used, texts)
    off = [abs(f.sum_logprob - w.sum_logprob) / t.n_tokens**0.5 for t, f, w in zip(texts, found, wanted, strict=True)]
    record_property("largest deviation of a sum / √tokens (nats)", max(off))
    record_property("prepacked", _bfloat16())
    assert max(off) < 0.5
    # Rounded it is, and not something else in disguise.
    assert max(off) > 1e-4


@pytest.mark.parametrize("name", [*PACKED, *PADDED])
def test_bfloat16_hides_nothing_from_the_trial(name: str) -> None:
    """Rounding is as large as what a response reads of its neighbours where packed rows do not work."""
    assert bool(Scorer(model_of(name, torch.bfloat16), 256).why_padded) == (name in PADDED)


def test_batches_cover_the_texts(llama: Scorer) -> None:
    texts = made_texts()
    llama.budget = 64
    for used in (llama, Scorer(model_of("bloom"), 64)):
        made: list[Batch] = used.batches(texts)
        assert sorted(i for b in made for i in b.texts) == list(range(len(texts)))
        assert [b.texts for b in used.batches(texts)] == [b.texts for b in made]
        assert all(b.n_tokens <= 64 or b.pack is None or len(b.pack.groups) == 1 for b in made)


def test_two_batches_at_a_time_give_the_numbers_of_one_after_the_other() -> None:
    """Threads share the model: what one of them reads must never reach the other."""
    texts = made_texts()
    scorer = Scorer(model_of("llama"), budget=64)
    batches = scorer.batches(texts)
    assert len(batches) > 3
    expected = [scorer.score(texts, batch) for batch in batches]
    for _ in range(5):
        found = list(scorer.score_all(texts, batches))
        assert [[i for i, _ in part] for part in found] == [[i for i, _ in part] for part in expected]
        for one, other in zip(found, expected, strict=True):
            for (_, a), (_, b) in zip(one, other, strict=True):
                assert abs(a.sum_logprob - b.sum_logprob) <= 1e-4 + 1e-6 * abs(b.sum_logprob)


def test_an_error_in_one_batch_reaches_the_caller_and_leaves_the_threads_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts, threads = made_texts(), torch.get_num_threads()
    scorer = Scorer(model_of("llama"), budget=64)

    def broken(*asked: Any) -> Any:
        raise CellError("no more")

    monkeypatch.setattr(scorer, "score", broken)
    with pytest.raises(CellError, match="no more"):
        list(scorer.score_all(texts, scorer.batches(texts)))
    assert torch.get_num_threads() == threads
