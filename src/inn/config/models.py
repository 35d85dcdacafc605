"""The options of every kind of model, and the presets of the graph of neurons."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, Literal

from inn.config.checks import check_at_least, check_fraction, check_literals
from inn.config.graph import GraphConfig, MemoryConfig
from inn.system.errors import InputError, lookup, nearest


@dataclass
class SymbolsConfig:
    """How symbols enter a model and how it predicts them, where there are many."""

    embedding_width: int | None = None
    """Numbers per symbol, which a linear map widens to the model's; a tied head goes back. No map when not given."""
    head: Literal["linear", "adaptive"] = "linear"
    """`adaptive`: fewer numbers for rarer symbols, which must be numbered by frequency, as words are. Not tied."""
    cutoffs: list[int] | None = None
    """Where the adaptive head cuts the vocabulary, [2000,6000] for one; at one and three fifths when not given."""

    def check_symbols(self, tied: bool) -> None:
        check_at_least(self, 1, "embedding_width")
        if self.head == "adaptive" and tied:
            raise InputError("head 'adaptive' has weights of its own and cannot be tied; set tied false")
        if self.cutoffs is not None and self.head != "adaptive":
            raise InputError(f"cutoffs belong to head 'adaptive', not '{self.head}'; set head adaptive, or no cutoffs")
        if self.cutoffs is not None and any(a >= b for a, b in pairwise([0, *self.cutoffs])):
            raise InputError(f"cutoffs must be above 0 and rise, unlike {self.cutoffs}")
        if self.cutoffs == []:
            raise InputError("cutoffs [] cut nothing; give at least one, or set head linear")

    def cuts(self, vocab: int) -> list[int]:
        """The adaptive head's cutoffs in a vocabulary of this size."""
        return self.cutoffs or [vocab // 5, 3 * vocab // 5]


@dataclass
class INNConfig(GraphConfig, SymbolsConfig):
    """An Intelligent Neural Network: embedding, graph of neurons, recall of what was read, head."""

    kind: Literal["inn"] = "inn"
    """The kind of model."""
    vocab: int = 256
    """Distinct symbols; training takes it from the data."""
    tied: bool = True
    """The head uses the embedding's weights."""
    embedding_std: float = 0.02
    """Standard deviation of the embedding at the start (the published code: 1)."""
    recall: list[int] = field(default_factory=lambda: [2, 3, 4, 5, 6, 7, 8, 10])
    """Lengths of the contexts that neurons recall, dealt out in turn: what followed the last time; [] for none."""
    recall_width: int = 24
    """Width of what is recalled, before it is mapped to a neuron's width."""
    recall_slots: int = 65536
    """Contexts that fit into a neuron's table; later ones take the place of earlier ones."""
    recall_forget: float = 0.004
    """Chance that a stream forgets all it recalls before a training window, so that short texts are learned too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_symbols(self.tied)
        check_at_least(self, 1, "vocab", "recall_width", "recall_slots")
        check_fraction(self, "recall_forget")
        for length in self.recall:
            if not 1 <= length <= 64:
                raise InputError(f"recall lists contexts of 1 to 64 symbols, not {length}")
        if self.recall and self.vocab > 2**21:
            raise InputError(f"recall knows at most 2,097,152 symbols, and vocab is {self.vocab}; give recall=[]")


@dataclass
class LSTMConfig(SymbolsConfig):
    """A stack of LSTM layers (PyTorch's own), dropout between layers and before the head."""

    kind: Literal["lstm"] = "lstm"
    """The kind of model."""
    vocab: int = 256
    """Distinct symbols; training takes it from the data."""
    width: int = 256
    """Width of a layer."""
    layers: int = 2
    """Layers."""
    dropout: float = 0.0
    """Dropout between layers and before the head."""
    tied: bool = False
    """The head uses the embedding's weights."""
    embedding_std: float = 1.0
    """Standard deviation of the embedding at the start; an LSTM fed with 0.02 learns far more slowly. Tied: 0.02."""

    def __post_init__(self) -> None:
        check_literals(self)
        self.check_symbols(self.tied)
        check_at_least(self, 1, "vocab", "width", "layers")
        check_fraction(self, "dropout")


@dataclass
class TransformerConfig(SymbolsConfig):
    """A modern Transformer: pre-norm (RMS), rotary positions, SwiGLU, scaled-dot-product attention."""

    kind: Literal["transformer"] = "transformer"
    """The kind of model."""
    vocab: int = 256
    """Distinct symbols; training takes it from the data."""
    width: int = 256
    """Width of a layer."""
    layers: int = 6
    """Layers."""
    heads: int = 4
    """Attention heads."""
    hidden: int | None = None
    """Hidden width of the SwiGLU; 8/3 of the width, rounded up to a multiple of 8, when not given."""
    window: int = 256
    """Symbols that attention looks back on; streaming slides this window."""
    dropout: float = 0.0
    """Dropout on what each sublayer adds."""
    tied: bool = True
    """The head uses the embedding's weights."""
    embedding_std: float = 0.02
    """Standard deviation of all weight matrices at the start."""

    def __post_init__(self) -> None:
        check_literals(self)
        self.check_symbols(self.tied)
        check_at_least(self, 1, "vocab", "width", "layers", "heads", "hidden", "window")
        check_fraction(self, "dropout")
        if self.width % (2 * self.heads):
            raise InputError(
                f"width {self.width} must be a multiple of 2 x heads ({2 * self.heads}) for rotary positions"
            )


@dataclass
class PaperTransformerConfig:
    """The paper's Transformer: sinusoidal positions, post-norm, ReLU, as in its published code."""

    kind: Literal["transformer-paper"] = "transformer-paper"
    """The kind of model."""
    vocab: int = 256
    """Distinct symbols; training takes it from the data."""
    width: int = 256
    """Width of a layer."""
    layers: int = 6
    """Layers."""
    heads: int = 8
    """Attention heads."""
    hidden: int = 1024
    """Hidden width of the feed-forward part."""
    window: int = 256
    """Symbols that attention looks back on; streaming slides this window."""
    dropout: float = 0.1
    """Dropout, as in `torch.nn.TransformerEncoderLayer`."""
    embedding_std: float = 0.02
    """Standard deviation of the embedding at the start (the published code: 1)."""

    def __post_init__(self) -> None:
        check_literals(self)
        check_at_least(self, 1, "vocab", "width", "layers", "heads", "hidden", "window")
        check_fraction(self, "dropout")
        if self.width % self.heads:
            raise InputError(
                f"width {self.width} is not divisible by heads {self.heads}; choose heads that divide the width"
            )


@dataclass
class MambaStackConfig(MemoryConfig, SymbolsConfig):
    """A stack of Mamba blocks: a graph of one neuron that talks to nobody."""

    kind: Literal["mamba-stack", "mamba-stack-transposed"] = "mamba-stack"
    """The kind of model; `mamba-stack-transposed` is the published mistake, which scans over the batch."""
    vocab: int = 256
    """Distinct symbols; training takes it from the data."""
    width: int = 256
    """Width of a block."""
    layers: int = 6
    """Blocks."""
    dropout: float = 0.0
    """Dropout on the input, on what each block adds, and before the head."""
    tied: bool = True
    """The head uses the embedding's weights."""
    embedding_std: float = 0.02
    """Standard deviation of the embedding at the start (the published code: 1)."""

    def __post_init__(self) -> None:
        check_literals(self)
        self.check_memory()
        self.check_symbols(self.tied)
        check_at_least(self, 1, "vocab", "width", "layers")
        check_fraction(self, "dropout")


@dataclass
class NgramConfig:
    """An n-gram table with add-one smoothing: counts, no training loop."""

    kind: Literal["ngram"] = "ngram"
    """The kind of model."""
    vocab: int = 256
    """Distinct symbols; training takes it from the data."""
    order: int = 3
    """Symbols per gram: 1 = unigram, 2 = bigram, ..."""

    def __post_init__(self) -> None:
        check_literals(self)
        check_at_least(self, 1, "vocab", "order")
        if self.vocab**self.order >= 2**62:
            raise InputError(
                f"an n-gram of order {self.order} over {self.vocab} symbols does not fit; choose a smaller order"
            )


MODEL_CONFIGS: dict[str, type] = {
    "inn": INNConfig,
    "lstm": LSTMConfig,
    "transformer": TransformerConfig,
    "transformer-paper": PaperTransformerConfig,
    "mamba-stack": MambaStackConfig,
    "mamba-stack-transposed": MambaStackConfig,
    "ngram": NgramConfig,
}

_PAPER: dict[str, Any] = {
    "neurons": 32, "width": 256, "rounds": 6, "input": "copy", "weights": "shared", "router": "attention", "heads": 4,
    "zero_start": False, "routing_dropout": 0.1, "readout": "mean", "dt_rank": 16, "embedding_std": 1.0, "recall": [],
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {
    "distinct": {"router": "attention", "recall": []},
    "paper": _PAPER,
    "paper-fixed": {**_PAPER, "embedding_std": 0.02},
}
"""Starting points for `INNConfig`: `paper` is the published model, `paper-fixed` the same at embedding std 0.02,
`distinct` its idea with neurons that differ (separate weights, input and readout, silent at the start)."""


def model_config(kind: str = "inn", preset: str | None = None, **fields_: Any):
    """Return the configuration of a model: its class's defaults, then the preset's, then the fields given.

    Raises `InputError` for an unknown kind, preset, field or value.

    >>> model_config("inn", preset="paper", vocab=27).neurons
    32
    """
    cls = lookup("model kind", kind, MODEL_CONFIGS)
    known = {f.name for f in fields(cls)}
    for name in fields_:
        if name not in known:
            raise InputError(f"unknown field '{name}' of model kind '{kind}'{nearest(name, known)}")
    if preset is not None:
        if kind != "inn":
            raise InputError(f"preset '{preset}' is of model kind 'inn', not '{kind}'")
        fields_ = {**lookup("preset", preset, PRESETS), **fields_}
    return cls(**{**fields_, "kind": kind})
