"""Keys of contexts in C++ (`inn/ops/cpu/keys.cpp`), and when it can be used."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inn.ops.cpu.library import when_loaded, why_not
from inn.ops.keys.reference import Spec, check


def keys_cpu(
    tokens: Tensor,
    recent: Tensor,
    specs: Sequence[Spec],
    letters: Tensor | None = None,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """See `keys_reference`; the results are the same. No history is laid out."""
    check(specs, recent.shape[1], letters)
    return torch.ops.inn.keys(tokens, recent, [number for spec in specs for number in spec], letters, reset, mask)


def refuses(tokens, recent, specs, letters=None, reset=None, mask=None) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    for t in (tokens, recent):
        if not t.is_cpu:
            return f"takes tensors on the CPU, not on {t.device.type}"
        if t.dtype != torch.int64:
            return f"takes int64 symbols, not {t.dtype}"
    return why_not()


@when_loaded
def register() -> None:
    """Tell PyTorch the operator's shapes; once it is loaded."""

    def shapes(tokens, recent, specs, *others):
        found = [tokens.new_empty(*tokens.shape, len(specs) // 3) for _ in range(2)]
        return *found, recent.new_empty(recent.shape)

    torch.library.register_fake("inn::keys", shapes)
