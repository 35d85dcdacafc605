"""The tape: what a run recorded, aggregated while it ran."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from inn.nn.connectivity import Connectivity
from inn.nn.topology.edges import Edges, as_matrix, spread
from inn.system.errors import InputError, lookup

CHANNELS = {
    "routing": "routing weights [H, N_to, N_from]; where they are sizes, their root mean square",
    "activity": "root mean square over the width of what a neuron's memory adds [N]",
    "gate": "a neuron's decision to emit, or to take part [N]",
    "state": "root mean square of a neuron's memory after each call [N]",
    "clamped": "share of a neuron's numbers that are outside its inner map's range [N]",
    "outputs": "the neurons after the last round, of the latest call only [B, T, N, D]",
}
"""What can be recorded; all but `outputs` are averages over every symbol seen, by round."""
DENSE = 256
"""Neurons up to which `connectivity` is a matrix whatever the topology."""
_NUMBERS = 1 << 22
"""Numbers that are squared at once, in float64."""


class Tape:
    """What a run recorded. `tape.mean("activity")[r]` is `[N]` for round r; `tape.connectivity()` the routing.

    Attributes:
        each: whether every symbol's values are kept, not only their averages; see `inn.analysis.recording.trace`.
        symbols: symbols seen by the first round, masked ones left out.
        last_outputs: `[B, T, N, D]` of the latest call, when "outputs" is recorded.
    """

    each: ClassVar[bool] = False

    def __init__(self, channels: tuple[str, ...]):
        for name in channels:
            lookup("channel to record", name, CHANNELS)
        self.channels = channels
        self.last_outputs: Tensor | None = None
        self._sums: dict[tuple[str, int], Tensor] = {}
        self._squares: dict[tuple[str, int], Tensor] = {}
        self._counts: dict[tuple[str, int], int] = {}
        self._sources: dict[int, Tensor] = {}  # of rounds whose routing is kept edge by edge, [N_to, K]

    def at(self, r: int, mask: Tensor | None) -> RoundTape:
        """The recorder of round `r` for one call."""
        return RoundTape(self, r, mask)

    def outputs(self, x: Tensor) -> None:
        if "outputs" in self.channels:
            self.last_outputs = x.detach()

    def accumulate(self, channel: str, r: int, values: Tensor) -> None:
        """Add values `[samples, ...]` of one call to the running sums, in float64."""
        values = values.double()
        self.accumulate_sums(channel, r, values.sum(0), values.square().sum(0), values.shape[0])

    def accumulate_sums(self, channel: str, r: int, sums: Tensor, squares: Tensor, count: int) -> None:
        """Add the sums, and the sums of squares, of `count` samples."""
        key = channel, r
        self._counts[key] = self._counts.get(key, 0) + count
        self._sums[key] = self._sums.get(key, 0) + sums
        self._squares[key] = self._squares.get(key, 0) + squares

    def accumulate_squares(self, channel: str, r: int, squares: Tensor, count: int) -> None:
        """Add the sum of squares of `count` samples of which nothing else is known; the mean is their root."""
        key = channel, r
        self._counts[key] = self._counts.get(key, 0) + count
        self._squares[key] = self._squares.get(key, 0) + squares.double()

    def on_edges(self, r: int, edges: Edges | None) -> bool:
        """Whether routing of round `r` is kept edge by edge, `[H, N_to, K]`, as this call has it; else as a matrix.

        A round whose edges came from elsewhere before is made a matrix from now on.
        """
        known, sources = self._sources.get(r), None if edges is None else edges.sources
        if ("routing", r) not in self._counts and sources is not None:
            self._sources[r] = known = sources
        if known is None or known is sources or (sources is not None and torch.equal(known, sources)):
            return known is not None
        for kept in (self._sums, self._squares):
            if ("routing", r) in kept:
                kept["routing", r] = as_matrix(kept["routing", r], known)
        del self._sources[r]
        return False

    def keep(self, channel: str, r: int, values: Tensor) -> None:
        """Keep values `[samples, ...]` of one call as they are; a tape that keeps averages only lets them go."""

    def keep_edges(self, r: int, values: Tensor, edges: Edges) -> None:
        """The same of routing over listed edges, `[samples, H, N_to, K]`."""
        self.keep("routing", r, spread(values, edges))

    @property
    def symbols(self) -> int:
        return max((n for (_, r), n in self._counts.items() if r == 0), default=0)

    def mean(self, channel: str) -> Tensor:
        """Mean of a channel by round: `[R, ...]`; the root mean square of routing weights that are sizes.

        Raises `InputError` if nothing of the channel was recorded.
        """
        return torch.stack([self._whole(channel, r, self._mean(channel, r)) for r in self._rounds(channel)])

    def _whole(self, channel: str, r: int, values: Tensor) -> Tensor:
        return as_matrix(values, self._sources[r]) if channel == "routing" and r in self._sources else values

    def _mean(self, channel: str, r: int) -> Tensor:
        key = channel, r
        if key in self._sums:
            return self._sums[key] / self._counts[key]
        return (self._squares[key] / self._counts[key]).sqrt()

    def variance(self, channel: str) -> Tensor:
        """Variance over symbols of a channel by round: `[R, ...]`.

        Raises `InputError` if nothing of the channel was recorded, and for routing weights that are sizes.
        """
        mean = self.mean(channel)
        if (channel, self._rounds(channel)[0]) not in self._sums:
            raise InputError(
                f"of '{channel}' this router tells a root mean square only; use inn.analysis.recording.trace"
            )
        squares = [
            self._whole(channel, r, self._squares[channel, r] / self._counts[channel, r]) for r in self._rounds(channel)
        ]
        return (torch.stack(squares) - mean.square()).clamp_min(0)

    def connectivity(self) -> Connectivity:
        """Mean routing weights by round; record "routing" for it.

        Of more than 256 neurons whose edges are listed it is a number for each edge, and no matrix is made.
        """
        rounds = self._rounds("routing")
        first = self._sources.get(rounds[0])
        if (
            first is not None
            and by_edge(first)
            and all(r in self._sources and torch.equal(first, self._sources[r]) for r in rounds)
        ):
            weights = torch.stack([self._mean("routing", r).mean(0) for r in rounds])
            return Connectivity(weights, self.symbols, first)
        return Connectivity(self.mean("routing").mean(1), self.symbols)

    def _rounds(self, channel: str) -> list[int]:
        rounds = sorted(r for name, r in self._counts if name == channel)
        if not rounds:
            raise InputError(
                f"nothing was recorded of '{channel}'; record it, and run the model inside the `with` block"
            )
        return rounds


@dataclass(frozen=True)
class RoundTape:
    """Records one call of one round; routers and rounds get it and need not know what is wanted."""

    tape: Tape
    r: int
    mask: Tensor | None

    def wants(self, channel: str) -> bool:
        return channel in self.tape.channels

    def add(self, channel: str, value: Tensor) -> None:
        """Record activity `[B, T, N, D]`, gate or clamped `[B, T, N]`, or how much is remembered, state `[B, N]`."""
        if channel == "routing":
            self.add_routing(value)
            return
        if not self.wants(channel):
            return
        value = value.detach()
        if channel == "state":
            values = value
        else:
            values = self._samples(_root_mean_square(value) if channel == "activity" else value)
        self.tape.accumulate(channel, self.r, values)
        self.tape.keep(channel, self.r, values)

    def add_routing(self, weights: Tensor, edges: Edges | None = None) -> None:
        """Record routing weights `[B, T, H, N_to, N_from]`, or `[B, T, H, N_to, K]` of the edges given."""
        if not self.wants("routing"):
            return
        values = self._samples(weights.detach())
        listed = self.tape.on_edges(self.r, edges)
        if edges is None:
            self.tape.accumulate("routing", self.r, values)
            self.tape.keep("routing", self.r, values)
            return
        parts = values.split(max(1, _NUMBERS // max(1, values[0].numel()))) if len(values) else [values]
        for part in parts:
            part = part.double()
            sums, squares = (_placed(v.sum(0), edges, listed) for v in (part, part.square()))
            self.tape.accumulate_sums("routing", self.r, sums, squares, len(part))
        if self.tape.each:
            self.tape.keep_edges(self.r, values.double(), edges)

    def add_sizes(
        self, sent: Tensor, matrices: Tensor, edges: Edges | None = None, places: Tensor | None = None
    ) -> None:
        """Record as routing the size of what goes over each edge, ‖R_ij x_j‖, for x `sent` `[B, T, N, D]`.

        Args:
            matrices: R, `[N_to, I, N_from, D]`, or `[N_to, I, K, D]` of the edges given.
            places: `[N_to, K]` where `sent` has what goes over these edges; at their sources when not given.
        """
        if not self.wants("routing"):
            return
        x = self._samples(sent.detach()).float()
        listed = self.tape.on_edges(self.r, edges)
        if edges is not None and places is None:
            places = edges.sources
        squares, sizes = _squares(x, matrices.detach().float(), places, self.tape.each)
        if edges is not None:
            squares = _placed(squares, edges, listed)
        self.tape.accumulate_squares("routing", self.r, squares[None], len(x))
        if sizes is not None:
            sizes = sizes[:, None]
            self.tape.keep("routing", self.r, sizes) if edges is None else self.tape.keep_edges(self.r, sizes, edges)

    def _samples(self, values: Tensor) -> Tensor:
        """`[B, T, ...]` -> `[samples, ...]`, masked symbols left out."""
        flat = values.flatten(0, 1)
        return flat if self.mask is None else flat[self.mask.flatten()]


def _squares(x: Tensor, matrices: Tensor, places: Tensor | None, each: bool) -> tuple[Tensor, Tensor | None]:
    """Of what goes over each edge, ‖R x‖² summed over samples `[N_to, K]`, and with `each` the sizes `[s, N_to, K]`.

    Args:
        x: `[s, N_from, D]`.
        matrices: R, `[N_to, I, K, D]`.
        places: `[N_to, K]`, what of x goes over each edge; None where K is N_from and goes over in order.
    """
    over, few = "sjd" if places is None else "sijd", len(x) < x.shape[-1]
    spread_out = x if places is None or not (few or each) else x[:, places]
    if few:  # the messages themselves are less work
        squares = torch.einsum(f"iojd,{over}->sioj", matrices, spread_out).square().sum(2)
        return squares.sum(0), squares.sqrt() if each else None
    gram = torch.einsum("iojd,ioje->ijde", matrices, matrices)
    # Σ_x ‖R x‖² = <R'R, Σ_x x x'>: second moments of the senders in place of a message per edge and symbol.
    moments = torch.einsum("sjd,sje->jde", x, x)
    squares = (gram * (moments if places is None else moments[places])).sum((-2, -1)).clamp_min(0)
    if not each:
        return squares, None
    return squares, torch.einsum(f"{over},ijde,{over[:-1]}e->sij", spread_out, gram, spread_out).clamp_min(0).sqrt()


def _root_mean_square(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=-1) / x.shape[-1] ** 0.5


def by_edge(sources: Tensor) -> bool:
    """Whether routing from these sources `[N_to, K]` is told edge by edge, not as a matrix that is nearly empty."""
    return sources.shape[1] < len(sources) > DENSE


def _placed(values: Tensor, edges: Edges, listed: bool) -> Tensor:
    """Values of edges `[..., N_to, K]` as a tape keeps them: `listed`, 0 where closed, or spread to a matrix."""
    return values * edges.open.to(values.dtype) if listed else spread(values, edges)
