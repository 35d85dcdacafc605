"""The two-layer network with squares that learns to add modulo p, whole batches at a time, and its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from inn.analysis import Phases, ipr, phases

HIDDEN, RATE, BETAS, START = 500, 1e-2, (0.9, 0.98), 0.5
"""Neurons; the rate of AdamW and its β; the scale of the weights at the start."""
CUTS = ("nothing", "the lowest half", "the lowest 70 %", "a random half", "a random fifth", "the highest fifth")
"""What is cut, by the inverse participation ratio of a neuron's weights."""
TEN = 10
"""The strongest frequencies at the start, so many."""
Pairs = tuple[Tensor, Tensor, Tensor]
"""First and second number, and the answer, `[S]` int64 each."""


def table(modulus: int, seed: int, corrupted: float, train: float = 0.5) -> dict[str, Pairs]:
    """The parts of task `modular`, form `table`: a share of all pairs to train on, some of their answers wrong."""
    import inn

    task = inn.task("modular", form="table", modulus=modulus, corrupted=corrupted, train=train, seed=seed)

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
        read = nn.functional.embedding(a, self.u.T.contiguous()) + nn.functional.embedding(b, self.v.T.contiguous())
        return read.square() @ self.w

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


def grown(seed: int, modulus: int, steps: int, decay: float) -> dict[str, Any]:
    """What the neurons are of a network that was trained on right answers alone (for `Lab.compute`).

    Controls: the same neurons with answers turned to a random phase, and the network as it began.
    """
    parts = table(modulus, seed, 0.0)
    net = Quadratic.trained(parts["train"], modulus, seed, steps=steps, decay=decay)
    found, begun = net.phases, phases(*net.begun)
    draw = torch.Generator().manual_seed(seed)
    turned = torch.stack([w.roll(int(torch.randint(modulus, (1,), generator=draw))) for w in net.w])
    strength = torch.fft.rfft(net.begun)[..., 1:].abs().prod(0)  # of every frequency, as it began
    rank = (strength > strength.gather(1, found.frequencies[:, None] - 1)).sum(1)
    off = found.misaligned[found.single]
    return {
        "test": float(right(net, parts["test"]).double().mean()),
        "ipr": float(net.ipr.mean()),
        "single": float(found.single.double().mean()),
        "misaligned": found.median,
        "below 0.3": float((off < 0.3).double().mean()) if len(off) else 0.0,
        "used": found.used,
        "possible": found.possible,
        "resultant": sum(found.resultants.values()) / max(1, len(found.resultants)),
        "turned": phases(net.u, net.v, turned).median,
        "begun": float(begun.single.double().mean()),
        "begun ipr": float(ipr(net.begun).mean()),
        "first ten": float((rank < TEN).double().mean()),
        "chance": min(1.0, TEN / found.possible),
        "neurons": len(net.u),
    }


def memorised(seed: int, modulus: int, steps: int, decay: float, corrupted: float) -> dict[str, Any]:
    """A network trained on a table with wrong answers, whole and without some of its neurons (for `Lab.compute`).

    By name of what is cut: the share of the wrong answers that it gives as it was taught (`taught`), that it gives
    right instead (`right`), and its accuracy on the test part (`test`).
    """
    parts = table(modulus, seed, corrupted)
    net = Quadratic.trained(parts["train"], modulus, seed, steps=steps, decay=decay)
    a, b, label = parts["train"]
    wrong = label != (a + b) % modulus
    a, b, label = a[wrong], b[wrong], label[wrong]
    cuts = cuts_of(net.ipr, seed)
    return {"cuts": {name: _told(net.without(at), parts["test"], (a, b, label), modulus) for name, at in cuts.items()},
            "ipr": float(net.ipr.mean())}  # fmt: skip


def cuts_of(found: Tensor, seed: int) -> dict[str, Tensor]:
    """Which neurons each of `CUTS` takes, by their inverse participation ratio `[n]`."""
    n, order = len(found), found.argsort()
    chance = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    taken = (order[:0], order[: n // 2], order[: n * 7 // 10], chance[: n // 2], chance[: n // 5], order[n - n // 5 :])
    return dict(zip(CUTS, taken, strict=True))


def _told(net: Quadratic, test: Pairs, wrong: Pairs, modulus: int) -> dict[str, float]:
    a, b, _ = wrong
    return {
        "taught": float(right(net, wrong).double().mean()),
        "right": float(right(net, (a, b, (a + b) % modulus)).double().mean()),
        "test": float(right(net, test).double().mean()),
    }
