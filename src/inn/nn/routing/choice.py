"""Choosing a few of many: who answers, and what makes a choice sure, even or narrow (after ModuleFormer)."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-8
"""Inside the logarithms of entropies: 0 ln 0 is 0."""


def chosen(p: Tensor, top: int, sampled: int = 0) -> Tensor:
    """Who of the last axis answers: bool like the probabilities `p`, the `top` largest.

    The last `sampled` of them are drawn from the rest instead, by their probabilities and without putting back, with
    PyTorch's random numbers.
    """
    if top >= p.shape[-1]:
        return p > 0
    some, p = p > 0, p.detach()
    if sampled:  # Gumbel's way; those that are sure come first
        drawn = (p + EPSILON).log() - (-torch.rand_like(p).clamp(EPSILON, 1 - EPSILON).log()).log()
        drawn = drawn.masked_fill(~some, -torch.inf)
        if top > sampled:
            drawn = drawn.scatter(-1, p.topk(top - sampled).indices, torch.inf)
        p = drawn
    return torch.zeros_like(p, dtype=torch.bool).scatter(-1, p.topk(top).indices, True) & some


def penalty(
    kind: str, p: Tensor, logits: Tensor, answers: Tensor, among: tuple[int, Tensor | None], counts: Tensor | None
) -> Tensor:
    """What the choices `p` `[B, T, N, K]` of one call cost, in nats.

    `mi`: H(e|x) - H(e), from -ln N (sure and even) to 0; `switch`: N Σ_e f_e p_e + 0.1 mean(logsumexp²), with f the
    share of the answers (Switch Transformer, arXiv 2101.03961); `concentrate`: H(e). H(e) and p_e are of the mean over
    the steps, streams and listeners of the call: a micro-batch, and of several the mean of their own.

    Args:
        logits: those of `p`, closed ones -inf.
        answers: bool like `p`.
        among: N, and the neurons `[N_to, K]` that the K are; None: all, in order.
        counts: `[B, T, N]` or `[B, T]` bool, whose choices count; None: all.
    """
    rows = torch.ones(p.shape[:-1], dtype=torch.bool, device=p.device)
    if counts is not None:
        rows = rows & (counts if counts.ndim == 3 else counts[..., None])
    rows = rows & p.detach().sum(-1).gt(0)  # who has no one to ask has no choice
    many = rows.sum().clamp(min=1)
    mean = _by_neuron(p.masked_fill(~rows[..., None], 0.0), *among) / many
    if kind == "concentrate":
        return entropy(mean)
    if kind == "mi":
        return entropy(p).masked_fill(~rows, 0.0).sum() / many - entropy(mean)
    asked = _by_neuron((answers & rows[..., None]).to(p.dtype), *among)
    share = asked / asked.sum().clamp(min=1)
    size = logits.masked_fill(~rows[..., None], 0.0).logsumexp(-1).square().masked_fill(~rows, 0.0).sum() / many
    return among[0] * (share * mean).sum() + 0.1 * size


def entropy(p: Tensor) -> Tensor:
    """Of probabilities along the last axis, in nats.

    >>> round(float(entropy(torch.full((4,), 0.25))), 4)
    1.3863
    """
    return -(p * (p + EPSILON).log()).sum(-1)


def _by_neuron(values: Tensor, neurons: int, sources: Tensor | None) -> Tensor:
    """The sum over all but the last axis of `[B, T, N_to, K]`, by the neuron that each is of: `[N]`."""
    if sources is None:
        return values.sum((0, 1, 2))
    by_edge = values.sum((0, 1)).flatten()
    return by_edge.new_zeros(neurons).index_add(0, sources.flatten(), by_edge)
