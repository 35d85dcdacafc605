"""1: wiring from signatures, fitted to known graphs and learned on text."""

from __future__ import annotations

from typing import Any

from inn_studies.family.ensembles import TEST, measured
from inn_studies.family.entry import Criterion, Entry, mean, row, scores
from inn_studies.lab import Lab
from inn_studies.wiring import ATTENTION, ATTENTION_RANDOM, FROZEN, SIGNATURES

NEURONS, WIDE, NARROW = 32, 16, 8
MISSED = "edges missed or invented"
NEAR = 0.02


def priors(neurons: int, width: int, seed: int) -> dict[str, list[int]]:
    """Pairs, missed ones and invented ones of five graphs that signatures of this width are fitted to."""
    import networkx as nx

    import inn

    groups = neurons // 4
    graphs = {
        "planted partition": nx.planted_partition_graph(4, groups, 0.8, 0.05, seed=seed),
        "ring of cliques": nx.ring_of_cliques(groups, 4),
        "Watts-Strogatz": nx.watts_strogatz_graph(neurons, 4, 0.2, seed=seed),
        "scale-free": nx.barabasi_albert_graph(neurons, 2, seed=seed),
        "Erdős-Rényi": nx.erdos_renyi_graph(neurons, 0.15, seed=seed),
    }
    found = {}
    for name, graph in graphs.items():
        topology = inn.Topology.signatures(neurons, like=graph, width=width, seed=seed)
        made = inn.Graph(neurons=neurons, width=1, rounds=1, topology=topology).topology.edges()
        have, wanted = {frozenset(e) for e in made if e[0] != e[1]}, {frozenset(e) for e in graph.edges}
        found[name] = [len(wanted), len(wanted - have), len(have - wanted)]
    return found


class Signatures(Entry):
    """Signatures fitted to five graphs, and learned along with attention on text."""

    number = 1
    title = "Wiring from signatures"
    source = (
        "*Neural Attentive Circuits*, [arXiv 2210.08031](https://arxiv.org/abs/2210.08031), as *m2mKD*, "
        "[arXiv 2402.16918](https://arxiv.org/abs/2402.16918), has them"
    )
    claim = "who hears whom is learned, hard and sparse, from signatures that any graph can be a prior of."
    home = "topology `signatures`, `inn.Topology.signatures`"
    control = "signatures of 8 numbers; signatures frozen at random, random edges, and all edges with the same router"
    score = "pairs of neurons of five graphs, none is best; bits per character of held-out text8, fewer is better"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        rows = []
        neurons = size.of(16, NEURONS)
        for width in (neurons // 2, neurons // 4):
            cases = {f"{width} {s}": {"neurons": neurons, "width": width, "seed": s} for s in range(size.of(1, 3))}
            found = list(lab.compute(priors, cases).values())
            wrong = [float(sum(f[g][1] + f[g][2] for g in f if g != "commit")) for f in found]
            rows.append(row(f"{neurons} neurons, width {width}", {MISSED: wrong}, control=width < neurons // 2))
        text = measured(lab, (ATTENTION, ATTENTION_RANDOM, SIGNATURES, FROZEN), size.of(True, False), seeds)
        for r in text:
            r["control"] = r["model"] != SIGNATURES
        return {"rows": rows + text}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        rows = {r["model"]: r for r in result["rows"]}
        wide, narrow = (r["scores"][MISSED] for r in result["rows"][:2])
        edges = rows[SIGNATURES]["edges"]
        density, weight = max(e["density"] for e in edges), max(e["closed_weight"] for e in edges)
        cost = mean(result, SIGNATURES, TEST) - mean(result, ATTENTION, TEST)
        enough = len(scores(result, SIGNATURES, TEST)) > 2
        return [
            Criterion.of("width N / 2", "all five graphs exactly", f"{sum(wide):.0f} pairs wrong", not any(wide)),
            Criterion.of("width N / 4", "control: not all", f"{sum(narrow):.0f} pairs wrong", any(narrow)),
            Criterion.of("closed edges", "weight exactly 0 after training", f"{weight:g}", weight == 0.0),
            Criterion.of(
                "few edges", "≤ 25 % of the edges within 0.02 bits of all edges, 3 seeds",
                f"density {density:.2f}, {cost:+.3f} bits", density <= 0.25 and cost <= NEAR if enough else None,
            ),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        rows = {r["model"]: r for r in result["rows"]}
        new = [e["moved"] for e in rows[SIGNATURES]["edges"]]
        least = min(mean(result, label, TEST) for label in (FROZEN, ATTENTION_RANDOM)) - mean(result, SIGNATURES, TEST)
        return (
            f"of the edges at the end {sum(new) / len(new):.0%} are new. To the better of frozen signatures and random "
            f"edges they gain {least:+.3f} bits, in short runs of 122,880 characters."
        )
