"""The options of the expressive leaky memory."""

from __future__ import annotations

from dataclasses import dataclass

from inn.config.checks import check_at_least
from inn.nn.memory.options.recurrent import RecurrentOptions
from inn.system.errors import InputError


@dataclass
class ELMOptions(RecurrentOptions):
    """Leaky units with time constants of their own, and a small network that decides what is written into them."""

    tau_min: float = 1.0
    """Shortest time constant of the units, in steps."""
    tau_max: float = 1000.0
    """Longest time constant; at the start they are spread over tau_min..tau_max, evenly in their logarithm."""
    learn_tau: bool = False
    """Learn the time constants, each kept within tau_min..tau_max; else they stay."""
    gain: float = 5.0
    """How much faster a unit takes in than it forgets (λ): a share 1 - exp(-λ/τ) of what is proposed."""
    branches: int | None = None
    """Dendritic branches, each with a trace of its own; as many as the width by default."""
    synapses: int | None = None
    """Inputs that a branch adds up, the neighbouring ones; by default as many as it takes to hear them all."""
    tau_branch: float = 5.0
    """Time constant of the branches' traces, in steps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "branches", "synapses")
        if not 0 < self.tau_min <= self.tau_max:
            raise InputError(f"tau_min {self.tau_min} must be above 0 and at most tau_max {self.tau_max}")
        for name in ("tau_branch", "gain"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.learn_tau and self.tau_min == self.tau_max:
            raise InputError(f"learn_tau has nothing to learn between tau_min and tau_max, both {self.tau_max}")

    def check(self, graph: object) -> None:
        width = graph.width  # type: ignore[attr-defined]
        if self.branches is not None and width % self.branches:
            raise InputError(f"branches must divide the width of a neuron, {width}, unlike {self.branches}")
        if self.synapses is not None and self.synapses > width:
            raise InputError(f"synapses must be at most {width}, the width of a neuron, not {self.synapses}")

    def tree(self, width: int) -> tuple[int, int]:
        """Branches (J), and the inputs of each (K)."""
        branches = self.branches or width
        return branches, self.synapses or width // branches
