"""Mamba as the memory of a neuron: a selective state space (Gu & Dao 2023, arXiv 2312.00752, section 3.4)."""

from __future__ import annotations

import math
from functools import partial
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.nn.direct import at_rest, passed_by, untouched
from inn.nn.memory.base import Memory, Parts
from inn.nn.memory.options.mamba import MambaOptions
from inn.nn.population import NeuronLinear, NeuronMap, flops_of, neuron_map
from inn.nn.presence import conv_of_present
from inn.ops import causal_conv, memory_step, packed_conv, packed_scan, selective_scan
from inn.ops.tensors import autocasts

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig
    from inn.nn.packing import Packed


_NUMBERS = ("conv_weight", "conv_bias", "A_log", "D")
_BY_KEY, _BY_NAME, _MAPS_OF = itemgetter(*_NUMBERS), attrgetter(*_NUMBERS), itemgetter("x_proj", "dt_proj", "out_proj")
_NO_STEP = -1e4  # softplus of it is zero, or too small for a decay to differ from 1
_MAPS = dict.fromkeys(("x_proj", "dt_proj", "out_proj"), NeuronLinear)


@passed_by("forward", in_proj=NeuronMap, **_MAPS)
class Mamba(Memory):
    """In-projection, short convolution, selective scan, output gate, out-projection; no norm, no residual.

    State parts: `conv` `[B, N, K-1, E]`, the last inputs of the convolution, and `ssm` `[B, N, E, S]`.
    """

    Options = MambaOptions
    main_part = "ssm"
    no_decay = ("conv_bias", "A_log", "D")

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        P = config.populations
        own: MambaOptions = config.memory
        D, S, K = config.width, own.state, own.conv
        E, R = own.channels(D), own.rank(D)
        self.dims = (E, S, K, R)
        # A router into the memory is an in-projection, from all neurons at once.
        self.in_proj = None if config.into_memory else neuron_map(config, D, 2 * E)
        self.conv_weight = nn.Parameter(torch.empty(P, E, K))
        self.conv_bias = nn.Parameter(torch.empty(P, E))
        self.A_log = nn.Parameter(torch.empty(P, E, S))
        self.D = nn.Parameter(torch.empty(P, E))
        self.reset_parameters()
        self.x_proj = NeuronLinear(P, E, R + 2 * S)
        self.dt_proj = NeuronLinear(P, R, E, bias=True)
        self.out_proj = NeuronLinear(P, E, D)
        self.dt_proj.bound, self.dt_proj.first_bias = R**-0.5, partial(_first_bias, config)
        self.dt_proj.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        _, S, K, _ = self.dims
        for t in (self.conv_weight, self.conv_bias):
            t.uniform_(-1 / math.sqrt(K), 1 / math.sqrt(K))
        self.A_log.copy_(torch.arange(1, S + 1, dtype=exact(self.A_log.dtype), device=self.A_log.device).log())
        self.D.fill_(1.0)

    @classmethod
    def inputs(cls, config: GraphConfig) -> int:
        """Signal and gate: two numbers for every channel."""
        return 2 * config.memory.channels(config.width)

    def initial_state(self, batch: int) -> Parts:
        E, S, K, _ = self.dims
        shapes = {"conv": (K - 1, E), "ssm": (E, S)}
        return {name: at_rest(self, self.D, batch, self.neurons, *own) for name, own in shapes.items()}

    def forward(
        self,
        x: Tensor,
        state: Parts,
        *,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        present: Tensor | None = None,
    ) -> tuple[Tensor, Parts]:
        E, S, _, R = self.dims
        u, z = x.split(E, -1) if self.in_proj is None else self.in_proj(x, E, E)
        u, conv = conv_of_present(u, self.conv_weight, self.conv_bias, state["conv"], reset, mask, present)
        dt, B, C = self.x_proj(u, R, S, S)
        dt = self.dt_proj(dt)
        if present is not None:  # a step of size zero: the state decays by nothing and takes in nothing
            dt = dt.masked_fill(~present[..., None], _NO_STEP)
        y, ssm = selective_scan(u, dt, -self.A_log.exp(), B, C, self.D, z, state["ssm"], reset, mask)
        return self.out_proj(y), {"conv": conv, "ssm": ssm}

    def packs(self, x: Tensor) -> bool:
        maps = (self.x_proj, self.dt_proj, self.out_proj, *(() if self.in_proj is None else (self.in_proj,)))
        return not autocasts(x) and all(isinstance(m, NeuronLinear) for m in maps) and untouched(self)

    def of_rows(self, x: Tensor, state: Parts, rows: Packed) -> tuple[Tensor, Parts]:
        E, S, _, R = self.dims
        u, z = (x if self.in_proj is None else rows.through(self.in_proj, x)).split(E, -1)
        u, conv = packed_conv(u, self.conv_weight, self.conv_bias, state["conv"], rows.first)
        dt, B, C = rows.through(self.x_proj, u).split((R, S, S), -1)
        dt = rows.through(self.dt_proj, dt)
        y, ssm = packed_scan(u, dt, -self.A_log.exp(), B, C, self.D, z, state["ssm"], rows.first)
        return rows.through(self.out_proj, y), {"conv": conv, "ssm": ssm}

    def time_constants(self, x: Tensor, state: Parts) -> Tensor:
        """A state number decays by exp(Δ A) at every symbol (equation 4): τ = 1 / (Δ |A|), Δ the mean over `x`."""
        E, S, _, R = self.dims
        u = x.split(E, -1)[0] if self.in_proj is None else self.in_proj(x, E, E)[0]
        u, _ = causal_conv(u, self.conv_weight, self.conv_bias, state["conv"])
        steps = F.softplus(self.dt_proj(self.x_proj(u, R, S, S)[0]).double()).mean((0, 1))  # [N, E]
        return (1 / (steps[..., None] * self.A_log.double().exp()).clamp_min(1e-300)).flatten(1)

    def step_(self, x: Tensor, state: Parts) -> Tensor:
        in_proj = self._modules.get("in_proj")
        if autocasts(x) or not (in_proj is None or isinstance(in_proj, NeuronLinear)) or not untouched(self):
            return super().step_(x, state)
        own = self._parameters  # see `NeuronLinear.numbers`; another class may have made these of others
        conv_weight, conv_bias, A_log, D = _BY_KEY(own) if type(self) is Mamba and len(own) == 4 else _BY_NAME(self)
        x_proj, dt_proj, out_proj = _MAPS_OF(self._modules)
        return memory_step(
            x, None if in_proj is None else in_proj.numbers(), conv_weight, conv_bias, x_proj.numbers(),
            dt_proj.numbers(), dt_proj.bias, A_log, D, out_proj.numbers(), state["conv"], state["ssm"],
        )  # fmt: skip

    def flops(self) -> dict[str, float]:
        E, S, K, _ = self.dims
        return {
            "memory.matrices": flops_of(self.neurons, self.in_proj, self.x_proj, self.dt_proj, self.out_proj),
            # per channel K multiply-adds; per state number: exponent, decay, input, update (2), readout (2)
            "memory.scan": self.neurons * E * (2.0 * K + 7.0 * S),
        }


def _first_bias(config: GraphConfig) -> Tensor:
    """The bias `[P, E]` that makes the first steps of it."""
    return inverse_softplus(_first_steps(config))


def _first_steps(config: GraphConfig) -> Tensor:
    """Step sizes at the start, `[P, E]`: log-uniform in dt_min..dt_max, or in the neuron's own part of that range."""
    own: MambaOptions = config.memory
    low, high = math.log(own.dt_min), math.log(own.dt_max)
    where = torch.rand(config.populations, own.channels(config.width), dtype=exact())
    if own.timescales == "spread":
        where = (torch.arange(config.neurons)[:, None] + where) / config.neurons
    return torch.exp(low + where * (high - low)).clamp_min(1e-4)


def exact(dtype: torch.dtype | None = None) -> torch.dtype:
    """What starting values are computed in: a model in half precision starts as any other, rounded once."""
    return torch.promote_types(dtype or torch.get_default_dtype(), torch.float32)


def inverse_softplus(x: Tensor) -> Tensor:
    return x + torch.log(-torch.expm1(-x))
