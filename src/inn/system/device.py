"""From a name on the command line to a `torch.device` that is really there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from inn.system.errors import InputError


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


@contextmanager
def quick_products() -> Iterator[None]:
    """A context in which products of float32 matrices take the fastest way there is, bfloat16 inside where that is it.

    Sums stay float32. For statistics and the like, which a rounding of every factor by one part in 512 does not change.
    Where there are no matrix units for bfloat16 it may be float32 all the same, and faster still: on AMD's processors
    it is oneDNN's product in place of MKL's.

    >>> with quick_products():
    ...     torch.get_float32_matmul_precision()
    'medium'
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def good_threads() -> int:
    """The number of CPU threads to compute with: one for each physical core that this process may use.

    Two logical cores of one physical core share its arithmetic, which is what the kernels are bound by: a second thread
    adds nothing but traffic. A container's share of the machine counts too. `OMP_NUM_THREADS`, and a machine that does
    not say what its cores are (not Linux), leave the choice to PyTorch.

    >>> good_threads() >= 1
    True
    """
    if os.environ.get("OMP_NUM_THREADS") or not hasattr(os, "sched_getaffinity"):
        return torch.get_num_threads()
    cores = len({_physical_core(cpu) for cpu in os.sched_getaffinity(0)})
    return max(1, min(cores, _share_of_machine()))


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """So many CPU threads inside (0: `good_threads`), and as many as before afterwards.

    >>> with using_threads(1):
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count or good_threads())
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _physical_core(cpu: int) -> str:
    """A name for the core of a logical CPU; its own number where the system does not say."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def machine_memory() -> int | None:
    """Bytes of memory that this process may use: the machine's, or a container's share; None where nobody says."""
    found = []
    try:
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (AttributeError, OSError, ValueError):  # not Linux, no container, or one of no limit
        pass
    return min(found, default=None)


def _share_of_machine() -> int:
    """CPUs' worth of time that a container is given, rounded up; as many as there are where nothing is set."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError):
        return os.cpu_count() or 1
