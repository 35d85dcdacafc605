"""One round: memory, then communication (the paper's "layer")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from inn.memory import MEMORIES
from inn.population import NeuronNorm
from inn.routing import ROUTERS, Edges, Gate

if TYPE_CHECKING:
    from inn.config import GraphConfig
    from inn.tape import RoundTape

Parts = dict[str, Tensor]


class Round(nn.Module):
    """Every neuron remembers, then all talk; in one of three published forms (`GraphConfig.update`):

    - `sequential` (published code): x ← x + M(LN₁ x), then x ← x + R(LN₂ x);
    - `parallel` (Equation 1): x ← x + M(LN₁ x) + R(LN₂ x);
    - `message-norm` (Algorithm 1): x ← x + M(LN₁ x), then x ← x + LN₂(R(x)).
    """

    def __init__(self, config: GraphConfig):
        super().__init__()
        self.update = config.update
        P, D = config.populations, config.width
        self.memory_norm = NeuronNorm(P, D)
        self.memory = MEMORIES[config.memory](config)
        self.dropout = nn.Dropout(config.dropout) if config.dropout else nn.Identity()
        self.router = self.gate = self.router_norm = None
        if config.router != "none":
            silent_norm = config.update == "message-norm" and config.zero_start
            self.router_norm = NeuronNorm(P, D, gain=0.0 if silent_norm else 1.0)
            self.router = ROUTERS[config.router](config)
            self.gate = Gate(config) if config.gate != "none" else None

    @property
    def parallel_in_time(self) -> bool:
        return self.router is None or self.router.parallel_in_time

    def initial_state(self, batch: int) -> Parts:
        state = self.memory.initial_state(batch)
        return state if self.router is None else {**state, **self.router.initial_state(batch)}

    def forward(
        self,
        x: Tensor,
        state: Parts,
        *,
        edges: Edges | None = None,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        tape: RoundTape | None = None,
        in_place: bool = False,
    ) -> tuple[Tensor, Parts, Tensor | None]:
        """Return the neurons after the round, `[B, T, N, D]`, the new state, and the gates `[B, T, N]`, if any.

        With `in_place` (one step, neither reset nor mask) the new state is the given one, changed.
        """
        if in_place:
            recalled, new_state = self.memory.step_(self.memory_norm(x), state), state
        else:
            recalled, new_state = self.memory(self.memory_norm(x), state, reset=reset, mask=mask)
        if tape is not None:
            tape.add("activity", recalled)
            tape.add("state", new_state["ssm"] if "ssm" in new_state else next(iter(new_state.values())))
        remembered = x + self.dropout(recalled)
        if self.router is None or self.router_norm is None:
            return remembered, new_state, None
        source = x if self.update == "parallel" else remembered
        heard_by = source if self.update == "message-norm" else self.router_norm(source)
        emit, g = (None, None) if self.gate is None else self.gate(heard_by)
        if tape is not None and emit is not None:
            tape.add("gate", emit)
        message, routed = self.router(
            heard_by, state, edges=edges, gate=emit, reset=reset, mask=mask, tape=tape
        )  # fmt: skip
        if self.update == "message-norm":
            message = self.router_norm(message)
        if in_place:
            for name, part in routed.items():
                state[name].copy_(part)
            routed = {}
        return remembered + self.dropout(message), {**new_state, **routed}, g
