"""Loads the compiled kernels when they are first needed, and says why if they cannot be."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable

import torch

from inn.ops.constant import constant
from inn.ops.cpu import build

_tried = threading.Lock()
_reason: str | None = "not tried"
_registrations: list[Callable[[], None]] = []


def when_loaded(register: Callable[[], None]) -> Callable[[], None]:
    """Have a function called once the kernels are loaded: every op tells PyTorch its shapes and gradients there."""
    _registrations.append(register)
    if _reason is None:  # they are, and this op is imported late
        register()
    return register


@constant
def why_not() -> str | None:
    """Return None if the kernels are there, else the reason; the first call builds and loads them.

    If that fails, one warning says so, and calls go on with the `torch` backend.
    """
    global _reason
    if _reason != "not tried":
        return _reason
    with _tried:
        if _reason == "not tried":
            _reason = _load()
    return _reason


def _load() -> str | None:
    if sys.platform == "win32":
        return "not built on Windows"
    try:
        torch.ops.load_library(str(build.library()))
    except (build.BuildError, OSError) as error:
        reason = f"the C++ kernels are not available: {error}"
        warnings.warn(f"{reason} (using slower PyTorch code)", stacklevel=2)
        return reason
    torch.ops.inn.keep_memory()  # see arena.h
    for register in _registrations:
        register()
    return None
