"""Bits per symbol of a stream of text, line by line, in constant memory."""

from __future__ import annotations

import codecs
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from inn.inference.evaluate import overlapping, text_nats
from inn.inference.scoring.reader import LACKING, LineReader, Piece
from inn.inference.scoring.usual import ALERTS, Usual
from inn.models.sequence import SequenceModel
from inn.nn.modes import as_tokens, device_of
from inn.nn.state import State
from inn.system.errors import InputError

UNKNOWN_BITS = math.log2(0x110000)
"""What a symbol that the vocabulary lacks costs where it counts: one of all the code points of Unicode, 20.1 bits."""
KEPT = 4096
"""Symbols of a line that are kept to be shown; all of them are scored."""


@dataclass
class Line:
    """What a line cost.

    Attributes:
        number: of the line in its text, from 1.
        bits: of all its symbols, its line break included.
        symbols: that were scored; the first of a text never is, for nothing comes before it.
        unknown: of those, the ones that the vocabulary lacks; each cost `UNKNOWN_BITS`.
        peak: bits of its most expensive symbol.
        surprise: how unusual it is among the lines before it (see `Usual`).
        flagged: whether that is worth an alert.
        whole: whether all of its text is kept: `KEPT` symbols are, at most.
    """

    number: int
    bits: float = 0.0
    symbols: int = 0
    unknown: int = 0
    peak: float = 0.0
    surprise: float = 0.0
    flagged: bool = False
    whole: bool = True
    _kept: list[tuple[Piece, np.ndarray]] = field(default_factory=list, repr=False)  # with bits `[n]`, NaN: not scored
    _read: int = 0  # symbols

    @property
    def rate(self) -> float:
        """Bits per symbol; 0 for a line without symbols."""
        return self.bits / self.symbols if self.symbols else 0.0

    @property
    def text(self) -> str:
        """The line without its line break; U+FFFD stands for what is not UTF-8."""
        text = _text(
            b"".join(piece.raw if isinstance(piece.raw, bytes) else _utf8(piece.raw) for piece, _ in self._kept)
        )
        return text.removesuffix("\n").removesuffix("\r")

    def parts(self) -> Iterator[tuple[str, float]]:
        """Yield the text in the parts that were scored, with the bits that each cost: NaN for what was not scored.

        A character of several symbols is one part, and its bits are their sum.
        """
        decoder, held = codecs.getincrementaldecoder("utf-8")("replace"), math.nan
        for piece, bits in self._kept:
            at = 0
            for width, cost in zip(piece.widths.tolist(), bits.tolist()):
                raw, at = piece.raw[at : at + width], at + width
                text = decoder.decode(raw) if isinstance(raw, bytes) else _text(_utf8(raw))
                held = cost if math.isnan(held) else held if math.isnan(cost) else held + cost
                if text:
                    yield text, held
                    held = math.nan
        if rest := decoder.decode(b"", final=True):
            yield rest, held

    def add(self, piece: Piece, bits: np.ndarray) -> None:
        """Take in what follows in the line, and the bits of its symbols."""
        scored = ~np.isnan(bits)
        self.bits += float(bits[scored].sum())
        self.symbols += int(scored.sum())
        self.peak = max(self.peak, float(bits[scored].max(initial=0.0)))
        self.unknown += int((piece.ids == LACKING).sum())
        room = KEPT - self._read
        self._read += len(bits)
        if len(bits) > room:
            self.whole, bits = False, bits[: max(room, 0)]
            widths = piece.widths[: len(bits)]
            piece = Piece(piece.raw[: int(widths.sum())], piece.ids[: len(bits)], widths, False)
        if len(bits):
            self._kept.append((piece, bits))


