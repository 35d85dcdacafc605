"""The shuffled-identity control: would these statistics be the same if the neurons had no identity?

Null hypothesis: neurons are exchangeable; which of them is a hub, or loud, is drawn anew in every stretch of text. Then
giving each stretch its own order of the neurons changes nothing, and a statistic of the average over stretches is one
more draw of what random orders give. Whole stretches are relabelled, by one order for all rounds and for both ends of
an edge, because neighbouring symbols are not independent: an order for every symbol would average any structure away,
and everything would look significant. Statistics that do not look at labels (sparsity, the degree at a symbol) are the
same under any order: for them the control is the same model with untrained weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Null:
    """A statistic, and what it is when identities are shuffled."""

    observed: float
    mean: float
    """Mean over the shuffles."""
    high: float
    """Their 95th percentile."""
    p: float
    """Share of shuffles, the observed order counted among them, that reach the observed value."""

    @classmethod
    def of(cls, observed: float, drawn: Sequence[float] | np.ndarray) -> Null:
        """From what the statistic is and what it was in every shuffle; of none p is 1.

        >>> Null.of(3.0, [1.0, 2.0, 3.0])
        Null(observed=3.0, mean=2.0, high=2.9, p=0.5)
        """
        values = np.asarray(drawn, dtype=np.float64)
        if not len(values):
            return cls(observed, 0.0, 0.0, 1.0)
        reached = int((values >= observed - 1e-12).sum())
        return cls(observed, float(values.mean()), float(np.quantile(values, 0.95)), (1 + reached) / (1 + len(values)))


def block_order(steps: int, block: int, generator: torch.Generator) -> Tensor:
    """An order of the steps `[steps]` in which whole blocks have changed places: neighbours are not independent.

    >>> sorted(block_order(5, 2, torch.Generator().manual_seed(0)).tolist())
    [0, 1, 2, 3, 4]
    """
    blocks = torch.arange(steps).split(block)
    return torch.cat([blocks[i] for i in torch.randperm(len(blocks), generator=generator).tolist()])


def relabelled(blocks: Tensor, orders: Tensor, axes: int) -> Tensor:
    """Give each block its own order of the neurons.

    Args:
        blocks: `[K, ..., N]` (axes 1) or `[K, ..., N, N]` (axes 2).
        orders: `[K, N]` permutations; neuron n of the result is neuron `orders[k, n]` of block k.
        axes: how many trailing axes are neurons.

    >>> relabelled(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0, 1], [1, 0]]), axes=1).tolist()
    [[1.0, 2.0], [4.0, 3.0]]
    """
    for axis in range(-axes, 0):
        shape = [1] * blocks.ndim
        shape[0], shape[axis] = orders.shape
        blocks = blocks.gather(axis, orders.view(shape).expand(blocks.shape))
    return blocks


def shuffled_identities(
    blocks: Tensor, statistic: Callable[[Tensor], float], axes: int, draws: int = 1000, seed: int = 0
) -> Null:
    """Test a statistic of the average over blocks against shuffled identities.

    Args:
        blocks: `[K, ..., N]` or `[K, ..., N, N]`, averages over K stretches of text far enough apart to be independent.
        statistic: a number that is large where neurons have roles, of the mean over blocks.
        axes: how many trailing axes are neurons.
        draws: shuffles, from `seed`.

    >>> loud = torch.tensor([[3.0, 1.0]]).repeat(12, 1)  # the same neuron is loud in twelve stretches
    >>> shuffled_identities(loud, lambda mean: float(mean.max() - mean.min()), axes=1).p < 0.01
    True
    """
    generator = torch.Generator().manual_seed(seed)
    observed = statistic(blocks.mean(0))
    found = []
    for _ in range(draws):
        orders = torch.rand(blocks.shape[0], blocks.shape[-1], generator=generator).argsort(-1)
        found.append(statistic(relabelled(blocks, orders, axes).mean(0)))
    return Null.of(observed, found)


def shuffled_sources(maps: Tensor, edges: Tensor, draws: int = 1000, seed: int = 0) -> tuple[Null, Tensor]:
    """Does a listener tell its sources apart? How far edges differ, against sources in an order of their own.

    The statistic is how much the mean shares of a listener's sources differ: their standard deviation within its row,
    over all rows, in multiples of the mean share. Null hypothesis: which source has which share is drawn anew in every
    stretch. So each stretch gives every listener's sources an order at random, the same in all rounds; the wiring stays
    as it is, and so does how much a stretch spreads by itself.

    Args:
        maps: `[S, R, N_to, K]`, shares of S stretches of text.
        edges: bool `[N_to, K]`, those that count; leave out those of a neuron to itself.
        draws: shuffles, from `seed`.

    Returns the null, and the mean over rounds of one shuffle, `[N_to, K]`, where what does not count is 0.

    >>> same = torch.tensor([[[[0.6, 0.3, 0.1]]]]).repeat(12, 1, 1, 1)  # in twelve stretches
    >>> shuffled_sources(same, torch.ones(1, 3, dtype=torch.bool))[0].p < 0.01
    True
    """
    generator = torch.Generator().manual_seed(seed)
    first = (~edges).to(torch.uint8).argsort(dim=-1, stable=True)  # what counts stands first and is shuffled alone
    counting = edges.gather(-1, first)
    packed = (maps * edges).gather(-1, first.expand(maps.shape))
    counts = edges.sum(-1).clamp_min(1)

    def spread(mean: Tensor) -> float:
        rows = mean.sum(-1) / counts  # [R, N_to]
        apart = (mean - rows[..., None]).square() * counting
        share = mean.sum() / (edges.sum() * len(mean)).clamp_min(1)
        return float((apart.sum() / (edges.sum() * len(mean)).clamp_min(1)).sqrt() / share.clamp_min(1e-30))

    found, one = [], torch.zeros_like(packed[0, 0])
    for draw in range(draws):
        random = torch.rand(len(maps), 1, *edges.shape, generator=generator) + 2.0 * ~counting
        mean = packed.gather(-1, random.argsort(-1).expand(packed.shape)).mean(0)
        found.append(spread(mean))
        if draw == 0:
            one.scatter_(-1, first, mean.mean(0))
    return Null.of(spread(packed.mean(0)), found), one
