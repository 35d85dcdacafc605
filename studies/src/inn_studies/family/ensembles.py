"""8: groups that hear one another less, and edges that move while training."""

from __future__ import annotations

import statistics
from typing import Any

from inn_studies.family.entry import Criterion, Entry, mean, row, scores
from inn_studies.lab import Lab
from inn_studies.rows import scored_rows, tune
from inn_studies.sizes import TEXT8, Size
from inn_studies.wiring import COMPLETE, DENSITY, GROUPS, RANDOM, REWIRED, wirings, with_edges

TEST = "test"
SPARSE = (RANDOM, GROUPS, *REWIRED)
EDGES = round(DENSITY * 256)
SHORT = Size(
    "text8-last",
    {
        **TEXT8["cpu"].settings, "data.window": 64, "train.symbols": 122_880, "train.eval_every": 60,
        "train.eval_symbols": 20_000,
    },
    rates=(1.2e-2,),
    scored=50_000,
)  # fmt: skip
"""A run of a fraction of a minute on a core by itself."""


def measured(lab: Lab, labels: tuple[str, ...], smoke: bool, seeds: int) -> list[dict[str, Any]]:
    """Rows of these wirings on text8, at equal parameters."""
    size = TEXT8["smoke"] if smoke else SHORT
    # Often enough that edges move, and not so often that those which have just grown, the weakest, go first.
    made = wirings(8, 14, 16, every=20, share=0.25, tau=0.7)
    models = {label: fields for label, fields in made.items() if label in labels}
    tuned = tune(lab, Size(**{**vars(size), "rates": size.rates[-1:]}), models, seeds)
    found = with_edges(lab, tuned, scored_rows(lab, size, tuned))
    return [
        row(
            r["label"], {TEST: r["test_bits"]}, control=r["label"] in (COMPLETE, RANDOM), parameters=r["parameters"],
            training_seconds=r["training_seconds"], lr=r["lr"], edges=r["edges"], config=r["config"],
            commit=r["commit"],
        )
        for r in found
    ]  # fmt: skip


class Ensembles(Entry):
    """Dendrites along a quarter of the edges: in groups, at random, and moved by three rules."""

    number = 8
    title = "Groups that hear one another less, and edges that move"
    source = "*Neuro-inspired Ensemble-to-Ensemble Communication Primitives*, [arXiv 2508.14140](https://arxiv.org/abs/2508.14140)"
    claim = "networks whose edges are sparse between groups, and move while training, are better than dense ones."
    home = "topologies `groups` and `rewired`, objective `rewire`"
    control = "all edges, and random ones that stay, with as many parameters (narrower and wider neurons)"
    score = "bits per character of held-out text8, fewer is better"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        return {"rows": measured(lab, (COMPLETE, *SPARSE), size.of(True, False), seeds)}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        rows = {r["model"]: r for r in result["rows"]}
        dense = scores(result, COMPLETE, TEST)
        best = min(SPARSE, key=lambda label: mean(result, label, TEST))
        off = max(abs(rows[label]["parameters"] / rows[COMPLETE]["parameters"] - 1) for label in SPARSE)
        moved = [found for label in REWIRED for found in rows[label]["edges"]]
        numbers = sorted({found["edges"] for found in moved})
        enough = len(dense) > 2
        return [
            Criterion.of(
                "a quarter of the edges", "at equal parameters ≤ all edges, 3 seeds",
                f"{best} {mean(result, best, TEST):.3f} against {statistics.mean(dense):.3f} bits",
                mean(result, best, TEST) <= statistics.mean(dense) if enough else None,
            ),
            Criterion.of("size", "within 3 %", f"{off:.1%}", off <= 0.03),
            Criterion.of(
                "edges", f"{EDGES} at the end of every run, each neuron's to itself among them",
                f"{', '.join(map(str, numbers))}; {sum(found['itself'] for found in moved)} of {len(moved)} runs",
                numbers == [EDGES] and all(found["itself"] for found in moved),
            ),
            Criterion.of(
                "they move", "≥ a tenth is new in every rewired run", f"least {min(f['moved'] for f in moved):.0%}",
                min(found["moved"] for found in moved) >= 0.1,
            ),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        each = ", ".join(f"{label} {mean(result, label, TEST):.3f}" for label in (COMPLETE, *SPARSE))
        return (
            f"bits side by side: {each}. No rule of growth is a criterion. Fashion-MNIST was not there to be "
            "measured, and runs are short: 122,880 characters."
        )
