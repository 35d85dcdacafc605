"""The two-layer network with squares that learns to add modulo p, whole batches at a time, and its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inn.analysis import Phases, ipr, phases

HIDDEN, RATE, BETAS, START = 500, 1e-2, (0.9, 0.98), 0.5
"""Neurons; the rate of AdamW and its β; the scale of the weights at the start."""
Pairs = tuple[Tensor, Tensor, Tensor]
"""First and second number, and the answer, `[S]` int64 each."""


def table(modulus: int, seed: int, corrupted: float) -> dict[str, Pairs]:
    """The parts of task `modular`, form `table`: half of all pairs to train on, a share of their answers wrong."""
    import inn

    task = inn.task("modular", form="table", modulus=modulus, corrupted=corrupted, seed=seed)

    def pairs(name: str) -> Pairs:
        inputs, targets, _ = task.part(name).padded()  # pyright: ignore[reportOptionalMemberAccess]
        inputs, targets = torch.as_tensor(inputs).long(), torch.as_tensor(targets).long()
        return inputs[:, 0], inputs[:, 2], targets[:, -1]

    return {name: pairs(name) for name in ("train", "test")}


class Square(nn.Module):
    """x² of every number."""

    def forward(self, x: Tensor) -> Tensor:
        return x.square()


@dataclass
class Quadratic:
    """What n neurons weigh the first number by, the second, and the answer: `[n, p]` each; f(a, b) = Σ (u_a + v_b)² w.

    Attributes:
        begun: the same three as they were before training, `[3, n, p]`.
    """

    u: Tensor
    v: Tensor
    w: Tensor
    begun: Tensor

    @classmethod
    def trained(cls, pairs: Pairs, modulus: int, seed: int, *, steps: int, decay: float) -> Quadratic:
        """Minimise the mean squared error to one-hot answers by AdamW, all pairs at every step."""
        draw = torch.Generator().manual_seed(seed)
        scales = ((2 * modulus) ** -0.5, (2 * modulus) ** -0.5, HIDDEN**-0.5)
        parts = [nn.Parameter(START * s * torch.randn(HIDDEN, modulus, generator=draw)) for s in scales]
        net = cls(parts[0], parts[1], parts[2], torch.stack([p.detach().clone() for p in parts]))
        optimizer = torch.optim.AdamW(parts, RATE, betas=BETAS, weight_decay=decay)
        a, b, right = pairs
        wanted = nn.functional.one_hot(right, modulus).float()
        for _ in range(steps):
            loss = (net(a, b) - wanted).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return cls(parts[0].detach(), parts[1].detach(), parts[2].detach(), net.begun)

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """The answers `[S, p]` to pairs."""
        return (self.u[:, a] + self.v[:, b]).square().T @ self.w

    def without(self, neurons: Tensor | Sequence[int]) -> Quadratic:
        """The network without these neurons."""
        kept = torch.ones(len(self.u), dtype=torch.bool)
        kept[torch.as_tensor(neurons)] = False
        return Quadratic(self.u[kept], self.v[kept], self.w[kept], self.begun[:, kept])

    @property
    def ipr(self) -> Tensor:
        """Of each neuron, the mean over its three sets of weights, `[n]`."""
        return ipr(torch.stack([self.u, self.v, self.w])).mean(0)

    @property
    def phases(self) -> Phases:
        """The frequencies and phases of its neurons."""
        return phases(self.u, self.v, self.w)


def right(net: Quadratic, pairs: Pairs) -> Tensor:
    """Which answers of a network are the ones given, `[S]` bool."""
    with torch.no_grad():
        return net(pairs[0], pairs[1]).argmax(1) == pairs[2]
