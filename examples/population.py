"""A model of recorded neurons that sees what the animal does, too: who drives whom, and what behaviour is worth.

After *Neuroformer: Multimodal and Multitask Generative Pretraining for Brain Data*, arXiv 2311.00136, at the size of a
circuit whose wiring is known: 30 simulated cells (generalised linear ones), ten of them driven by how fast the animal
runs. A graph has a neuron for each cell and one for the running, which all cells can hear; it learns to predict the
next spikes. The sizes of its edges' maps tell the circuit's edges, and silencing the neuron of the running (or never
having had it) costs likelihood. The graph, its edges and the silencing are this library's.

    python examples/population.py
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

import inn
from inn.analysis import edge_sizes, silenced, wiring

CELLS, EDGES, DRIVEN = 30, 75, 10
WEIGHT, DRIVE, REST = 1.4, 1.0, -2.0
"""Sizes of the circuit's weights and of the drive, in log-odds of a spike, and those of a cell at rest."""
RUNNING = CELLS
"""The neuron of the behaviour: behind the cells."""
STEPS, HELD_OUT, UPDATES = 20_000, 4_000, 300
ROWS, WINDOW, RATE = 8, 64, 1e-2


def recording(seed: int, steps: int = STEPS, drive: float = DRIVE) -> tuple[np.ndarray, np.ndarray]:
    """A circuit `[to, from]`, and a recording `[steps, CELLS + 1]` of its spikes and, last, of the running.

    Two thirds of the edges excite. The running is slow (it forgets by 1 % a step) and has mean 0 and deviation 1; what
    it is at a step drives the spikes of the next, as these do.
    """
    rng = np.random.default_rng(seed)
    wires, gains = np.zeros((CELLS, CELLS)), np.zeros(CELLS)
    edges = rng.choice(np.flatnonzero(~np.eye(CELLS, dtype=bool)), EDGES, replace=False)
    wires.flat[edges] = WEIGHT * np.where(np.arange(EDGES) % 3, 1, -1) * rng.uniform(0.7, 1.3, EDGES)
    gains[rng.choice(CELLS, DRIVEN, replace=False)] = drive * np.where(np.arange(DRIVEN) % 2, 1, -1)
    seen = np.zeros((steps + 1, CELLS + 1))
    noise, chances = rng.standard_normal(steps), rng.random((steps, CELLS))
    for t in range(steps):
        odds = REST + wires @ seen[t, :CELLS] - 2.0 * seen[t, :CELLS] + gains * seen[t, RUNNING]
        seen[t + 1, :CELLS] = chances[t] < 1 / (1 + np.exp(-odds))
        seen[t + 1, RUNNING] = 0.99 * seen[t, RUNNING] + (1 - 0.99**2) ** 0.5 * noise[t]
    return wires, seen[1:]


class Population(nn.Module):
    """A graph with a neuron for each cell and one for the behaviour: log-odds of the cells' next spikes."""

    def __init__(self) -> None:
        super().__init__()
        self.graph = inn.Graph(
            neurons=CELLS + 1, width=4, rounds=1, router="dendrites", memory_options={"state": 2}
        )  # fmt: skip
        self.into = nn.Parameter(torch.randn(CELLS + 1, 4))
        self.out, self.bias = nn.Parameter(torch.zeros(CELLS, 4)), nn.Parameter(torch.full((CELLS,), REST))

    def forward(self, seen: Tensor) -> Tensor:
        """`[B, T, CELLS + 1]` -> log-odds `[B, T, CELLS]`."""
        told, _ = self.graph((seen[..., None] * self.into).flatten(2))
        return (told.unflatten(2, (CELLS + 1, -1))[:, :, :CELLS] * self.out).sum(-1) + self.bias


def fitted(seen: Tensor, seed: int, updates: int = UPDATES) -> Population:
    """A population that predicts a recording `[steps, CELLS + 1]`."""
    torch.manual_seed(seed)
    model = Population()
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    for _ in range(updates):
        x = seen[torch.randint(len(seen) - WINDOW - 1, (ROWS,))[:, None] + torch.arange(WINDOW + 1)]
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model(x[:, :-1]), x[:, 1:, :CELLS]).backward()
        optimizer.step()
    return model


@torch.no_grad()
def bits(odds: Tensor, seen: Tensor) -> float:
    """What the spikes after a recording's steps cost by these log-odds, in bits for each of them (the field's unit)."""
    spikes = seen[1:, :CELLS]
    return float(F.binary_cross_entropy_with_logits(odds, spikes, reduction="sum") / spikes.sum() / np.log(2))


def logistic(seen: np.ndarray, held_out: Tensor, inputs: int) -> tuple[np.ndarray, float]:
    """The baseline, the kind of model that made the spikes: weights `[CELLS, inputs]`, and bits per spike held out."""
    models = [LogisticRegression(max_iter=1000).fit(seen[:-1, :inputs], after) for after in seen[1:, :CELLS].T]
    odds = np.stack([m.decision_function(held_out[:-1, :inputs].numpy()) for m in models], 1)
    return np.concatenate([m.coef_ for m in models]), bits(torch.from_numpy(odds).float(), held_out)


def measured(seed: int, steps: int = STEPS, updates: int = UPDATES, drive: float = DRIVE) -> dict[str, float]:
    """The wiring found (AUROC), and what masking the behaviour costs, in bits per spike of the last fifth."""
    wires, found = recording(seed, steps, drive)
    split = steps - steps * HELD_OUT // STEPS
    seen = torch.from_numpy(found).float()
    blind = seen.clone()
    blind[:, RUNNING] = 0.0
    model, never = fitted(seen[:split], seed, updates), fitted(blind[:split], seed, updates)
    rest = seen[split:]
    with torch.no_grad():
        whole = bits(model(rest[None, :-1])[0], rest)
        with silenced(model.graph, [RUNNING]):
            masked = bits(model(rest[None, :-1])[0], rest)
        without = bits(never(blind[None, split:-1])[0], rest)
    weights, best = logistic(found[:split], rest, CELLS + 1)
    _, poorer = logistic(found[:split], rest, CELLS)
    told = wiring(edge_sizes(model.graph)[0][:CELLS, :CELLS], wires, seed=seed)
    return {
        "AUROC": told.auroc,
        "transposed": told.transposed,
        "cells shuffled": told.null.mean,
        "AUROC, logistic": wiring(np.abs(weights[:, :CELLS]), wires, seed=seed).auroc,
        "AUROC, never saw": wiring(edge_sizes(never.graph)[0][:CELLS, :CELLS], wires, seed=seed).auroc,
        "bits": whole,
        "bits, logistic": best,
        "silenced": masked - whole,
        "never saw": without - whole,
        "never saw, logistic": poorer - best,
    }


def main(seeds: Sequence[int] = (1, 2, 3), steps: int = STEPS, updates: int = UPDATES) -> None:
    for drive, what in ((DRIVE, "driven by the running"), (0.0, "control: the running drives nobody")):
        print(f"{what} (bits per spike; what it costs to be without the running)")
        for seed in seeds:
            found = measured(seed, steps, updates, drive)
            print(f"  seed {seed}: " + ", ".join(f"{name} {value:.3f}" for name, value in found.items()))


if __name__ == "__main__":
    main()
