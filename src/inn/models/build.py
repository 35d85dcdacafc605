"""Models from their configurations."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import fields, is_dataclass
from math import prod
from typing import Any, NamedTuple

import torch

from inn.config.parts import plain
from inn.config.typed import shown
from inn.models.sequence import SequenceModel
from inn.registry import MODELS
from inn.system.device import machine_memory
from inn.system.errors import InputError
from inn.system.trees import dotted

ANY_SIZE = "INN_ANY_SIZE"
"""Environment variable: set, models of any size are built."""
_MODULES = 200_000
"""Modules that are made within a minute or two."""
_SMALL = 1 << 31
"""A model whose three largest numbers have a product below this is not estimated before it is built."""
_TINY = 1 << 22
"""The same, of one that is made sooner than on the device `meta`, where PyTorch draws its numbers in Python."""


class Size(NamedTuple):
    """What a model will take: its parameters, the bytes of a stream's state, the modules it is made of."""

    parameters: int
    state: int
    modules: int


def build_model(config: Any) -> SequenceModel:
    """Build the model that a configuration describes, of the kind it names, with fresh weights.

    Raises `InputError` for an unknown kind, and for more than the machine has memory for.

    >>> from inn.config.assemble import model_config
    >>> type(build_model(model_config("lstm", vocab=27, width=16))).__name__
    'LSTM'
    """
    kind = getattr(config, "kind", None)
    if kind is None or not is_dataclass(config) or isinstance(config, type):
        raise InputError(f"config must be a model's configuration, as inn.model_config makes it, not {shown(config)}")
    MODELS.check(kind)
    if torch.get_default_device().type == "cpu":
        check_size(config)
    return MODELS[kind](config)


@contextmanager
def outlines(config: Any) -> Iterator[None]:
    """Models of this configuration, or of a size like it, are made here for their shapes; no random number is used up.

    They are on the device `meta`, or on the CPU where they are so small that this is faster.

    >>> from inn.config.assemble import model_config
    >>> with outlines(config := model_config("lstm", vocab=27, width=16)):
    ...     model = build_model(config)
    >>> len(model.state_dict())
    11
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu" if _largest(config) < _TINY else "meta"):
        yield


def _largest(config: Any) -> int:
    """The product of a configuration's three largest numbers."""
    return prod(sorted(n for n in dotted(plain(config)).values() if type(n) is int)[-3:])


def size_of(config: Any) -> Size:
    """What a model of this configuration takes, without making it: of many rounds or layers two are looked at.

    Raises `InputError` for sizes that cannot be counted.

    >>> from inn.config.assemble import model_config
    >>> size_of(model_config("mamba-stack", vocab=27)).parameters
    2637083
    """
    depth = next((f.name for f in fields(config) if f.name in ("rounds", "layers")), None)
    count = getattr(config, depth) if depth else 1
    if count < 3:
        return _measured(config)
    shallow, found = copy(config), []
    for n in (1, 2):  # not checked again: topologies may need more rounds
        setattr(shallow, str(depth), n)
        found.append(_measured(shallow))
    one, two = found
    return Size(*(a + (count - 1) * (b - a) for a, b in zip(one, two, strict=True)))


def _measured(config: Any) -> Size:
    try:
        with outlines(config):
            model = MODELS[config.kind](config)
            return Size(model.num_parameters, model.initial_state(1).bytes, sum(1 for _ in model.modules()))
    except (RuntimeError, OverflowError, MemoryError, TypeError) as error:
        raise InputError(
            f"a model of these settings is too large to be counted; choose smaller sizes ({error})"
        ) from None


def parameters_of(config: Any) -> int:
    """The parameters of a model of this configuration; no weights are made for it.

    >>> from inn.config.assemble import model_config
    >>> parameters_of(model_config("mamba-stack", vocab=27))
    2637083
    """
    return size_of(config).parameters


def check_size(config: Any, *, copies: int = 1, streams: int = 1) -> None:
    """Raise `InputError`, with an estimate, for a model that this machine has not the memory for, or minutes to make.

    Args:
        config: the model's.
        copies: of every parameter: 4 in training, with its gradient and its two moments.
        streams: whose states are held at a time.

    Nothing is refused where the environment variable INN_ANY_SIZE is set.
    """
    if os.environ.get(ANY_SIZE) or (copies * streams == 1 and _largest(config) < _SMALL):
        return
    most = machine_memory()
    size = size_of(config)
    weights, states = 4 * copies * size.parameters, streams * size.state
    if size.modules > _MODULES or (most is not None and weights + states > most):
        raise InputError(
            f"a model of these settings has {size.parameters:,} parameters in {size.modules:,} modules: "
            f"{_gigabytes(weights)} and {_gigabytes(states)} of state, where this machine has "
            f"{_gigabytes(most or 0)}; choose smaller sizes, or set {ANY_SIZE}=1 to go on all the same"
        )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB"
