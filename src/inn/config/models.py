"""The options of the graph of neurons as a model of symbols, and its presets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from inn.config.checks import check_at_least, check_fraction, needs
from inn.config.graph import GraphConfig
from inn.config.symbols import SymbolsConfig
from inn.system.errors import InputError


@dataclass
class INNConfig(GraphConfig, SymbolsConfig):
    """An Intelligent Neural Network: embedding, n-gram cache (recall), graph of neurons, head."""

    kind: Literal["inn"] = "inn"
    """The kind of model."""
    vocab: int = 256
    """Number of distinct symbols; training takes it from the data."""
    tied: bool = True
    """The head uses the embedding's weights."""
    embedding_std: float = 0.02
    """Standard deviation of the embedding at the start (the published code: 1)."""
    recall: list[int] = field(default_factory=lambda: [2, 3, 4, 5, 6, 7, 8, 10])
    """Context lengths of the n-gram cache (what followed the last time), given to the neurons in turn; [] for none."""
    recall_width: int = needs(24, "recall", bool, "[2,4,6]")
    """Width of an entry of the n-gram cache, before it is mapped to a neuron's width."""
    recall_slots: int = needs(65536, "recall", bool, "[2,4,6]")
    """Contexts in the n-gram cache of a neuron; later ones replace earlier ones."""
    recall_forget: float = needs(0.004, "recall", bool, "[2,4,6]")
    """Probability of clearing a stream's n-gram cache before a training window, to learn short texts too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_symbols(self.tied)
        check_at_least(self, 1, "vocab", "recall_width", "recall_slots")
        check_at_least(self, 0, "embedding_std")
        check_at_least(self, 4, "recall_slots")  # of fewer, contexts take each other's place and nothing is recalled
        check_fraction(self, "recall_forget")
        for length in self.recall:
            if not 1 <= length <= 64:
                raise InputError(f"recall lists contexts of 1 to 64 symbols, not {length}")
        if self.recall and self.vocab > 2**21:
            raise InputError(f"recall knows at most 2,097,152 symbols, and vocab is {self.vocab}; give recall=[]")


_PAPER: dict[str, Any] = {
    "neurons": 32, "width": 256, "rounds": 6, "input": "copy", "weights": "shared", "readout": "mean",
    "router": {"kind": "attention", "heads": 4, "zero_start": False, "routing_dropout": 0.1},
    "memory": {"kind": "mamba", "dt_rank": 16}, "embedding_std": 1.0, "recall": [],
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {
    "distinct": {"router": {"kind": "attention"}, "recall": []},
    "paper": _PAPER,
    "paper-fixed": {**_PAPER, "embedding_std": 0.02},
}
"""Starting points for `INNConfig`: `paper` is the published model, `paper-fixed` the same at embedding std 0.02,
`distinct` its idea with neurons that differ (separate weights, input and readout, silent at the start)."""
