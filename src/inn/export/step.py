"""One step of a model as a program of PyTorch's own operations: symbols and states in, logits and states out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from inn.models.inn import RECALL
from inn.models.organs import FIT
from inn.models.sequence import SequenceModel
from inn.models.signal import SignalModel
from inn.nn.state import Key, State
from inn.ops.dispatch import use_backend
from inn.system.errors import InputError

SYMBOL, LOGITS, NEXT = "symbol", "logits", "next."
"""The names of what goes in and comes out, and what stands before the name of a part of the state that comes out."""
_STREAMS = 2  # of the example that is traced; one would be taken for a constant


@dataclass(frozen=True)
class Program:
    """One step of a model, exported.

    Attributes:
        exported: `symbol [B], state...` -> `logits [B, V], state...`, with any number of streams B.
        names: of the parts of the state, in their order.
        state: that a stream starts from, by name, each `[1, ...]`: what the model recalls of its training text, else
            nothing read.
    """

    exported: ExportedProgram
    names: list[str]
    state: dict[str, Tensor]


class Step(nn.Module):
    """A step of a model between plain tensors, as exporters take it."""

    def __init__(self, model: SequenceModel, keys: list[Key]):
        super().__init__()
        self.model, self.keys = model, keys

    def forward(self, symbol: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Logits and the state after a symbol."""
        logits, after = self.model.step(symbol, State(dict(zip(self.keys, state, strict=True))))
        # Dense, as they go in again: what is compiled takes the strides of the example for granted.
        return logits, *(after[key].contiguous() for key in self.keys)


def part_name(key: Key) -> str:
    """The name of a part of a state outside this library.

    >>> part_name((0, "ssm")), part_name((-1, "table"))
    ('round0.ssm', 'recall.table')
    """
    return {RECALL: "recall", FIT: "fit"}.get(key[0], f"round{key[0]}") + f".{key[1]}"


def stepped(model: SequenceModel, table: Mapping[Any, Callable] | None = None) -> Program:
    """One step of a model as a program without an operator of this library.

    Args:
        model: on the CPU, in evaluation mode.
        table: how operations are taken apart, by operation; None: as PyTorch does.

    Raises `InputError` where a part of the model cannot be exported.

    >>> import inn
    >>> program = stepped(inn.INN(vocab=9, neurons=2, width=8, rounds=1, recall=[]).eval())
    >>> program.names
    ['round0.conv', 'round0.ssm']
    """
    if isinstance(model, SignalModel):
        raise InputError(f"a model of kind '{model.config.kind}' reads signals, not symbols; export it by --to hf")
    start = model.initial_state(_STREAMS)
    keys, batch = list(start), Dim("batch", min=1)
    sizes = {SYMBOL: {0: batch}, "state": tuple({0: batch} for _ in keys)}
    example = torch.zeros(_STREAMS, dtype=torch.long), tuple(start.values())
    try:
        with quiet(), torch.no_grad(), use_backend("torch"):
            exported = torch.export.export(Step(model, keys), example, dynamic_shapes=sizes)
            exported = exported.run_decompositions(None if table is None else dict(table))
    except InputError:
        raise
    except Exception as error:  # whatever a tracer stumbles over, of a part of somebody else's too
        raise InputError(
            f"{_where(model, error.__traceback__)} cannot be exported: its step depends on values that are not known "
            f"beforehand ({type(error).__name__}); train a model without it, or load the run by inn.load"
        ) from error
    _check_own(exported)
    state = model.initial_state(1) if model.experience is None else model.experience
    return Program(exported, [part_name(key) for key in keys], {part_name(key): state[key] for key in keys})


def _check_own(exported: ExportedProgram) -> None:
    """Raise `InputError` where an operator that is not PyTorch's is left."""
    for node in exported.graph.nodes:
        name = str(node.target)
        if node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload) and name[:5] != "aten.":
            modules = [*(node.meta.get("nn_module_stack") or {"": ("", "the model")}).values()]
            raise InputError(
                f"{modules[-1][0].removeprefix('model.') or 'the model'} cannot be exported: it needs the operator "
                f"'{name}', which other programs do not have; train a model without it, or load the run by inn.load"
            )


def _where(model: SequenceModel, traceback: TracebackType | None) -> str:
    """The innermost part of a model that a traceback passes through."""
    names, found = {id(m): name for name, m in model.named_modules() if name}, f"a {type(model).__name__}"
    while traceback is not None:
        own = traceback.tb_frame.f_locals.get("self")
        if id(own) in names:
            found = f"'{names[id(own)]}' ({type(own).__name__})"
        traceback = traceback.tb_next
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings and no log of what exporters do inside."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
