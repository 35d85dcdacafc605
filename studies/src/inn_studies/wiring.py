"""Graphs whose edges are learned, against as many random edges and against all edges, at equal parameters."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inn_studies import compressors
from inn_studies.lab import Lab
from inn_studies.rows import Tuned, markdown, scored_rows, spread, tune
from inn_studies.sizes import TEXT8, Fields, Size
from inn_studies.study import Study, Verdict
from inn_studies.where.intervals import ahead

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

NEURONS, DENSITY = 16, 0.25
COMPLETE, RANDOM, GROUPS = "complete", "random edges", "groups"
REWIRED = {f"rewired, {grow}": grow for grow in ("gradient", "hebb", "random")}
ATTENTION, SIGNATURES, FROZEN, ATTENTION_RANDOM = (
    "attention, complete", "attention, signatures", "attention, frozen signatures", "attention, random edges",
)  # fmt: skip
GRAPH: Fields = {"model.kind": "inn", "model.neurons": NEURONS, "model.rounds": 2}
SPARSE: Fields = {"model.topology": "rewired", "model.topology.density": DENSITY}


def wirings(
    complete: int, sparse: int, attention: int, every: int, *, share: float = 0.1, tau: float = 0.8
) -> dict[str, dict[str, Any]]:
    """Settings by label: the widths of neurons that hear all and few through dendrites, and that of attention.

    Args:
        every: steps from one rewiring to the next.
        share: of the edges, that go at a rewiring.
        tau: how far apart signatures of neurons are that hear one another, at most.
    """
    few = {**GRAPH, **SPARSE, "model.width": sparse}
    moved = {"train.objective": "rewire", "train.objective.every": every, "train.objective.share": share}
    signed = {"model.topology": "signatures", "model.topology.tau": tau}
    routed = {**GRAPH, "model.router": "attention", "model.width": attention}
    return {
        COMPLETE: {**GRAPH, "model.width": complete},
        RANDOM: few,
        GROUPS: {
            **GRAPH, "model.width": sparse, "model.topology": "groups", "model.topology.groups": round(1 / DENSITY),
            "model.topology.between": 0,
        },
        **{label: {**few, **moved, "train.objective.grow": grow} for label, grow in REWIRED.items()},
        ATTENTION: routed,
        ATTENTION_RANDOM: {**routed, **SPARSE},
        SIGNATURES: {**routed, **signed},
        FROZEN: {**routed, **signed, "model.topology.frozen": True},
    }  # fmt: skip


def edges(run: str) -> dict[str, Any]:
    """Density and degrees of a run's graph, and the share of its edges that were not there at first (for a `Lab`).

    `still`: whether closed edges have exactly no weight over a stretch of zeros and ones of symbols.
    """
    import torch

    import inn

    model: Any = inn.load(run)
    found = model.graph.topology
    torch.manual_seed(model_seed(run))
    first = {*inn.build_model(model.config).graph.topology.edges()}  # type: ignore[attr-defined]
    pairs = {*found.edges()}
    with torch.no_grad(), inn.record(model, "routing") as tape:
        model(torch.arange(64).remainder(model.config.vocab)[None])
    weights = tape.connectivity().weights
    is_open = torch.zeros(weights.shape[-2:], dtype=torch.bool)
    is_open[tuple(torch.tensor(sorted(pairs)).T)] = True
    return {
        "density": found.density,
        "edges": found.number,
        "most_hearers": int(found.hearers.max()),
        "moved": len(pairs - first) / len(pairs),
        "closed_weight": float(weights.abs()[:, ~is_open].sum()),
        "itself": all((i, i) in pairs for i in range(found.neurons)),
    }


def model_seed(run: str) -> int:
    """The seed that a run's model was started from."""
    from inn.runs.directory import Run

    return Run(run).config().train.seed


