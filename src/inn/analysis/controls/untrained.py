"""The control beside shuffled identities: the same model before it learned anything."""

from __future__ import annotations

from dataclasses import replace

import torch

from inn.models.inn import INN
from inn.nn.modes import device_of


def untrained(model: INN, seed: int = 0) -> INN:
    """A model of the same settings with fresh weights from `seed`, on the same device, in evaluation mode.

    No other random numbers are disturbed.

    >>> model = INN(vocab=5, neurons=3, width=8, rounds=1)
    >>> torch.equal(untrained(model, 1).embedding.weight, untrained(model, 1).embedding.weight)
    True
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return INN(replace(model.config)).to(device_of(model)).eval()
