"""From a model to a plain program: its step is traced as for other exports, and what is known is known exactly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.utils._pytree import tree_map

from inn.export.elements import (
    clamped,
    converted,
    embedded,
    filled,
    gathered,
    indexed,
    item,
    nothing,
    same,
    seen,
    selected,
)
from inn.export.exact.functions import KEPT
from inn.export.exact.plain import plain
from inn.export.exact.run import Streams
from inn.export.lowering import Lowering, Value
from inn.export.program import Buffer, Program, View, strides_of
from inn.export.several import copied, joined, overwritten, padded
from inn.export.trace import program_of
from inn.models.sequence import SequenceModel
from inn.nn.recall.base import Recall

_MOVES = frozenset((seen, same, nothing, item, clamped, converted, filled, embedded, indexed, gathered, selected))
_MOVES |= frozenset((copied, joined, overwritten, padded))


class Exact(Lowering):
    """A lowering that leaves no arithmetic to PyTorch but what IEEE 754 leaves it no choice in.

    Whatever hangs on weights alone is computed once, while a step is lowered: by a plain program, too. How a function
    is taken apart is not left to PyTorch either, whose versions differ in it.
    """

    whole = ("silu", "softplus", "log_sigmoid_forward")

    def folded(self, node: Node, name: str, args: Any, kwargs: Any) -> Value:
        fn, lower = name.partition(".")[0], self.operations.get(name)
        given: list[Tensor] = []
        tree_map(lambda one: given.append(one) if isinstance(one, Tensor) else None, (args, kwargs))
        real = any(t.is_floating_point() for t in given)
        if not real or lower is None or lower in _MOVES or (fn in KEPT and kwargs.get("alpha", 1) == 1):
            return super().folded(node, name, args, kwargs)
        low = type(self)(self.model, self.operations, self.unfolded)
        low.part = self.part
        known: dict[int, View] = {}

        def seen_as(one: Any) -> Any:
            if not isinstance(one, Tensor):
                return one
            if id(one) not in known:
                known[id(one)] = low.view(one)
            return known[id(one)]

        found = lower(low, node, *tree_map(seen_as, args), **tree_map(seen_as, kwargs))
        return tree_map(lambda one: self._number(low, one) if isinstance(one, View) else one, found)

    def _number(self, low: Lowering, view: View) -> Tensor:
        """What a program without inputs gives there."""
        out = Buffer("logits", "output", (view.buffer.size,), view.dtype)
        whole = View(view.buffer, out.shape, strides_of(out.shape))
        before = len(low.ops)
        low.copy(whole, View(out, out.shape, strides_of(out.shape)))
        symbol = Buffer("symbol", "input", (1,), "int64")
        numbers = Streams(plain(Program(symbol, out, [], {}, low.ops)), 1).step(torch.zeros(1).numpy())["logits"][0]
        del low.ops[before:]
        made = torch.from_numpy(numbers.copy()).to(getattr(torch, view.dtype))
        return made.as_strided(view.shape, view.strides, view.offset)


def plain_program(model: SequenceModel) -> Program:
    """What a step of a model does, in plain operations; what it recalls is found outside, and given as controls.

    Args:
        model: on the CPU, in evaluation mode.

    Raises `InputError` for a model that cannot be traced, and for an operation without a form that is the same on every
    machine.

    >>> import inn
    >>> program = plain_program(inn.INN(vocab=5, neurons=2, width=8, rounds=1, slots=64).eval())
    >>> [control.name for control in program.controls], program.told[0].name
    (['found'], 'odds')
    """
    recall = getattr(model, "recall", None)
    found = None
    if isinstance(recall, Recall):
        found = recall.find_(torch.zeros(1, 1, dtype=torch.int64), recall.initial_state(1))
    return plain(program_of(model, found=found, lowering=Exact))
