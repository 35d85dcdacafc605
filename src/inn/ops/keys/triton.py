"""Keys of contexts in Triton (kernels in `triton_kernels.py`), and when it can be used."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inn.ops import gpu
from inn.ops.keys.history import look_back, side_by_side
from inn.ops.keys.reference import Spec, check
from inn.ops.keys.torch import start

_STEPS = 128  # of a program


def keys_triton(
    tokens: Tensor,
    recent: Tensor,
    specs: Sequence[Spec],
    letters: Tensor | None = None,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """See `keys_reference`; the results are the same. Symbols are laid side by side, histories are not laid out."""
    check(specs, recent.shape[1], letters)
    text, at, first = side_by_side(tokens, recent, reset, mask)
    numbers = [number for spec in specs for number in (*spec, start(spec))]
    before, after = torch.ops.inn.triton_keys(text, at, first, numbers, letters)
    return before, after, look_back(text, at[:, -1:], first[:, -1:], recent.shape[1])[:, 0]


def refuses(tokens, recent, specs, letters=None, reset=None, mask=None) -> str | None:
    """Why these tensors cannot go to the Triton kernel, or None."""
    return gpu.refuse_whole((tokens, recent))


@torch.library.custom_op(
    "inn::triton_keys",
    mutates_args=(),
    schema="(Tensor text, Tensor at, Tensor first, int[] specs, Tensor? letters) -> (Tensor, Tensor)",
)
def _keys(text, at, first, specs, letters):
    from inn.ops.keys.triton_kernels import keys_forward

    before, after = _shapes(text, at, first, specs, letters)
    batch, time, contexts = before.shape
    if before.numel():
        blocks = -(-time // _STEPS)
        gpu.launch(
            keys_forward, 2 * batch * blocks * contexts, text, at.contiguous(), first.contiguous(),
            torch.tensor(specs, device=text.device), text if letters is None else gpu.flags(letters), before, after,
            time, contexts, text.shape[1] - 1 - time, 0 if letters is None else len(letters), blocks, BLOCK=_STEPS,
            num_warps=4,
        )  # fmt: skip
    return before, after


@_keys.register_fake
def _shapes(text, at, first, specs, letters):
    before = text.new_empty((at.shape[0], at.shape[1] - 1, len(specs) // 4))
    return before, torch.empty_like(before)
