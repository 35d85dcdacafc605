"""The options of the objectives that come with the library; free of PyTorch, so that help need not wait for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from inn.config.checks import check_at_least, check_idle, needs
from inn.config.parts import Options
from inn.system.errors import InputError


@dataclass
class RewireOptions(Options):
    """Predict, and every so often let weak edges of topology `rewired` go and others grow (after arXiv 2508.14140)."""

    every: int = 100
    """Steps from one rewiring to the next."""
    share: float = 0.1
    """Share of the edges between neurons that go at a rewiring, the weakest; as many grow, at the same neurons."""
    grow: Literal["gradient", "hebb", "random"] = "gradient"
    """The edges that grow: those whose weights have the largest gradients over the batch; those of the largest cosine
    between what one neuron sends and the other hears; or any."""
    until: float = 0.75
    """Share of the run's steps after which edges stay."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "every")
        for name in ("share", "until"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(f"{name} must be in (0, 1], not {getattr(self, name)}")


@dataclass
class NestedOptions(Options):
    """Train the full model, and in each step some smaller ones, its first neurons (after arXiv 2309.00255)."""

    sizes: list[int] = field(default_factory=list)
    """Numbers of first neurons that are a model, besides all. Default: 1, 2, 4, 8, ..."""
    depths: list[int] = field(default_factory=list)
    """Numbers of first rounds that are a model, besides all. Default: none."""
    sample: int = 1
    """Smaller sizes that a step trains beside the full one."""
    hold: int = 8
    """Steps for which a drawn size stays, its state carried from batch to batch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "sample", "hold")


@dataclass
class DistilOptions(Options):
    """Learn from the probabilities of a trained model, the teacher, beside the right symbols."""

    teacher: str = ""
    """The run, or exported folder, of the model to learn from."""
    weight: float = 0.5
    """What the teacher's probabilities count, the right symbols counting the rest."""
    temperature: float = 1.0
    """What all logits are divided by before they are compared: above 1 unlikely symbols count more."""
    by: Literal["logits", "module"] = "logits"
    """`module`: before the first step blocks of rounds are taught one by one, each in the place of a round of a small
    model (after arXiv 2402.16918); then the whole by logits."""
    modules: int = needs(0, "by", "module".__eq__, "module")
    """Blocks that the rounds are split into; 0: as many as the model with the fewest has rounds."""
    lessons: int = needs(200, "by", "module".__eq__, "module")
    """Steps for which the small model, and then each block, is taught before the first step."""
    meta: str = needs("", "by", "module".__eq__, "module")
    """A run of a small model, with one round for each block, to teach them in. Default: one is trained first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_idle(self)
        check_at_least(self, 0, "modules")
        check_at_least(self, 1, "lessons")
        if not 0 < self.weight <= 1:
            raise InputError(f"weight must be in (0, 1], not {self.weight}")
        if self.temperature <= 0:
            raise InputError(f"temperature must be above 0, not {self.temperature}")


@dataclass
class ProtectOptions(Options):
    """Go on from a run without losing what it learned: no update along its maps' inputs (after arXiv 2402.11984)."""

    energy: float = 0.95
    """The share of the inputs' sum of squares, of every linear map, that the protected directions hold."""
    rank: int = 0
    """The most directions of a map that are protected newly; 0: as many as `energy` takes."""
    by: Literal["svd", "hebb"] = "svd"
    """How they are found: the largest singular values, or Hebb's rule with lateral connections, as published, which
    needs a `rank`."""
    symbols: int = 20_000
    """Symbols of the earlier run's training data that are read to find them."""
    others: Literal["frozen", "free"] = "frozen"
    """What becomes of weights that are no linear map: biases, norms, time constants."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "rank")
        check_at_least(self, 1, "symbols")
        if not 0 < self.energy <= 1:
            raise InputError(f"energy must be in (0, 1], not {self.energy}")
        if self.by == "hebb" and not self.rank:
            raise InputError("by hebb learns so many directions as rank says, and rank is 0; set it above 0")


@dataclass
class ConcentrateOptions(Options):
    """Predict, and let a router `mixture` ask few neurons, before the others are taken out by `inn keep`."""

    entropy: float = 0.2
    """Weight of the entropy of who is asked, in nats."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "entropy")
