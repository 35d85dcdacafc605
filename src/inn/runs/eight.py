"""Weights in 8 bits: whole numbers and a scale for each row, and how they stand in a file."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from inn.system.errors import InputError

_SCALE = "/scale"
FEW = 1024
"""Tensors of fewer numbers stay as they are."""


def quantised(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices `[..., O, I]` as int8 and a scale for each row `[..., O]`, symmetric.

    >>> quantised(torch.tensor([[[1.0, -2.0]]]))[0].tolist()
    [[[64, -127]]]
    """
    scales = matrices.abs().amax(-1) / 127
    return (matrices / scales.clamp_min(1e-30)[..., None]).round().clamp(-127, 127).to(torch.int8), scales


def narrowed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors for a file: of large ones of real numbers int8, and `NAME/scale` for their rows.

    >>> found = narrowed({"w": torch.linspace(-1, 1, 2048).view(2, 1024), "b": torch.ones(2)})
    >>> {name: (t.dtype, tuple(t.shape)) for name, t in found.items()}
    {'w': (torch.int8, (2, 1024)), 'w/scale': (torch.float32, (2,)), 'b': (torch.float32, (2,))}
    >>> widened(found)["w"][1, -1].item()
    1.0
    """
    found: dict[str, Tensor] = {}
    for name, t in tensors.items():
        found[name] = t
        if t.is_floating_point() and t.ndim > 1 and t.numel() >= FEW:
            found[name], found[name + _SCALE] = quantised(t.float())
    return found


def widened(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `narrowed` made of tensors, float32 again; others as they are.

    Raises `InputError` for scales of rows that are not there.
    """
    found = {name: t for name, t in tensors.items() if not name.endswith(_SCALE)}
    for name, scales in tensors.items():
        if name.endswith(_SCALE):
            own = found.get(name.removesuffix(_SCALE))
            if own is None or own.dtype != torch.int8 or own.shape[:-1] != scales.shape:
                raise InputError(f"'{name}' scales no rows of 8 bits; restore the file from a copy")
            found[name.removesuffix(_SCALE)] = own.float() * scales[..., None]
    return found
