"""5: a mixture over neurons, of which a few answer; losses on the choices, and what can be removed."""

from __future__ import annotations

import copy
import math
import statistics
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.config.assemble import graph_config
from inn.data.tasks.base import task
from inn.data.tasks.chains import drawn
from inn.nn.routing.choice import chosen, penalty
from inn.nn.routing.mixture import Mixture
from inn.nn.tape import Tape
from inn.nn.topology.edges import Edges
from inn.surgery.neurons import concentrate
from inn_studies.family.entry import Criterion, Entry, mean, row, scores
from inn_studies.lab import Lab

SOURCES, EXPERTS, TOP, WIDTH, LENGTH = 4, 16, 4, 64, 32
LOSSES = {"no loss": ("none", 0.0), "mi 0.1": ("mi", 0.1), "switch 0.1": ("switch", 0.1)}
NATS, LEAST, KNOWS = "nats", "least asked, by the mean", "NMI of choice and source"
RATE, BATCH = 5e-3, 32
NARROW, HALF = 0.2, EXPERTS // 2
"""The weight of the concentration on one source, and how many neurons are removed after it."""
FREE, COSTS, DEAR, EVEN = 0.01, 0.05, 0.03, 0.1


class Reader(nn.Module):
    """One neuron with a GRU asks; sixteen that see the present symbol alone may answer; what it hears is told."""

    def __init__(self, symbols: int, loss: str, weight: float):
        super().__init__()
        options = {"top": TOP, "zero_start": False, **({} if loss == "none" else {"loss": loss, "loss_weight": weight})}
        self.embedding = nn.Embedding(symbols, WIDTH)
        self.memory = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.router = Mixture(
            graph_config(neurons=1 + EXPERTS, width=WIDTH, rounds=1, router={"kind": "mixture", **options})
        )
        self.head = nn.Linear(WIDTH, symbols)
        everyone = 1 + EXPERTS
        asked = [(to, n) for to in range(everyone) for n in range(everyone) if to or not n]
        self.edges = Edges.complete(everyone).close(asked)

    def forward(self, tokens: Tensor, removed: Tensor | None = None, tape: Tape | None = None) -> Any:
        """Logits `[B, T, symbols]`, and what the choices cost in training."""
        x = self.embedding(tokens)
        neurons = torch.cat((self.memory(x)[0][:, :, None], x[:, :, None].expand(-1, -1, EXPERTS, -1)), 2)
        present = None
        if removed is not None:
            present = torch.ones(neurons.shape[:3], dtype=torch.bool)
            present[..., removed] = False
        told = None if tape is None else tape.at(0, None)
        message, _, *costs = self.router(neurons, edges=self.edges, present=present, tape=told)
        return self.head(message[:, :, 0]), sum(costs[0].values()) if costs else 0.0


def learn(loss: str, weight: float, seed: int, updates: int, narrow: int, examples: int) -> dict[str, Any]:
    """Train a mixture on all sources, then narrow it to one and remove half of it (for `Lab.compute`)."""
    torch.manual_seed(seed)
    markov = task("markov", sources=SOURCES, length=LENGTH, seed=seed)
    rng, model = markov.rng("train"), Reader(len(markov.names), loss, weight)
    train(model, lambda: sequences(markov, rng, BATCH)[0], updates)
    seen, source = sequences(markov, markov.rng("test"), examples)
    shares = asked(model, seen)
    found = {
        NATS: nats(model, seen),
        LEAST: float(shares.mean(0).min() / shares.mean()),
        KNOWS: information(shares, source),
    }
    if loss != "none":
        return found
    one = concentrate(model, NARROW)
    train(one, lambda: sequences(markov, rng, BATCH, 0)[0], narrow)
    seen, _ = sequences(markov, markov.rng("test", 1), examples, 0)
    order = asked(one, seen).mean(0).argsort() + 1
    whole = nats(one, seen)
    draws = torch.Generator().manual_seed(seed)
    others = [torch.randperm(EXPERTS, generator=draws)[:HALF] + 1 for _ in range(10)]
    plain = copy.deepcopy(model)
    train(plain, lambda: sequences(markov, rng, BATCH, 0)[0], narrow)
    least = asked(plain, seen).mean(0).argsort()[:HALF] + 1
    return {
        **found,
        "concentrated": whole,
        "least": nats(one, seen, order[:HALF]) - whole,
        "random": statistics.mean(nats(one, seen, other) - whole for other in others),
        "plain": nats(plain, seen),
        "plain least": nats(plain, seen, least) - nats(plain, seen),
        "asked": float((asked(one, seen).mean(0) > 1 / (10 * EXPERTS)).sum()),
    }