class LineScorer:
    r"""Scores text that arrives in pieces: every symbol after the first once, the state carried from line to line.

    The sum over a text is what `inn.evaluate` finds in one stream. Symbols are read in windows, as there;
    `flush` reads those that wait for a full one. The state starts afresh; memory does not grow with the text, nor with
    the length of a line.

    Args:
        model: with a `vocabulary`; it is not moved, and is in evaluation mode while it reads.
        window: symbols per forward pass.
        unknown: what happens to symbols that the vocabulary lacks: `count`, `skip` or `error` (see `LineReader`).
        alerts: the share of lines that are flagged at the most, in the long run (see `Usual`).

    Raises `InputError` for a model without a vocabulary, a window below 1, and as `LineReader` does.

    >>> from inn import INN
    >>> from inn.data.vocabulary import build_vocabulary
    >>> model = INN(vocab=4, neurons=2, width=8, rounds=1)
    >>> model.vocabulary = build_vocabulary("characters", "abc\n")
    >>> scorer = LineScorer(model)
    >>> [(line.number, line.text, line.symbols) for line in [*scorer.feed(b"abc\nab"), *scorer.end()]]
    [(1, 'abc', 3), (2, 'ab', 2)]
    """

    def __init__(self, model: SequenceModel, *, window: int = 512, unknown: str = "count", alerts: float = ALERTS):
        if model.vocabulary is None:
            raise InputError("this model has no vocabulary to read with; load a run, or set model.vocabulary")
        if window < 1:
            raise InputError(f"window must be at least 1, not {window}")
        self.model, self.window = model, window
        self.bits, self.symbols, self.unknown, self.lines, self.flagged = 0.0, 0, 0, 0, 0
        self._reader = LineReader(model.vocabulary, unknown)
        self._usual = Usual(alerts)
        self._state: State | None = None
        self._last: int | None = None  # the symbol that the next one follows
        self._pieces: deque[Piece] = deque()  # read, and not in a line yet
        self._ids: list[np.ndarray] = []  # their symbols that were not scored yet ...
        self._known = 0  # ... and how many of those the vocabulary has
        self._scored = np.zeros(0)  # bits of the symbols before them
        self._line = Line(1)

    def feed(self, data: bytes) -> Iterator[Line]:
        """Take in bytes; yield every line that whole windows complete. To be iterated to its end."""
        for piece in self._reader.feed(data):
            yield from self._take(piece)

    def flush(self) -> Iterator[Line]:
        """Yield every line that has arrived whole: nothing more comes soon. To be iterated to its end.

        Sub-words that could still reach over the last line break are read as they are.
        """
        for piece in self._reader.feed(b"", rest=self._reader.reaches_over):
            yield from self._take(piece)
        ends = [i for i, piece in enumerate(self._pieces, start=1) if piece.ends]
        if ends:
            symbols = sum(len(piece.ids) for _, piece in zip(range(ends[-1]), self._pieces))
            yield from self._score(symbols - len(self._scored))

    def end(self) -> Iterator[Line]:
        """Yield the lines that are left: the text is over. To be iterated to its end."""
        for piece in self._reader.end():
            yield from self._take(piece)
        yield from self._score(sum(map(len, self._ids)))
        if self._line._read:
            yield self._close()

    def _take(self, piece: Piece) -> Iterator[Line]:
        self._pieces.append(piece)
        self._ids.append(piece.ids)
        self._known += int((piece.ids >= 0).sum())
        if self._known > self.window:
            yield from self._score()

    def _score(self, symbols: int | None = None) -> Iterator[Line]:
        """Score so many symbols, or all that fill whole windows; yield the lines that are then complete."""
        ids = np.concatenate([np.zeros(0, np.int64), *self._ids])
        known = np.flatnonzero(ids >= 0)
        if symbols is None:
            first = self._last is None  # it opens a window and is not scored
            count = (len(known) - first) // self.window * self.window + first
            symbols = int(known[count - 1]) + 1
        else:
            count = int(np.searchsorted(known, symbols))
        bits = np.where(ids[:symbols] == LACKING, UNKNOWN_BITS, math.nan)
        if count:
            bits[known[:count]] = self._cost(ids[known[:count]])
        self._ids, self._known = [ids[symbols:]], len(known) - count
        self._scored = np.concatenate((self._scored, bits))
        at = 0
        while self._pieces and at + len(self._pieces[0].ids) <= len(self._scored):
            piece = self._pieces.popleft()
            self._line.add(piece, self._scored[at : at + len(piece.ids)])
            at += len(piece.ids)
            if piece.ends:
                yield self._close()
        self._scored = self._scored[at:]

    def _cost(self, symbols: np.ndarray) -> np.ndarray:
        """Bits of symbols that follow what was read before: `[n]` float64, NaN for the first of a text."""
        read = np.concatenate((symbols[:0] if self._last is None else [self._last], symbols))
        unscored, self._last = [math.nan] * (self._last is None), int(symbols[-1])
        windows = overlapping(as_tokens(read, device_of(self.model))[None], self.window)
        bits = [np.array(unscored)]
        for nats, state in text_nats(self.model, windows, self._state):
            bits.append(nats[0].numpy() / math.log(2))
            self._state = state
        return np.concatenate(bits)

    def _close(self) -> Line:
        line, self._line = self._line, Line(self._line.number + 1)
        if line.symbols:
            line.surprise, line.flagged = self._usual.flagged(line.rate, line.peak)
            self.flagged += line.flagged
        self.bits += line.bits
        self.symbols += line.symbols
        self.unknown += line.unknown
        self.lines += 1
        return line


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
