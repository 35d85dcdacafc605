"""A round with feedback: what its neurons said at a step is what they hear of one another at the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from inn.nn.direct import at_rest, passed_by, untouched
from inn.nn.memory.base import Memory
from inn.nn.memory.groups import Groups
from inn.nn.memory.mamba import Mamba
from inn.nn.memory.recurrent import RecurrentMemory
from inn.nn.population import NeuronMap, NeuronNorm
from inn.nn.presence import only_present, remember
from inn.nn.round import Parts, Penalties, Round, combined
from inn.nn.routing.dendrites import Dendrites
from inn.nn.state import grouped
from inn.nn.topology.edges import Edges
from inn.ops import feedback_scan, recurrence
from inn.ops.tensors import autocasts, plain

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig
    from inn.nn.tape import RoundTape

SAID = "said"
"""The state's part that holds what neurons said last."""
_CELLS = ("elman", "gru", "lstm", "slstm")
"""Cells that put out their first state, and hear it through their first weight."""
_LARGEST = 1 << 24
"""Numbers of a population's recurrent weight, at most."""
_CACHED = 1 << 22
"""Numbers of R, at most, where a block of streams reads them at every step: they have to stay in a cache."""


@passed_by("forward", memory=Memory)
class FeedbackRound(Round):
    """A round whose router has a lag: communication of the step before, then memory.

    What a neuron says is what its memory gives, y. With most routers x ← x + R(LN₂ y_{t-1}), then x ← x + y_t with
    y_t = M(LN₁ x). Through `dendrites` x ← x + y_t with y_t = M(W LN₁ x, R LN₂ y_{t-1}): the message is added to the
    memory's input, in a recurrent memory to what it hears of itself. There y is the cell's state, and goes without LN₂.

    Each round is a recurrence of its own, which runs over a whole stretch before the next one does. Where the router is
    dendrites, and all memories recurrent ones whose state tells y (`self.loops`), y_{t-1} is taken from there, and a
    stretch is one call of `inn.ops.recurrence`: neurons with GRUs are together one GRU. Elsewhere y_{t-1} is a part of
    the state: `said` `[B, N, D]`, of the last step that counted, zero at the start. Through dendrites into Mambas a
    stretch is one call, too, of `inn.ops.feedback_scan`; all else goes step by step.
    """

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        self.shape = (config.neurons, config.width)
        self.loops = isinstance(self.router, Dendrites) and all(
            isinstance(m, RecurrentMemory) and type(m).forward is RecurrentMemory.forward and m.cell in _CELLS
            for m in self._memories()
        )
        if isinstance(self.router, Dendrites) and not self.loops:  # what is told here has no bound
            self.router_norm = NeuronNorm(config.populations, config.width, kind=config.norm)

    def flops(self, density: float = 1.0) -> dict[str, float]:
        return super().flops()  # step by step nothing is packed: neurons that rest are computed, too

    def initial_state(self, batch: int) -> Parts:
        state, norm = super().initial_state(batch), self.memory_norm
        if self.loops:
            return state
        home, w = (norm, norm.weight) if norm.weight is not None else (self, next(self.parameters()))
        return {**state, SAID: at_rest(home, w, batch, *self.shape)}

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
        chosen: Penalties = {}
        normed, present, factor = self.awake(x, mask, tape, present, factor, chosen)
        normed = self.memory_norm(x) if normed is None and isinstance(self.router, Dendrites) else normed
        at_once = None
        if x.shape[1] > 1 and tape is None and present is None and factor is None:
            at_once = self._in_one_loop if self._fits_the_loop() else self._of_mambas if self._fits_mambas(x) else None
        if at_once is not None:
            assert normed is not None
            recalled, state = at_once(normed, state, edges, reset, mask)
            y = combined(self.memory_residual, x, self.dropout(recalled))
            return self.mapped(y, None, None, None), state, {}
        first, results, recalls, heard, found, priced = state, [], [], [], [], False
        own = None if normed is None or not isinstance(self.router, Dendrites) else self.router.taken_in(normed)
        for t in range(x.shape[1]):
            at = slice(t, t + 1)
            now: dict[str, Any] = {n: None if v is None else v[:, at] for n, v in (("reset", reset), ("mask", mask))}
            there, loud = (None if v is None else v[:, at] for v in (present, factor))
            said = self._said(state)
            if reset is not None:
                said = said.masked_fill(reset[:, t, None, None], 0.0)
            heard.append(said)
            penalties: Penalties = {}
            options = {"edges": edges, **now, "tape": None, **({} if there is None else {"present": there})}
            message, routed = self._listen(x, said[:, None], state, options, penalties)
            priced = bool(penalties)
            if dt is not None and self.memory.takes_dt:
                now["dt"] = dt[:, at]
            if own is None:
                base = combined(self.router_residual, x[:, at], self.dropout(message), loud, there)
                taken = self.memory_norm(base)
            else:
                base, taken = x[:, at], own[:, at]
                if self.memory.takes_message:
                    now["message"] = message
                else:
                    taken = taken + message
            if there is not None:
                recalled, new, *more = remember(self.memory, taken, state, **now, present=there)
                recalled = only_present(recalled, there)
            elif in_place and not now.keys() & {"message", "dt"}:
                recalled, new, more = self.memory.step_(taken, state), state, []
            else:
                recalled, new, *more = self.memory(taken, state, **now)
            penalties.update(*more)
            found.append(penalties)
            results.append(combined(self.memory_residual, base, self.dropout(recalled), loud, there))
            recalls.append(recalled)
            state = {**state, **new, **routed}
            if not self.loops:
                state[SAID] = _kept(recalled[:, 0].to(said.dtype), said, now["mask"], there)
        penalties = {n: torch.stack([f[n] for f in found]).mean() for n in found[0]}
        if tape is not None or priced:  # once more, of all steps: what is averaged weighs them alike
            options = {"edges": edges, "reset": reset, "mask": mask, "tape": tape}
            options |= {} if present is None else {"present": present}
            self._listen(x, torch.stack(heard, 1), first, options, penalties)
        if tape is not None:
            tape.add("activity", torch.cat(recalls, 1))
            tape.add("state", self.memory.sizes(state).expand(x.shape[0], -1))
        if in_place:
            for name, part in state.items():
                if part is not first[name]:
                    first[name].copy_(part)
            state, penalties = first, {}
        return self.mapped(torch.cat(results, 1), tape, factor, present), state, {**penalties, **chosen}

    def _listen(
        self, x: Tensor, said: Tensor, state: Parts, options: dict[str, Any], penalties: Penalties
    ) -> tuple[Tensor, Parts]:
        """What neurons hear of what was said before each step, `[B, T, N, D]`."""
        assert self.router is not None
        said = said.to(x.dtype)
        said = said if self.router_norm is None else self.router_norm(said)
        return self.communicate(self.router, said, state, options, penalties)

    def _said(self, state: Parts) -> Tensor:
        """What neurons said last, `[B, N, D]`."""
        if not self.loops:
            return state[SAID]
        found = [(m, state[own[0]]) for m, own in zip(self._memories(), self._names())]
        return torch.cat([h if m.out_proj is None else m.out_proj(h[:, None])[:, 0].to(h.dtype) for m, h in found], 1)

    def _memories(self) -> list[Any]:
        return [*self.memory.groups] if isinstance(self.memory, Groups) else [self.memory]

    def _names(self) -> list[list[str]]:
        """The parts of the state by memory, in the order of its cell."""
        mixed = isinstance(self.memory, Groups)
        return [[grouped(p, g) if mixed else p for p in m.parts] for g, m in enumerate(self._memories())]

    def _fits_the_loop(self) -> bool:
        if not self.loops or self.gate is not None:
            return False
        memories, router = self._memories(), self.router
        assert isinstance(router, Dendrites)
        if len({(m.cell, m.units) for m in memories}) > 1:
            return False
        return self.shape[0] ** 2 * router.outputs * memories[0].units <= _LARGEST and untouched(self)

    def _in_one_loop(
        self, normed: Tensor, state: Parts, edges: Edges | None, reset: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Parts]:
        """What neurons recall, and the new state: one recurrence of the population, its weight R and U together."""
        memories, router, names = self._memories(), self.router, self._names()
        assert isinstance(router, Dendrites)
        sizes = [m.neurons for m in memories]
        own = [tuple(w.expand(n, *w.shape[1:]) for w in m.weights()) for m, n in zip(memories, sizes)]
        heard, *more = (torch.cat(parts) for parts in zip(*own))
        before = torch.cat([torch.stack([state[name] for name in own], 2) for own in names], 1)  # [B, N, S, H]
        weight = router.matrices(edges)  # [N, I, N, D]
        if memories[0].out_proj is not None:
            out = torch.cat([m.out_proj.weight.expand(n, -1, -1) for m, n in zip(memories, sizes)])
            weight = torch.einsum("iojd,jdh->iojh", weight, out)
        if any(type(m).admitted is not RecurrentMemory.admitted for m in memories):
            parts = zip(memories, weight.movedim(1, -1).split(sizes))
            weight = torch.cat([m.admitted(part) for m, part in parts]).movedim(-1, 1)
        itself = torch.eye(len(heard), dtype=weight.dtype, device=normed.device)
        weight = (weight + itself[:, None, :, None] * heard[:, :, None]).flatten(2)
        given = router.taken_in(normed).split(sizes, 2)
        given = torch.cat([m.taken(part) for m, part in zip(memories, given)], 2)
        y, after = recurrence(memories[0].cell, given, before, reset, mask, weight, *more)
        if memories[0].out_proj is not None:
            y = torch.cat([m.out_proj(part) for m, part in zip(memories, y.split(sizes, 2))], 2)
        groups = zip(names, after.split(sizes, 1))
        return y, {**state, **{name: part for own, group in groups for name, part in zip(own, group.unbind(2))}}

    def _fits_mambas(self, x: Tensor) -> bool:
        router, memory, (N, D) = self.router, self.memory, self.shape
        if not isinstance(router, Dendrites) or type(memory) is not Mamba or self.gate is not None:
            return False
        if 4 * router.degree < N or N**2 * router.outputs * D > _CACHED or not isinstance(router.hear, NeuronMap):
            return False
        changed = autocasts(x) or torch.compiler.is_exporting() or not all(map(plain, self.parameters()))
        return not changed and untouched(self)

    def _of_mambas(
        self, normed: Tensor, state: Parts, edges: Edges | None, reset: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Parts]:
        """What neurons recall, and the new state: the stretch as one call."""
        router, m, norm, N = self.router, self.memory, self.router_norm, self.shape[0]
        assert isinstance(router, Dendrites)
        assert isinstance(m, Mamba)
        assert norm is not None
        maps = m.x_proj.weight, m.dt_proj.weight, m.dt_proj.bias
        weights = norm.weight, norm.bias, m.conv_weight, m.conv_bias, *maps, -m.A_log.exp(), m.D, m.out_proj.weight
        each = (None if w is None else w.expand(N, *w.shape[1:]) for w in weights)
        before = (state[name] for name in (SAID, "conv", "ssm"))
        hear = router.matrices(edges).flatten(2)
        y, said, conv, ssm = feedback_scan(router.taken_in(normed), *before, reset, mask, hear, *each)
        return y, {**state, SAID: said, "conv": conv, "ssm": ssm}


def _kept(new: Tensor, old: Tensor, mask: Tensor | None, present: Tensor | None) -> Tensor:
    """What was said last, `[B, N, D]`, after a step of this mask `[B, 1]`, and of the neurons present `[B, 1, N]`."""
    if mask is not None:
        new = torch.where(mask[..., None], new, old)
    return new if present is None else torch.where(present[:, 0, :, None], new, old)
