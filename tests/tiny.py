"""Tiny base models made on the spot: a Llama of random weights and a tokenizer trained on a few sentences.

The weights are large, so that the distributions are sharp and a wrong position, mask or boundary moves a score by nats.
"""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

BOS, EOS, UNKNOWN = "<s>", "</s>", "<unk>"
SENTENCES = (
    "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.",
    "What is the capital of France? The capital of France is Paris.",
    "Human: tell me about the weather. Assistant: the weather is fine, thank you.",
    "The answer is that nobody knows the answer, although everybody asks the question.",
    "She said: “naïve café, déjà vu”; he said nothing.",
    "There are 12 months in a year, 7 days in a week and 24 hours in a day.",
    "I like the sea 🌊 and the sun 🌞 and the stars ✨.",
    "Response: this is the response to the prompt.",
)


def tiny_model(
    folder: Path,
    *,
    bos: bool = True,
    eos: bool = True,
    trim_offsets: bool = True,
    window: int = 128,
    seed: int = 0,
    chat_template: str | None = None,
    adds_bos: bool = True,
    pieces: Literal["byte", "metaspace"] = "byte",
    tied: bool = False,
    rope_theta: float = 10_000.0,
    std: float = 0.3,
    layers: int = 2,
) -> Path:
    """Write a tiny Llama and its tokenizer to a folder, and return the folder.

    Parameters
    ----------
    folder
        Where to; made if needed.
    bos, eos
        Whether the tokenizer has a BOS ("<s>") and an EOS ("</s>") token.
    trim_offsets
        Whether the tokenizer leaves a token's leading space out of its offsets, as GPT-2's and Llama 3's do.
    window
        `max_position_embeddings`.
    seed, std
        Of the random weights.
    chat_template
        Jinja source, if any.
    adds_bos
        Whether the tokenizer puts its BOS before a text (GPT-2 and SmolLM2 have one and do not).
    pieces
        `byte`: byte-level BPE; `metaspace`: BPE on "▁" with byte fallback, as SentencePiece makes.
    tied, rope_theta, layers
        Of the Llama.
    """
    tokenizer = _tokenizer(bos, eos, trim_offsets, bos and adds_bos, pieces, window, chat_template)
    tokenizer.save_pretrained(folder)
    _model(len(tokenizer), window, seed, std, tied, rope_theta, layers, tokenizer).save_pretrained(folder)
    return folder


def _tokenizer(
    bos: bool, eos: bool, trim_offsets: bool, adds_bos: bool, pieces: str, window: int, chat_template: str | None
) -> Any:
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    special = [BOS] * bos + [EOS] * eos
    backend = _byte_level(special) if pieces == "byte" else _metaspace(special)
    steps: list[Any] = [processors.ByteLevel(trim_offsets=trim_offsets)] * (pieces == "byte")
    if adds_bos:
        start = backend.token_to_id(BOS)
        steps.append(
            processors.TemplateProcessing(
                single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B:1", special_tokens=[(BOS, start)]
            )
        )
    if steps:
        backend.post_processor = processors.Sequence(steps)
    names = {"bos_token": BOS} if bos else {}
    names |= {"eos_token": EOS} if eos else {}
    made = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=window, **names)
    if chat_template is not None:
        made.chat_template = chat_template
    return made


def _byte_level(special: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        show_progress=False,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    made.train_from_iterator(SENTENCES, trainer)
    return made


def _metaspace(special: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=260, show_progress=False, special_tokens=[UNKNOWN, *special])
    # Only ASCII is learned, so that everything else falls back to bytes.
    made.train_from_iterator([s.encode("ascii", "ignore").decode() for s in SENTENCES], trainer)
    state = json.loads(made.to_str())
    vocabulary = state["model"]["vocab"]
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    state["model"] |= {"byte_fallback": True, "unk_token": UNKNOWN, "fuse_unk": True}
    made = Tokenizer.from_str(json.dumps(state))
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return made


def _model(
    n_tokens: int, window: int, seed: int, std: float, tied: bool, rope_theta: float, layers: int, tokenizer: Any
) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=n_tokens,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=window,
        rope_parameters={"rope_type": "default", "rope_theta": rope_theta},
        tie_word_embeddings=tied,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
    )
    model = LlamaForCausalLM(config)
    random = np.random.default_rng(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            centre = 1.0 if "norm" in name else 0.0
            values = random.normal(centre, std, tuple(parameter.shape))
            parameter.copy_(torch.from_numpy(values))
    return model
