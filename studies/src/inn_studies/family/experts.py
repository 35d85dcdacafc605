"""2: a trained feed-forward map, and a trained graph, in experts by what they read, of which a few are used."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from inn_studies.family.entry import Criterion, Entry, mean, row, scores
from inn_studies.family.transplant import OLD, bits, learn, texts
from inn_studies.lab import Lab

HIDDEN, EXPERTS = 128, 16
USES = (16, 8, 4)
READ, RANDOM = "digits, groups and choice by what they read", "digits, the same groups, chosen at random"
SHUFFLED = "digits, groups at random, chosen by what they read"
DENSE, KEYED, DRAWN = (
    "graph, all neurons",
    "graph, 4 of 8 neurons by what they read",
    "graph, 4 of 8 neurons by random keys",
)
GRAPH: dict[str, Any] = {"neurons": 8, "width": 12, "rounds": 2}
NOW, LATER = "bits, as split", "bits, trained on"
AHEAD, BITS = 0.10, 0.1
RATES = {"mlp": 1e-2, "graph": 1e-2, "on": 5e-3}


def _digits(seed: int) -> list[Tensor]:
    """Images `[n, 64]` and labels of 1,300 to train on, and of the other 497."""
    from inn.system.packages import require

    found = require("sklearn.datasets", "the digits", "sklearn").load_digits()
    order = torch.randperm(len(found.data), generator=torch.Generator().manual_seed(seed))
    x, y = torch.tensor(found.data / 16, dtype=torch.float32)[order], torch.tensor(found.target)[order]
    return [x[:1300], y[:1300], x[1300:], y[1300:]]


def of_digits(seed: int, steps: int) -> dict[str, Any]:
    """Accuracies of a map in groups by how many are used, and what is exact (for `Lab.compute`)."""
    import inn
    from inn.surgery.experts import ExpertMLP

    x, y, x_test, y_test = _digits(seed)
    torch.manual_seed(seed)
    dense = nn.Sequential(nn.Linear(64, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))
    optimizer = torch.optim.AdamW(dense.parameters(), lr=RATES["mlp"])
    for _ in range(steps):
        at = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(dense(x[at]), y[at]).backward()
        optimizer.step()
    found: dict[str, Any] = {READ: {}, RANDOM: {}, SHUFFLED: {}}
    of = torch.randperm(HIDDEN) % EXPERTS
    with torch.no_grad():
        for use in USES:
            few = {label: inn.split(dense, EXPERTS, use, seed=seed) for label in (READ, RANDOM)}
            few[RANDOM].keys.normal_()
            few[SHUFFLED] = ExpertMLP(copy.deepcopy(dense), of, use)
            for label, model in few.items():
                found[label][str(use)] = float((model(x_test).argmax(1) == y_test).float().mean())
        same = torch.equal(inn.split(dense, EXPERTS, EXPERTS)(x_test), dense(x_test))
        whole = inn.unsplit(inn.split(dense, EXPERTS, 4)).state_dict()
    merged = all(torch.equal(t, whole[name]) for name, t in dense.state_dict().items())
    return {"accuracy": found, "same": same, "merged": merged}


def of_graph(seed: int, base_steps: int, steps: int, old: int) -> dict[str, Any]:
    """Bits on text8 of a graph whole, split, and with random keys; as it is, and after as many steps more."""
    import inn

    text = texts(old, 2000)[OLD]
    torch.manual_seed(seed)
    base = learn(inn.INN(vocab=27, **GRAPH), text[0], base_steps, RATES["graph"], seed, 16)
    keyed, drawn = inn.split(base, 8, 4), inn.split(base, 8, 4)
    for r in drawn.graph.rounds:
        r.gate.reset_parameters()  # pyright: ignore[reportAttributeAccessIssue]
    given = text[1][None, :200]
    found: dict[str, Any] = {
        "same": torch.equal(inn.split(base, 8, 8)(given)[0], base(given)[0]),
        "merged": torch.equal(inn.unsplit(keyed)(given)[0], base(given)[0]),
        "flops": sum(keyed.flops().values()) / sum(base.flops().values()),
    }
    for label, model in ((DENSE, base), (KEYED, keyed), (DRAWN, drawn)):
        found[label] = {NOW: bits(model, text[1])}
        found[label][LATER] = bits(learn(copy.deepcopy(model), text[0], steps, RATES["on"], seed + 1), text[1])
    return found


class ExpertsEntry(Entry):
    """A map of digits and a graph of text, half of which is used."""

    number = 2
    title = "Experts out of a dense map"
    source = "*Emergent Mixture-of-Experts*, [arXiv 2310.10908](https://arxiv.org/abs/2310.10908)"
    claim = (
        "the hidden units of a trained feed-forward map fall into experts by what they read, a gate without parameters "
        "chooses a few, and they merge back into the dense map."
    )
    home = "`inn.split`, `inn.unsplit`, gate `experts`"
    control = "a choice of groups at random; groups at random; for the graph random keys, trained on as long"
    score = (
        f"accuracy on digits with 16, 8 and 4 of {EXPERTS} groups of {HIDDEN} hidden units; bits per character of "
        "text8, fewer is better"
    )

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        cases = {f"digits {s}": {"seed": s, "steps": size.of(5, 600)} for s in range(seeds)}
        maps = list(lab.compute(of_digits, cases).values())
        text = {"base_steps": size.of(2, 300), "steps": size.of(2, 120), "old": size.of(20_000, 1_000_000)}
        graphs = list(lab.compute(of_graph, {f"graph {s}": {"seed": s, **text} for s in range(seeds)}).values())
        rows = [
            row(label, {f"{u} of {EXPERTS}": [m["accuracy"][label][str(u)] for m in maps] for u in USES},
                control=label != READ)
            for label in (READ, RANDOM, SHUFFLED)
        ]  # fmt: skip
        rows += [
            row(label, {name: [g[label][name] for g in graphs] for name in (NOW, LATER)}, control=label != KEYED)
            for label in (DENSE, KEYED, DRAWN)
        ]
        exact = {name: [[f[name] for f in found] for found in (maps, graphs)] for name in ("same", "merged")}
        return {"rows": rows, "exact": exact, "flops": graphs[0]["flops"]}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        half = f"{USES[1]} of {EXPERTS}"
        gains = [a - b for a, b in zip(scores(result, READ, half), scores(result, RANDOM, half), strict=True)]
        costs = {key: _cost(result, key, LATER) for key in (KEYED, DRAWN)}
        same, merged = result["exact"]["same"], result["exact"]["merged"]
        enough = len(gains) > 2
        return [
            Criterion.of("all used", "bit for bit the dense map, and graph", _told(same), all(map(all, same))),
            Criterion.of("merged back", "bit for bit", _told(merged), all(map(all, merged))),
            Criterion.of(
                "half of the groups", f"≥ random + {AHEAD:.0%} points, 3 seeds", f"{sum(gains) / len(gains):+.1%}",
                sum(gains) / len(gains) >= AHEAD if enough else None,
            ),
            Criterion.of(
                "half of the neurons", f"≤ +{BITS} bit after training on, 3 seeds", f"{costs[KEYED]:+.3f} bits",
                costs[KEYED] <= BITS if enough else None,
            ),
            Criterion.of(
                "random half", "≥ twice what the half by keys costs", f"{costs[DRAWN]:+.3f} bits",
                costs[DRAWN] >= 2 * costs[KEYED] if enough else None,
            ),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        half, now = f"{USES[1]} of {EXPERTS}", [_cost(result, label, NOW) for label in (KEYED, DRAWN)]
        return (
            "the choice by keys does it, the groups hardly: of groups at random, chosen by their keys, half is right "
            f"on {mean(result, SHUFFLED, half):.1%} ({mean(result, READ, half):.1%}). A graph half of whose neurons "
            f"rest costs {1 - result['flops']:.0%} fewer FLOPs. As it is split it loses {now[0]:.2f} bits "
            f"({now[1]:.2f} with random keys): a neuron that rests remembers nothing and is not heard."
        )


def _cost(result: dict[str, Any], label: str, test: str) -> float:
    pairs = list(zip(scores(result, label, test), scores(result, DENSE, test), strict=True))
    return sum(a - b for a, b in pairs) / len(pairs)


def _told(found: list[list[bool]]) -> str:
    return f"{sum(map(sum, found))} of {sum(map(len, found))}"
