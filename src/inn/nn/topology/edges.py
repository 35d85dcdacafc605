"""The edges of a population: what a topology makes, what a lesion closes, what a router may use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inn.config.typed import typed
from inn.ops.derivatives import derived
from inn.system.errors import InputError

MOST = 1 << 14
"""Neurons whose edges can be listed one by one, all to all."""


NAMES = ("sources", "open", "signs", "log_weights", "lags", "classes", "limits")
"""The fields of `Edges` that are tensors."""


@dataclass(frozen=True)
class Edges:
    """Directed edges of a population, listed by their target neuron.

    Attributes:
        sources: `[N_to, K]` int64, the neurons that each neuron can receive from (dense if K = N).
        open: `[N_to, K]` bool, which of these edges are open; a closed one is an ablation (lesion) or padding.
        signs: `[N_to, K]` of 1 and -1, a factor on the message over an edge; None if all are 1.
        log_weights: `[N_to, K]` float, added to the logits of routers by softmax; None if all are 0.
        lags: `[N_to, K]` int64, how many steps an edge takes; None if all take none.
        classes: `[N_to, K]` int64, the class of each edge: edges of one class share a weight; None without classes.
        limits: `[C]` of -1, 0 and 1, the sign that the weight of each class has to have; 0 for any.
        relay: in the place of a neuron that is absent its listeners hear the one so many places before it, over its
            edge from there (topology `chain`); 0: they hear nobody.
    """

    sources: Tensor
    open: Tensor
    signs: Tensor | None = None
    log_weights: Tensor | None = None
    lags: Tensor | None = None
    classes: Tensor | None = None
    limits: Tensor | None = None
    relay: int = 0

    @classmethod
    @typed
    def complete(cls, neurons: int) -> Edges:
        """Everyone listens to everyone, itself included: the paper's graph.

        >>> Edges.complete(3).dense().sum().item()
        9
        """
        if not 1 <= neurons <= MOST:
            raise InputError(f"a complete graph has 1 to {MOST} neurons, not {neurons}; list the edges of a larger one")
        sources = torch.arange(neurons).repeat(neurons, 1)
        return cls(sources, torch.ones(neurons, neurons, dtype=torch.bool))

    @classmethod
    @typed
    def listed(
        cls,
        heard: Sequence[Sequence[int]],
        signs: Sequence[Sequence[int]] | None = None,
        lags: Sequence[Sequence[int]] | None = None,
    ) -> Edges:
        """For each neuron the neurons that it hears; shorter rows are filled up with closed edges to itself.

        >>> Edges.listed([[0, 1], [1]]).dense().tolist()
        [[True, True], [False, True]]
        """
        for i, row in enumerate(heard):
            if not all(0 <= j < len(heard) for j in row):
                raise InputError(f"neuron {i} hears {list(row)}, and there are neurons 0 to {len(heard) - 1} only")
        for name, values in (("signs", signs), ("lags", lags)):
            if values is not None and list(map(len, values)) != list(map(len, heard)):
                raise InputError(f"edges need as many {name} as there are edges, neuron by neuron")
        widest = max(1, *map(len, heard))
        sources = torch.tensor([[*row, *[i] * (widest - len(row))] for i, row in enumerate(heard)])
        is_open = torch.tensor([[k < len(row) for k in range(widest)] for row in heard])

        def filled(values: Sequence[Sequence[int]] | None, usual: int) -> Tensor | None:
            if values is None or all(v == usual for row in values for v in row):
                return None
            return torch.tensor([[*row, *[usual] * (widest - len(row))] for row in values])

        return cls(sources, is_open, filled(signs, 1), lags=filled(lags, 0))

    def close(self, pairs: Iterable[tuple[int, int]]) -> Edges:
        """Close the edges (to, from); the rest stays as it is.

        >>> Edges.complete(2).close([(0, 1)]).dense().tolist()
        [[True, False], [True, True]]
        """
        still_open, neurons = self.open.clone(), len(self.sources)
        try:
            chosen = [(int(to), int(source)) for to, source in pairs]
        except (TypeError, ValueError) as error:
            raise InputError(f"edges to close are pairs (to, from) of neurons, not {pairs!r}") from error
        for to, source in chosen:
            if not (0 <= to < neurons and 0 <= source < neurons):
                raise InputError(f"there is no edge ({to}, {source}) among neurons 0 to {neurons - 1}")
            still_open[to] &= self.sources[to] != source
        return replace(self, open=still_open)

    def within(self, other: Edges) -> Edges:
        """These edges, those closed that `other` has not open."""
        neurons = len(self.sources)
        rows = torch.arange(neurons, device=self.sources.device)[:, None] * neurons
        known = (rows + other.sources)[other.open]
        return replace(self, open=self.open & torch.isin(rows + self.sources, known))

    def dense(self) -> Tensor:
        """`[N_to, N_from]` bool, true where an edge is open."""
        neurons = self.sources.shape[0]
        dense = torch.zeros(neurons, neurons, dtype=torch.int32, device=self.open.device)
        return dense.scatter_add(1, self.sources, self.open.int()) > 0

    def matrix(self, dtype: torch.dtype) -> Tensor:
        """`[N_to, N_from]`: 1 where an edge is open, else 0. Learned edges (dense) have a gradient in both cases, that
        of their log-weight: so a closed one may open."""
        found = self.dense().to(dtype)
        if self.log_weights is None or not derived(self.log_weights):
            return found
        return found + (self.log_weights - self.log_weights.detach()).to(dtype)

    @property
    def passing(self) -> Tensor:
        """Which neurons `[N]` have an open edge from the one that they pass on, where they are absent."""
        before = torch.arange(len(self.sources), device=self.sources.device) - self.relay
        return ((self.sources == before[:, None]) & self.open).any(1)

    def factors(self, dtype: torch.dtype) -> Tensor:
        """`[N_to, K]`: what an edge multiplies what it carries by, 0 where it is closed."""
        factors = self.open.to(dtype)
        return factors if self.signs is None else factors * self.signs.to(dtype)

    def to(self, device: torch.device | str) -> Edges:
        """The same edges on another device."""
        return replace(self, **{name: t.to(device) for name, t in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """The fields that are there, by name."""
        return {name: t for name in NAMES if (t := getattr(self, name)) is not None}


def heard(values: Tensor, edges: Edges) -> Tensor:
    """What comes over each edge: `[B, T, N, ...]` -> `[B, T, N_to, K, ...]`, signs included, 0 over a closed edge.

    A closed edge lets nothing through, a NaN of its source no more than a number.
    """
    arriving = values[:, :, edges.sources]
    trailing = (1,) * (arriving.ndim - 4)
    arriving = arriving.masked_fill(~edges.open.unflatten(-1, (-1, *trailing)), 0.0)
    if edges.signs is None:
        return arriving
    return arriving * edges.signs.to(arriving.dtype).unflatten(-1, (-1, *trailing))


def spread(values: Tensor, edges: Edges) -> Tensor:
    """Values of edges `[..., N_to, K]` as a matrix `[..., N_to, N_from]`, 0 where there is no open edge."""
    return as_matrix(values * edges.open.to(values.dtype), edges.sources)


def as_matrix(values: Tensor, sources: Tensor) -> Tensor:
    """Values of edges `[..., N_to, K]` from these sources `[N_to, K]` as a matrix `[..., N_to, N_from]`."""
    matrix = values.new_zeros(*values.shape[:-1], len(sources))
    return matrix.scatter_add(-1, sources.expand_as(values), values)
