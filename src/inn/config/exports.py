"""The options of exports, free of PyTorch, so that help need not wait for it."""

from __future__ import annotations

from dataclasses import dataclass

from inn.config.parts import Options
from inn.system.errors import InputError


@dataclass
class COptions(Options):
    """How a model is written in C."""

    int8: bool = False
    """Large matrices in 8 bits, with a scale for each output, instead of float32."""
    single: bool = False
    """One header with the code and the weights: define MODEL_IMPLEMENTATION in one file of yours."""
    experience: bool = True
    """Write what the run has recalled beside it, where it has."""


@dataclass
class ONNXOptions(Options):
    """How a model is written as ONNX."""

    int8: bool = False
    """Matrices in 8 bits: smaller files; what it costs is measured on the run's held-out text."""


@dataclass
class WebOptions(Options):
    """A page with a model inside: it opens from disk, and asks no network."""

    int8: bool = True
    """Whether linear maps are kept in 8 bits on the page: a fourth of the room, for some thousandths of a bit."""
    wasm: bool = True
    """Whether the step is WebAssembly where clang and wasm-ld are here to compile it, and not JavaScript alone."""
    text: str = "The "
    """The text to begin with."""
    fresh: bool = False
    """Whether it begins as if nothing had been read before, without what the run recalls of its training text."""


@dataclass
class PT2Options(Options):
    """How a model is written as packages of PyTorch."""

    compiled: bool = True
    """A compiled step for C++ too, where there is a compiler; it takes a minute."""


@dataclass
class SmallOptions(Options):
    """A run again with its weights in 8 bits, as a package brings it."""

    experience: str = "proven"
    """What goes along of what it recalls: `all`, the entries that were right the last time (`proven`), or `none`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.experience not in ("all", "proven", "none"):
            raise InputError(f"small.experience must be all, proven or none, not '{self.experience}'")
