"""12: each neuron of a network that adds modulo p is one frequency, and its phases fit; then a graph of neurons."""

from __future__ import annotations

from typing import Any

from inn_studies.family.entry import Criterion, Entry, mean, row, scores
from inn_studies.grokking import CLEAN, SIZES, graphs, nets
from inn_studies.lab import Lab
from inn_studies.modular_graph import Found

NET, TURNED, BEGUN, GRAPH = "two layers", "answers at random phases", "before training", "graph of neurons"
SINGLE, OFF, USED, TEST = "of one frequency", "misaligned", "frequencies used", "test accuracy"
ONE, ALIGNED, CHANCE, LUCK = 0.99, 0.1, (1.4, 1.75), 1.5


class Frequencies(Entry):
    """Frequencies and phases of two layers of squares, and of a graph of neurons."""

    number = 12
    title = "Frequencies and phases"
    source = "*On the Mechanism and Dynamics of Modular Addition*, [arXiv 2602.16849](https://arxiv.org/abs/2602.16849)"
    claim = (
        "each neuron of a two-layer network that adds modulo p is a wave of one frequency, the phase of its answer is "
        "the sum of those of its inputs, all frequencies are used, and which one a neuron takes is decided early."
    )
    home = "`inn.analysis.phases`, `inn study grokking`"
    control = "answers turned to random phases; the network before training; a graph of neurons"
    score = "frequencies and phases (misalignment in radians; by chance 1.57)"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        found = nets(lab, size.of("smoke", "cpu"), seeds, [CLEAN])[CLEAN]
        graph = graphs(lab, SIZES[size.of("smoke", "cpu")], seeds, [CLEAN])[CLEAN]

        def each(of: list[Found], name: str) -> list[float]:
            return [one[name] for one in of]

        rows = [row(NET, {TEST: each(found, "test"), SINGLE: each(found, "single"), OFF: each(found, "misaligned"),
                          USED: [of["used"] / of["possible"] for of in found]}),
                row(TURNED, {OFF: each(found, "turned")}, control=True),
                row(BEGUN, {SINGLE: each(found, "begun")}, control=True)]  # fmt: skip
        for what in ("weights", "answers"):
            own = [of[what] for of in graph]
            rows.append(row(f"{GRAPH}, {what}", {
                TEST: [of["cuts"][what]["nothing"]["test"] for of in graph], SINGLE: each(own, "single"),
                OFF: each(own, "misaligned"), USED: [of["used"] / of["possible"] for of in own],
            }))  # fmt: skip
            begun = [of["untrained"][what] for of in graph]
            rows.append(row(f"{GRAPH}, {what}, {BEGUN}", {SINGLE: each(begun, "single")}, control=True))
        return {
            "rows": rows,
            "luck": [of["first ten"] / of["chance"] for of in found],
            "adds": [of["adds"] for of in graph],
            "adds before": [of["untrained"]["adds"] for of in graph],
            "left": [of["left"]["answers"] for of in graph],
            "ipr": {what: [(of[what]["ipr"], of["untrained"][what]["ipr"]) for of in graph]
                    for what in ("weights", "answers")},
        }  # fmt: skip

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        single, off, used = (scores(result, NET, name) for name in (SINGLE, OFF, USED))
        turned, luck = scores(result, TURNED, OFF), result["luck"]
        return [
            Criterion.of("one frequency", f"≥ {ONE:.0%} of the neurons", f"{min(single):.1%} at least",
                         min(single) >= ONE),
            Criterion.of("phases", f"median misalignment ≤ {ALIGNED} rad", f"{max(off):.3f} at most",
                         max(off) <= ALIGNED),
            Criterion.of("all frequencies", "all (p − 1) / 2 are used", f"{min(used):.1%} at least", min(used) == 1.0),
            Criterion.of("random phases", f"control: {CHANCE[0]} to {CHANCE[1]} rad",
                         f"{min(turned):.2f} to {max(turned):.2f}",
                         CHANCE[0] <= min(turned) and max(turned) <= CHANCE[1]),
            Criterion.of("decided early", f"the winner among the first ten at the start ≥ {LUCK} × chance",
                         f"{min(luck):.1f} × at least", min(luck) >= LUCK),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        def over(values: list[float]) -> float:
            return sum(values) / len(values)

        def ratios(what: str) -> str:
            trained, before = (over([pair[i] for pair in result["ipr"][what]]) for i in (0, 1))
            return f"{trained:.2f} of its {what} ({before:.2f} before training)"

        weights, answers = f"{GRAPH}, weights", f"{GRAPH}, answers"
        return (
            "the same probes on a graph of neurons that adds modulo 59 (test accuracy "
            f"{mean(result, answers, TEST):.3f}): the inverse participation ratio is {ratios('weights')} and "
            f"{ratios('answers')}; of one frequency are {mean(result, weights, SINGLE):.0%} and "
            f"{mean(result, answers, SINGLE):.0%} of its numbers, misaligned "
            f"by {mean(result, weights, OFF):.2f} and {mean(result, answers, OFF):.2f}; a + b explains "
            f"{over(result['adds']):.0%} of their variance ({over(result['adds before']):.0%} before), and "
            f"{over([of['keys'] for of in result['left']]):.1f} of 29 frequencies of a + b, alone, answer "
            f"{over([of['only'] for of in result['left']]):.3f} of the pairs that it was not trained on."
        )
