"""The simplest recurrent network as the memory of a neuron (Elman 1990)."""

from __future__ import annotations

from inn.nn.memory.recurrent import RecurrentMemory


class Elman(RecurrentMemory):
    """h = tanh(W x + U h + b): it can count and flip, but forgets fast, as gradients through it do.

    State part: `h` `[B, N, H]`.
    """

    cell = "elman"
    gates = 1
