"""What attention makes of its logits beside a softmax over the sources: weights whose rows sum to what they may."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.nn.topology.edges import Edges
from inn.ops import neighbour_scores, neighbour_sum
from inn.ops.derivatives import derived

if TYPE_CHECKING:
    from inn.nn.routing.options import AttentionOptions


class Activation(nn.Module):
    """Weights `[B, T, H, N_to, K]` of logits z of the same shape, by `activation`; a closed edge weighs 0.

    - `softmax` with a `sink`: e^z_ij / (e^s + Σ_l e^z_il), s learned by head, from 0. That is a neuron that does
      nothing: a source of one more learned logit, and of no value. Whoever listens to it hears that much less.
    - `sigmoid`: σ(z - ln K), and `relu2`: max(z, 0)² / K; each edge by itself.
    - `stick`: σ(z_ij) Π_l (1 - σ(z_il)) over the sources l of a higher index than j: neurons break off their shares in
      the order of their indices, the last one first, and rows sum to 1 - Π (1 - σ) (after ModuleFormer, arXiv
      2306.04640, where steps take the place of neurons).
    - `fourier`: W Φ(z), W `[K, r]`, Φ_p = Σ_q Σ_m α_pqm cos(m z_q) + β_pqm sin(m z_q), by head (after Kolmogorov-
      Arnold Attention, arXiv 2503.10632, whose best form does not project on a simplex, either).

    Of a graph whose edges have weights of their own (`Edges.log_weights`) these are factors on free sums. Where such
    edges are learned, closed ones have a gradient straight through, but of a stick and a series.

    Args:
        options: the router's.
        degree: K, the sources of a neuron.
    """

    no_decay = ("sink",)

    def __init__(self, options: AttentionOptions, degree: int):
        super().__init__()
        self.kind, self.degree = options.activation, degree
        H, K, r, G = options.heads, degree, options.fourier_rank, options.fourier_terms
        fourier = self.kind == "fourier"
        self.sink = nn.Parameter(torch.empty(H)) if options.sink else None
        self.waves = nn.Parameter(torch.empty(2, H, r, K, G)) if fourier else None
        self.mix = nn.Parameter(torch.empty(H, K, r)) if fourier else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        if self.sink is not None:
            self.sink.zero_()
        if self.waves is not None and self.mix is not None:
            self.waves.normal_(std=1 / math.sqrt(self.waves[0, 0, 0].numel()))
            self.mix.uniform_(-(bound := 1 / math.sqrt(self.mix.shape[-1])), bound)

    def forward(self, scores: Tensor, is_open: Tensor | None, edges: Edges | None = None) -> Tensor:
        """Weights of the logits `scores`, `[B, T, H, N, K]`.

        Args:
            is_open: bool that broadcasts to them; None: all are.
            edges: the edges that the K are of, listed or learned; None: the K are all neurons, in order.
        """
        closed = None if is_open is None else ~is_open.expand(scores.shape)
        log_weights = None if edges is None else edges.log_weights
        if closed is not None and log_weights is not None and derived(log_weights):
            if self.kind == "softmax":
                return over_learned(scores + log_weights, ~closed, log_weights, self.sink)
            weights = torch.sigmoid(scores - math.log(self.degree)) if self.kind == "sigmoid" else None
            weights = F.relu(scores).square() / self.degree if weights is None else weights
            return weights * log_weights.exp() * straight(~closed, log_weights)
        z = scores if closed is None else scores.masked_fill(closed, 0.0)  # finite, and so are the gradients
        if self.kind == "softmax":
            assert self.sink is not None
            z = z if log_weights is None else z + log_weights
            z = z if closed is None else z.masked_fill(closed, -torch.inf)
            sink = self.sink.to(z.dtype)[:, None, None].expand(*z.shape[:-1], 1)
            return torch.cat((z, sink), -1).softmax(-1)[..., :-1]
        if self.kind == "sigmoid":
            weights = torch.sigmoid(z - math.log(self.degree))
        elif self.kind == "relu2":
            weights = F.relu(z).square() / self.degree
        elif self.kind == "stick":
            weights = _sticks(z, closed, None if edges is None else edges.sources)
        else:
            weights = self._waves(z, closed)
        weights = weights if closed is None else weights.masked_fill(closed, 0.0)
        return weights if log_weights is None else weights * log_weights.exp()

    def flops(self, neurons: int) -> float:
        """FLOPs for one symbol: of the series; the other kinds are a few operations for each edge, as a softmax is."""
        return (
            0.0 if self.waves is None or self.mix is None else 2.0 * neurons * (self.waves.numel() + self.mix.numel())
        )

    def _waves(self, z: Tensor, closed: Tensor | None) -> Tensor:
        assert self.waves is not None
        assert self.mix is not None
        angles = z[..., None] * torch.arange(1, self.waves.shape[-1] + 1, device=z.device)
        parts = torch.stack((angles.cos(), angles.sin()))  # [2, B, T, H, N, K, G]
        if closed is not None:  # what comes over a closed edge is not looked at
            parts = parts.masked_fill(closed[..., None], 0.0)
        found = torch.einsum("cbthikg,chrkg->bthir", parts, self.waves.to(z.dtype))
        return torch.einsum("bthir,hkr->bthik", found, self.mix.to(z.dtype))


def _sticks(z: Tensor, closed: Tensor | None, sources: Tensor | None) -> Tensor:
    """Shares of one stick, broken off by the sources in falling order of their indices."""
    left = F.logsigmoid(-z)
    left = left if closed is None else left.masked_fill(closed, 0.0)
    if sources is not None:  # listed in an order of their own
        order = sources.argsort(dim=1, stable=True)
        left = left.gather(-1, order.expand_as(left))
    after = left.flip(-1).cumsum(-1).flip(-1) - left  # what those of higher indices leave
    if sources is not None:
        after = torch.zeros_like(after).scatter(-1, order.expand_as(after), after)
    return (F.logsigmoid(z) + after).exp()


def straight(is_open: Tensor, log_weights: Tensor) -> Tensor:
    """1 for an open edge, else 0 with the gradient that the log-weight would have if the edge were opened."""
    return torch.where(is_open, 1.0, log_weights - log_weights.detach())


def over_learned(scores: Tensor, is_open: Tensor, log_weights: Tensor, sink: Tensor | None = None) -> Tensor:
    """A softmax of `scores` `[..., H, N, N]` over open edges, with a `sink` `[H]` or none; log-weights are in them.

    A closed edge has weight 0, and its log-weight the gradient that it would have if the edge were opened (straight
    through): e^l / Z (g - Σ w g), Z and w being those of the open edges.
    """
    best = scores.detach().masked_fill(~is_open, -torch.inf).amax(-1, keepdim=True).clamp_min(-1e30)
    if sink is not None:
        sink = sink.to(scores.dtype)[:, None, None]
        best = torch.maximum(best, sink.detach())
    factors = is_open.to(scores.dtype)
    if derived(log_weights):
        factors = straight(is_open, log_weights)
    raw = (scores - best).clamp_max(30.0).exp() * factors  # only a closed edge is above the best open one
    total = raw.sum(-1, keepdim=True)
    if sink is not None:
        total = total + (sink - best).exp()
    return raw / total.masked_fill(total == 0, 1.0)


def attend(
    q: Tensor, k: Tensor, v: Tensor, activation: Activation, edges: Edges | None, along: Edges | None, sparse: bool,
    dropout: float, present: Tensor | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Attention by an activation: what neurons hear `[B, T, N, H, d]`, and the signed weights `[B, T, H, N, K]`.

    Args:
        q, k, v: `[B, T, N, H, d]`.
        edges: listed ones where `sparse`; else those that may be used among all.
        along: the same, by where `k` and `v` have what comes over them (`Router.late`).
        present: `[B, T, N]` bool, None for all.
    """
    scale, listed = q.shape[-1] ** -0.5, along if sparse else None
    if listed is not None:
        scores = neighbour_scores(q, k, listed.sources, listed.open) * scale
        is_open = listed.open
        is_open = is_open if present is None else (is_open & present[:, :, listed.sources])[:, :, None]
    else:
        scores = torch.einsum("btnhd,btkhd->bthnk", q, k) * scale
        is_open = None if edges is None else edges.dense()
        if present is not None:
            there = present[:, :, None, None]
            is_open = there if is_open is None else is_open & there
    weighted = listed is not None or (edges is not None and edges.log_weights is not None)
    scores = scores.float() if scores.dtype.itemsize < 4 else scores
    weights = activation(scores, is_open, edges if weighted else None)
    used = (F.dropout(weights, dropout) if dropout else weights).to(v.dtype)
    if listed is None:
        return torch.einsum("bthnk,btkhd->btnhd", used, v), weights
    signed = (lambda w: w) if listed.signs is None else (lambda w: w * listed.signs)
    return neighbour_sum(v, signed(used), listed.sources, listed.open), signed(weights)
