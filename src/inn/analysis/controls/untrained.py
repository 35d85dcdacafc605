"""The control beside shuffled identities: the same model before it learned anything."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn

from inn.models.signal import STANDARDS
from inn.nn.modes import device_of

AnyModel = TypeVar("AnyModel", bound=nn.Module)


def untrained(model: AnyModel, seed: int = 0) -> AnyModel:
    """A model of the same settings with fresh weights from `seed`, on the same device, in evaluation mode.

    Of any model that its `config` makes, one of Hugging Face too. No other random numbers are disturbed.

    >>> from inn import INN
    >>> model = INN(vocab=5, neurons=3, width=8, rounds=1)
    >>> torch.equal(untrained(model, 1).embedding.weight, untrained(model, 1).embedding.weight)
    True
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = type(model)(deepcopy(model.config))
    for name, t in model.named_buffers():
        if name in STANDARDS:  # the units of a signal are its data's, and nothing that was learned
            fresh.get_buffer(name).copy_(t)
    return fresh.to(device_of(model)).eval()
