"""The options of the Mamba-2 memory."""

from __future__ import annotations

from dataclasses import dataclass

from inn.nn.memory.options.heads import HeadsOptions


@dataclass
class Mamba2Options(HeadsOptions):
    """The Mamba-2 memory inside a neuron (Dao & Gu 2024): its sizes and initial time constants."""

    heads: int = 2
    """Heads of a neuron (H), which share its values out among them; each has a decay of its own."""
