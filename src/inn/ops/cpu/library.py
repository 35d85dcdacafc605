"""Loads the compiled kernels when they are first needed, and says why if they cannot be."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import warnings

import torch

from inn.ops.cpu import build

_tried = threading.Lock()
_reason: str | None = "not tried"


@torch.compiler.assume_constant_result
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
    _keep_memory()
    if sys.platform == "win32":
        return "not built on Windows"
    try:
        torch.ops.load_library(str(build.library()))
    except (build.BuildError, OSError) as error:
        reason = f"the C++ kernels are not available: {error}"
        warnings.warn(f"{reason} (using slower PyTorch code)", stacklevel=2)
        return reason
    from inn.ops.attention import cpu as attention
    from inn.ops.conv import cpu as conv
    from inn.ops.scan import cpu as scan

    attention.register()
    conv.register()
    scan.register()
    return None


def _keep_memory() -> None:
    """Have freed memory kept for the next buffer instead of given back to the system (glibc; process-wide).

    glibc maps each buffer above 32 MB afresh, and gives back what is free at the end of the heap. Every step then pays
    for mapping and clearing its pages again: measured, as much time as the scan itself. Kept memory shows as resident,
    at the level of the largest step so far. Whoever has chosen malloc settings in the environment is left alone.
    """
    chosen = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES", "LD_PRELOAD")
    if not sys.platform.startswith("linux") or any(name in os.environ for name in chosen):
        return
    trim_threshold, mmap_threshold, mmap_max = -1, -3, -4  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return
    mallopt(trim_threshold, -1)  # never
    if not mallopt(mmap_threshold, 1 << 30):
        mallopt(mmap_max, 0)  # before glibc 2.35 the threshold cannot be raised that far; then nothing is mapped
