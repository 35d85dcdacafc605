"""One stream of text: what was asked for, where it stands, and what it tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor

from inn.data.base import Decoder, Vocabulary
from inn.nn.state import State
from inn.server.draws import Draws
from inn.system.errors import InputError

CHUNK = 64
"""Symbols of prompts that are read between two steps: the others wait for them no longer than for a step or two."""

MANY = 512
"""The same of short prompts where more streams begin than write: read together they take less time than one by one."""

BEGIN = 2
"""Streams whose prompts are read between two steps while more write, so that these wait for little more than a step."""


class Full(InputError):
    """As many streams wait as may; ask again later."""


class Busy(InputError):
    """A conversation that somebody is writing in."""


@dataclass
class Ask:
    """What a stream is to do.

    Attributes:
        prompt: symbols to read, at least one, or none where a conversation goes on.
        tokens: symbols to write, at most.
        draws: how they are drawn; used up.
        stop: texts that end the stream; they are not part of what it tells.
        top: how many of the likeliest symbols are told with their log-probabilities; None: no log-probabilities.
        score: whether the log-probabilities of the prompt's symbols are told, too.
        conversation: the name under which the state is kept at the end, and found at the beginning.
        seconds: how long the stream may take from when it was asked for.
        silent: symbols at the beginning of the prompt that are no part of the text, like the one an empty prompt has.
    """

    prompt: Sequence[int]
    tokens: int
    draws: Draws
    stop: Sequence[str] = ()
    top: int | None = None
    score: bool = False
    conversation: str | None = None
    seconds: float = float("inf")
    silent: int = 0


@dataclass(frozen=True)
class Chance:
    """A symbol, its log-probability (None for the first of a text) and those of the likeliest, by symbol."""

    symbol: int
    logprob: float | None
    top: dict[int, float]


@dataclass(frozen=True)
class Piece:
    """Text that a stream has written; it may be empty, and tells of the symbols `chances`, where that was asked for."""

    text: str
    chances: tuple[Chance, ...] = ()


@dataclass(frozen=True)
class End:
    """The end of a stream.

    Attributes:
        reason: `stop`, `length`, `timeout`, `cancelled`, `refused` (what was asked for cannot be) or `error`.
        written: symbols written.
        read: symbols of the prompt.
        sentence: what was wrong, for people.
        continued: whether it went on with a conversation that was kept.
    """

    reason: str
    written: int
    read: int
    sentence: str = ""
    continued: bool = False


Event = Piece | End


class Stop:
    """A text that ends others, sought character by character (Knuth, Morris & Pratt 1977).

    Attributes:
        met: how many of its characters the text that was read ends with.
    """

    def __init__(self, text: str):
        self.text, self.met = text, 0
        self._shorter = [0]  # of its first n + 1 characters, the longest proper beginning that they end with
        for character in text[1:]:
            self._shorter.append(self._after(self._shorter[-1], character))

    def _after(self, met: int, character: str) -> int:
        while met and self.text[met] != character:
            met = self._shorter[met - 1]
        return met + (self.text[met] == character)

    def feed(self, character: str) -> bool:
        """Whether the text ends with it now, for the first time."""
        self.met = self._after(self.met, character)
        return self.met == len(self.text)


class Text:
    """The text of a stream as it grows, which ends where the first of some texts is complete.

    What may be the beginning of such a text is held back until it is clear that it is not.

    >>> text = Text(["END"])
    >>> [text.feed(piece) for piece in ("a", "E", "N", "x", "E", "ND", "y")], text.ended
    (['a', '', '', 'ENx', '', '', ''], True)
    """

    def __init__(self, stop: Sequence[str]):
        self.stops, self.held, self.ended = [Stop(one) for one in stop], "", False

    def feed(self, piece: str) -> str:
        """What can be told now."""
        if self.ended:
            return ""
        if not self.stops:
            return piece
        for at, character in enumerate(piece, len(self.held) + 1):
            if complete := [len(stop.text) for stop in self.stops if stop.feed(character)]:
                told, self.held, self.ended = (self.held + piece)[: at - max(complete)], "", True
                return told
        self.held += piece
        cut = len(self.held) - max(stop.met for stop in self.stops)
        told, self.held = self.held[:cut], self.held[cut:]
        return told

    def rest(self) -> str:
        """What was held back, when no more comes."""
        rest, self.held = self.held, ""
        return rest


@dataclass(eq=False)
class Stream:
    """A stream that an engine works on; `events` is what it tells, where nothing else takes it.

    Attributes:
        pending: the symbol written last, which the model has not read yet; None where there is none.
        logits: `[V]` after all that was read; None before.
        cancelled: set from any thread to end it.
    """

    ask: Ask
    vocabulary: Vocabulary
    deadline: float
    events: SimpleQueue[Event] = field(default_factory=SimpleQueue)
    owner: Any = None
    state: State | None = None
    pending: int | None = None
    logits: Tensor | None = None
    at: int = 0
    written: int = 0
    cancelled: bool = False
    continued: bool = False

    def __post_init__(self) -> None:
        self.decoder: Decoder = self.vocabulary.decoder()
        self.text = Text(self.ask.stop)

    @property
    def next(self) -> Sequence[int]:
        """What it reads next: the symbol that it wrote last, or the next ones of its prompt; nothing at the end."""
        return self.ask.prompt[self.at : self.at + CHUNK] if self.pending is None else [self.pending]

    @property
    def whole(self) -> bool:
        """Whether it is new and reads all of its prompt at once, which is then done where it is to write."""
        return self.state is None and self.ask.tokens > 0 and 0 < len(self.ask.prompt) <= CHUNK

    @property
    def why(self) -> tuple[str, str]:
        """The reason, and a sentence, for ending it where nobody waits for it any longer."""
        if self.cancelled:
            return "cancelled", "nobody waits for this any longer"
        return "timeout", f"this took longer than {self.ask.seconds:g} seconds; ask for fewer symbols"

    @property
    def kind(self) -> tuple[bool, bool, int]:
        """What streams that are read together have alike: `whole`, whether it is their prompts, and how much it is."""
        return self.whole, self.pending is None, len(self.next)


def alike(waiting: Sequence[Stream], writers: int) -> list[Stream]:
    """The first of some streams, and others of its kind: what is read between two steps.

    They are at most `BEGIN`, with `CHUNK` symbols together. Where more streams begin with their `whole` prompts than
    there are `writers`, such may have `MANY` symbols, however many they are: all wait less then, and few do at all.
    """
    if not waiting:
        return []
    first = waiting[0]
    many, size = sum(stream.whole for stream in waiting) > writers, max(1, len(first.next))
    room = MANY // size if many and first.whole else min(BEGIN, CHUNK // size)
    return list(islice((stream for stream in waiting if stream.kind == first.kind), room))


def chances_of(logits: Tensor, symbols: Sequence[int], top: int) -> list[Chance]:
    """What rows of logits `[n, V]` say of the symbols that follow them, in nats."""
    logprobs = logits.double().log_softmax(-1)
    own = logprobs.gather(-1, torch.tensor(symbols)[:, None])[:, 0].tolist()
    best = logprobs.topk(min(top, logprobs.shape[-1]), -1)
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    tops = [dict(zip(ids, values, strict=True)) for ids, values in pairs]
    return [Chance(*one) for one in zip(symbols, own, tops, strict=True)]
