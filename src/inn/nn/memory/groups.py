"""Memories of several kinds side by side, each on its own neurons of a population."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.nn.direct import passed_by
from inn.nn.memory.attend import Attending
from inn.nn.memory.base import Memory, Parts
from inn.nn.presence import remember
from inn.nn.state import grouped, ungrouped
from inn.registry import MEMORIES

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


@passed_by("forward", groups=Memory)
class Groups(Memory):
    """The memory of a mixed population: neurons 0, 1, ... belong to the groups in their order.

    The state's parts are those of the groups' memories, each under its group's name: `ssm@0` `[B, N of group 0, ...]`.
    """

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        groups = config.groups
        self.counts = [c.neurons for c in groups]
        kinds = [MEMORIES[c.memory.kind] for c in groups]
        # Behind a router into the memory each takes as many of the numbers that arrive as it asked for.
        self.widths = [kind.inputs(c) if config.into_memory else config.width for kind, c in zip(kinds, groups)]
        self.groups = nn.ModuleList(map(one_memory, groups))
        self.takes_dt = any(memory.takes_dt for memory in self.groups)

    def initial_state(self, batch: int) -> Parts:
        return self._joined([memory.initial_state(batch) for memory in self.groups])  # type: ignore[operator]

    def forward(
        self,
        x: Tensor,
        state: Parts,
        *,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        present: Tensor | None = None,
        dt: Tensor | None = None,
        message: Tensor | None = None,
    ) -> tuple[Tensor, Parts, dict[str, Tensor]]:
        results, states, penalties = [], [], {}
        there = None if present is None else present.split(self.counts, 2)
        told = None if message is None else self._split(message)
        for g, (memory, part) in enumerate(zip(self.groups, self._split(x))):
            own, options = ungrouped(state, g), {"reset": reset, "mask": mask}
            if dt is not None and memory.takes_dt:
                options["dt"] = dt
            if told is not None and memory.takes_message:
                options["message"] = told[g]
            elif told is not None:
                part = part + told[g]
            if there is None:
                y, new, *found = memory(part, own, **options)
            else:
                y, new, *found = remember(memory, part, own, present=there[g], **options)  # type: ignore[arg-type]
            results.append(y)
            states.append(new)
            for more in found:
                penalties.update({f"{name}@{g}": penalty for name, penalty in more.items()})
        return torch.cat(results, 2), self._joined(states), penalties

    def step_(self, x: Tensor, state: Parts) -> Tensor:
        parts = zip(self.groups, self._split(x))
        return torch.cat([memory.step_(part, ungrouped(state, g)) for g, (memory, part) in enumerate(parts)], 2)  # type: ignore[operator]

    def sizes(self, state: Parts) -> Tensor:
        sizes = [memory.sizes(ungrouped(state, g)) for g, memory in enumerate(self.groups)]  # type: ignore[operator]
        return torch.cat([s.expand(max(map(len, sizes)), -1) for s in sizes], 1)

    def place(self, neuron: int) -> tuple[str, int] | None:
        first = 0
        for g, (memory, size) in enumerate(zip(self.groups, self.counts)):
            if neuron < first + size:
                place = memory.place(neuron - first)  # type: ignore[operator]
                return None if place is None else (grouped(place[0], g), place[1])
            first += size
        raise IndexError(f"there is no neuron {neuron} among {first}")

    def time_constants(self, x: Tensor, state: Parts) -> Tensor | None:
        parts = zip(self.groups, self._split(x))
        found = [memory.time_constants(part, ungrouped(state, g)) for g, (memory, part) in enumerate(parts)]  # type: ignore[operator]
        known = [t for t in found if t is not None]
        if len(known) < len(found) or len({t.shape[1] for t in known}) > 1:
            return None
        return torch.cat(known)

    def flops(self) -> dict[str, float]:
        total: dict[str, float] = {}
        for memory in self.groups:
            for name, n in memory.flops().items():  # type: ignore[operator]
                total[name] = total.get(name, 0.0) + n
        return total

    def _split(self, x: Tensor) -> list[Tensor]:
        return [part[..., :width] for part, width in zip(x.split(self.counts, 2), self.widths)]

    @staticmethod
    def _joined(states: list[Parts]) -> Parts:
        return {grouped(name, g): t for g, state in enumerate(states) for name, t in state.items()}


def build_memory(config: GraphConfig) -> Memory:
    """The memory of a population: one for all neurons, or one for each group."""
    return Groups(config) if config.population else one_memory(config)


def one_memory(config: GraphConfig) -> Memory:
    """The memory of neurons of one kind, looking back on itself where its options say so."""
    memory = MEMORIES[config.memory.kind](config)
    return Attending(config, memory) if getattr(config.memory, "attend", 0) else memory
