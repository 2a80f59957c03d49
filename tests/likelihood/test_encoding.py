"""Which tokens are the response's: checked against the bytes that every token stands for."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.errors import CellError
from analysis.likelihood.encoding import NO_START, NO_TOKENS, TOO_LONG, Encoded, Encoder, exact_offsets
from analysis.likelihood.model import tokenizer_sha256
from analysis.likelihood.templates import render
from analysis.preferences.records import Message
from tests.tiny import BOS, EOS

Tokenizers = Callable[..., Any]

# Words whose letters merge, white space of all kinds, characters of 2 to 4 bytes, sequences that share what looks like
# one character, and what could be mistaken for a token or a mark of the template.
FRAGMENTS = (
    *(
        " ",
        "  ",
        "\n",
        "\n\n",
        "\t",
        "\u00a0",
        "the",
        " the",
        " dog",
        "answer",
        "The answer",
        "12",
        "’",
        "é",
        "e\u0301",
    ),
    *("🌊", "👩‍👩‍👧", "日本", "ñ", "ü", "Response:", "Assistant: ", "\n\nHuman: ", BOS, EOS, "<unk>", "<0x0A>", "Ġ"),
)
# "▁" is left out because it stands for a space in the vocabulary of the metaspace tokenizer.
FRAGMENT = st.sampled_from(FRAGMENTS) | st.characters(exclude_categories=["Cs"], exclude_characters="▁")
TEXT = st.lists(FRAGMENT, min_size=1, max_size=12).map("".join)
KINDS = (
    {"trim_offsets": True},
    {"trim_offsets": False},
    {"bos": False},
    {"adds_bos": False},
    {"bos": False, "eos": False},
    {"pieces": "metaspace"},
    {"pieces": "metaspace", "bos": False},
)
BOS_CHAT = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
PLAIN_CHAT = BOS_CHAT.removeprefix("{{ bos_token }}")


def one(encoder: Encoder, prefix: str, response: str) -> Encoded:
    (made,) = encoder.encode([prefix], [response])
    assert isinstance(made, Encoded), made
    return made


def unlimited(tokenizer: Any, chat: bool = False) -> Encoder:
    return Encoder(tokenizer, None, "exclude", chat)


def byte_of() -> dict[str, int]:
    """GPT-2's letters for bytes (Radford et al. 2019): printable ones stand for themselves, others from 256 on."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [b for b in range(256) if b not in shown]
    return {chr(b): b for b in shown} | {chr(256 + i): b for i, b in enumerate(hidden)}


BYTE_OF = byte_of()


def token_bytes(tokenizer: Any, ids: tuple[int, ...], pieces: str) -> list[bytes]:
    """The bytes of text that each token stands for."""
    tokens = tokenizer.convert_ids_to_tokens(list(ids))
    if pieces == "byte":
        return [bytes(BYTE_OF[letter] for letter in token) for token in tokens]
    return [
        bytes([int(t[3:5], 16)]) if t.startswith("<0x") and len(t) == 6 else t.replace("▁", " ").encode()
        for t in tokens
    ]


@pytest.mark.parametrize("options", KINDS, ids=str)
@given(prefix=TEXT, response=TEXT)
@settings(max_examples=60, deadline=None)
def test_the_span_is_that_of_the_bytes(
    tokenizer: Tokenizers, options: dict[str, Any], prefix: str, response: str
) -> None:
    used = tokenizer(**options)
    pieces = options.get("pieces", "byte")
    starts = bool(options.get("bos", True) and options.get("adds_bos", True))
    (made,) = unlimited(used).encode([prefix], [response])

    # The tokens are the tokenizer's own for the whole text, with special tokens in it taken as text.
    ids = tuple(used(prefix + response, split_special_tokens=True)["input_ids"])
    parts = token_bytes(used, ids[starts:], pieces)
    whole = b"".join(parts)
    added = len(whole) - len((prefix + response).encode())
    assert whole == b" " * added + (prefix + response).encode()
    assert added == 0 or (pieces == "metaspace" and added == 1)
    boundary = len(prefix.encode()) + added
    ends = [sum(map(len, parts[: i + 1])) for i in range(len(parts))]
    first = next(i for i, end in enumerate(ends) if end > boundary)
    stand_in = used.bos_token_id if used.bos_token_id is not None else used.eos_token_id
    if first + starts == 0:  # the first token spans all of the prompt, so something must stand before it
        if stand_in is None:
            assert made == NO_START
            return
        ids = (stand_in, *ids)
    assert isinstance(made, Encoded)
    assert made.ids == ids
    assert made.start == len(ids) - (len(parts) - first)
    assert made.straddles == (ends[first] - len(parts[first]) < boundary)
    assert b"".join(parts[first:]).endswith(response.encode())
    assert made.n_bytes == len(response.encode())
    assert made.n_tokens == len(parts) - first
    names = {used.eos_token_id: "eos", used.bos_token_id: "bos"}
    assert made.start_token == (names[ids[0]] if starts or first == 0 else "none")
    assert (made.n_prompt_tokens_cut, made.n_response_tokens_cut) == (0, 0)


