"""Attention of every neuron over what it recalled at its own last steps, on top of its memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.nn.memory.base import Memory, Parts
from inn.nn.population import NeuronLinear
from inn.nn.presence import counted, remember

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class Attending(Memory):
    """A memory whose neurons look back: y + O Σ softmax(q·k / √D + b) v over the last w of a neuron's own y.

    Query, key and value are maps of y, b a bias for each age from 0 to w - 1; O starts at zero, and so the memory as it
    is without. Masked steps and those at which a neuron is absent are no steps; a reset closes what was before it.
    The cost grows with T w.

    State parts: those of the memory, and `keys` and `values` `[B, N, w - 1, D]` of the last steps, the newest last,
    with `seen` `[B, N, 1]`, how many of them are there.

    Args:
        memory: what is looked back on.
    """

    no_decay = ("age",)

    def __init__(self, config: GraphConfig, memory: Memory):
        super().__init__(config)
        P, D, self.window = config.populations, config.width, config.memory.attend
        self.memory, self.takes_dt = memory, memory.takes_dt
        self.look, self.bring = NeuronLinear(P, D, 3 * D), NeuronLinear(P, D, D, zero=True)
        self.age = nn.Parameter(torch.empty(P, self.window))
        nn.init.zeros_(self.age)

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.age)

    def initial_state(self, batch: int) -> Parts:
        state = self.memory.initial_state(batch)
        own = next(iter(state.values())).new_zeros(batch, self.neurons, self.window - 1, self.bring.weight.shape[1])
        return {**state, "keys": own, "values": own.clone(), "seen": own.new_zeros(batch, self.neurons, 1)}

    def forward(
        self,
        x: Tensor,
        state: Parts,
        *,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        present: Tensor | None = None,
        dt: Tensor | None = None,
    ) -> tuple[Any, ...]:
        options = {"reset": reset, "mask": mask, **({} if dt is None else {"dt": dt})}
        if present is None:
            y, new, *found = self.memory(x, state, **options)
            there = None if mask is None else mask[..., None].expand(y.shape[:3])
        else:
            y, new, *found = remember(self.memory, x, state, present=present, **options)  # type: ignore[arg-type]
            there = counted(mask, present)
        brought, past = self._attend(y, state, reset, there)
        return y + self.bring(brought), {**new, **past}, *found

    def _attend(self, y: Tensor, state: Parts, reset: Tensor | None, there: Tensor | None) -> tuple[Tensor, Parts]:
        """What is brought from the last steps at each of `y` `[B, T, N, D]`, and the parts of the state after them."""
        D, last = y.shape[3], self.window - 1
        past = [state["keys"], state["values"]]
        if reset is not None:  # a NaN is forgotten, too
            y, past = y.masked_fill(~y.isfinite(), 0), [t.masked_fill(~t.isfinite(), 0) for t in past]
        y = y if there is None else y.masked_fill(~there[..., None], 0)
        kind = torch.promote_types(y.dtype, torch.float32)
        q, k, v = (t.to(kind).transpose(1, 2) for t in self.look(y, D, D, D))  # [B, N, T, D]
        m = None if there is None else there.transpose(1, 2)
        run, seen = self._runs(state["seen"], q, reset, m)
        if m is None:
            keys, values = (torch.cat([old, t], 2) for old, t in zip(past, (k, v)))
            brought = self._banded(q, keys, values, run)
            new = [keys[:, :, -last:], values[:, :, -last:]]
        else:  # the steps that count, in their order, then the others
            order = (~m).byte().argsort(dim=-1, stable=True)
            rows = order[..., None].expand_as(q)
            keys, values = (torch.cat([old, t.gather(2, rows)], 2) for old, t in zip(past, (k, v)))
            found = self._banded(q.gather(2, rows), keys, values, run.gather(2, order))
            brought = torch.zeros_like(q).scatter(2, rows, found).masked_fill(~m[..., None], 0)
            ends = m.sum(-1, keepdim=True) + torch.arange(last, device=y.device)
            new = [t.gather(2, ends[..., None].expand(-1, -1, -1, D)) for t in (keys, values)]
        return brought.transpose(1, 2).to(y.dtype), {"keys": new[0], "values": new[1], "seen": seen}

    def _runs(self, seen: Tensor, like: Tensor, reset: Tensor | None, m: Tensor | None) -> tuple[Tensor, Tensor]:
        """How many steps that count come before each since the last reset, `[B, N, T]`, and `seen` after all."""
        seen = seen.nan_to_num()
        if m is None:
            before, total = torch.arange(like.shape[2], device=seen.device).expand(like.shape[:3]), like.shape[2]
        else:
            before, total = m.cumsum(-1) - m.long(), m.sum(-1, keepdim=True)
        if reset is None:
            return before + seen, (seen + total).clamp(max=self.window - 1)
        begins = reset[:, None].expand(like.shape[:3])
        start, fresh = torch.where(begins, before, 0).cummax(-1).values, begins.cumsum(-1) > 0
        run = torch.where(fresh, (before - start).to(seen.dtype), before + seen)
        after = torch.where(fresh[..., -1:], (total - start[..., -1:]).to(seen.dtype), seen + total)
        return run, after.clamp(max=self.window - 1)

    def _banded(self, q: Tensor, keys: Tensor, values: Tensor, run: Tensor) -> Tensor:
        """Attention in a band, stretch by stretch: each of `q` `[B, N, T, D]` to the w `keys` that end with its own.

        Args:
            keys, values: `[B, N, w - 1 + T, D]`.
            run: how many of them before its own each may look at, `[B, N, T]`.
        """
        (T, D), w = q.shape[2:], self.window
        size = min(T, w)
        count = -(-T // size)
        q, keys, values = (F.pad(t, (0, 0, 0, count * size - T)) for t in (q, keys, values))
        run = F.pad(run, (0, count * size - T)).unflatten(2, (count, size))
        heard, told = (t.unfold(2, size + w - 1, size) for t in (keys, values))  # [B, N, count, D, size + w - 1]
        ages = torch.arange(size, device=q.device)[:, None] + w - 1 - torch.arange(size + w - 1, device=q.device)
        bias = self.age.to(q.dtype)[:, ages.clamp(0, w - 1)]
        scores = q.unflatten(2, (count, size)) @ heard * D**-0.5 + bias[:, None]
        open_ = (ages >= 0) & (ages < w) & (ages <= run[..., None])
        shares = scores.masked_fill(~open_, -torch.inf).softmax(-1)
        return (shares @ told.transpose(-1, -2)).flatten(2, 3)[:, :, :T]

    def sizes(self, state: Parts) -> Tensor:
        return self.memory.sizes(state)

    def place(self, neuron: int) -> tuple[str, int] | None:
        return self.memory.place(neuron)

    def time_constants(self, x: Tensor, state: Parts) -> Tensor | None:
        return self.memory.time_constants(x, state)

    def flops(self) -> dict[str, float]:
        D = self.bring.weight.shape[1]
        maps = self.look.flops(self.neurons) + self.bring.flops(self.neurons)
        return {**self.memory.flops(), "memory.attention": maps + 4.0 * self.neurons * self.window * D}
