"""Answers as OpenAI's clients read them."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from inn.data.base import Decoder, Vocabulary
from inn.server.streams import Chance, End

REASONS = {"stop": "stop", "length": "length"}


def symbol_text(vocabulary: Vocabulary, symbol: int) -> str:
    r"""A symbol as text; `bytes:\xc3` where it is a piece of a character, as OpenAI's servers write it."""
    text = vocabulary.decode([symbol])
    if "\ufffd" not in text:
        return text
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in vocabulary.decode_bytes([symbol]))


def namer(vocabulary: Vocabulary) -> Callable[[int], str]:
    """`symbol_text` that makes each symbol's text once: a scored answer names a hundred thousand."""
    return cache(partial(symbol_text, vocabulary))


@dataclass
class Choice:
    """One choice of an answer as it grows.

    Attributes:
        decoder: what tells how much text each symbol is, where log-probabilities are asked for; else None.
        name: see `namer`.
    """

    index: int
    name: Callable[[int], str]
    decoder: Decoder | None
    offset: int = 0
    text: str = ""
    chances: list[Chance] = field(default_factory=list)
    end: End | None = None

    def take(self) -> dict[str, Any]:
        """What has come since it was last taken."""
        found = {
            "index": self.index,
            "text": self.text,
            "logprobs": None if self.decoder is None else self._scores(self.decoder),
            "finish_reason": None if self.end is None else REASONS.get(self.end.reason),
        }
        self.text, self.chances = "", []
        return found

    def _scores(self, decoder: Decoder) -> dict[str, list[Any]]:
        offsets, name = [], self.name
        for chance in self.chances:
            offsets.append(self.offset)
            self.offset += len(decoder.feed(chance.symbol))
        return {
            "tokens": [name(c.symbol) for c in self.chances],
            "token_logprobs": [c.logprob for c in self.chances],
            "top_logprobs": [{name(i): p for i, p in c.top.items()} if c.top else None for c in self.chances],
            "text_offset": offsets,
        }


class Answer:
    """What all parts of one answer have in common."""

    def __init__(self, model: str):
        self.head = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model,
        }
        self._open = _text(self.head)[:-1] + b", "  # the same in every part

    def whole(self, choices: Sequence[Choice], conversation: str | None) -> bytes:
        """The answer at once."""
        more = {} if conversation is None else {"conversation": conversation_of(conversation, choices)}
        tree = {**self.head, "choices": [c.take() for c in choices], "usage": usage_of(choices), **more}
        # Piece by piece, which is slower: encoded in one go, a long answer would keep all threads waiting.
        return "".join(_JSON.iterencode(tree)).encode("utf-8", "replace")

    def part(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        """A part of an answer that comes bit by bit."""
        text = _text({"choices": choices, **more})
        return b"data: " + self._open + text[1:] + b"\n\n"


def usage_of(choices: Sequence[Choice]) -> dict[str, int]:
    """Symbols read and written."""
    ends = [c.end for c in choices if c.end is not None]
    read, written = sum(e.read for e in ends), sum(e.written for e in ends)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def conversation_of(name: str, choices: Sequence[Choice]) -> dict[str, Any]:
    """Whether the conversation went on, or began."""
    return {"id": name, "continued": any(c.end is not None and c.end.continued for c in choices)}


def event(value: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + _text(value) + b"\n\n"


_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def _text(value: dict[str, Any]) -> bytes:
    return _JSON.encode(value).encode("utf-8", "replace")


DONE = b"data: [DONE]\n\n"


def error(sentence: str, kind: str, code: str | None = None) -> dict[str, Any]:
    """An error."""
    return {"error": {"message": sentence, "type": kind, "param": None, "code": code}}
