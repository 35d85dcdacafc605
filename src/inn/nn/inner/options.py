"""The options of the inner maps that come with the library; free of PyTorch, so that help need not wait for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from inn.config.checks import check_at_least
from inn.config.parts import Options
from inn.system.errors import InputError, nearest

FAMILIES = ("bspline", "chebyshev", "fourier", "hinge", "rbf", "wavelet")
"""Families of basis functions on [-1, 1] (`inn.nn.inner.families`)."""


@dataclass
class HourglassOptions(Options):
    """Residual blocks that are narrow inside, on a wide lift of the neuron (after arXiv 2510.01796)."""

    lift: int = 4
    """Numbers inside per unit of the neuron's width (d_z = lift x width)."""
    hidden: int | None = None
    """Width of a block's bottleneck (d_h), below d_z; half the neuron's width, rounded up, by default."""
    blocks: int = 2
    """Residual blocks."""
    frozen: bool = False
    """Leave the lift at its random start: it is not trained."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "lift", "hidden", "blocks")

    def check(self, graph: Any) -> None:
        wide, narrow = self.widths(graph.width)
        if narrow >= wide:
            raise InputError(
                f"hidden {narrow} of an hourglass must be below the {wide} numbers around it; set hidden lower or lift "
                "higher"
            )

    def widths(self, width: int) -> tuple[int, int]:
        """Widths of the lift and of a bottleneck, d_z and d_h."""
        return self.lift * width, self.hidden or -(-width // 2)


@dataclass
class KanOptions(Options):
    """Sums of functions of one number each, from families to choose among (after arXiv 2408.08338)."""

    families: list[str] = field(default_factory=lambda: list(FAMILIES))
    """Families of basis functions, added up: bspline, chebyshev, fourier, hinge, rbf, wavelet."""
    each: bool = False
    """`families` has one for each neuron, in their order, not several to add up: what select_families leaves."""
    functions: int = 8
    """Functions of a family (K)."""
    reach: float = 3.0
    """Numbers from -reach to reach are the bases' [-1, 1]; those beyond are clamped."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 4, "functions")  # of fewer, cubic splines do not cover the range
        if not self.families:
            raise InputError(f"families must name at least one of {', '.join(FAMILIES)}")
        for name in self.families:
            if name not in FAMILIES:
                raise InputError(f"families cannot have '{name}'{nearest(name, FAMILIES)}")
        if not self.each and len(set(self.families)) < len(self.families):
            raise InputError(f"families lists one twice ({', '.join(self.families)}); leave it out, or set each true")
        if self.reach <= 0:
            raise InputError(f"reach must be above 0, not {self.reach}")

    def check(self, graph: Any) -> None:
        if self.each and len(self.families) != graph.neurons:
            raise InputError(f"families with each has one per neuron, {graph.neurons}, not {len(self.families)}")
        if self.each and graph.weights == "shared":
            raise InputError("families with each needs weights 'separate': neurons with shared weights have the same")


@dataclass
class SeparableOptions(Options):
    """Sums of products of functions of one number each (after arXiv 2603.12244)."""

    terms: int = 8
    """Products that are added up (R)."""
    hidden: int = 8
    """Hidden units of the network of one number that is a factor."""
    order: int | None = 2
    """Factors of a product: 1 is additive, 2 has pairs, null a factor for each of the neuron's numbers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "terms", "hidden", "order")

    def check(self, graph: Any) -> None:
        if self.order is not None and self.order > graph.width:
            raise InputError(f"order {self.order} is more than the {graph.width} numbers of a neuron; set it lower")


@dataclass
class ClipOptions(Options):
    """Bounds that a neuron's numbers are kept within."""

    lower: float = 0.0
    """The least that a number may be at the end of a round."""
    upper: float = 1.0
    """The most."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lower >= self.upper:
            raise InputError(f"lower {self.lower} must be below upper {self.upper}; set other bounds")
