"""The loop in C++ (`inn/ops/cpu/loop.cpp`): its operators' shapes and gradients, and when it can be used."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.ops.cpu.library import when_loaded, why_not
from inn.ops.cpu.tensors import empty_result, refuse, run
from inn.ops.derivatives import again, beyond
from inn.ops.loop.cells import CELLS
from inn.ops.loop.reference import recurrence_reference
from inn.ops.tensors import keeps, rows

_ROWS, _LINE = 8, 16  # rows in a block and floats in a cache line: BLOCK_ROWS and LINE in the kernel
_SLOTS = {"elman": 1, "gru": 4, "lstm": 4, "slstm": 4, "liquid": 4, "rhn": 2, "lif": 3, "lif-soft": 3}
_WEIGHTS = 5  # that an operator takes at most
_KEPT = 1 << 24  # floats that a call may keep before it computes its steps again: a third of the backward pass's time


def recurrence_cpu(
    cell: str, x: Tensor, state: Tensor, reset: Tensor | None = None, mask: Tensor | None = None, *weights: Tensor
) -> tuple[Tensor, Tensor]:
    """See `recurrence_reference` for shapes and types; the results are the same.

    For the backward pass either every step is kept, or the states before each chunk of steps, which is computed again.
    """
    period, every = 0, False
    if keeps(x, state, *weights):
        period, every = _chunk(cell, x, state, weights)
    if reset is not None:
        reset = reset.expand(x.shape[:2])
    if mask is not None:
        mask = mask.expand(x.shape[: mask.ndim])
    absent = [None] * (_WEIGHTS - len(weights))
    y, last, _ = run(torch.ops.inn.recurrence_fwd, x, state, reset, mask, *weights, *absent, cell, period, every)
    return y, last


def refuses(cell, x, state, reset=None, mask=None, *weights) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    if cell not in _SLOTS and cell != "elm":
        return f"has no kernel of cell '{cell}'"
    if 0 in state.shape or any(0 in w.shape for w in weights):
        return "takes at least one unit and one layer"
    if cell == "rhn" and mask is not None and mask.ndim == 3 and weights[0].shape[-1] != state.shape[-1]:
        return "takes no mask of neurons whose layers hear the population"
    return refuse((x,), (state, *weights)) or why_not()


@when_loaded
def register() -> None:
    """Tell PyTorch the shapes and gradients of the operators; once they are loaded."""
    torch.library.register_fake("inn::recurrence_fwd", _forward_shapes)
    torch.library.register_fake("inn::recurrence_bwd", _backward_shapes)
    torch.library.register_autograd("inn::recurrence_fwd", _backward, setup_context=_save)


def _record(cell, x, state, weights):
    """Floats that are kept of a row's step, of each of its layers, and of the states before it."""
    units = -(-state.shape[3] // _LINE) * _LINE
    heard = 1 if weights[0].shape[-1] == state.shape[3] else x.shape[2]
    states = state.shape[2] * heard * units
    if cell == "elm":
        floats = 3 * units + -(-x.shape[3] // _LINE) * _LINE
    else:
        floats = states + heard * _SLOTS[cell] * units
    return (floats // _LINE | 1) * _LINE, states


def _chunk(cell, x, state, weights):
    """Steps in a chunk, and whether each step is kept."""
    record, _ = _record(cell, x, state, weights)
    record *= _ROWS * (weights[0].shape[1] if cell == "rhn" else 1)
    blocks, _ = _blocks(x, state, weights[0])
    return max(4, min(32, (1 << 17) // record)), blocks * x.shape[1] * record <= _KEPT


def _blocks(x, state, weight):
    """Blocks of rows, and for how many neurons there are weights."""
    batch, _, neurons, _ = x.shape
    sets = weight.shape[0]
    groups, rows_in = (1, batch) if weight.shape[-1] != state.shape[3] else (sets, batch * neurons // sets)
    return groups * -(-rows_in // _ROWS), sets


def _forward_shapes(x, state, reset, mask, w0, w1, w2, w3, w4, cell, period, every):
    time = x.shape[1]
    record, states = _record(cell, x, state, (w0,))
    blocks, sets = _blocks(x, state, w0)
    layers = w0.shape[1] if cell == "rhn" else 1
    floats = 0
    if period:
        floats = time * layers * _ROWS * record if every else -(-time // period) * _ROWS * states
    return (
        empty_result(x, state.shape[3], sets),
        state.new_empty(state.shape, dtype=torch.float32),
        state.new_empty((blocks, floats), dtype=torch.float32),
    )


def _backward_shapes(gy, glast, x, state, reset, mask, w0, w1, w2, w3, w4, kept, cell, period, every):
    dense = [t for t in (state, w0, w1, w2, w3, w4) if t is not None]
    return [torch.empty_like(rows(x)), *(torch.empty_like(t, memory_format=torch.contiguous_format) for t in dense)]


def _save(ctx, inputs, output):
    *tensors, cell, period, every = inputs
    ctx.save_for_backward(*tensors, output[2])
    ctx.how = cell, period, every
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[2])


def _backward(ctx, gy, glast, _):
    *tensors, kept = ctx.saved_tensors
    cell, period, every = ctx.how
    x, state, *_ = tensors
    if beyond(gy, glast) or not period:

        def loop(*given):
            return recurrence_reference(cell, *given[: 4 + CELLS[cell].weights])

        return *again(loop, tensors, (gy, glast)), None, None, None
    if gy is None:
        gy = x.new_zeros(()).expand(*x.shape[:3], state.shape[3])
    gx, gstate, *found = torch.ops.inn.recurrence_bwd(gy.to(x.dtype), glast, *tensors, kept, cell, period, every)
    return gx, gstate, None, None, *found, *([None] * (_WEIGHTS - len(found))), None, None, None
