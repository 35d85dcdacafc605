"""For the kernels: memory that is not written first is poison, and one way to run an op with all its gradients."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import pytest
import torch
from torch import Tensor


@pytest.fixture(autouse=True, scope="module")
def poisoned_memory():
    """`torch.empty` is NaN, and memory that C++ takes for itself is huge numbers (where the C library can do that)."""
    M_PERTURB = -6
    mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda *_: 0)
    mallopt(M_PERTURB, 1)  # every byte 0xfe: -1.7e38 as a float
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(before)
    mallopt(M_PERTURB, 0)


def with_gradients(run: Callable, tensors: list[Tensor], *options: Tensor | None, seed: int = 0) -> list[Tensor]:
    """Both results of `run(*tensors, *options)`, and the gradients of a random weighting of them, one per tensor."""
    leaves = [t.detach().requires_grad_() for t in tensors]
    results = run(*leaves, *options)
    g = torch.Generator().manual_seed(seed)
    weights = [torch.randn(r.shape, generator=g, dtype=torch.float64).to(r.dtype) for r in results]
    used = [(r, w) for r, w in zip(results, weights, strict=True) if r.requires_grad]  # not where all is masked out
    gradients = [None] * len(leaves)
    if used:
        gradients = torch.autograd.grad([r for r, _ in used], leaves, [w for _, w in used], allow_unused=True)
    found = [torch.zeros_like(t) if g is None else g for t, g in zip(leaves, gradients, strict=True)]
    return [*(r.detach() for r in results), *found]


def close(
    ours: list[Tensor], bar: list[Tensor], names: str, tolerance: float, single: list[Tensor] | None = None
) -> None:
    """Fail unless each tensor equals the bar's to `tolerance` times the bar's largest number.

    `single` is what the reference makes of the same in float32: where that is off by more (a gradient of 1e-20 that
    went through exp(-50)), four times its error is as good as float32 gets.
    """
    for name, a, b, c in zip(names.split(), ours, bar, single or bar, strict=True):
        assert a.shape == b.shape, name
        assert a.isfinite().all(), f"{name} is not finite"
        limit = tolerance * max(b.abs().max().item() if b.numel() else 0.0, 1e-30)
        if single is not None and b.numel():
            limit = max(limit, 4 * (c.double() - b.double()).abs().max().item())
        if b.numel() < 16:  # with so few, all may be small by cancellation; what is added up is of size one
            limit = max(20 * limit, tolerance)
        error = (a.double() - b.double()).abs().max().item() if b.numel() else 0.0
        assert error <= limit, f"{name} is off by {error:.3g}, more than {limit:.3g}"


def laid_out(t: Tensor, how: str) -> Tensor:
    """The same numbers `[B, T, N, E]` in memory as models have them: dense, by neuron, or half of a wider map."""
    if how == "neurons":
        return t.permute(2, 0, 1, 3).contiguous().permute(1, 2, 0, 3)
    if how == "half":
        return torch.cat((torch.full_like(t, torch.nan), t), -1).chunk(2, -1)[1]
    if how == "half-neurons":
        return laid_out(torch.cat((t, torch.full_like(t, torch.nan)), -1), "neurons").chunk(2, -1)[0]
    if how == "channels":  # the last axis not dense: has to be copied
        return t.transpose(1, 3).contiguous().transpose(1, 3)
    return t.contiguous()


@pytest.fixture(scope="session")
def kit():
    """`with_gradients`, `close` and `laid_out`, for tests that cannot import from here."""
    return with_gradients, close, laid_out
