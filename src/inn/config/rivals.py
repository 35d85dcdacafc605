"""The options of the baseline models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from inn.config.checks import check_at_least, check_fraction, check_types
from inn.config.parts import part, settle_parts
from inn.config.symbols import SymbolsConfig
from inn.registry import MEMORIES
from inn.system.errors import InputError


@dataclass
class LSTMConfig(SymbolsConfig):
    """A stack of LSTM or GRU layers (PyTorch's own), dropout between layers and before the head."""

    kind: Literal["lstm", "gru"] = "lstm"
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
    """Standard deviation of the embedding at the start; with 0.02 an LSTM learns far more slowly. Tied: 0.02."""

    def __post_init__(self) -> None:
        check_types(self)
        self.check_symbols(self.tied)
        check_at_least(self, 1, "vocab", "width", "layers")
        check_at_least(self, 0, "embedding_std")
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
    """Hidden width of the SwiGLU; default: 8/3 of the width, rounded up to a multiple of 8."""
    window: int = 256
    """Symbols that attention looks back on; streaming slides this window."""
    dropout: float = 0.0
    """Dropout on the output of each sublayer."""
    tied: bool = True
    """The head uses the embedding's weights."""
    embedding_std: float = 0.02
    """Standard deviation of all weight matrices at the start."""

    def __post_init__(self) -> None:
        check_types(self)
        self.check_symbols(self.tied)
        check_at_least(self, 1, "vocab", "width", "layers", "heads", "hidden", "window")
        check_at_least(self, 0, "embedding_std")
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
        check_types(self)
        check_at_least(self, 1, "vocab", "width", "layers", "heads", "hidden", "window")
        check_at_least(self, 0, "embedding_std")
        check_fraction(self, "dropout")
        if self.width % self.heads:
            raise InputError(
                f"width {self.width} is not divisible by heads {self.heads}; choose heads that divide the width"
            )


@dataclass
class MambaStackConfig(SymbolsConfig):
    """A stack of Mamba blocks: a graph of one neuron without messages."""

    kind: Literal["mamba-stack", "mamba-stack-transposed"] = "mamba-stack"
    """The kind of model; `mamba-stack-transposed` scans over the batch, the published mistake."""
    vocab: int = 256
    """Distinct symbols; training takes it from the data."""
    width: int = 256
    """Width of a block."""
    layers: int = 6
    """Blocks."""
    memory: Any = part(MEMORIES, "mamba")
    """The recurrent part of a block, which carries state over time."""
    dropout: float = 0.0
    """Dropout on the input, on the output of each block, and before the head."""
    tied: bool = True
    """The head uses the embedding's weights."""
    embedding_std: float = 0.02
    """Standard deviation of the embedding at the start (the published code: 1)."""

    def __post_init__(self) -> None:
        check_types(self)
        settle_parts(self)
        self.check_symbols(self.tied)
        check_at_least(self, 1, "vocab", "width", "layers")
        check_at_least(self, 0, "embedding_std")
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
        check_types(self)
        check_at_least(self, 1, "vocab", "order")
        if self.order > 62 or self.vocab**self.order >= 2**62:
            raise InputError(
                f"an n-gram of order {self.order} over {self.vocab} symbols does not fit; choose a smaller order"
            )
