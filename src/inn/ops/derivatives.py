"""Derivatives that the kernels do not have: of second order, forward, and under the transforms of `torch.func`.

A kernel knows its own gradient, once, in reverse. Where more is asked for, the op is run by PyTorch's own operations
instead: before the forward pass `dispatch` passes the kernels over, and in a backward pass `again` takes their place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch._C._functorch as functorch
from torch import Tensor
from torch.autograd import forward_ad

from inn.ops.constant import constant

_transforms = functorch.peek_interpreter_stack


@constant
def transformed() -> bool:
    """Whether a transform of `torch.func` (`vmap`, `grad`, `jvp`, ...) or forward-mode differentiation is in force."""
    return forward_ad._current_level >= 0 or _transforms() is not None


def derived(*tensors: Tensor) -> bool:
    """Whether a derivative by one of these may be asked for; of a forward one `requires_grad` says nothing."""
    return transformed() or (torch.is_grad_enabled() and any(t.requires_grad for t in tensors))


def readable(t: Tensor) -> bool:
    """Whether Python may look at a tensor's numbers: not while something is traced or transformed, nor without any."""
    return not (torch.compiler.is_compiling() or transformed() or t.is_meta or type(t) is not Tensor)


def beyond(*gradients: Tensor | None) -> bool:
    """Whether a backward pass is to be differentiated again (`create_graph`), batched or otherwise transformed."""
    if torch.is_grad_enabled() or transformed():
        return True
    if torch.compiler.is_compiling():  # whoever compiles does not batch
        return False
    batched = functorch.is_legacy_batchedtensor  # by `is_grads_batched`
    return any(batched(g) for g in gradients if g is not None)


def again(
    run: Callable, inputs: Sequence[Tensor | None], gradients: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    """The gradients of `run(*inputs)` by PyTorch's own operations, which can be differentiated, batched and so on.

    Args:
        run: the op in operations that PyTorch can differentiate; it returns one tensor or several.
        inputs: what the forward pass was given.
        gradients: of its results; None where a result was not used.

    Returns one for each input; None for those without any.
    """
    with torch.enable_grad():
        # Names of their own: the inputs may depend on one another, and no gradient may go beyond them.
        own = [t.view_as(t) if t is not None and t.requires_grad else t for t in inputs]
        results = run(*own)
        results = results if isinstance(results, tuple) else (results,)
        used = [(y, g.to(y.dtype)) for y, g in zip(results, gradients) if g is not None and y.requires_grad]
        wanted = [t for t in own if t is not None and t.requires_grad]
        ys, gs = zip(*used)
        found = iter(torch.autograd.grad(ys, wanted, gs, create_graph=True, allow_unused=True))
        return tuple(next(found) if t is not None and t.requires_grad else None for t in own)
