"""The options of the gates that come with the library; free of PyTorch, so that help need not wait for it."""

from __future__ import annotations

from dataclasses import dataclass

from inn.config.parts import Options


@dataclass
class SoftOptions(Options):
    """A factor in (0, 1) on what a neuron sends."""


@dataclass
class ActiveOptions(Options):
    """A neuron takes part in a round at a step, or rests: it costs nothing then (after arXiv 2306.11197)."""


@dataclass
class HardOptions(Options):
    """A factor in {0, 1} on what a neuron sends."""
