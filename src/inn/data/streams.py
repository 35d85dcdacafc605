"""Streams: symbols cut into windows for training, from a position that can be stored and taken up again."""

from __future__ import annotations

import mmap
from bisect import bisect_right
from collections.abc import Mapping
from functools import cached_property
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from inn.data.shards import Shards
from inn.system.errors import InputError, nearest

if TYPE_CHECKING:
    from torch import Tensor

ORDERS = ("contiguous", "forward", "shuffled", "random")
STRETCH = 4096
"""Windows of a stretch that is shuffled; fewer where a stream would read less than 8 stretches in a pass."""
SEGMENT = 2**18
"""Symbols of a segment, at least, where the text is read forward."""
_RELEASE = 32 << 20  # bytes read from a memory map after which its pages are let go


class Batch(NamedTuple):
    """One window of every stream, or one sequence of a task in every row.

    Attributes:
        inputs: `[B, T]` int64; of a signal `[B, T, F]` float32.
        targets: `[B, T]` int64: the symbol after each input; of a task its targets, also `[B, T, O]` float32.
        reset: `[B]` bool: rows that begin somewhere new, so that their state starts afresh before the window; None
            where no row does.
        weights: `[B]` what a row counts; None where all count the same.
    """

    inputs: Tensor
    targets: Tensor
    reset: Tensor | None
    weights: Tensor | None = None
    starts: np.ndarray | None = None
    """`[B]` where in the text each window starts; None of a task."""


def text_read(symbols: np.ndarray | Shards, batch: int, window: int, order: str, count: int) -> np.ndarray:
    """The text that training on `count` symbols reads: the start of each stream's part, stream after stream.

    The whole text for a pass and more; the first `count` symbols where windows are not read in the order of the text.

    >>> text_read(np.arange(10), 2, 2, "contiguous", 4).tolist()
    [0, 1, 5, 6]
    """
    if count >= len(symbols) or order != "contiguous":
        return symbols[:count]
    part, each = len(symbols) // batch, -(-count // (batch * window)) * window
    return np.concatenate([symbols[at : at + min(each, part)] for at in range(0, part * batch, part)])