def train(model: Reader, draw: Any, updates: int) -> None:
    """Minimise the loss of the next symbol, and what the choices cost."""
    optimizer = torch.optim.Adam(model.train().parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    for _ in range(updates):
        seen = draw()
        logits, cost = model(seen[:, :-1])
        optimizer.zero_grad()
        (F.cross_entropy(logits.flatten(0, 1), seen[:, 1:].flatten()) + cost).backward()
        optimizer.step()
        schedule.step()
    model.eval()


def sequences(markov: Any, rng: np.random.Generator, count: int, source: int | None = None) -> tuple[Tensor, Tensor]:
    """Sequences `[n, T + 1]` of all sources or of one, and the source of each."""
    of = rng.integers(0, SOURCES, count) if source is None else np.full(count, source)
    steps = [rng.integers(0, len(markov.names), count)]
    for _ in range(LENGTH):
        steps.append(drawn(rng, markov.transitions[of, steps[-1]]))
    return torch.from_numpy(np.stack(steps, 1)), torch.from_numpy(of)


@torch.no_grad()
def nats(model: Reader, seen: Tensor, removed: Tensor | None = None) -> float:
    logits = model(seen[:, :-1], removed)[0]
    return F.cross_entropy(logits.flatten(0, 1), seen[:, 1:].flatten()).item()


@torch.no_grad()
def asked(model: Reader, seen: Tensor) -> Tensor:
    """How much each of the sixteen was listened to in each sequence, `[n, 16]`."""
    rows = []
    for one in seen:
        tape = Tape(("routing",))
        model(one[None, :-1], tape=tape)
        rows.append(tape.mean("routing")[0, 0, 0, 1:])
    return torch.stack(rows).float()


def information(shares: Tensor, source: Tensor) -> float:
    """Mutual information of a sequence's most asked neuron and its source, normalised by the mean of both entropies."""
    joint = torch.zeros(shares.shape[1], SOURCES).index_put_(
        (shares.argmax(1), source), torch.ones(len(source)), accumulate=True
    )
    p = joint / joint.sum()
    a, b = p.sum(1), p.sum(0)
    h = [float(-(q[q > 0] * q[q > 0].log()).sum()) for q in (a, b, p.flatten())]
    return 2 * (h[0] + h[1] - h[2]) / max(h[0] + h[1], 1e-9)


def ends(neurons: int) -> dict[str, float]:
    """How far the loss `mi` is from what it must be at its ends (for `Lab.compute`)."""

    def cost(p: Tensor) -> float:
        return float(penalty("mi", p, p.log(), chosen(p, 1), (neurons, None), None))

    sure = torch.eye(neurons, dtype=torch.float64)[None, None]
    return {"sure": abs(cost(sure) + math.log(neurons)), "even": abs(cost(torch.full_like(sure, 1 / neurons)))}


class MixtureEntry(Entry):
    """The losses of a mixture side by side, and a mixture narrowed to one source and halved."""

    number = 5
    title = "A mixture over neurons"
    source = "*ModuleFormer*, [arXiv 2306.04640](https://arxiv.org/abs/2306.04640)"
    claim = (
        "of many experts few answer for each symbol, chosen by mutual information; after a fine-tuning that "
        "concentrates the choice half of them can be removed, and others be added."
    )
    home = "router `mixture`, `inn.surgery.neurons`"
    control = "no loss; as many neurons removed at random; fine-tuning without concentration"
    score = f"nats per symbol of `task:markov` with {SOURCES} sources, {EXPERTS} neurons of which {TOP} answer"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        updates, narrow = size.of(2, 400), size.of(2, 150)
        sizes = {"updates": updates, "narrow": narrow, "examples": size.of(5, 300)}
        cases = {
            f"{label} {seed}": {"loss": loss, "weight": weight, "seed": seed, **sizes}
            for label, (loss, weight) in LOSSES.items()
            for seed in range(seeds)
        }
        found = lab.compute(learn, cases)
        runs = {label: [found[f"{label} {seed}"] for seed in range(seeds)] for label in LOSSES}
        rows = [
            row(label, {name: [run[name] for run in own] for name in (NATS, LEAST, KNOWS)},
                control=label == "no loss", lr=RATE)
            for label, own in runs.items()
        ]  # fmt: skip
        narrowed = runs["no loss"]
        names = {"concentrated": "concentrated", "plain": "fine-tuned without"}
        rows += [
            row(f"{told} on one source", {NATS: [n[key] for n in narrowed]}, control=key == "plain")
            for key, told in names.items()
        ]
        costs = {key: [n[key] for n in narrowed] for key in ("least", "random", "plain least", "asked")}
        return {"rows": rows, "removed": costs, "ends": lab.compute(ends, {"ends": {"neurons": EXPERTS}})["ends"]}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        gone = result["removed"]
        dear = mean(result, "mi 0.1", NATS) - mean(result, "no loss", NATS)
        least, off = scores(result, "switch 0.1", LEAST), max(result["ends"][end] for end in ("sure", "even"))
        return [
            Criterion.of(
                "half removed", f"≤ +{FREE} nat of the least asked, after concentration, in every seed",
                f"{max(gone['least']):+.4f} at most", max(gone["least"]) <= FREE,
            ),
            Criterion.of(
                "control", f"≥ +{COSTS} of a random half, in every seed", f"{min(gone['random']):+.3f} at least",
                min(gone["random"]) >= COSTS,
            ),
            Criterion.of("mutual information", f"0.1 costs ≤ {DEAR} nat", f"{dear:+.4f}", dear <= DEAR),
            Criterion.of(
                "switch", f"everyone is asked ≥ {EVEN}× the mean", f"{min(least):.2f} at least", min(least) >= EVEN
            ),
            Criterion.of("ends of the loss", "−ln N and 0 to 1e-6", f"off by {off:.1e}", off <= 1e-6),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        knows = {label: mean(result, label, KNOWS) for label in LOSSES}
        told = ", ".join(f"{value:.2f} with {label}" for label, value in knows.items())
        gone = result["removed"]
        few = statistics.mean(gone["asked"])
        return (
            f"the neuron that is asked most tells the source: {told}. A gate that sees the memory finds the source by "
            f"itself, so that specialists are not the loss's doing. After concentration {few:.0f} of "
            f"{EXPERTS} are asked; without it, to remove the least asked half costs "
            f"{statistics.mean(gone['plain least']):+.3f} nat."
        )
