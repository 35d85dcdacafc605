"""Tables that are mostly empty, in a file: of a large tensor of whole numbers, those that are not empty."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

LARGE = 2**16
"""Numbers from which on it is worth while."""
_PLACES, _VALUES = "/places", "/values"


def packed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors for a file; one of few numbers as their places, `NAME/places`, and themselves, `NAME/values`.

    Empty is 0 or -1, what more of its numbers are.

    >>> table = torch.zeros(2**21, dtype=torch.int32)
    >>> table[5] = 7
    >>> found = packed({"table": table})
    >>> {name: t.tolist() for name, t in found.items()}
    {'table/places': [5], 'table/values': [7]}
    >>> torch.equal(unpacked(found, {"table": torch.zeros_like(table)})["table"], table)
    True
    """
    found: dict[str, Tensor] = {}
    for name, t in tensors.items():
        places = _places(t.flatten()) if t.numel() > LARGE and not t.is_floating_point() else None
        if places is None or 4 * len(places) > t.numel():
            found[name] = t
            continue
        kind = torch.int32 if t.numel() < 2**31 else torch.int64
        found |= {name + _PLACES: places.to(kind), name + _VALUES: t.flatten()[places]}
    return found


def _places(numbers: Tensor) -> Tensor:
    """Where numbers `[n]` are not empty."""
    full, other = numbers != 0, numbers != -1
    return (full if full.sum() <= other.sum() else other).nonzero()[:, 0]


def unpacked(tensors: Mapping[str, Tensor], alike: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `packed` made of tensors of such shapes and types, `alike`, which are empty.

    Raises `ValueError` for what it did not make.
    """
    found = {name: t for name, t in tensors.items() if not name.endswith((_PLACES, _VALUES))}
    for name, places in tensors.items():
        if not name.endswith(_PLACES):
            continue
        own = name.removesuffix(_PLACES)
        values, like = tensors.get(own + _VALUES), alike.get(own)
        if values is None or like is None or values.shape != places.shape or values.dtype != like.dtype:
            raise ValueError(f"{own} is not what was written")
        size = like.numel()
        if places.ndim != 1 or places.is_floating_point():
            raise ValueError(f"{own} has places that are none")
        if len(places) and not 0 <= int(places.min()) <= int(places.max()) < size:
            raise ValueError(f"{own} has numbers outside of it")
        whole = like.flatten().clone()
        whole[places.long()] = values
        found[own] = whole.view(like.shape)
    return found
