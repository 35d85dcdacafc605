"""One round: communication and memory, in the order that the router asks for (the paper's "layer")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from inn.nn.direct import passed_by
from inn.nn.masked import legible
from inn.nn.memory.base import Memory
from inn.nn.memory.groups import build_memory
from inn.nn.packing import Packed, packed
from inn.nn.population import NeuronNorm
from inn.nn.presence import only_present, remember
from inn.nn.residual import Residual, residual
from inn.nn.routing.base import Router
from inn.nn.routing.options import check_sequential
from inn.nn.topology.edges import Edges
from inn.registry import GATES, INNERS, ROUTERS
from inn.system.errors import InputError

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig
    from inn.nn.tape import RoundTape

Parts = dict[str, Tensor]
Penalties = dict[str, Tensor]


@passed_by("forward", memory=Memory)
class Round(nn.Module):
    """Every neuron remembers, then all talk; in one of three published forms (`GraphConfig.update`):

    - `sequential` (published code): x ← x + M(LN₁ x), then x ← x + R(LN₂ x);
    - `parallel` (Equation 1): x ← x + M(LN₁ x) + R(LN₂ x);
    - `message-norm` (Algorithm 1): x ← x + M(LN₁ x), then x ← x + LN₂(R(x)).

    With a router that leads into the memory (`dendrites`) it is communication, then memory: x ← x + M(R(LN₁ x)).
    With a `residual` other than `add` each x + y is that combination of x and y (`inn.nn.residual`).
    An inner map comes last, and is added: x ← x + I(LN₃ x).
    """

    def __init__(self, config: GraphConfig):
        super().__init__()
        self.update = config.update
        P, D = config.populations, config.width
        self.memory_norm = NeuronNorm(P, D, kind=config.norm)
        self.memory = build_memory(config)
        self.dropout = nn.Dropout(config.dropout) if config.dropout else nn.Identity()
        self.memory_residual = residual(config)
        self.router = self.gate = self.router_norm = self.router_residual = self.inner = None
        if (router := ROUTERS[config.router.kind]) is not None:
            self.router = router(config)
            if self.router.into_memory:
                check_sequential(config, f"router '{config.router.kind}'")
            else:
                silent_norm = config.update == "message-norm" and getattr(config.router, "zero_start", False)
                self.router_norm = NeuronNorm(P, D, gain=0.0 if silent_norm else 1.0, kind=config.norm)
                self.router_residual = residual(config)
        if (gate := GATES[config.gate.kind]) is not None and not gate.once:
            self.gate = gate(config)
        if (inner := INNERS[config.inner.kind]) is not None:
            self.inner_norm = NeuronNorm(P, D, kind=config.norm if inner.normed else "none")
            self.inner = inner(config)

    @property
    def parallel_in_time(self) -> bool:
        return self.router is None or self.router.parallel_in_time

    def flops(self, density: float = 1.0) -> dict[str, float]:
        """Forward FLOPs for one step, by part, where so large a share of the neurons takes part, and the others rest.

        All are asked by the gate, and by a router that does not skip those that rest (`Router.skips`).
        """
        total: dict[str, float] = {}
        for found in self.flops_by_child(density).values():
            for name, n in found.items():
                total[name] = total.get(name, 0.0) + n
        return total

    def flops_by_child(self, density: float = 1.0) -> dict[str, dict[str, float]]:
        """`flops` of each child that has some, by the child's name."""
        density = density if self.gate is None else min(density, self.gate.share)
        found: dict[str, dict[str, float]] = {}
        for child in ("memory", "memory_residual", "gate", "router", "router_residual", "inner"):
            if (part := getattr(self, child)) is not None:
                whole = part is self.gate or (isinstance(part, Router) and not part.skips)
                found[child] = {name: n * (1.0 if whole else density) for name, n in part.flops().items()}
        return found

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
        present: Tensor | None = None,
        factor: Tensor | None = None,
        dt: Tensor | None = None,
    ) -> tuple[Tensor, Parts, Penalties]:
        """Return the neurons after the round, `[B, T, N, D]`, the new state, and what parts add to the loss, by name.

        With `in_place` (one step, neither reset nor mask) the new state is the given one, changed. Neurons that are not
        `present` `[B, T, N]` come out as they were; what is put to the others is scaled by a `factor` `[B, T, N]`. The
        time since the step before, `dt` `[B, T]`, is for the memory, if it takes it.
        """
        penalties: Penalties = {}
        routed: Parts = {}
        heard, present, factor = self.awake(x, mask, tape, present, factor, penalties)
        plain = tape is None and (dt is None or not self.memory.takes_dt)
        if present is not None and plain and (rows := packed(present, mask, reset, self.memory.packs(x))) is not None:
            return self.of_present(x, state, rows, heard, factor, penalties, edges, mask, present)
        heard = self.memory_norm(x) if heard is None else heard
        options = {"edges": edges, "reset": reset, "mask": mask, "tape": tape}
        if present is not None:
            options["present"] = present
        router, memory, dropout = self.router, self.memory, self.dropout
        if router is not None and router.into_memory:
            heard, routed = self.communicate(router, heard, state, options, penalties)
        timed = {"dt": dt} if dt is not None and memory.takes_dt else {}
        if present is not None:
            told = {"reset": reset, "mask": mask, "present": present, **timed}
            recalled, new_state, *found = remember(memory, heard, state, **told)
            recalled = only_present(recalled, present)
            penalties.update(*found)
        elif in_place and not timed:
            recalled, new_state = memory.step_(heard, state), state
        else:
            recalled, new_state, *found = memory(heard, state, reset=reset, mask=mask, **timed)
            penalties.update(*found)
        if tape is not None:
            tape.add("activity", recalled)
            tape.add("state", memory.sizes(new_state).expand(x.shape[0], -1))
        y = combined(self.memory_residual, x, dropout(recalled), factor, present)
        if router is not None and (norm := self.router_norm) is not None:
            source = x if self.update == "parallel" else y
            normed = source if self.update == "message-norm" else norm(source)
            message, routed = self.communicate(router, normed, state, options, penalties)
            message = dropout(norm(message) if self.update == "message-norm" else message)
            y = combined(self.router_residual, y, message, factor, present)
        y = self.mapped(y, tape, factor, present)
        if in_place:
            for name, part in (routed if new_state is state else {**new_state, **routed}).items():
                state[name].copy_(part)
            return y, state, {}
        return y, {**new_state, **routed}, penalties

    def of_present(
        self,
        x: Tensor,
        state: Parts,
        rows: Packed,
        heard: Tensor | None,
        factor: Tensor | None,
        penalties: Penalties,
        edges: Edges | None,
        mask: Tensor | None,
        present: Tensor,
    ) -> tuple[Tensor, Parts, Penalties]:
        """`forward` on packed steps: those at which neurons are present, and no others, are computed."""
        router, dropout, routed = self.router, self.dropout, {}
        options = {"edges": edges, "reset": None, "mask": mask, "tape": None, "present": present}

        def told(x: Tensor) -> Tensor:
            assert router is not None
            if (self.gate is None or self.gate.rests) and router.packs(x, edges):
                return router.of_rows(x, rows, edges)
            message, after = self.communicate(router, rows.spread(x), state, options, penalties)
            routed.update(after)
            return rows.take(message)

        def put(residual: Residual, x: Tensor, y: Tensor) -> Tensor:
            y = dropout(y) if loud is None else dropout(y) * loud.to(y.dtype)
            return x + y if residual is None else rows.through(residual, x, y)

        x_in = rows.take(x)
        loud = None if factor is None else rows.take(factor[..., None])
        taken = rows.through(self.memory_norm, x_in) if heard is None else rows.take(heard)
        if router is not None and router.into_memory:
            taken = told(taken)
        if self.memory.packs(x):
            recalled, new_state = self.memory.of_rows(taken, state, rows)
        else:
            options_of = {"reset": None, "mask": None, "present": rows.inside}
            recalled, new_state, *found = remember(self.memory, rows.filled(taken), state, **options_of)
            recalled = rows.listed(recalled)
            penalties.update(*found)
        y = put(self.memory_residual, x_in, recalled)
        if router is not None and (norm := self.router_norm) is not None:
            source = x_in if self.update == "parallel" else y
            late = self.update == "message-norm"
            message = told(source if late else rows.through(norm, source))
            y = put(self.router_residual, y, rows.through(norm, message) if late else message)
        if self.inner is not None:
            y = put(None, y, rows.through(self.inner, rows.through(self.inner_norm, y)))
        return rows.put(x, y), {**new_state, **routed}, penalties

    def awake(
        self,
        x: Tensor,
        mask: Tensor | None,
        tape: RoundTape | None,
        present: Tensor | None,
        factor: Tensor | None,
        penalties: Penalties,
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Which of the neurons `[B, T, N, D]` take part in this round, and by what factor; None: all, by 1.

        First stand the neurons after the memory's norm, where the gate was asked about them, else None.
        """
        heard = None
        if (gate := self.gate) is not None and gate.rests:
            heard = self.memory_norm(x)
            own, factor, found = gate(heard, mask=mask, present=present)
            penalties.update(found)
            assert own is not None
            present = own if present is None else own & present
        if factor is not None and present is not None:
            if tape is not None:
                tape.add("gate", present.to(x.dtype))
            if legible(present) and bool(present.all()):
                return heard, None, factor
        return heard, present, factor

    def mapped(self, y: Tensor, tape: RoundTape | None, factor: Tensor | None, present: Tensor | None) -> Tensor:
        """Neurons `[B, T, N, D]` after the inner map of each, where there is one."""
        if (inner := self.inner) is None:
            return y
        normed = self.inner_norm(y)
        if tape is not None and tape.wants("clamped") and (clamped := inner.clamped(normed)) is not None:
            tape.add("clamped", clamped)
        return combined(None, y, self.dropout(inner(normed)), factor, present)

    def communicate(
        self, router: Router, x: Tensor, state: Parts, options: dict[str, Any], penalties: Penalties
    ) -> tuple[Tensor, Parts]:
        """What the neurons `x` `[B, T, N, D]` hear from one another, and the router's new state."""
        present, emit = options.get("present"), None
        if (gate := self.gate) is not None and not gate.rests:
            _, emit, own = gate(x, mask=options["mask"], present=present)
            penalties.update(own)
        passed_on = (edges := options["edges"]) is not None and edges.relay  # the router's door sees to it
        if present is not None and not router.takes_present and not passed_on:  # who is absent sends nothing
            emit = present.to(x.dtype) if emit is None else emit * present
            options = {name: value for name, value in options.items() if name != "present"}
        if gate is not None and emit is not None and options["tape"] is not None:
            options["tape"].add("gate", emit)
        message, routed, *found = router(x, state, gate=emit, **options)
        penalties.update(*found)
        return message, routed


def combined(
    residual: Residual, x: Tensor, y: Tensor, factor: Tensor | None = None, present: Tensor | None = None
) -> Tensor:
    """What neurons were and what is put to them, scaled, as one; those that are not present are what they were."""
    y = y if factor is None else y * factor[..., None].to(y.dtype)
    y = x + y if residual is None else residual(x, y)
    return y if present is None else torch.where(present[..., None], y, x)


def flops_of(rounds: Sequence[Round], density: float | Sequence[float]) -> dict[str, float]:
    """FLOPs of one step of these rounds, by part, where a share of the neurons takes part, or a share by round."""
    shares = [density] * len(rounds) if isinstance(density, int | float) else [*density]
    if len(shares) != len(rounds) or not all(0 <= share <= 1 for share in shares):
        of = f"one share, or one for each of {len(rounds)} rounds"
        raise InputError(f"density must be from 0 to 1, {of}, not {density}")
    total: dict[str, float] = {}
    for module, share in zip(rounds, shares):
        for name, n in module.flops(share).items():
            total[name] = total.get(name, 0.0) + n
    return total