@pytest.mark.parametrize("trim_offsets", [True, False])
def test_a_token_across_the_boundary_counts_to_the_response(tokenizer: Tokenizers, trim_offsets: bool) -> None:
    used = tokenizer(trim_offsets=trim_offsets)
    at_end = one(unlimited(used), "What is it? ", "the answer")
    at_start = one(unlimited(used), "What is it?", " the answer")
    assert at_end.straddles and not at_start.straddles
    assert at_end.ids == at_start.ids and at_end.start == at_start.start
    assert used.decode(at_end.ids[at_end.start :]) == " the answer"
    # The bytes are the response's own, whatever its first token drags along.
    assert (at_end.n_bytes, at_start.n_bytes) == (10, 11)


def test_trimmed_offsets_hide_nothing(tokenizer: Tokenizers) -> None:
    trimmed, whole = tokenizer(trim_offsets=True), tokenizer(trim_offsets=False)
    text = "The dog  and\n the sea 🌊 the end"
    # The premise: this tokenizer does leave the space out, so the offsets as they come would be wrong.
    assert (
        trimmed(text, return_offsets_mapping=True)["offset_mapping"]
        != (whole(text, return_offsets_mapping=True)["offset_mapping"])
    )
    for cut in range(1, len(text)):
        assert one(unlimited(trimmed), text[:cut], text[cut:]) == one(unlimited(whole), text[:cut], text[cut:])


def test_exact_offsets_change_a_copy_and_no_token(tokenizer: Tokenizers) -> None:
    used = tokenizer(trim_offsets=True)
    before = tokenizer_sha256(used)
    copy = exact_offsets(used.backend_tokenizer)
    copy.encode_special_tokens = True
    unlimited(used).encode(["a "], [BOS])
    assert tokenizer_sha256(used) == before
    assert used.backend_tokenizer.encode(f"the {BOS} dog").ids == used(f"the {BOS} dog")["input_ids"]
    assert used.backend_tokenizer.encode_special_tokens is False


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_tokens_that_share_a_character_stay_together(tokenizer: Tokenizers, kind: dict[str, Any]) -> None:
    used = tokenizer(**kind)
    after = one(unlimited(used), "Look🌞", "🌊 sea")
    before = one(unlimited(used), "Look🌞🌊", " sea")
    # 🌞 and 🌊 share their first bytes, so the boundary lies between tokens that look alike.
    assert after.ids == before.ids and before.start > after.start + 1
    assert used.decode(after.ids[after.start :]) == "🌊 sea"
    assert used.decode(before.ids[before.start :]).strip() == "sea"
    assert after.n_bytes == 8


@pytest.mark.parametrize(
    "prefix",
    [
        "Response: no. Response:",
        "\n\nHuman: say the answer\n\nAssistant: the answer\n\nHuman: again\n\nAssistant: ",
        "the answer the answer the answer ",
        "{response} [/INST] ### Response:\n",
    ],
)
def test_text_in_the_prompt_never_moves_the_span(tokenizer: Tokenizers, prefix: str) -> None:
    used = tokenizer()
    made = one(unlimited(used), prefix, "the answer")
    assert used.decode(made.ids[made.start :]).strip() == "the answer"
    assert used.decode(made.ids[1 : made.start]) == (prefix.removesuffix(" ") if made.straddles else prefix)


