"""The options of exports, free of PyTorch, so that help need not wait for it."""

from __future__ import annotations

from dataclasses import dataclass

from inn.config.parts import Options


@dataclass
class COptions(Options):
    """How a model is written in C."""

    int8: bool = False
    """Large matrices in 8 bits, with a scale for each output, instead of float32."""
    single: bool = False
    """One header with the code and the weights: define MODEL_IMPLEMENTATION in one file of yours."""
    experience: bool = True
    """Write what the run has recalled beside it, where it has."""
