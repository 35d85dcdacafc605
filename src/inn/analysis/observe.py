"""One look at a text, no lesion: all that a survey needs of routing, activity and outputs, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from inn.analysis.lesion import Averages, averaging
from inn.analysis.record import writing_on
from inn.analysis.stretches import Stretches, entering, recalled, warmed, window
from inn.evaluation import evaluating
from inn.model import INN
from inn.state import State
from inn.tape import Tape


@dataclass(frozen=True)
class Observed:
    """What neurons did on K stretches of T symbols.

    Attributes:
        activity: `[R, K, T, N]` float32, in the units of the residual stream.
        maps: `[K, R, N_to, N_from]` mean size of the routing weights of each stretch, over heads too; None without
            a router.
        averages: what neurons say on average.
        outputs: `[k, T, N, D]` the neurons after the last round, of the first stretches only.
    """

    activity: Tensor
    maps: Tensor | None
    averages: Averages
    outputs: Tensor

    @property
    def connectivity(self) -> Tensor | None:
        """Mean routing weights over all stretches, each row divided by its sum: `[R, N_to, N_from]`."""
        return None if self.maps is None else shares(self.maps.mean(0))


def shares(weights: Tensor) -> Tensor:
    """Routing weights `[..., N_to, N_from]` with rows that sum to 1; a row of zeros stays one.

    >>> shares(torch.tensor([[1.0, 3.0], [0.0, 0.0]])).tolist()
    [[0.25, 0.75], [0.0, 0.0]]
    """
    return weights / weights.sum(-1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)


class _Watch(Tape):
    """A tape that keeps activity symbol by symbol, and of routing the sums over each stretch."""

    def __init__(self) -> None:
        super().__init__(("routing", "activity", "outputs"))
        self.rows = 1
        self.activity: dict[int, list[Tensor]] = {}
        self.routing: dict[int, Tensor] = {}

    def accumulate(self, channel: str, r: int, values: Tensor) -> None:
        values = values.unflatten(0, (self.rows, -1))
        if channel == "activity":
            self.activity.setdefault(r, []).append(values.float())
        else:  # a mixing router's weights may be negative: what counts here is how much is heard
            self.routing[r] = self.routing.get(r, 0) + values.abs().mean(2).double().sum(1)


@torch.no_grad()
def observe(model: INN, text: Stretches, report: Callable[[int, int], None] | None = None) -> Observed:
    """Let a model read stretches of text, each from a fresh state, and keep what its neurons did.

    Memory grows by 4 R N bytes a symbol. `report` is called with (symbols done, symbols to do).

    >>> import numpy as np
    >>> from inn.analysis.stretches import stretches
    >>> model = INN(vocab=5, neurons=3, width=8, rounds=2, recall=[])
    >>> seen = observe(model, stretches(np.arange(600) % 5, 300))
    >>> seen.activity.shape, seen.maps.shape
    (torch.Size([2, 16, 18, 3]), torch.Size([16, 2, 3, 3]))
    """
    T, done = text.inputs.shape[1], 0
    activity, maps, outputs = [], [], []
    with evaluating(model), averaging(model) as averages:
        for k, part in enumerate(text.groups()):
            watch = _Watch()
            watch.rows = len(part.tokens)
            x, state = warmed(model, part, entering(model, part, recalled(model, part)))
            size = window(model, watch.rows)
            for at in range(0, T, size):
                with writing_on(model, watch):
                    y, state = model.graph.run(x[:, at : at + size], state)
                model.graph.readout(y)  # for the averages: what it is given
                if k == 0 and watch.last_outputs is not None:
                    outputs.append(watch.last_outputs)
            activity.append(torch.stack([torch.cat(watch.activity[r], 1) for r in sorted(watch.activity)]))
            if watch.routing:
                maps.append(torch.stack([watch.routing[r] / T for r in sorted(watch.routing)], 1))
            done += part.inputs.numel()
            if report is not None:
                report(done, text.inputs.numel())
        said = averages()
    return Observed(torch.cat(activity, 1), torch.cat(maps) if maps else None, said, torch.cat(outputs, 1))


@torch.no_grad()
def graph_inputs(model: INN, part: Stretches) -> tuple[Tensor, State]:
    """What the graph takes in on these stretches, `[K, T, N, D]`, recall included, and its state before them."""
    with evaluating(model):
        return warmed(model, part, entering(model, part, recalled(model, part)))