class TestSpecialTokens:
    def test_in_a_dataset_they_are_text(self, tokenizer: Tokenizers) -> None:
        used = tokenizer()
        made = one(unlimited(used), f"{BOS}{EOS} what is {BOS}? ", f"the {EOS}{BOS} end{EOS}")
        assert BOS not in used.convert_ids_to_tokens(list(made.ids[1:]))
        assert EOS not in used.convert_ids_to_tokens(list(made.ids))
        assert used.decode(made.ids[made.start :]) == f" the {EOS}{BOS} end{EOS}"

    def test_of_a_chat_template_they_are_tokens(self, tokenizer: Tokenizers) -> None:
        used = tokenizer(chat_template=BOS_CHAT)
        prefix = render("chat", (Message("user", "what is it?"), Message("assistant", "the dog")), used)
        made = one(unlimited(used, chat=True), prefix, "the answer")
        assert made.ids.count(used.eos_token_id) == 2
        assert made.start_token == "bos"

    @pytest.mark.parametrize("adds_bos", [True, False])
    @pytest.mark.parametrize("chat_template", [BOS_CHAT, PLAIN_CHAT])
    def test_bos_stands_once(self, tokenizer: Tokenizers, adds_bos: bool, chat_template: str) -> None:
        used = tokenizer(adds_bos=adds_bos, chat_template=chat_template)
        prefix = render("chat", (Message("user", "what is it?"),), used)
        made = one(unlimited(used, chat=True), prefix, "the answer")
        expected = adds_bos or chat_template == BOS_CHAT
        assert made.ids.count(used.bos_token_id) == expected
        assert (made.ids[0] == used.bos_token_id) == expected
        assert made.start_token == ("bos" if expected else "none")
        body = made.ids[expected : made.start]
        assert used.decode(body).startswith("[user] what is it?")
        assert used.decode(made.ids[made.start :]).strip() == "the answer"

    @pytest.mark.parametrize("adds_bos", [True, False])
    def test_bos_of_a_chat_template_survives_the_cut(self, tokenizer: Tokenizers, adds_bos: bool) -> None:
        used = tokenizer(adds_bos=adds_bos, chat_template=BOS_CHAT)
        prefix = render("chat", (Message("user", "what is the answer? " * 10),), used)
        whole = one(unlimited(used, chat=True), prefix, "the answer")
        made = one(Encoder(used, 16, "exclude", chat=True), prefix, "the answer")
        assert made.ids == (used.bos_token_id, *whole.ids[len(whole.ids) - 16 :])
        assert made.n_prompt_tokens_cut == len(whole.ids) - 17
        assert made.start_token == "bos"

    @pytest.mark.parametrize("bos", [True, False])
    def test_a_token_the_tokenizer_appends_is_no_part_of_the_response(self, tokenizer: Tokenizers, bos: bool) -> None:
        from tokenizers import processors

        used = tokenizer(bos=bos)
        state = exact_offsets(used.backend_tokenizer)
        ids = {t: state.token_to_id(t) for t in (BOS, EOS)[not bos :]}
        state.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A {EOS}" if bos else f"$A {EOS}", special_tokens=list(ids.items())
        )
        appending = SimpleNamespace(
            is_fast=True, bos_token_id=ids.get(BOS), eos_token_id=ids[EOS], backend_tokenizer=state
        )
        assert one(unlimited(appending), "What? ", "the answer") == one(unlimited(used), "What? ", "the answer")


