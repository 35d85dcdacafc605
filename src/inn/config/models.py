"""The options of the graph of neurons as a model of symbols, and its presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from inn.config.checks import check_at_least
from inn.config.graph import GraphConfig
from inn.config.parts import part
from inn.config.symbols import SymbolsConfig
from inn.registry import RECALLS


def _of_contexts(value: Any) -> Any:
    """A list, `[2, 3]` or as the command line has it, is short for kind `last` with these contexts; `[]` for none."""
    if isinstance(value, str) and value.startswith("["):
        return {"kind": "none"} if value[1:].strip() == "]" else {"kind": "last", "contexts": value}
    if isinstance(value, list | tuple):
        return {"kind": "last", "contexts": list(value)} if value else {"kind": "none"}
    return value


@dataclass
class INNConfig(GraphConfig, SymbolsConfig):
    """An Intelligent Neural Network: embedding, recall (an n-gram cache), graph of neurons, head."""

    kind: Literal["inn"] = "inn"
    """The kind of model."""
    vocab: int = 256
    """Number of distinct symbols; training takes it from the data."""
    tied: bool = True
    """The head uses the embedding's weights."""
    embedding_std: float = 0.02
    """Standard deviation of the embedding at the start (the published code: 1)."""
    recall: Any = part(RECALLS, "last", short=_of_contexts, yields=True)
    """What neurons look up in what was read; `last`: the symbol that followed the last time (an n-gram cache)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_symbols(self.tied)
        check_at_least(self, 1, "vocab")
        check_at_least(self, 0, "embedding_std")


_PAPER: dict[str, Any] = {
    "neurons": 32, "width": 256, "rounds": 6, "input": "copy", "weights": "shared", "readout": "mean",
    "router": {"kind": "attention", "heads": 4, "zero_start": False, "routing_dropout": 0.1},
    "memory": {"kind": "mamba", "dt_rank": 16}, "embedding_std": 1.0, "recall": "none",
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {
    "distinct": {"router": {"kind": "attention"}, "recall": "none"},
    "paper": _PAPER,
    "paper-fixed": {**_PAPER, "embedding_std": 0.02},
}
"""Starting points for `INNConfig`: `paper` is the published model, `paper-fixed` the same at embedding std 0.02,
`distinct` its idea with neurons that differ (separate weights, input and readout, silent at the start)."""
