"""Dendrites: every neuron hears every other through a matrix of its own, and what it hears is what it remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.nn.direct import untouched
from inn.nn.population import CommunalLinear, NeuronLinear, NeuronMap, linear, messages, neuron_map
from inn.nn.routing.base import EdgeWeights, Parts, Router, emitted
from inn.nn.routing.options import DendritesOptions
from inn.nn.topology.edges import Edges, heard
from inn.ops.tensors import autocasts
from inn.registry import MEMORIES
from inn.system.errors import InputError

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig
    from inn.nn.packing import Packed
    from inn.nn.tape import RoundTape


class Dendrites(Router):
    """Neuron i hears Σ_j R_ij x_j, with a matrix R_ij per edge, in place of its memory's own in-projection.

    With `lag: 1` x is what the neurons said at the step before, and beside it each takes in its own input through
    `own`, an in-projection again.

    Communication comes before memory: all of a neuron's inputs, its own among them, meet where its memory takes them
    in. So the neurons share what they know without a vote or an average, while each keeps its own state, its own
    selection of what to write and read, and its own output. The routing weight of an edge is the size of what went
    over it, ‖R_ij x_j‖, so rows have no fixed sum. Readers have their own matrices even where other weights are shared.
    """

    mass = None
    learns_edges = takes_lags = True
    into_memory = True
    Options = DendritesOptions

    def __init__(self, config: GraphConfig):
        super().__init__(config)
        groups = [(c, MEMORIES[c.memory.kind].inputs(c)) for c in config.groups]
        self.widths = [n for _, n in groups]
        self.outputs = max(self.widths)

        def made(read: int, own: bool) -> nn.Module:
            if len({*self.widths}) == 1:
                return neuron_map(config, read, self.outputs, own=own)
            # memories that take in different numbers; a message is filled up to the widest
            return nn.ModuleList(neuron_map(c, read, n, own=own) for c, n in groups)

        self.hear = made(self.degree * config.width, True)
        self.own = made(config.width, False) if config.lag else None
        self.skips = not self.sparse and isinstance(self.hear, NeuronLinear)

    def forward(
        self,
        x: Tensor,
        state: Parts | None = None,
        *,
        edges: Edges | None = None,
        gate: Tensor | None = None,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        tape: RoundTape | None = None,
    ) -> tuple[Tensor, Parts]:
        x = emitted(x, gate)
        if self.sparse and edges is not None:
            x, _, along, after = self.late(x, state, edges, None, reset, mask)
            assert along is not None
            if tape is not None and tape.wants("routing"):
                tape.add_sizes(x, self._weight().unflatten(2, (self.degree, -1)), edges, along.sources)
            return self._along(x, along), after
        if edges is None and tape is None:
            return self._heard(everyone(x)), {}
        factors, wanted = None if edges is None else edges.matrix(x.dtype), tape is not None and tape.wants("routing")
        plain = all(isinstance(m, NeuronMap) and untouched(m) for m in _each(self.hear))
        if plain or wanted:
            weight = self._weight()
            if factors is not None:
                open_edges = factors[:, None, :, None].to(weight.dtype)
                weight = (weight.unflatten(2, (self.neurons, -1)) * open_edges).flatten(2)
            if tape is not None:
                tape.add_sizes(x, weight.unflatten(2, (self.neurons, -1)))
            if plain:
                return linear(everyone(x), weight)[0], {}
        # What hangs on a map is heard: it is called, on what is left to each reader.
        given = everyone(x) if factors is None else (x[:, :, None] * factors[..., None].to(x.dtype)).flatten(3)
        return self._heard(given), {}

    def _along(self, x: Tensor, edges: Edges) -> Tensor:
        """What neurons take in of `[B, T, N, D]` over listed edges."""
        maps = _each(self.hear)
        if not all(isinstance(m, NeuronMap) and untouched(m) for m in maps):  # what hangs on a map is heard
            return self._heard(heard(x, edges).flatten(-2))
        sizes, results = [self.neurons] if len(maps) == 1 else self._sizes(), []
        parts = ([None] * len(sizes) if t is None else t.split(sizes) for t in (edges.sources, edges.open, edges.signs))
        for m, *listed in zip(maps, *parts):
            if isinstance(m, CommunalLinear):
                results.append(m.write(messages(x, m.read.weight, *listed)))
            else:
                results.append(messages(x, m.weight, *listed))  # type: ignore[arg-type]
        return self._together(results)

    def packs(self, x: Tensor, edges: Edges | None) -> bool:
        return self.skips and not autocasts(x) and untouched(self)

    def of_rows(self, x: Tensor, rows: Packed, edges: Edges | None) -> Tensor:
        return rows.heard(x, self.matrices(edges).flatten(2))

    def taken_in(self, x: Tensor) -> Tensor:
        """With a lag: what neurons `x` `[B, T, N, D]` take in of themselves at this step."""
        return self._heard(x, self.own)

    def matrices(self, edges: Edges | None) -> Tensor:
        """R `[N, I, N, D]` along these edges: zero where none is open, signs included."""
        weight = self._weight()
        if not (self.sparse and edges is not None):
            weight = weight.unflatten(2, (self.neurons, -1))
            return weight if edges is None else weight * edges.matrix(weight.dtype)[:, None, :, None]
        listed = weight.unflatten(2, (self.degree, -1)) * edges.factors(weight.dtype)[:, None, :, None]
        places = edges.sources[:, None, :, None].expand_as(listed)
        return listed.new_zeros(*listed.shape[:2], self.neurons, listed.shape[3]).scatter_add(2, places, listed)

    def _heard(self, x: Tensor, maps: nn.Module | None = None) -> Tensor:
        """What neurons take in of `[B, T, N, K x D]`, or of one input for all, `[B, T, 1, N x D]`."""
        maps = self.hear if maps is None else maps
        if not isinstance(maps, nn.ModuleList):
            return maps(x)
        sizes = self._sizes()
        parts = x.split(sizes, 2) if x.shape[2] > 1 or self.neurons == 1 else [x] * len(sizes)
        return self._together([m(part) for m, part in zip(maps, parts)])

    def _sizes(self) -> list[int]:
        return [m.weight.shape[0] for m in self.hear]  # type: ignore[union-attr]

    def _together(self, results: list[Tensor]) -> Tensor:
        if len(results) == 1:
            return results[0]
        return torch.cat([F.pad(y, (0, self.outputs - y.shape[-1])) for y in results], 2)

    def _weight(self) -> Tensor:
        """All matrices, `[N, I, K x D]`; rows that fill a message up are zero. Raises `InputError` for adapted maps."""
        if other := next((m for m in _each(self.hear) if not isinstance(m, NeuronMap)), None):
            raise InputError(
                f"what goes over an edge is not known of a {type(other).__name__}; merge it into the weights first"
            )
        if not isinstance(self.hear, nn.ModuleList):
            return self.hear.weight  # type: ignore[return-value]
        weights = [m.weight for m in self.hear]
        return torch.cat([F.pad(w, (0, 0, 0, self.outputs - w.shape[1])) for w in weights])  # type: ignore[arg-type]

    def edge_weights(self) -> list[EdgeWeights]:
        maps = _each(self.hear)
        if not all(isinstance(m, NeuronMap) and isinstance(m.weight, nn.Parameter) for m in maps):
            return []
        return [(m.weight, lambda t: t.unflatten(2, (self.degree, -1)).transpose(1, 2)) for m in maps]  # type: ignore[misc]

    def flops(self) -> dict[str, float]:
        total = own = 0.0
        for i, m in enumerate(_each(self.hear)):
            n = m.weight.shape[0]  # type: ignore[union-attr]
            shared = isinstance(m, CommunalLinear) and not self.sparse
            total += m.flops(n, readers=1) if shared else m.flops(n)  # type: ignore[operator]
            own += 0.0 if self.own is None else _each(self.own)[i].flops(n)  # type: ignore[operator]
        return {"routing.messages": total} | ({} if self.own is None else {"routing.matrices": own})


def _each(maps: nn.Module) -> list[nn.Module]:
    return [*maps] if isinstance(maps, nn.ModuleList) else [maps]


def everyone(x: Tensor) -> Tensor:
    """All neurons side by side, one input for each of them: `[B, T, N, D]` -> `[B, T, 1, N x D]`."""
    return x.flatten(2)[:, :, None]
