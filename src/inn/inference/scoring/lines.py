"""Bits per symbol of a stream of text, line by line, in constant memory."""

from __future__ import annotations

import codecs
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from inn.inference.scoring.keys import KEYS, check_keys, finder, key_of
from inn.inference.scoring.reader import LACKING, LineReader, Piece
from inn.inference.scoring.readings import BITS, CHANCE, LIKELY, Readings, unscored
from inn.inference.scoring.usual import ALERTS, Usual
from inn.models.sequence import SequenceModel
from inn.system.errors import InputError

UNKNOWN_BITS = math.log2(0x110000)
"""What a symbol that the vocabulary lacks costs where it counts: one of all the code points of Unicode, 20.1 bits."""
KEPT = 4096
"""Symbols of a line that are kept to be shown, and that its key is looked for in; all of them are scored."""
_BLOCK = 1 << 13  # bytes that are turned into symbols at once
_CONTINUE = bytes(range(0x80, 0xC0))  # what goes on with a character in UTF-8


@dataclass
class Line:
    """What a line cost.

    Attributes:
        number: of the line in its text, from 1.
        bits: of all its symbols, its line break included.
        symbols: that were scored; the first of a text never is, for nothing comes before it.
        unknown: of those, the ones that the vocabulary lacks; each cost `UNKNOWN_BITS`.
        peak: bits of its most expensive symbol.
        symbol: that symbol's text, what does not show as `\\n` or `\\xe2`; empty where none was scored.
        column: the place of that symbol in the line, in characters from 1; 0 where none was scored.
        expected: the text of what was most likely in its place; empty for a symbol that the vocabulary lacks.
        chance: the probability that this had.
        key: whose state the line was read in; None without keys, and for lines that have none.
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
    symbol: str = ""
    column: int = 0
    expected: str = ""
    chance: float = 0.0
    key: str | None = None
    _kept: list[tuple[Piece, np.ndarray]] = field(default_factory=list, repr=False)  # with bits `[n]`, NaN: not scored
    _read: int = 0  # symbols
    _characters: int = 0
    _likely: int = -1

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

    def add(self, piece: Piece, costs: np.ndarray) -> None:
        """Take in what follows in the line, and what its symbols cost (`Readings`)."""
        bits = costs[BITS]
        scored = ~np.isnan(bits)
        self.bits = float(np.cumsum(np.append(self.bits, bits[scored]))[-1])  # one by one: the same for any pieces
        self.symbols += int(scored.sum())
        self.unknown += int((piece.ids == LACKING).sum())
        if scored.any() and (not self.column or np.nanmax(bits) > self.peak):
            self._point(piece, costs, int(np.nanargmax(bits)))
        self._characters += _characters(piece.raw)
        room = KEPT - self._read
        self._read += len(bits)
        if len(bits) > room:
            self.whole, bits = False, bits[: max(room, 0)]
            widths = piece.widths[: len(bits)]
            piece = Piece(piece.raw[: int(widths.sum())], piece.ids[: len(bits)], widths, False)
        if len(bits):
            self._kept.append((piece, bits))

    def _point(self, piece: Piece, costs: np.ndarray, at: int) -> None:
        """Name the symbol at this place of the piece as the most expensive one."""
        start, width = int(piece.widths[:at].sum()), int(piece.widths[at])
        raw = piece.raw[start : start + width]
        if isinstance(raw, str):  # a word has the white space before it in what it takes
            start, raw = start + len(raw) - len(raw.lstrip() or raw), _utf8(raw.strip() or raw)
        self.peak, self.chance, self._likely = float(costs[BITS, at]), float(costs[CHANCE, at]), int(costs[LIKELY, at])
        self.symbol, self.column = shown(raw), self._characters + _characters(piece.raw[: start + 1])


class LineScorer:
    r"""Scores text that arrives in pieces: every symbol after the first once, the state carried from line to line.

    The sum over a text is what `inn.evaluate` finds in one stream. Symbols are read in windows, as there;
    `flush` reads those that wait for a full one. The state starts afresh; memory does not grow with the text, nor with
    the length of a line.

    With `key`, lines are of several streams that are mixed in one text, as those of processes or hosts are: each line
    is read after those of its own key, in a state of its own, and the tables of what is recalled are shared
    (`Readings`). A line is then read when it has ended, in windows of its own.

    Args:
        model: with a `vocabulary`; it is not moved, and is in evaluation mode while it reads.
        window: symbols per forward pass.
        unknown: what happens to symbols that the vocabulary lacks: `count`, `skip` or `error` (see `LineReader`).
        alerts: the share of lines that are flagged at the most, in the long run (see `Usual`).
        key: a regular expression: the key of a line is what its first group matches, or all of it where it has none.
            It is searched for in the first `KEPT` symbols; lines without a match share a state.
        keys: keys whose states are kept; of more, the one that was not read for longest is forgotten.

    Raises `InputError` for a model without a vocabulary, a window or keys below 1, a key that is no regular expression,
    and as `LineReader` does.

    >>> from inn import INN
    >>> from inn.data.vocabulary import build_vocabulary
    >>> model = INN(vocab=4, neurons=2, width=8, rounds=1)
    >>> model.vocabulary = build_vocabulary("characters", "abc\n")
    >>> scorer = LineScorer(model)
    >>> [(line.number, line.text, line.symbols) for line in [*scorer.feed(b"abc\nab"), *scorer.end()]]
    [(1, 'abc', 3), (2, 'ab', 2)]
    """

    def __init__(
        self,
        model: SequenceModel,
        *,
        window: int = 512,
        unknown: str = "count",
        alerts: float = ALERTS,
        key: str | None = None,
        keys: int = KEYS,
    ):
        if model.vocabulary is None:
            raise InputError("this model has no vocabulary to read with; load a run, or set model.vocabulary")
        if window < 1:
            raise InputError(f"window must be at least 1, not {window}")
        check_keys(keys)
        self.model, self.window = model, window
        self.bits, self.symbols, self.unknown, self.lines, self.flagged = 0.0, 0, 0, 0, 0
        self._reader = LineReader(model.vocabulary, unknown)
        self._usual = Usual(alerts)
        self._key = None if key is None else finder(key)
        self._keyed = False  # whether the key of the line is known
        self._readings = Readings(model, window, keys)
        self._pieces: deque[Piece] = deque()  # read, and not in a line yet
        self._ids: list[np.ndarray] = []  # their symbols that were not scored yet ...
        self._known = 0  # ... and how many of those the vocabulary has
        self._scored = unscored(0)  # costs of the symbols before them
        self._line = Line(1)

    def feed(self, data: bytes) -> Iterator[Line]:
        """Take in bytes; yield every line that whole windows complete. To be iterated to its end."""
        for at in range(0, len(data), _BLOCK):
            for piece in self._reader.feed(data[at : at + _BLOCK]):
                yield from self._take(piece)

    @property
    def keys(self) -> int:
        """Keys whose states are kept now."""
        return len(self._readings)

    @property
    def forgotten(self) -> int:
        """How often a key's state was forgotten, to make room for another's."""
        return self._readings.forgotten

    def flush(self) -> Iterator[Line]:
        """Yield every line that has arrived whole: nothing more comes soon. To be iterated to its end.

        Sub-words that could still reach over the last line break are read as they are.
        """
        for piece in self._reader.feed(b"", rest=self._reader.reaches_over):
            yield from self._take(piece)
        ends = [i for i, piece in enumerate(self._pieces, start=1) if piece.ends]
        if ends:
            symbols = sum(len(piece.ids) for _, piece in zip(range(ends[-1]), self._pieces))
            yield from self._score(symbols - self._scored.shape[1])

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
        if self._known > self._together:
            yield from self._score()
        if self._key is not None and piece.ends:
            yield from self._score(sum(map(len, self._ids)))

    @property
    def _together(self) -> int:
        """Symbols that are read together before a line has ended: a line with a key is read apart from others."""
        return self.window if self._key is None else KEPT

    def _score(self, symbols: int | None = None) -> Iterator[Line]:
        """Score so many symbols, or all that fill whole windows; yield the lines that are then complete."""
        self._find_key()
        ids = np.concatenate([np.zeros(0, np.int64), *self._ids])
        known = np.flatnonzero(ids >= 0)
        if symbols is None:
            first = self._readings.of(self._line.key).last is None  # it opens a window and is not scored
            count = (len(known) - first) // self._together * self._together + first
            symbols = int(known[count - 1]) + 1
        else:
            count = int(np.searchsorted(known, symbols))
        costs = unscored(symbols)
        costs[BITS, ids[:symbols] == LACKING] = UNKNOWN_BITS
        if count:
            costs[:, known[:count]] = self._readings.cost(ids[known[:count]], self._line.key)
        self._ids, self._known = [ids[symbols:]], len(known) - count
        self._scored = np.concatenate((self._scored, costs), 1)
        at = 0
        while self._pieces and at + len(self._pieces[0].ids) <= self._scored.shape[1]:
            piece = self._pieces.popleft()
            self._line.add(piece, self._scored[:, at : at + len(piece.ids)])
            at += len(piece.ids)
            if piece.ends:
                yield self._close()
        self._scored = self._scored[:, at:]

    def _find_key(self) -> None:
        """Look for the key of the line in its first `KEPT` symbols, once they are all there, or the line has ended."""
        if self._key is None or self._keyed:
            return
        head, self._keyed = Line(0), True
        for piece in self._pieces:
            head.add(piece, unscored(len(piece.ids)))
        self._line.key = key_of(self._key, head.text)

    def _close(self) -> Line:
        line, self._line, self._keyed = self._line, Line(self._line.number + 1), False
        if line._likely >= 0 and self.model.vocabulary is not None:
            line.expected = shown(self.model.vocabulary.decode_bytes([line._likely]))
        if line.symbols:
            line.surprise, line.flagged = self._usual.flagged(line.rate, line.peak)
            self.flagged += line.flagged
        self.bits += line.bits
        self.symbols += line.symbols
        self.unknown += line.unknown
        self.lines += 1
        return line


def shown(symbol: bytes) -> str:
    r"""The text of a symbol; what does not show, and bytes that are no text, by their numbers.

    >>> shown("é".encode()), shown(b"\xc3"), shown(b"\n")
    ('é', '\\xc3', '\\n')
    """
    text = symbol.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _characters(raw: str | bytes) -> int:
    """How many characters begin in a part of a text."""
    return len(raw) if isinstance(raw, str) else len(raw.translate(None, _CONTINUE))


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
