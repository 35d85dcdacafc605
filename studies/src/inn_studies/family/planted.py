"""14: networks beside one another behind a rotation, found again by a basis of what matters; and addition in it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from inn_studies.family.entry import Criterion, Entry, row, scores
from inn_studies.lab import Lab

OWN, HIDDEN, OUT = 4, 8, 4
"""Of each planted network: what it reads, its hidden units, and what it tells."""
CORRELATED = 0.9
NEURON, PCA, BASIS = "neurons", "principal components", "interaction basis"
FREE, TIED = "inputs of their own", f"inputs correlated by {CORRELATED}"
PURE, MIXED, EXACT = 0.97, 0.8, 1e-9
CUTS, SEEN = (8, 16, 32, 64), 1000
"""Directions that are kept of the network that adds; pairs that its basis is of."""


def linear(weight: Tensor) -> nn.Linear:
    """A map without bias."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False).to(weight.dtype)
    layer.weight.data.copy_(weight)
    return layer


def planted(seed: int, correlation: float, steps: int) -> tuple[nn.Sequential, Tensor, Tensor]:
    """Two networks beside one another behind a rotation: the layers, what they read `[S, F]`, and the rotation."""
    draw = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    turn, z = torch.linalg.qr(some(2 * OWN, 2 * OWN))[0], some(steps, 2 * OWN)
    z[:, OWN:] = correlation * z[:, :OWN] + math.sqrt(1 - correlation**2) * z[:, OWN:]
    first, last = (torch.block_diag(some(a, b), some(a, b)) for a, b in ((HIDDEN, OWN), (OUT, HIDDEN)))
    return nn.Sequential(linear(turn), linear(first @ turn.T / math.sqrt(OWN)), nn.Tanh(), linear(last)), z, turn


def purity(directions: Tensor, turn: Tensor, z: Tensor) -> float:
    """How much of the variance of a direction comes from one of the two networks' inputs, on average."""
    shares = ((directions @ turn) * z.std(0)).square().unflatten(-1, (2, OWN)).sum(-1)
    return float((shares.amax(-1) / shares.sum(-1)).mean())


def pure(seed: int, correlation: float, steps: int) -> dict[str, float]:
    """Purity of neurons, principal components and the interaction basis (for `Lab.compute`)."""
    from inn.analysis import interaction_basis

    model, z, turn = planted(seed, correlation, steps)
    with torch.no_grad():
        f = model[0](z)
    basis = interaction_basis(model, round=1, data=z)
    return {
        NEURON: purity(torch.eye(len(turn), dtype=torch.float64), turn, z),
        PCA: purity(torch.linalg.eigh(f.T @ f)[1].T, turn, z),
        BASIS: purity(basis.into, turn, z),
        "off": float((basis.restore(basis.coordinates(f)) - f).abs().max()),
    }


def added(seed: int, modulus: int, steps: int) -> dict[str, Any]:
    """Test accuracy of a network that adds modulo p, its inner layer cut to few directions (for `Lab.compute`)."""
    from inn.analysis import interaction_basis
    from inn_studies.quadratic import Quadratic, Square, table

    parts = table(modulus, seed, 0.0)
    net = Quadratic.trained(parts["train"], modulus, seed, steps=steps, decay=5.0)
    a, b = (of[:SEEN] for of in parts["train"][:2])
    model = nn.Sequential(linear(torch.cat([net.u, net.v], 1)), Square(), linear(net.w.T)).double()

    def told(a: Tensor, b: Tensor) -> Tensor:
        return nn.functional.one_hot(torch.stack([a, b + modulus], 1), 2 * modulus).sum(1).double()

    basis = interaction_basis(model, round=1, data=told(a, b))
    with torch.no_grad():
        seen, (x, y, right) = model[0](told(a, b)), parts["test"]
        f = model[0](told(x, y))
        components = torch.linalg.eigh(torch.cov(seen.T))[1].flip(1)

        def accuracy(of: Tensor) -> float:
            return float((model[2](model[1](of)).argmax(1) == right).double().mean())

        return {
            "whole": accuracy(f),
            PCA: [accuracy((f - basis.mean) @ (c := components[:, :k]) @ c.T + basis.mean) for k in CUTS],
            BASIS: [accuracy((few := basis.first(k)).restore(few.coordinates(f))) for k in CUTS],
        }


class Planted(Entry):
    """Two planted networks, apart and with correlated inputs; and addition, in few directions."""

    number = 14
    title = "A basis made of what matters"
    source = (
        "*Using Degeneracy in the Loss Landscape for Mechanistic Interpretability*, "
        "[arXiv 2405.10927](https://arxiv.org/abs/2405.10927), and *The Local Interaction Basis*, "
        "[arXiv 2405.10928](https://arxiv.org/abs/2405.10928)"
    )
    claim = (
        "a basis of directions that vary and are heard shows the parts of a network better than principal components, "
        "on modular addition and small networks; on language models it does not."
    )
    home = "`inn.analysis.interaction_basis`"
    control = "neurons; principal components; inputs that are correlated between the parts"
    score = "purity: the share of a direction's variance that comes from one of the two networks"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        steps = size.of(500, 20_000)
        cases = {
            f"{c:g} {s}": {"seed": s, "correlation": c, "steps": steps} for c in (0.0, CORRELATED) for s in range(seeds)
        }
        of = lab.compute(pure, cases)
        by = {FREE: [of[f"0 {s}"] for s in range(seeds)], TIED: [of[f"{CORRELATED:g} {s}"] for s in range(seeds)]}
        rows = [
            row(name, {what: [one[name] for one in found] for what, found in by.items()}, control=name != BASIS)
            for name in (NEURON, PCA, BASIS)
        ]
        asked = {
            f"addition {s}": {"seed": s, "modulus": size.of(17, 97), "steps": size.of(2, 150)} for s in range(seeds)
        }
        addition = list(lab.compute(added, asked).values())
        return {"rows": rows, "off": [one["off"] for found in by.values() for one in found], "addition": addition}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        ours, pca = scores(result, BASIS, FREE), scores(result, PCA, FREE)
        tied, off = scores(result, BASIS, TIED), max(result["off"])
        return [
            Criterion.of("planted", f"purity ≥ {PURE} where that of principal components is ≤ {MIXED}",
                         f"{min(ours):.3f} at least, {max(pca):.3f} at most", min(ours) >= PURE and max(pca) <= MIXED),
            Criterion.of("exact", f"all directions give the layer back to {EXACT:g}", f"{off:.0e} off", off <= EXACT),
            Criterion.of("the limit", f"correlated inputs: purity < {PURE - 0.1:g}", f"{max(tied):.3f} at most",
                         max(tied) < PURE - 0.1),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        def mean(name: str, i: int) -> float:
            return sum(of[name][i] for of in result["addition"]) / len(result["addition"])

        said = ", ".join(f"{k} {mean(BASIS, i):.2f} ({mean(PCA, i):.2f})" for i, k in enumerate(CUTS))
        return (
            "test accuracy of a network that adds modulo 97 (entry 12), whose inner layer has so many directions of "
            f"this basis (principal components): {said}."
        )
