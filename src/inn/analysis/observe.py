"""One look at a text, no lesion: all that a survey needs of routing, activity and outputs, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from inn.analysis.lesions.lesion import Averages, averaging
from inn.analysis.measures.degree import shares
from inn.analysis.recording.record import writing_on
from inn.analysis.recording.stretches import Neurons, Reading, entering, recalled, running, said_by, warmed
from inn.nn.connectivity import Connectivity
from inn.nn.modes import evaluating
from inn.nn.state import State
from inn.nn.tape import RoundTape, Tape, by_edge
from inn.nn.topology.edges import Edges, spread


@dataclass(frozen=True)
class Observed:
    """What neurons did on K stretches of T symbols.

    Attributes:
        activity: `[R, K, T, N]` float32, in the units of the residual stream.
        maps: `[K, R, N_to, N_from]` mean routing weights of each stretch, without their signs and over heads too; the
            root mean square where they are sizes; None without a router. Of a large graph whose edges are listed
            `[K, R, N_to, K']`, and no matrix is made of a stretch.
        sizes: whether they are.
        averages: what neurons say on average.
        outputs: `[k, T, N, D]` the neurons after the last round, of the first stretches only.
        sources: `[N_to, K']` the neurons that listed edges come from; None where maps are matrices.
    """

    activity: Tensor
    maps: Tensor | None
    sizes: bool
    averages: Averages
    outputs: Tensor
    sources: Tensor | None = None

    @property
    def heard(self) -> Connectivity | None:
        """Mean routing weights over all stretches, each row divided by its sum; listed where the maps are."""
        if self.maps is None:
            return None
        mean = self.maps.square().mean(0).sqrt() if self.sizes else self.maps.mean(0)
        return Connectivity(shares(mean), self.activity[0, ..., 0].numel(), self.sources)

    @property
    def connectivity(self) -> Tensor | None:
        """The same as matrices, `[R, N_to, N_from]`."""
        return None if self.heard is None else self.heard.dense()

    @property
    def received(self) -> Tensor | None:
        """How much each neuron is heard, `[K, N_from]`: its share, on average over rounds and listeners."""
        if self.maps is None:
            return None
        each = shares(self.maps)
        if self.sources is None:
            return each.mean((1, 2))
        each, N = each.mean(1).flatten(1), len(self.sources)
        return each.new_zeros(len(each), N).index_add(1, self.sources.flatten(), each) / N


class _Watch(Tape):
    """A tape that keeps activity symbol by symbol, and of routing the sums over each stretch."""

    def __init__(self, rows: int) -> None:
        super().__init__(("routing", "activity", "outputs"))
        self.rows = rows
        self.activity: dict[int, list[Tensor]] = {}
        self.routing: dict[int, Tensor] = {}
        self.squares: dict[int, Tensor] = {}
        self.sources: Tensor | None = None

    def placed(self, values: Tensor, edges: Edges | None) -> Tensor:
        """What comes over edges `[..., N_to, K]` as it is kept: as it is of a large graph, else as a matrix."""
        if edges is None or not by_edge(edges.sources):
            return values if edges is None else spread(values, edges)
        self.sources = edges.sources
        return values * edges.open.to(values.dtype)

    def at(self, r: int, mask: Tensor | None) -> RoundTape:
        return _RoundWatch(self, r, mask)

    def accumulate(self, channel: str, r: int, values: Tensor) -> None:
        if channel == "activity":
            self.activity.setdefault(r, []).append(values.unflatten(0, (self.rows, -1)).float())

    def maps(self, symbols: int) -> Tensor | None:
        """`[K, R, N, N]` (or listed) means of routing weights, or roots of mean squares of those that are sizes."""
        if self.squares:
            return torch.stack([(self.squares[r] / symbols).sqrt() for r in sorted(self.squares)], 1)
        return torch.stack([self.routing[r] / symbols for r in sorted(self.routing)], 1) if self.routing else None


class _RoundWatch(RoundTape):
    tape: _Watch

    def add_routing(self, weights: Tensor, edges: Edges | None = None) -> None:
        """As in `RoundTape`, row by row, and how much is heard: weights may be negative."""
        sums = self.tape.placed(weights.abs().mean(2).double().sum(1), edges)
        self.tape.routing[self.r] = self.tape.routing.get(self.r, 0) + sums

    def add_sizes(
        self, sent: Tensor, matrices: Tensor, edges: Edges | None = None, places: Tensor | None = None
    ) -> None:
        """As in `RoundTape`, row by row: stretches are not averaged with one another."""
        gram = torch.einsum("iojd,ioje->ijde", matrices.float(), matrices.float())
        moments = torch.einsum("btjd,btje->bjde", sent.float(), sent.float())
        if edges is None:
            squares = torch.einsum("ijde,bjde->bij", gram, moments).clamp_min(0).double()
        else:
            moments = moments[:, edges.sources if places is None else places]
            arriving = torch.einsum("ikde,bikde->bik", gram, moments).clamp_min(0).double()
            squares = self.tape.placed(arriving, edges)
        self.tape.squares[self.r] = self.tape.squares.get(self.r, 0) + squares


@torch.no_grad()
def observe(model: Neurons, text: Reading, report: Callable[[int, int], None] | None = None) -> Observed:
    """Let a model read stretches of text, each from a fresh state, and keep what its neurons did.

    Memory grows by 4 R N bytes a symbol. `report` is called with (symbols done, symbols to do).

    >>> import numpy as np
    >>> from inn import INN
    >>> from inn.analysis.recording.stretches import stretches
    >>> model = INN(vocab=5, neurons=3, width=8, rounds=2, recall="none")
    >>> seen = observe(model, stretches(np.arange(600) % 5, 300))
    >>> seen.activity.shape, seen.maps.shape
    (torch.Size([2, 16, 18, 3]), torch.Size([16, 2, 3, 3]))
    """
    T, done = text.inputs.shape[1], 0
    activity, maps, outputs, sizes, sources = [], [], [], False, None
    with evaluating(model), averaging(model) as averages:
        for k, part in enumerate(text.groups()):
            watch = _Watch(len(part.tokens))
            x, state = warmed(model, part, entering(model, part, recalled(model, part)))
            steps = running(model, part, x, state)
            while True:
                with writing_on(model, watch):
                    step = next(steps, None)
                if step is None:
                    break
                said_by(model, *step[1:])  # for the averages: what it is given
                if k == 0 and watch.last_outputs is not None:
                    outputs.append(watch.last_outputs)
            activity.append(torch.stack([torch.cat(watch.activity[r], 1) for r in sorted(watch.activity)]))
            maps.append(watch.maps(T))
            sizes, sources = bool(watch.squares), watch.sources
            done += part.size
            if report is not None:
                report(done, text.size)
        said = averages()
    heard = None if maps[0] is None else torch.cat(maps)
    return Observed(torch.cat(activity, 1), heard, sizes, said, torch.cat(outputs, 1), sources)


@torch.no_grad()
def graph_inputs(model: Neurons, part: Reading) -> tuple[Tensor, State]:
    """What the graph takes in on these stretches, `[K, T, N, D]`, recall included, and its state before them."""
    with evaluating(model):
        return warmed(model, part, entering(model, part, recalled(model, part)))
