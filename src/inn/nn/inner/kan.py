"""Kan: sums of functions of one number each, from families to choose among (after arXiv 2408.08338)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.nn.inner.base import InnerMap
from inn.nn.inner.families import FAMILY
from inn.nn.inner.options import KanOptions
from inn.nn.population import NeuronLinear
from inn.system.errors import InputError

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class Kan(InnerMap):
    """y_o = Σ_i Σ_f α_f Σ_k c_oifk B_fk(x_i): every number of a neuron through functions of its own, zero at first.

    B_fk is function k of family f (`inn.nn.inner.families`), α the softmax of `mix` `[P, F]`, c the map `out`.
    Families imitate one another, and so α does not tell which one is right: `inn.surgery.families` does.

    Attributes:
        config: the configuration of the graph.
    """

    Options = KanOptions

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        self.config = config
        own: KanOptions = config.inner
        P, D, F = config.populations, config.width, 1 if own.each else len(own.families)
        self.mix = nn.Parameter(torch.zeros(P, F)) if F > 1 else None
        self.out = NeuronLinear(P, D * F * own.functions, D, zero=True)

    def reset_parameters(self) -> None:
        if self.mix is not None:
            nn.init.zeros_(self.mix)

    def forward(self, x: Tensor) -> Tensor:
        own: KanOptions = self.config.inner
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        u = (exact / own.reach).clamp(-1, 1)
        if own.each:
            values = self._of_each(u.unbind(2))[..., None, :]
        else:
            values = torch.stack([FAMILY[name](u, own.functions) for name in own.families], -2)  # [B, T, N, D, F, K]
        if self.mix is not None:
            values = values * self.mix.softmax(-1)[:, None, :, None].to(values.dtype)
        return self.out(values.flatten(3).to(x.dtype))

    def _of_each(self, u: Sequence[Tensor]) -> Tensor:
        """The functions `[B, T, N, D, K]` of neurons `[B, T, D]`, each of its own family: one call for every family."""
        own, found = self.config.inner, {}
        for name in dict.fromkeys(own.families):
            members = [n for n, family in enumerate(own.families) if family == name]
            values = FAMILY[name](torch.stack([u[n] for n in members], 2), own.functions)
            found.update(zip(members, values.unbind(2)))
        return torch.stack([found[n] for n in range(len(u))], 2)

    def clamped(self, x: Tensor) -> Tensor:
        return (x.abs() > self.config.inner.reach).float().mean(-1)

    @torch.no_grad()
    def pruned(self, families: Sequence[str]) -> Kan:
        """A new map with one family each: for every neuron, or one for all; its functions as they stand in this one.

        Raises `InputError` for a family that this map has not, and where there are neither one nor N.
        """
        own: KanOptions = self.config.inner
        wanted = list(families) if len(set(families)) > 1 else [families[0]]
        if unknown := [name for name in wanted if name not in own.families]:
            raise InputError(f"this map has no family '{unknown[0]}' to keep; it has {', '.join(own.families)}")
        small = Kan(replace(self.config, inner=replace(own, families=wanted, each=len(wanted) > 1)))
        weight = self.out.weight
        if not own.each:
            c = weight.unflatten(-1, (self.config.width, len(own.families), own.functions))
            if self.mix is not None:
                c = c * self.mix.softmax(-1)[:, None, None, :, None]
            at = torch.tensor([own.families.index(name) for name in wanted], device=c.device)
            index = at.view(-1, 1, 1, 1, 1).expand(len(c), *c.shape[1:3], 1, c.shape[4])
            weight = c.gather(3, index).flatten(2)
        small.to(weight)
        small.out.weight.copy_(weight)
        return small.train(self.training)

    def flops(self) -> dict[str, float]:
        c = self.config
        values = c.neurons * self.out.weight.shape[2]
        return {"inner.matrices": self.out.flops(c.neurons), "inner.functions": 6.0 * values}
