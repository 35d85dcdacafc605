"""42: notes in an octree and on a graph of landmarks, brought to a walker that decides by six notes at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from inn_studies.family.entry import Criterion, Entry, mean, row, scores
from inn_studies.family.examples import example
from inn_studies.lab import Lab

BOTH, GRAPH, OCTREE, GOAL, WINDOW = "octree graph", "graph", "octree", "goal last", "last"
LABELS = {
    BOTH: "octree and graph", GRAPH: "graph alone", OCTREE: "octree alone",
    GOAL: "the note of the goal, and the last five", WINDOW: "fixed window, the last six",
}  # fmt: skip
DONE, ERROR = "errands done", "read-back error"
WRITES, EXACT, MORE = 100, 1e-5, 0.10
KEPT, FORGOTTEN = "kept", "forgotten"
"""What is left over of the notes."""


def found_back(parts: str, errands: int, steps: int, asked: int, seed: int) -> dict[str, float]:
    """The share of errands that a walker does which was taught with these parts (for `Lab.compute`)."""
    code = example("navigation", 42)
    return {DONE: code.success(code.taught(parts, seed, errands, steps), parts, seed, asked)}


def read_back(left: str, writes: int, seed: int) -> dict[str, float]:
    """The largest error of notes that were written into one cell and read back (for `Lab.compute`)."""
    code, rng = example("navigation", 42), np.random.default_rng(seed)
    building, memory = code.Building(rng), code.Memory()
    place = building.goals[0]
    for _ in range(writes):
        memory.write(building, place)
    if left == FORGOTTEN:
        token, rest = memory.tokens[place]
        memory.tokens[place] = token, [0 * note for note in rest]
    written = [building.note(place, time) for time in reversed(range(writes))]
    return {ERROR: float(np.abs(np.stack([*memory.read(place)]) - np.stack(written)).max())}


class Remembering(Entry):
    """A walker with octree and graph beside one with either alone, one that is told the goal's place, and a window."""

    number = 42
    title = "Finding back by octree and graph"
    source = "*Mem4Nav*, [arXiv 2506.19433](https://arxiv.org/abs/2506.19433)"
    claim = (
        "an octree of cells and a graph of landmarks, written by a reversible map and read back without loss, bring "
        "7–13 points more of the tasks done in streets."
    )
    home = "`examples/navigation.py`: a graph with a neuron for each note (router `attention`, memory `none`)"
    control = "as many notes without either: the last six, or the goal's and the last five; either part alone"
    score = "shares of 200 errands in unseen buildings, done in at most twice the shortest way and four steps"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        example("navigation", 42)
        sizes = {"errands": size.of(4, 300), "steps": size.of(2, 500), "asked": size.of(4, 200)}
        rows, errors = [], {}
        for parts, label in LABELS.items():
            cases = {f"{label} {s}": {"parts": parts, **sizes, "seed": s} for s in range(seeds)}
            done = [run[DONE] for run in lab.compute(found_back, cases).values()]
            rows.append(row(label, {DONE: done}, control=parts != BOTH))
        for left in (KEPT, FORGOTTEN):
            cases = {f"{left} {s}": {"left": left, "writes": WRITES, "seed": s} for s in range(seeds)}
            errors[left] = [run[ERROR] for run in lab.compute(read_back, cases).values()]
        return {"rows": rows, "errors": errors}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        exact, lost = max(result["errors"][KEPT]), min(result["errors"][FORGOTTEN])
        ours, enough = scores(result, LABELS[BOTH], DONE), len(scores(result, LABELS[BOTH], DONE)) > 2

        def more(parts: str) -> Criterion:
            gains = [a - b for a, b in zip(ours, scores(result, LABELS[parts], DONE), strict=True)]
            told = ", ".join(f"{100 * gain:+.1f}" for gain in gains)
            return Criterion.of(
                f"to {LABELS[parts]}", "≥ 10 points in 3 of 3 seeds", told, min(gains) >= MORE if enough else None
            )

        return [
            Criterion.of("read back", f"< 1e-5 after {WRITES} notes in a cell", f"{exact:.1e}", exact < EXACT),
            Criterion.of("by the token alone", "control: > 0.1, without what was left over", f"{lost:.1f}", lost > 0.1),
            more(WINDOW),
            more(GOAL),
        ]

    def found(self, result: dict[str, Any]) -> str:
        return (
            f"either part alone does {mean(result, LABELS[GRAPH], DONE):.2f} (graph) and "
            f"{mean(result, LABELS[OCTREE], DONE):.2f} (octree) of the errands. A reversible map saves no room: what "
            "is left over of a note is as long as the note, and is kept beside the token."
        )
