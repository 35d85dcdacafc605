"""What a neuron remembers with: one file per primitive, one protocol (`Memory`), one registry (`MEMORIES`)."""

from inn.memory.base import Memory
from inn.memory.mamba import Mamba

MEMORIES: dict[str, type[Memory]] = {"mamba": Mamba}
"""Kinds that `GraphConfig.memory` may name."""

__all__ = ["MEMORIES", "Mamba", "Memory"]
