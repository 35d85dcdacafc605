"""Votes: what was counted says which symbol comes next, in the log domain, beside what the head says."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.config.models import INNConfig
from inn.nn.population import Linear, NeuronLinear
from inn.nn.recall.base import NOTHING, Found, Voter
from inn.ops.votes import BUCKETS, votes
from inn.ops.votes.reference import COUNTS, LEVELS, STARTS

SURES = len(STARTS) ** 2
"""How sure a context can be: the level of its most frequent follower, and of all others together."""
SURE = 8
"""Numbers that tell how sure it is."""
CODE = 64
"""Numbers that the weights of all contexts are made of."""
_START = 0.3  # of each context's weight: several know the same, and their votes add up


class Votes(Voter):
    """The votes of all contexts on the next symbol, with weights that the whole population chooses at every step.

    A follower's vote is a learned number for its count, the others', and whether it came last (`inn.ops.votes`); a
    context's weight follows from what the neurons say and how sure all contexts are. The sum is added to the logits: a
    geometric mixture, as in PAQ's mixers (Mahoney 2005) and gated linear networks (Veness et al. 2019, arXiv
    1910.01526), of which one is the head.

    >>> recall = {"kind": "counts", "contexts": [1, 2], "slots": 64}
    >>> config = INNConfig(vocab=27, neurons=2, width=16, recall=recall)
    >>> nothing = torch.full((1, 9, 2, 1), -1).int()
    >>> found = {"found": nothing[..., None].expand(-1, -1, -1, -1, 30), "last": nothing, "sure": nothing}
    >>> Votes(config)(found, torch.zeros(1, 9, 32)).shape
    torch.Size([1, 9, 27])
    """

    no_decay = ("table", "sure", "bias")
    of_readout = ("hidden",)

    def __init__(self, config: INNConfig):
        super().__init__()
        c = config
        each = c.recall.each(c.neurons)
        self.vocab, self.shape = c.vocab, (c.neurons, each)
        self.table = nn.Parameter(torch.empty(*self.shape, BUCKETS))
        self.sure = nn.Parameter(torch.empty(*self.shape, SURES, SURE))
        self.bias = nn.Parameter(torch.empty(self.shape))
        self.reset_parameters()
        self.heard = NeuronLinear(c.neurons, each * SURE, CODE)
        self.hidden = Linear(c.normed_width * c.views, CODE)
        self.weigh = NeuronLinear(c.neurons, CODE, each, zero=True)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        mine, _ = levels(self.table.device)
        self.table.copy_(((mine + 0.05) / 0.1).log().expand_as(self.table))
        self.sure.normal_().mul_(0.3)
        self.bias.fill_(_START)

    def forward(self, found: Found, hidden: Tensor) -> Tensor:
        what, last = found["found"].flatten(2, 3), found["last"].flatten(2, 3)
        k = torch.arange(what.shape[2], device=what.device)
        sure = found["sure"].flatten(2, 3)
        how = self.sure.flatten(0, 1)[k, sure.clamp(0)].to(hidden.dtype) * (sure >= 0)[..., None]  # [B, T, K, S]
        code = self.heard(how.unflatten(2, self.shape).flatten(3)).sum(2) + self.hidden(hidden)
        weights = self.weigh(F.silu(code)[:, :, None].expand(-1, -1, self.shape[0], -1)) + self.bias.to(hidden.dtype)
        return votes(what, last, self.table.flatten(0, 1), weights.flatten(2), self.vocab)

    @torch.no_grad()
    def silence(self, neurons: Sequence[int]) -> None:
        for p in (self.heard.weight, self.weigh.weight, self.bias):
            p[list(neurons)] = 0.0

    def flops(self) -> dict[str, float]:
        """Forward FLOPs for one symbol; what followers say is counted as free, as looking up is."""
        own = self.heard.flops(self.shape[0]) + self.weigh.flops(self.shape[0])
        return {"votes": own + 2.0 * self.hidden.weight.numel()}


def sure(found: Tensor) -> Tensor:
    """How sure contexts are of what follows, `[...]` int32 below `SURES`, by their followers `[..., F]`; -1 of nothing.

    >>> sure(torch.tensor([[7 << 8 | 4, 2 << 8 | 1, -1], [-1, -1, -1]])).tolist()  # 4 and 1; nothing
    [65, -1]
    """
    level = torch.tensor(LEVELS, device=found.device)
    times = torch.where(found < 0, 0, found & (COUNTS - 1))
    most = times.amax(-1)
    others = (times.sum(-1) - most).clamp(max=COUNTS - 1)
    return torch.where(most > 0, level[most] * len(STARTS) + level[others], NOTHING).int()


def levels(device: torch.device) -> tuple[Tensor, Tensor]:
    """The count that each bucket stands for, and the others' sum, `[BUCKETS]` float32: the middle of their levels."""
    middle = [*((a + b - 1) / 2 for a, b in pairwise(STARTS)), float(STARTS[-1])]
    each = torch.tensor(middle, device=device)
    mine, others, _ = torch.meshgrid(each, each, torch.zeros(4, device=device), indexing="ij")
    return mine.flatten(), others.flatten()
