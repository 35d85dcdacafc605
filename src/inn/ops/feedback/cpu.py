"""The stretch in C++ (`inn/ops/cpu/feedback.cpp`): its operators' shapes and gradients, and when it can be used."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.ops.cpu.library import when_loaded, why_not
from inn.ops.cpu.tensors import refuse, run
from inn.ops.derivatives import again, beyond
from inn.ops.feedback.reference import feedback_reference
from inn.ops.norm.reference import EPSILON
from inn.ops.tensors import keeps, rows

_ROWS, _LINE = 8, 16  # streams in a block and floats in a cache line: BLOCK_ROWS and LINE in the kernel


def feedback_cpu(
    given: Tensor,
    said: Tensor,
    conv: Tensor,
    ssm: Tensor,
    reset: Tensor | None,
    mask: Tensor | None,
    *weights: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See `feedback_reference` for shapes; the results are the same.

    For the backward pass the states before each chunk of steps are kept, which is computed again.
    """
    period = 0
    if keeps(given, said, conv, ssm, *(w for w in weights if w is not None)):
        period = max(8, min(32, (1 << 18) // (_ROWS * 3 * _states(said, conv, ssm))))
    flags = (None if t is None else t.expand(given.shape[:2]) for t in (reset, mask))
    return run(torch.ops.inn.feedback_fwd, given, said, conv, ssm, *flags, *weights, EPSILON, period)[:4]


def refuses(given, said, conv, ssm, reset, mask, *weights) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    if given.dtype != torch.float32:
        return f"takes float32, not {str(given.dtype).removeprefix('torch.')}"
    return refuse((given,), (said, conv, ssm, *(w for w in weights if w is not None))) or why_not()


@when_loaded
def register() -> None:
    """Tell PyTorch the shapes and gradients of the operators; once they are loaded."""
    torch.library.register_fake("inn::feedback_fwd", _forward_shapes)
    torch.library.register_fake("inn::feedback_bwd", _backward_shapes)
    torch.library.register_autograd("inn::feedback_fwd", _backward, setup_context=_save)


def _states(said, conv, ssm):
    """Floats of a stream's states, as the kernel lays them out."""
    D, E = (-(-n // _LINE) * _LINE for n in (said.shape[2], ssm.shape[2]))
    return said.shape[1] * (E * (ssm.shape[3] + conv.shape[2]) + D)


def _forward_shapes(given, said, conv, ssm, reset, mask, *others):
    period = others[-1]
    chunks = -(-given.shape[1] // period) if period else 0
    kept = -(-given.shape[0] // _ROWS) * chunks * _ROWS * _states(said, conv, ssm)
    last = [torch.empty_like(t, dtype=torch.float32, memory_format=torch.contiguous_format) for t in (said, conv, ssm)]
    return given.new_empty(*given.shape[:3], said.shape[2]), *last, said.new_empty(kept, dtype=torch.float32)


def _backward_shapes(gy, gsaid, gconv, gssm, given, *others):
    dense = [t for t in (*others[:3], *others[5:-3]) if t is not None]
    shapes = {"dtype": torch.float32, "memory_format": torch.contiguous_format}
    return [torch.empty_like(rows(given)), *(torch.empty_like(t, **shapes) for t in dense)]


def _save(ctx, inputs, output):
    *tensors, ctx.epsilon, ctx.period = inputs
    ctx.save_for_backward(*tensors, output[4])
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[4])


def _backward(ctx, gy, gsaid, gconv, gssm, _):
    *tensors, kept = ctx.saved_tensors
    gradients = gy, gsaid, gconv, gssm
    if beyond(*gradients) or not ctx.period:
        return *again(feedback_reference, tensors, gradients), None, None
    given, said = tensors[:2]
    if gy is None:
        gy = given.new_zeros(()).expand(*given.shape[:3], said.shape[2])
    found = iter(torch.ops.inn.feedback_bwd(gy, gsaid, gconv, gssm, *tensors, kept, ctx.epsilon, ctx.period))
    # resets and masks have none, nor has a gain or a bias that is not there
    own = [None if i in (4, 5) or t is None else next(found).to(t.dtype) for i, t in enumerate(tensors)]
    return *own, None, None
