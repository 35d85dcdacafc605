"""The two ends of a model: what its layers are given, and what it says once they are passed, without running them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from inn.compress.inputs import Inputs, call

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""What a layer is given beside its input, by place and by name."""


class _Reached(Exception):
    """The first layer has been reached: what is after it is not run."""


class _Instead(nn.Module):
    """Stands for a layer while a model runs; what the model asks of the layer, the layer answers."""

    def __init__(self, layer: nn.Module, does: Callable[..., Any]):
        super().__init__()
        self.__dict__["_layer"], self.__dict__["_does"] = layer, does  # no module of this one

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_layer"], name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.__dict__["_does"](*args, **kwargs)


@contextmanager
def _instead(layers: nn.ModuleList, does: Callable[[int], Callable[..., Any]]) -> Iterator[None]:
    """Others in the place of layers."""
    there = list(layers)
    try:
        for i, layer in enumerate(there):
            layers[i] = _Instead(layer, does(i))
        yield
    finally:
        for i, layer in enumerate(there):
            layers[i] = layer


def first_input(model: nn.Module, first: nn.Module, inputs: Inputs) -> Tensor:
    """What the first layer reads."""
    caught: list[Tensor] = []

    def stop(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        caught.append(_read(args, kwargs))
        raise _Reached

    handle = first.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        call(model, inputs)
    except _Reached:
        pass
    finally:
        handle.remove()
    return caught[0].detach()


def arguments(model: nn.Module, layers: nn.ModuleList, inputs: Inputs) -> tuple[list[Arguments], Any]:
    """What every layer is given beside its input, and what the first one, which alone is run, gives out."""
    found: list[Arguments] = []
    first = layers[0]
    given: list[Any] = []

    def does(i: int) -> Callable[..., Any]:
        def note(*args: Any, **kwargs: Any) -> Any:
            found.append((args[1:], {k: v for k, v in kwargs.items() if k != "hidden_states"}))
            if not given:
                given.append(first(*args, **kwargs))
            return given[0]

        return note

    with _instead(layers, does):
        call(model, inputs)
    return found, given[0]


def ending(model: nn.Module, layers: nn.ModuleList, inputs: Inputs, x: Tensor, given: Any) -> Any:
    """What a model says where its last layer gives out `x`, in the form in which layers give out `given`."""
    out = packed(given, x)
    with _instead(layers, lambda i: lambda *args, **kwargs: out):
        return call(model, inputs)


def unpacked(given: Any) -> Tensor:
    """A layer's output `[B, T, F]`: the first of several that it may give out."""
    return given[0] if isinstance(given, (tuple, list)) else given


def packed(given: Any, x: Tensor) -> Any:
    """A layer's output in the form of another."""
    return type(given)((x, *given[1:])) if isinstance(given, (tuple, list)) else x


def alike(a: Any, b: Any) -> bool:
    """Whether two lots of arguments hold the same numbers."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(alike(a[k], b[k]) for k in a)
    if isinstance(a, (tuple, list)):
        return isinstance(b, (tuple, list)) and len(a) == len(b) and all(map(alike, a, b))
    return True  # no numbers of a row


def _read(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    return args[0] if args else kwargs["hidden_states"]
