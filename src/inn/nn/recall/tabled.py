"""What the kinds of recall that keep a table for each context have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from inn.config.models import INNConfig
from inn.nn.recall.base import NOTHING, Found, Parts, Recall

_CHUNK = 2**16
"""Symbols of a text that are read at once."""


class Tabled(Recall):
    """A table for each context, M of them a neuron: the options' `contexts`, given to the neurons in turn.

    Attributes:
        looks: the contexts of all neurons, neuron by neuron, K = N x M.
    """

    def __init__(self, config: INNConfig):
        super().__init__(config)
        c, o = config, config.recall
        self.neurons, self.each, self.slots, self.vocab = c.neurons, o.each(c.neurons), o.slots, c.vocab
        self.looks = [one for n in range(c.neurons) for one in o.of_neuron(c.neurons, n, self.each)]
        self.std = c.embedding_std

    @abstractmethod
    def look_up(
        self,
        tokens: Tensor,
        table: Tensor,
        recent: Tensor,
        reset: Tensor | None,
        mask: Tensor | None,
        remember: bool,
    ) -> tuple[Found, Tensor]:
        """What is found, `[B, T, K, ...]` by name, and the last symbols `[B, L]` after the text.

        `table` `[B, K, slots, ...]` is changed in place; `recent` `[B, L]` may be. The rest is as in `find_`.
        """

    @torch.no_grad()
    def after_reading(self, symbols: Tensor) -> Parts:
        state = {name: t.cpu() for name, t in self.initial_state(1).items()}
        for part in symbols.cpu().long().split(_CHUNK):
            self.find_(part[None], state)
        return {**state, "recent": torch.full_like(state["recent"], NOTHING)}

    @torch.no_grad()
    def find_(
        self,
        tokens: Tensor,
        state: Parts,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        remember: bool = True,
    ) -> Found:
        table, recent = state["table"].flatten(1, 2), state["recent"][:, 0].clone()  # the same for all neurons
        found, recent = self.look_up(tokens.long(), table, recent, reset, mask, remember)
        state["recent"].copy_(recent[:, None])
        if not state["table"].is_contiguous():  # then `flatten` may have made a copy
            state["table"].copy_(table.view_as(state["table"]))
        return {name: t.unflatten(2, (self.neurons, self.each)) for name, t in found.items()}

    def contexts(self, neuron: int) -> list[Any]:
        return self.looks[neuron * self.each : (neuron + 1) * self.each]

    @classmethod
    def of_neurons(cls, options: Any, whose: Sequence[tuple[Any, int, int]]) -> Any:
        """Each neuron's own contexts, as many as the one with most has; one that has none is given the first ones."""
        each = max(o.each(neurons) for o, neurons, _ in whose if o.kind == options.kind)
        first = options.of_neuron(1, 0, each)
        own = [o.of_neuron(neurons, n, each) if o.kind == options.kind else first for o, neurons, n in whose]
        return replace(options, contexts=[contexts[j] for j in range(each) for contexts in own])
