"""32: a population's recording predicted by a graph with a neuron for each cell; is its wiring the circuit's?"""

from __future__ import annotations

from typing import Any

import numpy as np

from inn.system.packages import require
from inn_studies.family.entry import Criterion, Entry, mean, row, scores
from inn_studies.lab import Lab

CELLS, EDGES, WEIGHT, REST = 30, 75, 1.4, -2.0
"""Of the circuit: cells, directed edges, the size of their weights, and the log-odds of a spike at rest."""
MAPS, ROUTING, CONTROL, LOGISTIC = "sizes of the maps", "recorded routing", "before training", "logistic regression"
FOUND, LEAST, TURNED, CHANCE = "AUROC", 0.9, 0.6, 0.05
TRANSPOSED, SHUFFLED = "transposed", "cells shuffled"
ROWS, WINDOW, RATE = 8, 64, 1e-2


def circuit(seed: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """A circuit `[to, from]` of generalised linear cells, two thirds exciting, and its spikes `[steps, cells]`."""
    rng = np.random.default_rng(seed)
    wires, off = np.zeros((CELLS, CELLS)), np.flatnonzero(~np.eye(CELLS, dtype=bool))
    chosen = rng.permutation(off)[:EDGES]
    wires.flat[chosen] = WEIGHT * np.where(np.arange(EDGES) % 3 == 0, -1, 1) * rng.uniform(0.7, 1.3, EDGES)
    spikes = np.zeros((steps + 1, CELLS))
    for t, chance in enumerate(rng.random((steps, CELLS))):
        spikes[t + 1] = chance < 1 / (1 + np.exp(-(REST + wires @ spikes[t] - 2.0 * spikes[t])))
    return wires, spikes[1:]


def told(seed: int, steps: int, updates: int) -> dict[str, dict[str, float]]:
    """How well each way of seeing the wiring tells the circuit's edges (a function for `Lab.compute`)."""
    import torch
    from torch import nn

    import inn
    from inn.analysis import edge_sizes, record, wiring

    linear = require("sklearn.linear_model", "the control", "sklearn")
    wires, spikes = circuit(seed, steps)
    torch.manual_seed(seed)
    graph = inn.Graph(neurons=CELLS, width=4, rounds=1, router="dendrites", memory_options={"state": 2})
    into, out = nn.Parameter(torch.randn(CELLS, 4)), nn.Parameter(torch.zeros(CELLS, 4))
    bias = nn.Parameter(torch.full((CELLS,), -2.0))
    optimizer = torch.optim.Adam([*graph.parameters(), into, out, bias], RATE)
    seen = torch.from_numpy(spikes).float()

    def read(x: Any) -> Any:
        y, _ = graph((x[..., None] * into).flatten(2))
        return (y.unflatten(2, (CELLS, -1)) * out).sum(-1) + bias

    found = {CONTROL: wiring(edge_sizes(graph)[0], wires, seed=seed)}
    losses = []
    for _ in range(updates):
        at = torch.randint(steps - WINDOW - 1, (ROWS,))[:, None] + torch.arange(WINDOW + 1)
        x = seen[at]
        loss = nn.functional.binary_cross_entropy_with_logits(read(x[:, :-1]), x[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    found[MAPS] = wiring(edge_sizes(graph)[0], wires, seed=seed)
    with torch.no_grad(), record(graph, "routing") as tape:
        read(seen[None, :1000])
    found[ROUTING] = wiring(tape.connectivity().weights[0], wires, seed=seed)
    model = linear.LogisticRegression(max_iter=1000)
    weights = np.stack([model.fit(spikes[:-1], after).coef_[0] for after in spikes[1:].T])
    found[LOGISTIC] = wiring(np.abs(weights), wires, seed=seed)
    return {
        name: {FOUND: w.auroc, TRANSPOSED: w.transposed, SHUFFLED: w.null.mean, "p": w.null.p}
        for name, w in found.items()
    } | {"training": {"first": losses[0], "last": float(np.mean(losses[-20:]))}}


class Circuit(Entry):
    """A graph that predicts the spikes of 30 simulated cells."""

    number = 32
    title = "The wiring of a recorded population"
    source = "*Neuroformer*, [arXiv 2311.00136](https://arxiv.org/abs/2311.00136)"
    claim = "the attention of a model that predicts a population's spikes recovers which cells drive which."
    home = "`inn.analysis.wiring`, `inn.analysis.edge_sizes`"
    control = "directions turned round, cells shuffled, the graph before training; logistic regression of each cell"
    score = f"AUROC over the edges of a circuit of {CELLS} cells of which {EDGES} are there"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        given = {"steps": size.of(1000, 20_000), "updates": size.of(3, 300)}
        cases = {f"circuit {seed}": {"seed": seed, **given} for seed in range(1, seeds + 1)}
        found = list(lab.compute(told, cases).values())
        rows = [
            row(label, {test: [f[label][test] for f in found] for test in (FOUND, TRANSPOSED, SHUFFLED)},
                control=label in (CONTROL, LOGISTIC))
            for label in (MAPS, ROUTING, CONTROL, LOGISTIC)
        ]  # fmt: skip
        return {"rows": rows, "training": [f["training"] for f in found]}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        found, turned, mixed = (scores(result, MAPS, test) for test in (FOUND, TRANSPOSED, SHUFFLED))
        enough = len(found) > 2

        def all_of(met: bool) -> bool | None:
            return met if enough else None

        return [
            Criterion.of("AUROC", f"≥ {LEAST} in 3 of 3 circuits", f"least {min(found):.3f}",
                         all_of(min(found) >= LEAST)),
            Criterion.of("transposed", f"≤ {TURNED}", f"most {max(turned):.3f}", all_of(max(turned) <= TURNED)),
            Criterion.of("cells shuffled", f"0.5 ± {CHANCE}", ", ".join(f"{v:.3f}" for v in mixed),
                         all_of(max(abs(v - 0.5) for v in mixed) <= CHANCE)),
            Criterion.of("before training", "control: below 0.6", f"{mean(result, CONTROL, FOUND):.3f}",
                         all_of(mean(result, CONTROL, FOUND) < TURNED)),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        return (
            f"the routing that is recorded tells {mean(result, ROUTING, FOUND):.3f}, and logistic regression of each "
            f"cell on all of them, the kind of model that made the spikes, {mean(result, LOGISTIC, FOUND):.3f}."
        )