class TestStart:
    def test_without_bos_a_prompt_starts_from_nothing(self, tokenizer: Tokenizers) -> None:
        used = tokenizer(bos=False)
        made = one(unlimited(used), "What is it?", " the answer")
        assert made.start_token == "none"
        assert used.decode(made.ids) == "What is it? the answer"

    @pytest.mark.parametrize(
        ("options", "name"), [({"bos": False}, "eos"), ({"adds_bos": False}, "bos"), ({"eos": False}, "bos")], ids=str
    )
    def test_an_empty_prompt(self, tokenizer: Tokenizers, options: dict[str, Any], name: str) -> None:
        used = tokenizer(**options)
        made = one(unlimited(used), "", "the answer")
        assert made.start == 1 and made.start_token == name
        assert made.ids[0] == getattr(used, f"{name}_token_id")
        assert used.decode(made.ids[1:]) == "the answer"
        assert not made.straddles

    def test_neither_bos_nor_eos(self, tokenizer: Tokenizers) -> None:
        encoder = unlimited(tokenizer(bos=False, eos=False))
        assert encoder.encode([""], ["the answer"]) == [NO_START]
        with_prompt = one(encoder, "What?", " the answer")
        assert with_prompt.start_token == "none"
        assert encoder.unconditional(with_prompt) == NO_START

    @pytest.mark.parametrize(("options", "name"), [({}, "bos"), ({"bos": False}, "eos"), ({"adds_bos": False}, "bos")])
    def test_unconditional_keeps_the_response_tokens(
        self, tokenizer: Tokenizers, options: dict[str, Any], name: str
    ) -> None:
        used = tokenizer(**options)
        made = one(Encoder(used, 20, "exclude", False), "What is the answer? " * 5, "the answer")
        alone = unlimited(used).unconditional(made)
        assert isinstance(alone, Encoded)
        assert alone.ids == (getattr(used, f"{name}_token_id"), *made.ids[made.start :])
        assert (alone.start, alone.start_token, alone.n_prompt_tokens_cut) == (1, name, 0)
        assert (alone.n_bytes, alone.straddles) == (made.n_bytes, made.straddles)
        assert made.n_prompt_tokens_cut > 0

    def test_an_empty_response_has_no_token(self, tokenizer: Tokenizers) -> None:
        assert unlimited(tokenizer()).encode(["What?", "a"], ["", "b"])[0] == NO_TOKENS

    def test_a_slow_tokenizer_is_refused(self) -> None:
        with pytest.raises(CellError, match="no character offsets"):
            Encoder(SimpleNamespace(is_fast=False, name_or_path="slow"), None, "exclude", False)


LETTERS = st.lists(st.sampled_from(["the", " dog", " x", "q", "\n", " answer", "7"]), max_size=40).map("".join)


class TestWindow:
    @pytest.mark.parametrize("options", [{}, {"bos": False}, {"adds_bos": False}], ids=str)
    @pytest.mark.parametrize("policy", ["exclude", "cut"])
    @given(prefix=LETTERS, response=LETTERS.filter(bool), window=st.integers(8, 40))
    @settings(max_examples=120, deadline=None)
    def test_what_is_kept(
        self, tokenizer: Tokenizers, options: dict[str, Any], policy: Any, prefix: str, response: str, window: int
    ) -> None:
        used = tokenizer(**options)
        whole = one(unlimited(used), prefix, response)
        (made,) = Encoder(used, window, policy, False).encode([prefix], [response])
        fixed = whole.start_token != "none"  # BOS, or what stands in for it, is never cut
        before, after = whole.ids[: whole.start], whole.ids[whole.start :]
        room = window + 1  # the last token is predicted, never read
        if len(whole.ids) <= room:
            assert made == whole
        elif len(after) + 1 <= room:  # the response fits with one token before it
            assert isinstance(made, Encoded)
            cut = len(whole.ids) - room
            assert made.ids == (*before[:fixed], *before[fixed + cut :], *after)
            assert (made.n_prompt_tokens_cut, made.n_response_tokens_cut) == (cut, 0)
            assert made.ids[made.start :] == after
            assert (made.n_bytes, made.straddles) == (whole.n_bytes, whole.straddles)
        elif policy == "exclude":
            assert made == TOO_LONG
        else:
            assert isinstance(made, Encoded)
            kept = after[: room - 1]
            assert made.ids == ((before[0] if fixed else before[-1]), *kept)
            assert made.start == 1
            assert (made.n_prompt_tokens_cut, made.n_response_tokens_cut) == (len(before) - 1, len(after) - len(kept))
            scored = used.decode(kept)
            # Everything is ASCII here, so bytes are characters; those before the boundary are not the response's.
            assert made.n_bytes == len(scored) - (len(used.decode(after)) - len(response))
        if isinstance(made, Encoded):
            assert len(made.ids) <= room and made.start >= 1
            assert made.start_token == whole.start_token

    @pytest.mark.parametrize("options", [{}, {"bos": False}], ids=str)
    def test_one_token_more_than_the_window_is_not_cut(self, tokenizer: Tokenizers, options: dict[str, Any]) -> None:
        used = tokenizer(**options)
        text = "What is the answer?", " the dog and the answer and the end"
        whole = one(unlimited(used), *text)
        n = len(whole.ids)
        assert one(Encoder(used, n - 1, "exclude", False), *text) == whole
        shorter = one(Encoder(used, n - 2, "exclude", False), *text)
        assert (len(shorter.ids), shorter.n_prompt_tokens_cut) == (n - 1, 1)

    @pytest.mark.parametrize("kind", [{}, {"pieces": "metaspace"}], ids=str)
    def test_bytes_of_a_response_cut_inside_a_character(self, tokenizer: Tokenizers, kind: dict[str, Any]) -> None:
        """`n_bytes` is of the scored tokens: a cut must not count bytes of a character whose tokens it dropped."""
        used = tokenizer(**kind)
        for window in range(8, 20):
            made = one(Encoder(used, window, "cut", False), "x", "日本語の文章" * 5)
            scored = token_bytes(used, made.ids[made.start :], kind.get("pieces", "byte"))
            assert made.n_response_tokens_cut > 0
            assert made.n_bytes == len(b"".join(scored))

    def test_the_order_of_texts_is_kept(self, tokenizer: Tokenizers) -> None:
        encoder = Encoder(tokenizer(), 8, "exclude", False)
        prefixes, responses = ["a", "b", "c"], ["the dog", "the answer " * 20, "the sea"]
        together = encoder.encode(prefixes, responses)
        assert together == [encoder.encode([p], [r])[0] for p, r in zip(prefixes, responses, strict=True)]
        assert together[1] == TOO_LONG
        assert encoder.encode([], []) == []


