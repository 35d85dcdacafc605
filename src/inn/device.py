"""From a name on the command line to a `torch.device` that is really there."""

from __future__ import annotations

import torch

from inn.errors import InputError


def resolve_device(name: str = "auto") -> torch.device:
    """Return the device called `name`: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.

    `auto` takes the first that is there of cuda, mps, cpu. Raises `InputError` for a name that means nothing here
    or a device that this machine or this PyTorch does not have.

    >>> resolve_device("cpu")
    device(type='cpu')
    """
    mps = torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    kind, colon, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (colon and (kind != "cuda" or not index.isdecimal())):
        raise InputError(f"device cannot be '{name}'; choose auto, cpu, cuda, cuda:1 (2, ...) or mps")
    if kind == "mps" and not mps:
        raise InputError("device 'mps' is not available on this machine; use --device cpu")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            why = "no CUDA device was found" if torch.version.cuda else "this PyTorch was built without CUDA"
            raise InputError(f"device '{name}' is not available: {why}; use --device cpu")
        if index and int(index) >= count:
            raise InputError(f"device '{name}' is not available: the CUDA devices here are 0 to {count - 1}")
    return torch.device(name)
