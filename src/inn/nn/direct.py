"""When a faster way may go round the modules: only where nothing hangs on their calls, which it does not make.

Reading calls every module; writing a symbol reads their weights and changes the state in place. Hooks of any sort,
offloading, adapters, wrappers and subclasses hang on the call, and so where there is one the call is made.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from itertools import chain
from operator import itemgetter
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules import module as registry
from torch.utils.hooks import RemovableHandle

_hooks_of = itemgetter("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_EVERYWHERE = (
    registry._global_forward_hooks, registry._global_forward_pre_hooks,
    registry._global_backward_hooks, registry._global_backward_pre_hooks,
)  # fmt: skip
_Class = TypeVar("_Class", bound=type[nn.Module])


def passed_by(*methods: str, **children: Any) -> Callable[[_Class], _Class]:
    """Mark a class that a faster way goes round.

    It stands for these methods, and for no others in their place; and it reads children of these classes, by name (of
    a list each), and not what wraps them.
    """

    def mark(cls: _Class) -> _Class:
        cls._passed_by = {name: getattr(cls, name) for name in methods}  # type: ignore[attr-defined]
        cls._reads = children  # type: ignore[attr-defined]
        return cls

    return mark


class _Look:
    """What a tree of modules looked like when nothing hung on it, and whether it looks like that still."""

    def __init__(self, root: nn.Module):
        self.type = type(root)
        self.inner = [m for m in root.modules() if m is not root]  # the root would keep itself alive
        self.ids = frozenset(map(id, self.inner))  # kept alive here, so that they are nobody else's
        self.types = list(map(type, self.inner))
        self.dicts = [vars(root), *map(vars, self.inner)]
        self.children = [d["_modules"] for d in self.dicts]
        self.listed = [dict(d) for d in self.children]
        self.hooks, self.registered = list(chain.from_iterable(map(_hooks_of, self.dicts))), RemovableHandle.next_id
        self.sizes = list(map(len, self.dicts))
        classes: list[Any] = list(dict.fromkeys([type(root), *self.types]))
        self.methods = [(c, n) for c in classes for n in getattr(c, "_passed_by", ())]
        self.found = [c._passed_by[n] for c, n in self.methods]
        pairs = ((type(m), name, value) for m in (root, *self.inner) for name, value in vars(m).items())
        replaced = any(callable(v) and callable(getattr(c, name, None)) for c, name, v in pairs)
        sound = all(map(_steps_as_it_reads, classes)) and all(map(_reads_its_own, (root, *self.inner)))
        self.clear = sound and not replaced and self.holds(root)

    def holds(self, root: nn.Module) -> bool:
        return (
            type(root) is self.type
            and not any(self.hooks)
            and (self.registered == RemovableHandle.next_id or self._hooks_again())
            and self.listed == self.children
            and self.types == list(map(type, self.inner))
            and self.sizes == list(map(len, self.dicts))  # a method that is replaced on a module is one more
            and self.found == [getattr(c, name) for c, name in self.methods]
        )

    def _hooks_again(self) -> bool:
        """A hook was registered, on whatever it was: look where hooks are now, for their lists may be others."""
        self.hooks, self.registered = list(chain.from_iterable(map(_hooks_of, self.dicts))), RemovableHandle.next_id
        return not any(self.hooks)


def _steps_as_it_reads(cls: type[nn.Module]) -> bool:
    """Whether `step_` is of the same class as `forward`, or of one below: a class above knows of another `forward`."""
    step, read = (next((c for c in cls.__mro__ if name in vars(c)), None) for name in ("step_", "forward"))
    if step is None or read is None or issubclass(step, read):
        return True
    return getattr(vars(step).get("forward"), "__isabstractmethod__", False)  # it then calls what it stands for


def _reads_its_own(module: nn.Module) -> bool:
    for name, cls in getattr(module, "_reads", {}).items():
        child = getattr(module, name)
        if not all(
            isinstance(c, cls) for c in (child if isinstance(child, nn.ModuleList) else [child]) if c is not None
        ):
            return False
    return True


_seen: WeakKeyDictionary[nn.Module, _Look] = WeakKeyDictionary()
_inside: ContextVar[frozenset[int]] = ContextVar("inn_looked_at", default=frozenset())
"""The modules inside the one that is gone round now, by `id`."""


class going_round:
    """While an untouched module is gone round, what is inside it is not looked at again."""

    def __init__(self, module: nn.Module):
        self.ids = _seen[module].ids if module in _seen else frozenset[int]()

    def __enter__(self) -> None:
        self.before = _inside.set(self.ids)

    def __exit__(self, *_: object) -> None:
        _inside.reset(self.before)


def untouched(module: nn.Module) -> bool:
    """Whether a module and all inside are as the library built them, so that a faster way may go round their calls.

    Asked for at every symbol: what is found to be so is remembered, and compared with what there is now.

    >>> from inn import INN
    >>> model = INN(vocab=27, neurons=2, width=8, rounds=1)
    >>> hook = model.graph.register_forward_hook(print)
    >>> untouched(model), hook.remove(), untouched(model)
    (False, None, True)
    """
    if torch.compiler.is_compiling():  # once, and in words that the compiler can follow
        return not any(m._forward_hooks or m._forward_pre_hooks or "forward" in m.__dict__ for m in module.modules())
    if id(module) in _inside.get():
        return True
    if any(_EVERYWHERE):
        return False
    look = _seen.get(module)
    if look is not None and look.holds(module):
        return True
    look = _Look(module)
    if look.clear:
        _seen[module] = look
    return look.clear


def home(module: nn.Module, weight: Tensor) -> torch.device:
    """The device that a module computes on: its weight's, or where accelerate brings one that it keeps elsewhere."""
    hook: Any = getattr(module, "_hf_hook", None)
    if hook is None or not weight.is_meta:
        return weight.device
    places = (getattr(h, "execution_device", None) for h in getattr(hook, "hooks", [hook]))
    return torch.device(next((place for place in places if place is not None), weight.device))


def at_rest(module: nn.Module, weight: Tensor, *shape: int) -> Tensor:
    """A part of a module's state before the first step: zeros where its weight is at home, in float32 at least."""
    kind = torch.promote_types(weight.dtype, torch.float32)
    return torch.zeros(*shape, device=home(module, weight), dtype=kind)
