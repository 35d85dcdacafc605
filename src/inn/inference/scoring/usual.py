"""How far a line is from what the lines before it cost."""

from __future__ import annotations

import numpy as np

STANDS_OUT = 8.0
"""Surprise below which no line is flagged."""
ALERTS = 0.01
"""Share of the lines that are flagged at the most, in the long run."""
_MEMORY = 1000
"""Lines that the usual is taken from: the last ones."""
_LEAST = 30
"""Lines before nothing can be said."""
_EVERY = 16
"""Lines after which the usual is looked up again."""
_LEAST_SPREAD = np.array([0.05, 0.5])
"""Bits that nothing is made of: a log of equal lines has no spread, and yet not every other line is news."""


class Usual:
    """What the last lines cost, and how far a new one is from that, in constant memory.

    A line is measured twice: by its bits per symbol, which show a line of an unknown kind, and by its most expensive
    symbol, which shows one wrong word in a line as ever. Each is set against the median of the last 1,000 lines, in
    units of their spread (1.4826 times the median distance from the median, a standard deviation where costs are
    normal); `surprise` is the larger of the two. What was seen once is remembered by the model, and stands out less
    again.

    A line is flagged where its surprise is above 8 and above that of all but a share `alerts` of the last 1,000 lines:
    a log whose ordinary lines vary much raises the bar by itself.

    >>> usual = Usual()
    >>> [usual.surprise(2 + 0.1 * (i % 3), 8) for i in range(40)][-1] < 1
    True
    >>> usual.surprise(2, 20) > STANDS_OUT, usual.surprise(5, 8) > STANDS_OUT
    (True, True)
    """

    def __init__(self, alerts: float = ALERTS) -> None:
        self.alerts = alerts
        self._costs, self._surprises = np.zeros((_MEMORY, 2)), np.zeros(_MEMORY)
        self._seen = 0
        self._middle = self._spread = np.zeros(2)

    @property
    def bar(self) -> float:
        """The surprise above which the next line is flagged."""
        last = self._surprises[: self._seen]
        usual = np.quantile(last, 1 - self.alerts, method="lower") if self._seen else 0.0
        return max(STANDS_OUT, float(usual))

    def surprise(self, rate: float, peak: float) -> float:
        """How unusual a line is whose symbols cost `rate` bits each and `peak` at most; 0 for the first 30 lines."""
        costs = np.array((rate, peak))
        if self._seen >= _LEAST and self._seen % _EVERY == _LEAST % _EVERY:
            last = self._costs[: self._seen]
            self._middle = np.median(last, axis=0)
            distance = np.median(np.abs(last - self._middle), axis=0)
            self._spread = np.maximum(1.4826 * distance, _LEAST_SPREAD)
        surprise = float(((costs - self._middle) / self._spread).max()) if self._seen >= _LEAST else 0.0
        self._costs[self._seen % _MEMORY], self._surprises[self._seen % _MEMORY] = costs, surprise
        self._seen += 1
        return surprise

    def flagged(self, rate: float, peak: float) -> tuple[float, bool]:
        """The surprise of the next line, and whether it is flagged."""
        bar, surprise = self.bar, self.surprise(rate, peak)
        return surprise, surprise > bar
