"""An associative memory: a matrix that adds up values by their keys, and fades."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.nn.direct import at_rest
from inn.nn.memory.base import Memory, Parts
from inn.nn.memory.options.hebb import HebbOptions
from inn.nn.population import NeuronLinear, flops_of, neuron_map
from inn.nn.presence import counted
from inn.ops.spike import sign

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig

_CHUNK = 64
"""Steps that are read in one product."""


class Hebb(Memory):
    """M ← γ M + v kᵀ, y = M q: in-projection to queries, keys and values, associations, out-projection.

    With `settle` a query is asked again as the signs of its answer, q ← sign(M q), so often: a pattern that was written
    with itself as the key is then completed (Hopfield 1982), several at once if they have blanks (arXiv 1111.5191).

    State: `matrix` `[B, N, S, S]`, values by keys.
    """

    Options = HebbOptions
    no_decay = ("logit",)

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        own: HebbOptions = config.memory
        P, D, S = config.populations, config.width, own.size(config.width)
        self.size, self.keep, self.settle = S, own.keep, own.settle
        self.in_proj = None if config.into_memory else neuron_map(config, D, 3 * S)
        self.logit = nn.Parameter(torch.empty(P))
        self.reset_parameters()
        self.out_proj = NeuronLinear(P, S, D)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.logit.fill_(math.log(self.keep / (1 - self.keep)))

    @classmethod
    def inputs(cls, config: GraphConfig) -> int:
        """Query, key and value."""
        return 3 * config.memory.size(config.width)

    def initial_state(self, batch: int) -> Parts:
        return {"matrix": at_rest(self, self.logit, batch, self.neurons, self.size, self.size)}

    def forward(
        self,
        x: Tensor,
        state: Parts,
        *,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        present: Tensor | None = None,
    ) -> tuple[Tensor, Parts]:
        q, k, v = (x if self.in_proj is None else self.in_proj(x)).split(self.size, -1)
        counts = counted(mask, present)
        counts = counts[..., None] if present is None and counts is not None else counts
        rate = F.logsigmoid(self.logit.to(state["matrix"].dtype)).expand(self.neurons)
        y, matrix = associate(q, k * self.size**-0.5, v, rate, state["matrix"], reset, counts, self.settle)
        return self.out_proj(y.to(x.dtype)), {"matrix": matrix}

    def time_constants(self, x: Tensor, state: Parts) -> Tensor:
        """τ = -1 / ln γ, `[N, 1]`: the same whatever is read."""
        return (-1 / F.logsigmoid(self.logit.double())).expand(self.neurons)[:, None]

    def flops(self) -> dict[str, float]:
        return {
            "memory.matrices": flops_of(self.neurons, self.in_proj, self.out_proj),
            # per number of the matrix: decay, write (2), read (2) and each further read
            "memory.associations": self.neurons * self.size**2 * (5.0 + 2.0 * self.settle),
        }


def associate(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rate: Tensor,
    state: Tensor,
    reset: Tensor | None = None,
    counts: Tensor | None = None,
    settle: int = 0,
) -> tuple[Tensor, Tensor]:
    """M_t = e^rate M_{t-1} + v_t k_tᵀ and y_t = M_t q_t, in chunks of a few products each.

    Args:
        q, k, v: queries and keys `[B, T, N, K]`, values `[B, T, N, V]`.
        rate: `[N]`, ln γ.
        state: M before the first step, `[B, N, V, K]`; its type is what is computed in.
        reset: `[B, T]` bool, steps before which M is emptied.
        counts: `[B, T, N]` or `[B, T, 1]` bool, where false M passes through unchanged and y means nothing.
        settle: times that a query becomes the signs of its answer, y_t = M_t sign(y_t).

    Returns y `[B, T, N, V]` and M after the last step.
    """
    exact = state.dtype
    q, k, v = (t.to(exact).transpose(1, 2) for t in (q, k, v))  # [B, N, T, ...]
    if counts is not None:
        counts = counts.transpose(1, 2)
        k, v, q = (t.masked_fill(~counts[..., None], 0.0) for t in (k, v, q))
    results = []
    for at in range(0, q.shape[2], _CHUNK):
        own = slice(at, at + _CHUNK)
        y, state = _chunk(
            q[:, :, own], k[:, :, own], v[:, :, own], rate, state,
            None if reset is None else reset[:, own], None if counts is None else counts[:, :, own], settle,
        )  # fmt: skip
        results.append(y)
    y = results[0] if len(results) == 1 else torch.cat(results, 2)
    return y.transpose(1, 2), state


def _chunk(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rate: Tensor,
    state: Tensor,
    reset: Tensor | None,
    counts: Tensor | None,
    settle: int,
) -> tuple[Tensor, Tensor]:
    """`associate` over a few steps, neurons before time: y_t = Σ_{s ≤ t} γ^{n_t - n_s} (k_s . q_t) v_s + γ^{n_t} M q_t.

    n counts the steps that count; what is on the other side of a reset weighs nothing.
    """
    C = q.shape[2]
    if counts is None:
        n = torch.arange(1, C + 1, device=q.device, dtype=q.dtype)
    else:
        n = counts.cumsum(2).to(q.dtype)  # [B, N, C]
    steps = n[..., :, None] - n[..., None, :]
    live = torch.ones(C, C, dtype=torch.bool, device=q.device).tril()
    before = torch.exp(rate[:, None] * n)  # of what the state before has left, [.., N, C]
    if reset is not None:
        begun = reset.cumsum(1)[:, None]  # [B, 1, C]
        live = live & (begun[..., :, None] == begun[..., None, :])
        before = before.masked_fill(begun > 0, 0.0)
    weight = torch.exp(rate[:, None, None] * steps.clamp_min(0)).masked_fill(~live, 0.0)  # [.., N, C, C]
    keys = k.mT

    def read(q: Tensor) -> Tensor:
        return (q @ keys * weight) @ v + before[..., None] * (q @ state.mT)

    y = read(q)
    for _ in range(settle):
        y = read(sign(y))
    left = weight[..., -1, :, None]  # of what was written, at the end
    return y, before[..., -1, None, None] * state + (v * left).mT @ k
