"""Which backend runs an op: named values, a preference order, and a reason when one is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from torch import Tensor
from torch.nn import Parameter

from inn.ops import flops
from inn.ops.constant import constant
from inn.ops.derivatives import transformed
from inn.ops.tensors import plain
from inn.system.errors import InputError, lookup

_forced: ContextVar[str | None] = ContextVar("inn_backend", default=None)


@constant
def _forced_name() -> str | None:
    """The backend asked for; a compiled function keeps the one that was asked for when it was compiled."""
    return _forced.get()


@dataclass(frozen=True)
class Backend:
    """One implementation of an op.

    Attributes:
        name: `reference`, `torch`, `cpu` or `triton`.
        run: the function; all backends of an op share one signature.
        refuses: given the call's arguments, the reason why this backend cannot take it, or None.
        kernel: whether it is more than PyTorch's own operations: it then takes plain tensors, and knows one derivative.
    """

    name: str
    run: Callable
    refuses: Callable[..., str | None] = lambda *args, **kwargs: None
    kernel: bool = False


_OTHERWISE = "knows its gradient only, not the transforms of torch.func and not forward mode"
_modules = sys.modules
_ORDINARY = frozenset((Tensor, Parameter, type(None), bool, int, float, str, tuple, list))  # what needs no second look


@constant
def _in_force() -> tuple[str | None, str | None]:
    """The backend asked for, and why no kernel can take any call just now, if so; FLOP counters are told meanwhile."""
    if flops.COUNTER in _modules:
        flops.tell_counters()
    return _forced.get(), _OTHERWISE if transformed() else None


class Op:
    """An op with several backends, the preferred first; calling it runs the first one that does not refuse."""

    def __init__(self, name: str, *backends: Backend):
        self.name = name
        self.backends = {b.name: b for b in backends}

    def choose(self, *args, **kwargs) -> tuple[Backend, dict[str, str]]:
        """Return the backend that would run this call, and why each one before it was passed over."""
        return self._choose(args, kwargs)

    def _choose(self, args: tuple, kwargs: dict) -> tuple[Backend, dict[str, str]]:
        # What only PyTorch's own operations can be asked: other derivatives than the kernels', and other tensors.
        forced, other = _in_force()
        given = (*args, *kwargs.values()) if kwargs else args
        if not _ORDINARY.issuperset(map(type, given)):
            for t in given:
                if isinstance(t, Tensor) and not plain(t):
                    other = other or f"takes plain tensors, not {type(t).__name__}"
        if forced is not None and forced in self.backends:
            backend = self.backends[forced]
            reason = (other if backend.kernel else None) or backend.refuses(*args, **kwargs)
            if reason:
                raise InputError(f"backend '{forced}' of {self.name} cannot take this call: {reason}")
            return backend, {}
        reasons: dict[str, str] = {}
        for backend in self.backends.values():
            reason = (other if backend.kernel else None) or backend.refuses(*args, **kwargs)
            if reason is None:
                return backend, reasons
            reasons[backend.name] = reason
        raise InputError(f"no backend of {self.name} can take this call: {reasons}")

    def __call__(self, *args, **kwargs):
        return self._choose(args, kwargs)[0].run(*args, **kwargs)


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Run every op that has this backend on it, inside the `with` block.

    Raises `InputError` for a name that no op has, and for a call that the backend cannot take.

    >>> with use_backend("reference"):
    ...     pass
    """
    lookup("backend", name, {"reference": 0, "torch": 0, "cpu": 0, "triton": 0})
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)
