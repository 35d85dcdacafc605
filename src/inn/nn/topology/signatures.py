"""Wiring that is learned: who hears whom is told by how near the neurons' signatures are."""

from __future__ import annotations

import math

import torch
from torch import nn

from inn.nn.topology.base import Topology
from inn.nn.topology.edges import Edges
from inn.nn.topology.fitting import distances
from inn.nn.topology.options import SignaturesOptions

SHARPNESS = 10.0
"""Of the draw: a distance of 1 / 10 below the threshold opens an edge with chance σ(1)."""


class Wiring(nn.Module):
    """Edges from learned signatures s `[N, W]`: d_ij = 1 - cos(s_i, s_j), an edge where d_ij < tau, both ways.

    Log-weights are -d / ε with a learned ε, normalised over the open sources. A closed edge carries nothing; its
    log-weight has a gradient all the same (straight through), so that the edge may open. A neuron always hears itself.
    After Neural Attentive Circuits (arXiv 2210.08031).
    """

    no_decay = ("signatures", "log_epsilon")

    def __init__(self, neurons: int, options: SignaturesOptions):
        super().__init__()
        self.options = options
        learned = not options.frozen
        self.signatures = nn.Parameter(torch.empty(neurons, options.width), requires_grad=learned)
        self.log_epsilon = nn.Parameter(torch.empty(()))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.log_epsilon.fill_(math.log(self.options.epsilon))
        if self.options.start:
            self.signatures.copy_(torch.tensor(self.options.start))
        else:
            nn.init.normal_(self.signatures)

    def forward(self) -> Edges:
        """The edges of this moment, K = N; in training with `draws` a draw of them."""
        s = self.signatures
        d = distances(s if s.dtype == torch.float64 else s.float())
        nearer = self.options.tau - d
        if self.options.draws and self.training:  # the logistic noise of a relaxed Bernoulli draw
            u = torch.rand_like(d).clamp(1e-6, 1 - 1e-6)
            nearer = nearer * SHARPNESS + (u.log() - (-u).log1p())
        neurons = torch.arange(len(s), device=s.device)
        is_open = (nearer > 0) | (neurons[:, None] == neurons)
        nearness = -d / self.log_epsilon.exp()
        log_weights = nearness - nearness.masked_fill(~is_open, -torch.inf).logsumexp(1, keepdim=True)
        return Edges(neurons.expand(len(s), -1), is_open, log_weights=log_weights)


class Signatures(Topology):
    """Learned, hard, sparse: each neuron has a signature, and hears those whose signature is near its own."""

    Options = SignaturesOptions

    def edges(self, neurons: int) -> None:
        return None  # any edge may open

    def wiring(self, neurons: int) -> Wiring:
        return Wiring(neurons, self.options)
