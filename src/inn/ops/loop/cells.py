"""The cells of the loop: one step of each, in PyTorch's own operations, on all streams and neurons at once.

A cell takes the inputs of a step `[B, N, I]`, the states before it, S tensors `[B, N, H]`, and its weights; it returns
what it puts out `[B, N, H]` and the states after it. Where the first weight is a recurrent one, `[P, O, K x H]`, a
neuron hears itself (K = 1) or the whole population (K = N), as it was at the step before: its first state. P is 1
(weights shared by all neurons) or N.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from inn.ops.spike import spike

Step = Callable[..., tuple[Tensor, tuple[Tensor, ...]]]


@dataclass(frozen=True)
class Cell:
    """A kind of recurrence.

    Attributes:
        step: `step(x, states, *weights)` gives what comes out, and the states after the step.
        states: S, tensors `[B, N, H]` that it carries.
        weights: how many it takes.
    """

    step: Step
    states: int
    weights: int


def hear(h: Tensor, weight: Tensor) -> Tensor:
    """The recurrent product: `[B, N, H]` through `[P, O, H]`, or, of the whole population, `[N, O, N x H]`."""
    if weight.shape[2] == h.shape[2]:
        return torch.einsum("bnh,noh->bno", h, weight.expand(h.shape[1], -1, -1))
    return torch.einsum("bh,noh->bno", h.flatten(1), weight)


def elman(x: Tensor, states: tuple[Tensor, ...], weight: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """h = tanh(x + U h). I = O = H."""
    h = torch.tanh(x + hear(states[0], weight))
    return h, (h,)


def gru(x: Tensor, states: tuple[Tensor, ...], weight: Tensor, bias: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """PyTorch's GRU: I = O = 3 H (reset, update, new); the bias `[P, H]` is the new gate's, inside the reset gate."""
    (h,) = states
    xr, xz, xn = x.chunk(3, -1)
    ar, az, an = hear(h, weight).chunk(3, -1)
    r, z = torch.sigmoid(xr + ar), torch.sigmoid(xz + az)
    n = torch.tanh(xn + r * (an + bias))
    h = n + z * (h - n)
    return h, (h,)


def lstm(x: Tensor, states: tuple[Tensor, ...], weight: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """PyTorch's LSTM: I = O = 4 H (input, forget, cell, output); the states are h and c."""
    h, c = states
    i, f, g, o = (x + hear(h, weight)).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return h, (h, c)


def slstm(x: Tensor, states: tuple[Tensor, ...], weight: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """An LSTM with exponential gates (xLSTM, arXiv 2405.04517, equations 8 to 17): I = O = 4 H (i, f, z, o).

    The states are h, c, the normaliser n and the stabiliser m; the forget gate is a sigmoid, in logarithms.
    """
    h, c, n, m = states
    i, f, z, o = (x + hear(h, weight)).chunk(4, -1)
    keep = torch.where(n > 0, F.logsigmoid(f) + m, i.detach() - 1)  # nothing is kept before there is something
    top = torch.maximum(keep, i)
    old, new = torch.exp(keep - top), torch.exp(i - top)
    c = old * c + new * torch.tanh(z)
    n = old * n + new
    h = torch.sigmoid(o) * c / n
    return h, (h, c, n, top)


def liquid(x: Tensor, states: tuple[Tensor, ...], weight: Tensor, dt: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Closed-form continuous time (arXiv 2106.13898): h = (1 - s) tanh(f) + s tanh(g), s = σ(a dt + b).

    I = O = 4 H (f, g, a, b); `dt` `[B, T]` is the time since the step before, of which a step is given `[B, 1, 1]`.
    """
    f, g, a, b = (x + hear(states[0], weight)).chunk(4, -1)
    s = torch.sigmoid(a * dt + b)
    h = torch.tanh(f) * (1 - s) + torch.tanh(g) * s
    return h, (h,)


def rhn(x: Tensor, states: tuple[Tensor, ...], weight: Tensor, bias: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """A recurrent highway network (arXiv 1607.03474), L layers in a step: weight `[P, L, 2 H, H]`, bias `[P, L, 2 H]`.

    (c, k) = U_l h + b_l, and at the first layer + x (I = 2 H); k = σ(k - 1); h = k tanh(c) + (1 - k) h.
    """
    (h,) = states
    for layer in range(weight.shape[1]):
        own = hear(h, weight[:, layer]) + bias[:, layer]
        c, k = (own if layer else own + x).chunk(2, -1)
        h = h + torch.sigmoid(k - 1) * (torch.tanh(c) - h)
    return h, (h,)


def elm(
    x: Tensor, states: tuple[Tensor, ...], hidden: Tensor, out: Tensor, bias: Tensor, keep: Tensor, take: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """An expressive leaky memory (arXiv 2306.16922): m = κ m + λ 1.7159 tanh(⅔ (W₂ relu(x + W₁ κ m) + b)).

    I = M hidden units; `hidden` `[P, M, H]`, `out` `[P, H, M]`, and `bias`, `keep` (κ) and `take` (λ) `[P, H]`.
    """
    m = keep * states[0]
    m = m + take * 1.7159 * torch.tanh((hear(torch.relu(x + hear(m, hidden)), out) + bias) * (2 / 3))
    return m, (m,)


def lif(x: Tensor, states: tuple[Tensor, ...], leak: Tensor, threshold: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """A leaky integrate-and-fire neuron per channel: v = v + leak (x - v), a spike at v >= θ, and v back to zero.

    I = H; `leak` and `threshold` `[P, H]`. The reset has no gradient; that of a spike is `spike`'s.
    """
    v = states[0] + leak * (x - states[0])
    s = spike(v - threshold)
    return s, (v * (1 - s.detach()),)


def lif_soft(
    x: Tensor, states: tuple[Tensor, ...], leak: Tensor, threshold: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """`lif` whose reset takes the threshold off instead: v = v - θ s."""
    v = states[0] + leak * (x - states[0])
    s = spike(v - threshold)
    return s, (v - threshold * s,)


CELLS: dict[str, Cell] = {
    "elman": Cell(elman, 1, 1),
    "gru": Cell(gru, 1, 2),
    "lstm": Cell(lstm, 2, 1),
    "slstm": Cell(slstm, 4, 1),
    "liquid": Cell(liquid, 1, 2),
    "rhn": Cell(rhn, 1, 2),
    "elm": Cell(elm, 1, 5),
    "lif": Cell(lif, 1, 2),
    "lif-soft": Cell(lif_soft, 1, 2),
}
"""The cells there are, by name."""
