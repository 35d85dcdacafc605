"""What a neuron's activity tells about the text: mutual information with the class of a symbol, in bits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inn.analysis.controls.shuffle import block_order
from inn.system.errors import InputError

BINS = 8
"""Levels of activity that are told apart, about equally many symbols in each."""
BLOCK = 64
"""Symbols that are moved together in a shuffle: neighbours are not independent."""
_CHUNK = 16
"""Neurons that are counted at once."""


@dataclass(frozen=True)
class Information:
    """Bits that activity tells about one class of symbols.

    Attributes:
        bits: `[N]` for each neuron, its bias taken off: about 0 where there is nothing, and then as often below.
        null: `[N]` the 95th percentile of the same under shuffles of the text's blocks: chance reaches it.
    """

    bits: Tensor
    null: Tensor


def levels(activity: Tensor, bins: int = BINS) -> Tensor:
    """Activity as levels 0..bins-1, by the quantiles of each neuron: `[S, N]` -> `[S, N]` int64.

    Equal activities get equal levels: a neuron that never changes has one, and rare spikes stand out from silence.

    >>> levels(torch.tensor([[0.1, 5.0], [0.2, 5.0], [0.3, 5.0], [0.4, 5.0]]), bins=2).tolist()
    [[0, 0], [0, 0], [1, 0], [1, 0]]
    """
    last = (torch.arange(1, bins) * len(activity) // bins - 1).clamp_min(0)
    edges = activity.sort(0).values[last]  # [bins - 1, N], the highest of each level but the last
    return torch.stack([activity > edge for edge in edges]).sum(0)


def mutual_information(joint: Tensor) -> Tensor:
    """Bits that x and y tell about each other, from how often they met: `[..., X, Y]` counts -> `[...]`.

    I(x; y) = Σ p(x, y) log2 p(x, y) / p(x) p(y), less the bias (X' - 1)(Y' - 1) / (2 S ln 2) that counts of S
    independent pairs have on average, X' and Y' the values that occur (Miller 1955; Panzeri & Treves 1996).

    >>> round(mutual_information(torch.tensor([[500.0, 0.0], [0.0, 500.0]])).item(), 2)
    1.0
    """
    joint = joint.double()
    total = joint.sum((-2, -1))
    share = joint / total.clamp_min(1)[..., None, None]
    x, y = share.sum(-1), share.sum(-2)
    bits = (_entropy(x) + _entropy(y) - _entropy(share.flatten(-2))) / math.log(2)
    free = ((x > 0).sum(-1) - 1).clamp_min(0) * ((y > 0).sum(-1) - 1).clamp_min(0)
    return bits - free / (2 * math.log(2) * total.clamp_min(1))


def information(
    activity: Tensor,
    classes: dict[str, np.ndarray],
    *,
    bins: int = BINS,
    block: int = BLOCK,
    shuffles: int = 100,
    seed: int = 0,
) -> dict[str, Information]:
    """Mutual information of each neuron's activity `[S, N]` with whether a symbol is of a class, `[S]` bool each.

    The null moves whole blocks of the labels to other places of the text: activity and labels keep how alike
    neighbours are, and lose one another.

    Raises `InputError` where labels and activity are not of the same symbols, or the text is no longer than two blocks.

    >>> vowel = np.arange(4000) % 5 < 2
    >>> heard = torch.stack([torch.from_numpy(vowel).float(), torch.rand(4000)], 1)
    >>> found = information(heard, {"vowel": vowel}, shuffles=20)["vowel"]
    >>> [abs(round(b, 1)) for b in found.bits.tolist()]
    [1.0, 0.0]
    """
    S = len(activity)
    for name, of in classes.items():
        if len(of) != S:
            raise InputError(f"class '{name}' labels {len(of):,} symbols and there is activity of {S:,}; give the same")
    if 2 * block > S:
        raise InputError(f"{S} symbols are too few to shuffle in blocks of {block}; give at least {2 * block}")
    if not classes:
        return {}
    labels = torch.from_numpy(np.stack(list(classes.values()), 1)).float()  # [S, C]
    generator = torch.Generator().manual_seed(seed)
    shuffled = [labels[block_order(S, block, generator)] for _ in range(shuffles)]
    bits, null = [], []
    for some in activity.split(_CHUNK, 1):
        table = torch.nn.functional.one_hot(levels(some, bins), bins).flatten(1).float()  # [S, n x bins]
        bits.append(_of(table, labels, bins))
        null.append(torch.stack([_of(table, moved, bins) for moved in shuffled]).quantile(0.95, dim=0))
    found, chance = torch.cat(bits), torch.cat(null)  # [N, C]
    return {name: Information(found[:, c], chance[:, c]) for c, name in enumerate(classes)}


def _of(table: Tensor, labels: Tensor, bins: int) -> Tensor:
    """`[n, C]` bits of binned activity `[S, n x bins]` (one-hot) and labels `[S, C]`."""
    there = (table.T @ labels).view(-1, bins, labels.shape[1])  # counts below 2^24 are exact
    seen = table.sum(0).view(-1, bins, 1)
    return mutual_information(torch.stack([there, seen - there], -1).transpose(1, 2))


def _entropy(share: Tensor) -> Tensor:
    return torch.special.entr(share).sum(-1)
