"""A model's mode and device, and symbols as tensors: what everything that reads with a model needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np
import torch
from torch import nn

from inn.nn.direct import home

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode (no dropout); afterwards every submodule is back in the mode it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def learns(function: Callable[P, R]) -> Callable[P, R]:
    """A function that takes gradients and makes weights, in whatever mode it is called (`no_grad`, `inference_mode`).

    >>> with torch.inference_mode():
    ...     learns(torch.is_grad_enabled)()
    True
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.inference_mode(False), torch.enable_grad():
            return function(*args, **kwargs)

    return call


def device_of(model: nn.Module) -> torch.device:
    """The device that a model's numbers are on (its first parameter or buffer; cpu for a model without any)."""
    for kind in (nn.Module.parameters, nn.Module.buffers):
        for module in model.modules():
            for tensor in kind(module, recurse=False):
                return home(module, tensor)
    return torch.device("cpu")


def as_tokens(symbols: np.ndarray | list, device: torch.device) -> torch.Tensor:
    """Copy (possibly memory-mapped) symbols of any integer type to an int64 tensor on a device."""
    return torch.from_numpy(np.asarray(symbols).astype(np.int64)).to(device)
