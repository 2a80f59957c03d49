"""Text → tokens: which tokens belong to the response, and what is cut where the text is longer than the window.

The whole text is tokenised once and the response is found by character offset, so a merge across the boundary cannot
shift the span. A token that begins in the prompt and ends in the response counts to the response and is recorded.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tokenizers import Tokenizer

from analysis.errors import CellError

TEXTS_AT_A_TIME = 64
LongResponses = Literal["exclude", "cut"]
TOO_LONG = "the response is longer than the context window"
NO_TOKENS = "the response has no token of its own"
NO_START = "the tokenizer has neither BOS nor EOS to start from"


@dataclass(frozen=True, slots=True)
class Encoded:
    """Tokens of one text, ready to be scored.

    `ids[start:]` are the response's tokens; each is predicted from all tokens before it, so `start` is at least 1.
    `start_token` says what stands before all text: `bos`, `eos`, `other`, or `none`. `ends` says, where it was asked
    for, where each of the response's tokens ends, in characters from the response's start.
    """

    ids: tuple[int, ...]
    start: int
    n_bytes: int
    straddles: bool
    start_token: str
    n_prompt_tokens_cut: int = 0
    n_response_tokens_cut: int = 0
    ends: tuple[int, ...] = ()

    @property
    def n_tokens(self) -> int:
        """Tokens of the response."""
        return len(self.ids) - self.start


class Encoder:
    """A tokenizer with exact offsets, and the rules for BOS, truncation and the boundary.

    Parameters
    ----------
    tokenizer
        A fast tokenizer of `transformers`.
    window
        Longest input of the base model in tokens, None for no limit. A text may have one token more: the last token is
        predicted, never read.
    long_responses
        What to do with a response that does not fit by itself: `exclude` it, or score it up to the limit (`cut`).
    chat
        Whether the template writes the special tokens into the text itself. Otherwise whatever looks like a special
        token in a dataset's text is ordinary text.
    ends
        Whether to say where tokens end.
    """

    def __init__(
        self, tokenizer: Any, window: int | None, long_responses: LongResponses, chat: bool, ends: bool = False
    ) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise CellError(
                f"the tokenizer of {getattr(tokenizer, 'name_or_path', 'this base model')} gives no character offsets "
                "(it is not a fast tokenizer), so the response cannot be found exactly; choose another base model"
            )
        self.window, self.long_responses, self.chat, self.ends = window, long_responses, chat, ends
        self.bos: int | None = tokenizer.bos_token_id
        self.eos: int | None = tokenizer.eos_token_id
        self._start = self.bos if self.bos is not None else self.eos
        self._backend = exact_offsets(tokenizer.backend_tokenizer)
        self._backend.encode_special_tokens = not chat

    def encode(self, prefixes: Sequence[str], responses: Sequence[str]) -> list[Encoded | str]:
        """Tokens of each `prefix + response`, or the reason why it cannot be scored."""
        texts = [p + r for p, r in zip(prefixes, responses, strict=True)]
        found: list[Encoded | str] = []
        # A few at a time: what the tokenizer says of a text takes many times its memory.
        for k in range(0, len(texts), TEXTS_AT_A_TIME):
            part = slice(k, k + TEXTS_AT_A_TIME)
            made = self._backend.encode_batch(texts[part], add_special_tokens=True)
            found += [self._one(e, t, len(p)) for e, t, p in zip(made, texts[part], prefixes[part], strict=True)]
        return found

    def context(self, text: str) -> tuple[int, ...] | str:
        """Tokens of a text that a response is to follow, with the start token; or why nothing can follow it."""
        ids, _, _ = self._begun(self._backend.encode(text, add_special_tokens=True))
        if ids:
            return tuple(ids)
        return NO_START if self._start is None else (self._start,)

    def _begun(self, encoding: Any) -> tuple[list[int], list[tuple[int, int]], int]:
        """Tokens and offsets without what the tokenizer puts after the text, and how many tokens stand before it."""
        ids, offsets = list(encoding.ids), list(encoding.offsets)
        # The mask marks the tokens that the tokenizer adds around a text, not special tokens written in it.
        n_text = len(ids) - sum(encoding.special_tokens_mask)
        head = next((i for i, mask in enumerate(encoding.special_tokens_mask) if not mask), len(ids))
        ids, offsets = ids[: head + n_text], offsets[: head + n_text]
        if self.chat and ids and ids[0] == self.bos:
            if head and ids[head : head + 1] == [self.bos]:
                del ids[head], offsets[head]
            head = max(head, 1)
        return ids, offsets, head

    def _one(self, encoding: Any, text: str, boundary: int) -> Encoded | str:
        ids, offsets, head = self._begun(encoding)
        first = next((i for i in range(head, len(ids)) if offsets[i][1] > boundary), None)
        if first is None:
            return NO_TOKENS
        straddles = offsets[first][0] < boundary
        if first == 0:
            if self._start is None:
                return NO_START
            ids, offsets = [self._start, *ids], [(0, 0), *offsets]
            first = head = 1
        begun = self._name(ids[0]) if head else "none"
        ends = tuple(end - boundary for _, end in offsets[first:]) if self.ends else ()
        whole = Encoded(tuple(ids), first, len(text[boundary:].encode()), straddles, begun, ends=ends)
        return self._fit(whole, head, offsets, text, boundary)

    def _name(self, token: int) -> str:
        return "bos" if token == self.bos else "eos" if token == self.eos else "other"

    def _fit(
        self, whole: Encoded, head: int, offsets: list[tuple[int, int]], text: str, boundary: int
    ) -> Encoded | str:
        """Cut the prompt from its left; a response that is too long by itself is excluded or cut from its right."""
        if self.window is None or len(whole.ids) <= self.window + 1:
            return whole
        ids, first = whole.ids, whole.start
        kept_prompt = self.window + 1 - head - whole.n_tokens
        if kept_prompt >= 0 and head + kept_prompt > 0:
            cut = first - head - kept_prompt
            return replace(whole, ids=ids[:head] + ids[head + cut :], start=first - cut, n_prompt_tokens_cut=cut)
        if self.long_responses == "exclude":
            return TOO_LONG
        context = ids[:head] or ids[first - 1 : first]
        keep = self.window + 1 - len(context)
        while keep > 1 and offsets[first + keep][0] < offsets[first + keep - 1][1]:
            keep -= 1
        return replace(
            whole,
            ids=context + ids[first : first + keep],
            start=len(context),
            n_bytes=len(text[boundary : offsets[first + keep - 1][1]].encode()),
            n_prompt_tokens_cut=first - len(context),
            n_response_tokens_cut=whole.n_tokens - keep,
            ends=whole.ends[:keep],
        )

    def unconditional(self, encoded: Encoded) -> Encoded | str:
        """The same response tokens after BOS (or EOS, where there is no BOS) alone."""
        if self._start is None:
            return NO_START
        ids = (self._start, *encoded.ids[encoded.start :])
        return replace(encoded, ids=ids, start=1, n_prompt_tokens_cut=0, start_token=self._name(self._start))


def exact_offsets(backend: Tokenizer) -> Tokenizer:
    """A copy of a tokenizer whose offsets are never trimmed of white space.

    Byte-level tokenizers often leave a token's leading space out of its offsets, which hides tokens that straddle the
    boundary. The tokens themselves do not change.
    """
    state = json.loads(backend.to_str())

    def untrim(node: Any) -> None:
        if isinstance(node, dict):
            if "trim_offsets" in node:
                node["trim_offsets"] = False
            for value in node.values():
                untrim(value)
        elif isinstance(node, list):
            for value in node:
                untrim(value)

    for part in ("pre_tokenizer", "post_processor", "decoder"):
        untrim(state.get(part))
    state["truncation"] = state["padding"] = None
    return Tokenizer.from_str(json.dumps(state))