def check_position(state: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """Raise `InputError` where a stored position belongs to other data, or was read otherwise, than `fixed` says."""
    for name, value in fixed.items():
        if state.get(name) != value:
            raise InputError(
                f"the stored position in the data is for {name} {state.get(name)}, not {value};"
                " resume with the data settings of the run"
            )


class Streams:
    """Windows of T symbols from B places of a text.

    `contiguous`: the text is cut into B parts of equal length; stream b reads part b from its start, window after
    window, each going on where the last one ended, and at the part's end begins it again with `reset` set. A pass
    reads every symbol of a part once, except that up to T - 1 symbols that fill no window are left out: at the part's
    end in the first pass, at its start in the second, and so on in turn, so that no symbol is left out for ever.
    (The text's last n mod B symbols belong to no part.)

    `forward`: the text is cut into segments of 2^18 symbols or more, one after the other; each is read as `contiguous`
    reads a whole text. So what was read before is, but for a segment, what stands before in the text.

    `shuffled`: the text is cut into stretches of many windows, in an order that `seed` and the number of the pass
    decide; each stream reads its share of them, with `reset` set where one begins. Streams change over at different
    times. What fills no stretch, and stretches beyond a multiple of B, are left out, others in every pass.

    `random`: every window starts anywhere, drawn from `seed` and the number of the window; every row resets.

    Example:
        >>> streams = Streams(np.arange(10), batch=2, window=2)
        >>> batch = streams.next()
        >>> batch.inputs.tolist(), batch.targets.tolist(), batch.reset.tolist()
        ([[0, 1], [5, 6]], [[1, 2], [6, 7]], [True, True])
        >>> streams.next().reset is None
        True
    """

    def __init__(
        self,
        symbols: np.ndarray | Shards,
        batch: int,
        window: int,
        order: str = "contiguous",
        seed: int = 0,
        *,
        rows: slice = slice(None),
        name: str = "the text",
    ):
        """Cut a text.

        Args:
            symbols: `[n]` of any integer type; memory maps are read window by window.
            batch: streams side by side (B).
            window: symbols of a stream per window (T).
            order: `contiguous`, `forward`, `shuffled` or `random`.
            seed: of the random windows, and of the order of the stretches.
            rows: which of the streams are read, where several processes share them; the position is the same in all.
            name: what the text is called where it is too short.

        Raises `InputError` where a stream would be shorter than a window and the symbol after it.
        """
        if order not in ORDERS:
            raise InputError(f"order cannot be '{order}'{nearest(order, ORDERS)}")
        for what, value in (("batch", batch), ("window", window)):
            if value < 1:
                raise InputError(f"{what} must be at least 1, not {value}")
        self.symbols, self.batch, self.window, self.order, self.seed = symbols, batch, window, order, seed
        self.length = len(symbols) if order == "random" else len(symbols) // batch
        """Symbols of one stream's part."""
        if self.length < window + 1:
            each = f", {self.length:,} for each of {batch} streams" if order != "random" else ""
            raise InputError(
                f"{name} has {len(symbols):,} symbols{each}, and a window needs {window + 1:,} ({window:,} and the"
                " symbol after); lower --data.window or --data.batch, or use a longer text"
            )
        self.stretch = max(1, min(STRETCH, (self.length - 1) // window // 8))
        """Windows of a stretch that is shuffled."""
        least = max(SEGMENT, batch * (window + 1))
        count = max(1, len(symbols) // least) if order == "forward" else 1
        self.edges = [i * len(symbols) // count for i in range(count + 1)]
        """Where the segments of a text that is read forward begin, and the last one ends."""
        self._rows = rows
        self._orders: dict[int, np.ndarray] = {}
        self._windows = 0  # read so far; with the arguments above, the whole position
        self._unreleased = 0

    @property
    def windows_per_pass(self) -> int:
        """Windows of a stream in one pass over its part; for `random`, as many as cover as much text."""
        if self.order == "shuffled":
            return self._stretches // self.batch * self.stretch
        if self.order == "forward":
            return self._forward_ends[-1]
        return max(1, (self.length - 1) // (self.window * (1 if self.order == "contiguous" else self.batch)))

    @property
    def passes(self) -> int:
        """Passes over the text that are complete."""
        return self._windows // self.windows_per_pass

    def next(self) -> Batch:
        """Read the next window of every stream; there is always one."""
        import torch  # here, so that the corpora can be listed without waiting for it

        if self.order == "shuffled":
            starts, fresh = self._shuffled()
        elif self.order == "forward":
            starts, fresh = self._forward()
        elif self.order == "contiguous":
            passes, k = divmod(self._windows, self.windows_per_pass)
            left_out = self.length - 1 - self.windows_per_pass * self.window
            first = (left_out if passes % 2 else 0) + k * self.window
            starts = np.arange(self.batch) * self.length + first
            fresh = np.full(self.batch, k == 0)
        else:
            draw = np.random.default_rng([self.seed, self._windows])
            starts = draw.integers(0, self.length - self.window, size=self.batch)
            fresh = np.full(self.batch, True)
        self._windows += 1
        starts, fresh = starts[self._rows], fresh[self._rows]
        block = np.empty((len(starts), self.window + 1), dtype=np.int64)
        for row, start in zip(block, starts.tolist()):
            row[:] = self.symbols[start : start + self.window + 1]
        self._release_pages(block.size * self.symbols.dtype.itemsize)
        whole = torch.from_numpy(block)
        reset = torch.from_numpy(fresh) if fresh.any() else None
        return Batch(whole[:, :-1].contiguous(), whole[:, 1:].contiguous(), reset, starts=starts)

    def _forward(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each stream's next window starts, and whether a segment begins."""
        at = self._windows % self._forward_ends[-1]
        segment = bisect_right(self._forward_ends, at)
        k = at - (self._forward_ends[segment - 1] if segment else 0)
        begin, end = self.edges[segment : segment + 2]
        starts = begin + np.arange(self.batch) * ((end - begin) // self.batch) + k * self.window
        return starts, np.full(self.batch, k == 0)

    @cached_property
    def _forward_ends(self) -> list[int]:
        """The number of windows in the segments up to and with each."""
        parts = [(b - a) // self.batch for a, b in pairwise(self.edges)]
        return list(accumulate((part - 1) // self.window for part in parts))

    @property
    def _stretches(self) -> int:
        """Stretches that the text is cut into."""
        return (len(self.symbols) - 1) // (self.stretch * self.window)

    def _shuffled(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each stream's next window starts, and which of them begin a stretch."""
        streams = np.arange(self.batch)
        turn, k = np.divmod(self._windows + streams * self.stretch // self.batch, self.stretch)
        each = self._stretches // self.batch
        spare = len(self.symbols) - 1 - self._stretches * self.stretch * self.window
        starts = np.empty(self.batch, dtype=np.int64)
        for b, passes, place in zip(streams, *np.divmod(turn, each)):
            stretch = self._order(int(passes))[place * self.batch + b]
            # What fills no stretch is left out at the end in one pass, at the start in the next.
            starts[b] = (stretch * self.stretch + k[b]) * self.window + (spare if passes % 2 else 0)
        return starts, (k == 0) | (self._windows == 0)

    def _order(self, passes: int) -> np.ndarray:
        """The order of the stretches in a pass."""
        if passes not in self._orders:
            self._orders = {number: order for number, order in self._orders.items() if number == passes - 1}
            self._orders[passes] = np.random.default_rng([self.seed, passes]).permutation(self._stretches)
        return self._orders[passes]

    def state_dict(self) -> dict[str, Any]:
        """The position, as plain data; streams of the same text, given it, go on with the same windows."""
        return {"windows": self._windows, **self._fixed()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position; raises `InputError` where it belongs to another text or other windows."""
        check_position(state, self._fixed())
        self._windows = int(state["windows"])

    def _fixed(self) -> dict[str, Any]:
        return {
            "symbols": len(self.symbols),
            "batch": self.batch,
            "window": self.window,
            "order": self.order,
            "seed": self.seed,
        }

    def _release_pages(self, read: int) -> None:
        """Give back the pages of a memory map that were read, so that a pass over it does not make it resident."""
        self._unreleased += read * (16 if self.order == "random" else 1)  # a random read brings in its neighbours
        if self._unreleased < _RELEASE:
            return
        self._unreleased = 0
        for part in self.symbols.parts if isinstance(self.symbols, Shards) else [self.symbols]:
            owner: Any = None if part.flags.writeable else part  # what can be written could be lost
            while isinstance(owner, np.ndarray):
                owner = owner.base
            if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                owner.madvise(mmap.MADV_DONTNEED)