def with_edges(lab: Lab, models: list[Tuned], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, and what became of the edges of each, seed by seed."""
    for row, model in zip(rows, models, strict=True):
        row["edges"] = [found for found in lab.measure(edges, model.runs) if found is not None]
    return rows


GRADIENT = "rewired, gradient"
ASKED = (COMPLETE, RANDOM, GRADIENT, ATTENTION, ATTENTION_RANDOM, SIGNATURES)
"""Rows of the study; the others are entries of `inn study family`."""
PAIRS = ((GRADIENT, RANDOM), (GRADIENT, COMPLETE), (SIGNATURES, ATTENTION_RANDOM), (SIGNATURES, ATTENTION))
"""What is learned, and what it is held to: as many edges at random, and all of them."""


class Wiring(Study):
    name = "wiring"
    source = "our own"
    question = "Are edges that are learned better than random ones of the same number, and than all edges?"

    def sizes(self) -> dict[str, Size]:
        small = replace(TEXT8["cpu"].but(train_symbols=250_000), rates=(6e-3, 1.2e-2), further=0, models={})
        return {
            "smoke": replace(TEXT8["smoke"], rates=(1e-2,), models={}),
            "cpu": replace(small, scored=50_000),
            "gpu": replace(small.but(train_symbols=20_000_000), scored=1_000_000),
        }

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        # Parameters are within 3 % of one another: few edges leave room for wider neurons.
        widths = (8, 14, 8) if size.recipe == "study-smoke" else (14, 25, 32)
        steps = size.settings["train.symbols"] // (16 * 256)
        models = wirings(*widths, every=max(2, steps // 10))
        tuned = tune(lab, size, {label: models[label] for label in ASKED}, seeds)
        return {"rows": with_edges(lab, tuned, scored_rows(lab, size, tuned))}

    def readings(self, result: dict[str, Any]) -> list[dict[str, Any]]:
        return [compressors.scored(result["rows"][0])]

    def table(self, result: dict[str, Any]) -> str:
        rows = result["rows"]
        return (
            f"{NEURONS} neurons, two rounds, {rows[0]['symbols']:,} symbols of {rows[0]['data']['name']} per run. "
            f"*Random edges*, and those that are rewired, are {DENSITY:.0%} of all. {said(rows)}\n\n{table(rows)}"
        )

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        axes = figure.subplots()
        for at, row in enumerate(reversed(result["rows"])):
            axes.plot(row["test_bits"], [at] * len(row["test_bits"]), "o")
        axes.set_yticks(range(len(result["rows"])), [row["label"] for row in reversed(result["rows"])])
        axes.set(xlabel="test bits per character")
        return True

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return []


def said(rows: list[dict[str, Any]]) -> str:
    """What is learned beside what it is held to, in sentences."""
    bits = {row["label"]: row["test_bits"] for row in rows}
    found = []
    for ours, theirs in PAIRS:
        if not bits[ours] or not bits[theirs]:
            found.append(f"'{ours}' against '{theirs}' was not measured, since runs diverged.")
            continue
        gap = statistics.mean(bits[ours]) - statistics.mean(bits[theirs])
        won, lost = better(rows, ours, theirs), better(rows, theirs, ours)
        sure = "one seed cannot tell" if won is None else "outside both intervals" if won or lost else "within chance"
        found.append(f"'{ours}' needs {abs(gap):.3f} bits {'less' if gap < 0 else 'more'} than '{theirs}' ({sure}).")
    return " ".join(found)


def table(rows: list[dict[str, Any]]) -> str:
    """Bits, size and edges of every row."""
    cells = [
        [
            row["label"],
            f"{row['parameters']:,}",
            f"{row['lr']:g}",
            spread(row["valid_bits"]),
            spread(row["test_bits"]),
            f"{statistics.mean(e['density'] for e in row['edges']):.2f}" if row["edges"] else "–",
            f"{statistics.mean(e['moved'] for e in row['edges']):.0%}" if row["edges"] else "–",
        ]
        for row in rows
    ]
    head = ["model", "parameters:", "lr:", "valid BPC:", "test BPC:", "density:", "edges that are new:"]
    return markdown(head, cells)


def better(rows: Sequence[Mapping[str, Any]], ours: str, theirs: str) -> bool | None:
    """Whether a row's bits are below another's, outside both intervals over seeds; None of one seed."""
    a, b = (next(row["test_bits"] for row in rows if row["label"] == label) for label in (ours, theirs))
    return None if min(len(a), len(b)) < 2 else ahead(a, b, 1, share=False, higher=False)
