"""A small typed program: what one step of a model does, in loops over numbers and a few named operations.

It knows of no language, and of PyTorch only the tensors that weights are given as. A printer (`inn.export.c`) turns it
into code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from torch import Tensor

PAD = 8
"""Rows of what linear maps give are padded to a multiple of so many numbers, so that loops over them have no rest."""


@dataclass(eq=False)
class Buffer:
    """A dense array with a name.

    Attributes:
        kind: `input`, `state`, `weight`, `work` (lives within a step) or `output`.
        shape: its axes.
        dtype: `float32`, `float64`, `int64`, `int32`, `uint8` or `bool`.
        data: a weight's numbers, or a state's at the beginning.
        linear: a weight that is a linear map `[P, O, I]`, whose layout the printer chooses.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    data: Tensor | None = None
    linear: bool = False

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return prod(self.shape)


@dataclass(frozen=True)
class View:
    """Some numbers of a buffer, in an order: where they stand is `offset` + the sum of index x stride."""

    buffer: Buffer
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    def __post_init__(self) -> None:
        # Of an axis of one number the step is 0, so that equal views are equal.
        steps = tuple(0 if size == 1 else step for size, step in zip(self.shape, self.strides, strict=True))
        object.__setattr__(self, "strides", steps)

    @property
    def dtype(self) -> str:
        return self.buffer.dtype

    @property
    def dense(self) -> bool:
        """Whether the numbers stand side by side, in order."""
        return self.strides == strides_of(self.shape) or all(
            size == 1 or own == step for size, own, step in zip(self.shape, self.strides, strides_of(self.shape))
        )

    @property
    def whole(self) -> bool:
        """Whether each number of its buffer is there, once."""
        sized = sorted((step, size) for size, step in zip(self.shape, self.strides) if size > 1)
        expected = 1
        for step, size in sized:
            if step != expected:
                return False
            expected *= size
        return self.offset == 0 and expected == self.buffer.size

    def squeezed(self, shape: Sequence[int]) -> View:
        """Without the axes that are 1 in `shape`."""
        return self.axes([axis for axis, size in enumerate(shape) if size != 1])

    def axes(self, order: Sequence[int]) -> View:
        """These axes in this order; along others only the first numbers."""
        shape, steps = tuple(self.shape[a] for a in order), tuple(self.strides[a] for a in order)
        return View(self.buffer, shape, steps, self.offset)

    def broadcast(self, shape: Sequence[int]) -> View:
        """The same numbers for a larger shape, as PyTorch broadcasts."""
        missing = len(shape) - len(self.shape)
        steps = [0] * missing
        steps += [0 if own == 1 else step for own, step in zip(self.shape, self.strides)]
        return View(self.buffer, tuple(shape), tuple(steps), self.offset)


@dataclass(frozen=True)
class Take:
    """Numbers of `view` whose place also depends on numbers: each of `picks` is (whole numbers, stride, size)."""

    view: View
    picks: tuple[tuple[View, int, int], ...]

    @property
    def dtype(self) -> str:
        return self.view.dtype


Operand = View | Take | int | float | bool


@dataclass(frozen=True)
class Map:
    """An elementwise function: `output[i] = fn(inputs[i]...)`, computed in the type `dtype`; all have one shape."""

    fn: str
    inputs: tuple[Operand, ...]
    output: View
    dtype: str
    part: str

    def reads(self) -> Iterator[View]:
        """What it reads."""
        for one in self.inputs:
            if isinstance(one, Take):
                yield one.view
                yield from (index for index, _, _ in one.picks)
            elif isinstance(one, View):
                yield one

    def writes(self) -> Iterator[View]:
        """What it writes."""
        yield self.output


@dataclass(frozen=True)
class Call:
    """A named operation on views (None: an input is left out); it reads and writes `changes`, only writes `outputs`."""

    name: str
    inputs: tuple[Any, ...]
    outputs: tuple[View, ...]
    options: dict[str, Any]
    part: str
    changes: tuple[View, ...] = ()

    def reads(self) -> Iterator[View]:
        """What it reads."""
        yield from (one for one in (*self.inputs, *self.changes) if one is not None)

    def writes(self) -> Iterator[View]:
        """What it writes."""
        yield from (*self.outputs, *self.changes)


@dataclass(frozen=True)
class Loop:
    """Maps over one shape, done together element by element; buffers in `inner` live within an element only."""

    shape: tuple[int, ...]
    maps: tuple[Map, ...]
    inner: frozenset[Buffer]

    @property
    def part(self) -> str:
        return self.maps[0].part

    def reads(self) -> Iterator[View]:
        """What it reads from outside."""
        return (v for m in self.maps for v in m.reads() if v.buffer not in self.inner)

    def writes(self) -> Iterator[View]:
        """What is to be seen outside."""
        return (v for m in self.maps for v in m.writes() if v.buffer not in self.inner)


Op = Map | Call | Loop


@dataclass
class Program:
    """One step of a model, for one stream.

    Attributes:
        symbol: the symbol that is read, one whole number.
        logits: what is predicted.
        states: what is carried, changed by `ops`; `data` is what it is at the beginning.
        carried: the same as the model has it, by round and part.
        ops: what is done, in order.
        controls: inputs beside the symbol.
        told: outputs beside the logits.
    """

    symbol: Buffer
    logits: Buffer
    states: list[Buffer]
    carried: dict[tuple[int, str], View]
    ops: list[Op] = field(default_factory=list)
    controls: list[Buffer] = field(default_factory=list)
    told: list[Buffer] = field(default_factory=list)

    @property
    def weights(self) -> list[Buffer]:
        """All weights that are read, in the order of their first use."""
        return self._read("weight")

    @property
    def work(self) -> list[Buffer]:
        """All arrays that live within a step, in the order of their first use."""
        return self._read("work")

    def _read(self, kind: str) -> list[Buffer]:
        found: dict[Buffer, None] = {}
        for op in self.ops:
            for view in (*op.writes(), *op.reads()):
                if view.buffer.kind == kind:
                    found.setdefault(view.buffer)
        return list(found)


def padded_to(size: int) -> int:
    """A size with its padding.

    >>> padded_to(19)
    24
    """
    return -(-size // PAD) * PAD


def strides_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of a dense array.

    >>> strides_of((2, 3, 4))
    (12, 4, 1)
    """
    steps, step = [], 1
    for size in reversed(shape):
        steps.append(step)
        step *= size
    return tuple(reversed(steps))