class TestEnds:
    """Where tokens end, in characters of the response: of the character that a token's last byte belongs to."""

    def byte_ends(self, used: Any, made: Encoded, pieces: str, response: str) -> list[int]:
        """Counted on the bytes that the tokens stand for, from the end of the response."""
        parts, whole = token_bytes(used, made.ids[made.start :], pieces), response.encode()
        after = [sum(map(len, parts[i + 1 :])) for i in range(len(parts))]
        cut = len(whole) - made.n_bytes
        kept = whole[: len(whole) - cut].decode()
        starts = [len(kept[:i].encode()) for i in range(len(kept))]
        return [sum(start < made.n_bytes - n for start in starts) for n in after]

    @pytest.mark.parametrize("options", KINDS, ids=str)
    @given(prefix=TEXT, response=TEXT)
    @settings(max_examples=40, deadline=None)
    def test_those_of_the_bytes(
        self, tokenizer: Tokenizers, options: dict[str, Any], prefix: str, response: str
    ) -> None:
        used = tokenizer(**options)
        (made,) = Encoder(used, None, "exclude", False, ends=True).encode([prefix], [response])
        (without,) = unlimited(used).encode([prefix], [response])
        if isinstance(made, str):
            assert made == without
            return
        assert isinstance(without, Encoded) and replace(made, ends=()) == without and without.ends == ()
        assert list(made.ends) == self.byte_ends(used, made, options.get("pieces", "byte"), response)
        assert made.ends[-1] == len(response)

    @pytest.mark.parametrize("kind", [{}, {"pieces": "metaspace"}, {"bos": False}], ids=str)
    @given(prefix=TEXT, response=TEXT, window=st.integers(8, 30))
    @settings(max_examples=40, deadline=None)
    def test_of_what_is_cut(
        self, tokenizer: Tokenizers, kind: dict[str, Any], prefix: str, response: str, window: int
    ) -> None:
        """A response is cut after a whole character, unless its first does not fit."""
        used = tokenizer(**kind)
        (made,) = Encoder(used, window, "cut", False, ends=True).encode([prefix], [response * 3])
        assert isinstance(made, Encoded)
        assert len(made.ends) == made.n_tokens
        assert list(made.ends) == self.byte_ends(used, made, kind.get("pieces", "byte"), response * 3)
        alone = unlimited(used).unconditional(made)
        assert isinstance(alone, Encoded) and alone.ends == made.ends
