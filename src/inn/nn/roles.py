"""Neurons that take the input in, where not all do (`GraphConfig.sensors`)."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.config.graph import GraphConfig


def sensors_of(config: GraphConfig) -> Tensor | None:
    """The numbers of the sensors; None where all neurons are."""
    sensors = getattr(config.topology, "sensors", None)
    return torch.tensor(sensors) if sensors else None


def to_sensors(x: Tensor, sensors: Tensor | None, neurons: int) -> Tensor:
    """What the sensors take in, `[B, T, S, D]`, as that of all neurons, `[B, T, N, D]`: the others' is zero."""
    if sensors is None:
        return x
    return x.new_zeros(*x.shape[:2], neurons, x.shape[-1]).index_copy(2, sensors, x)


def sensed(x: Tensor, sensors: Tensor | None) -> Tensor:
    """What comes to neurons `[B, T, N, D]` from outside: zero for those that are no sensors."""
    return x if sensors is None else to_sensors(x[:, :, sensors], sensors, x.shape[2])
