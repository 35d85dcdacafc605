"""A range coder (Martin 1979; Subbotin's carries): symbols to bytes and back, by integer shares of 2**32.

Of our own because a file must open where it was not written: integers in, bytes out, nothing compiled, no float
between a model's shares and the file, and no library whose next version writes otherwise.
"""

from __future__ import annotations

import numpy as np

BITS = 32
TOTAL = 1 << BITS
"""What the shares of all symbols add up to."""
_WIDTH = 64
_MASK = (1 << _WIDTH) - 1
_LEAST = 1 << (_WIDTH - 8)  # of the range: it loses less than 2**-24 of itself to rounding with each symbol


def whole_shares(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn predictions into whole numbers that a coder can use.

    Args:
        logits: `[B, V]` of any float type, finite.

    Returns:
        int64 `[B, V]` shares, each at least 1, each row adding up to 2**32; and the float64 `[B, V]` probabilities
        that they stand for, softmax(logits).

    Raises `ValueError` where a prediction is not finite.

    >>> whole_shares(np.array([[0.0, 0.0, -100.0]]))[0].tolist()
    [[2147483648, 2147483647, 1]]
    """
    scores = logits.astype(np.float64)
    if not np.isfinite(scores).all():
        raise ValueError("the model predicts what is no number")
    chances = np.exp(scores - scores.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    counts = np.floor(chances * (TOTAL - chances.shape[1])).astype(np.int64) + 1
    counts[np.arange(len(counts)), counts.argmax(axis=1)] += TOTAL - counts.sum(axis=1)
    return counts, chances


def shares_of(odds: np.ndarray) -> np.ndarray:
    """Turn whole odds into shares, by whole numbers alone: the same on every machine.

    Args:
        odds: `[B, V]` int64 from 0 to 2**30, not all 0 in a row.

    Returns:
        int64 `[B, V]`, each at least 1, each row adding up to 2**32.

    >>> shares_of(np.array([[2, 1, 1, 0]])).tolist()
    [[2147483647, 1073741824, 1073741824, 1]]
    """
    counts = odds * (TOTAL - odds.shape[1]) // odds.sum(axis=1, keepdims=True) + 1
    counts[np.arange(len(counts)), counts.argmax(axis=1)] += TOTAL - counts.sum(axis=1)
    return counts


class RangeEncoder:
    """Writes symbols, each as the stretch `[start, start + share)` of `[0, 2**32)`.

    >>> encoder = RangeEncoder()
    >>> for start, share in [(0, 1 << 31), (1 << 31, 1 << 31)]:  # a bit each
    ...     encoder.put(start, share)
    >>> encoder.finish().hex()
    '40'
    """

    def __init__(self) -> None:
        self._low, self._range, self._out = 0, _MASK, bytearray()

    def put(self, start: int, share: int) -> None:
        """Write one symbol; `share` is above 0."""
        unit = self._range >> BITS
        self._low += unit * start
        self._range = unit * share
        while self._range < _LEAST:
            self._shift()

    def finish(self) -> bytes:
        """The bytes of all symbols; as few as tell the last of them, since what follows reads as zeros."""
        for left in range(_WIDTH, -1, -8):
            value = -(-self._low >> left) << left  # the next number with so many zeros at its end
            if value < self._low + self._range:
                self._low = value
                break
        while self._low & _MASK:
            self._shift()
        self._carry()
        return bytes(self._out)

    def _shift(self) -> None:
        self._carry()
        self._out.append(self._low >> (_WIDTH - 8))
        self._low = (self._low << 8) & _MASK
        self._range <<= 8

    def _carry(self) -> None:
        if self._low > _MASK:
            self._low &= _MASK
            at = len(self._out) - 1
            while self._out[at] == 0xFF:
                self._out[at] = 0
                at -= 1
            self._out[at] += 1


class RangeDecoder:
    """Reads back what an `RangeEncoder` wrote: `get` with the same shares, in the same order."""

    def __init__(self, content: bytes):
        self._content, self._at = content, _WIDTH // 8
        self._code = int.from_bytes(content[: self._at].ljust(self._at, b"\0"), "big")
        self._range = _MASK

    @property
    def beyond(self) -> bool:
        """Whether more was read than any content of this length holds; what follows it reads as zeros."""
        return self._at > len(self._content) + 2 * _WIDTH // 8

    def get(self, ends: np.ndarray) -> int:
        """Read one symbol; `ends` `[V]` are the sums of the shares up to and with each symbol."""
        unit = self._range >> BITS
        symbol = int(np.searchsorted(ends, min(self._code // unit, TOTAL - 1), side="right"))
        start = int(ends[symbol - 1]) if symbol else 0
        self._code -= unit * start
        self._range = unit * (int(ends[symbol]) - start)
        while self._range < _LEAST:
            byte = self._content[self._at] if self._at < len(self._content) else 0
            self._code, self._range, self._at = (self._code << 8 | byte) & _MASK, self._range << 8, self._at + 1
        return symbol
