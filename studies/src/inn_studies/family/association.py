"""29: an associative memory that recalls several patterns at once, where they have blanks."""

from __future__ import annotations

from typing import Any

import torch

from inn.nn.memory.hebb import associate
from inn_studies.family.entry import Criterion, Entry, mean, row
from inn_studies.lab import Lab

BLANKS, BEYOND = (0.1, 0.2, 0.3, 0.4), 0.6
"""Shares of blanks that the criterion is for, and one beyond."""
PATTERNS, WITHIN = 3, 0.03
FLIPPED, LOAD, BACK = 0.2, 0.05, 0.95
_STEPS = 30


def patterns(count: int, size: int, blanks: float, seed: int) -> torch.Tensor:
    """Patterns `[K, N]` of -1 and 1, and 0 with a probability."""
    draw = torch.Generator().manual_seed(seed)
    signs = torch.rand(count, size, generator=draw).lt(0.5).float() * 2 - 1
    return signs * (torch.rand(count, size, generator=draw) >= blanks)


def settled(stored: torch.Tensor, cue: torch.Tensor) -> torch.Tensor:
    """Where the memory's dynamics come to rest, `[N]`, after it was written with patterns `[K, N]`."""
    forever, x = torch.zeros(1), stored[None, :, None]
    _, matrix = associate(x, x, x, forever, torch.zeros(1, 1, stored.shape[1], stored.shape[1]))
    nothing = torch.zeros(1, 1, 1, stored.shape[1])
    y, _ = associate(cue.view(1, 1, 1, -1), nothing, nothing, forever, matrix, settle=_STEPS)
    return y.flatten().sign()


def overlaps(size: int, blanks: float, seed: int) -> dict[str, float]:
    """The sorted overlaps after the first of three patterns was the cue (a function for `Lab.compute`)."""
    stored = patterns(PATTERNS, size, blanks, seed)
    found = ((stored @ settled(stored, stored[0])) / size).abs().sort(descending=True).values.tolist()
    return {f"m{k + 1}": m for k, m in enumerate(found)}


def recalled(size: int, count: int, seed: int) -> dict[str, float]:
    """The overlap with a pattern without blanks of which a fifth was flipped (a function for `Lab.compute`)."""
    stored = patterns(count, size, 0.0, seed)
    flips = torch.where(torch.rand(size, generator=torch.Generator().manual_seed(seed)) < FLIPPED, -1.0, 1.0)
    return {"overlap": float(settled(stored, stored[0] * flips) @ stored[0]) / size}


class Association(Entry):
    """Sorted overlaps of three diluted patterns, beside the law that they should follow."""

    number = 29
    title = "An associative memory that recalls several patterns at once"
    source = "*Multitasking associative networks*, [arXiv 1111.5191](https://arxiv.org/abs/1111.5191)"
    claim = (
        "where a share d of the entries of stored patterns is blank, a Hopfield network recalls several at once: the "
        "first with overlap 1 − d, the next with (1 − d) d, and so on."
    )
    home = "memory `hebb`, its option `settle`"
    control = "patterns without blanks, of which one is recalled and no other"
    score = "sorted overlaps with three patterns of 3,000 entries"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        entries, runs = size.of(200, 3000), size.of(2, 20)
        rows = []
        for blanks in (0.0, *BLANKS, BEYOND):
            cases = {f"{blanks} {seed}": {"size": entries, "blanks": blanks, "seed": seed} for seed in range(runs)}
            found = list(lab.compute(overlaps, cases).values())
            scores = {name: [one[name] for one in found] for name in (f"m{k + 1}" for k in range(PATTERNS))}
            rows.append(row(f"d = {blanks:g}", scores, control=blanks == 0, blanks=blanks))
        count = int(LOAD * entries)
        cases = {f"{seed}": {"size": entries, "count": count, "seed": seed} for seed in range(runs)}
        back = [one["overlap"] for one in lab.compute(recalled, cases).values()]
        return {"rows": rows, "back": back, "count": count}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        off = {}
        for blanks in BLANKS:
            law = [(1 - blanks) * blanks**k for k in range(PATTERNS)]
            off[blanks] = max(abs(mean(result, f"d = {blanks:g}", f"m{k + 1}") - m) for k, m in enumerate(law))
        worst = max(off, key=lambda d: off[d])
        alone = [mean(result, "d = 0", f"m{k}") for k in (1, 2)]
        least = min(result["back"])
        told = f"off by {off[worst]:.3f} at most (d = {worst:g})"
        return [
            Criterion.of("overlaps", "(1 − d) d^(k−1) within 0.03, d ≤ 0.4", told, off[worst] <= WITHIN),
            Criterion.of(
                "control", "d = 0: one pattern alone", f"{alone[0]:.3f} and {alone[1]:.3f}", alone[0] > BACK > alone[1]
            ),
            Criterion.of(
                "completion",
                f"a fifth flipped, {result['count']} patterns: ≥ 0.95",
                f"{least:.3f} at least, of {len(result['back'])}",
                least >= BACK,
            ),
        ]

    def found(self, result: dict[str, Any]) -> str:
        m = ", ".join(f"{mean(result, f'd = {BEYOND:g}', f'm{k + 1}'):.3f}" for k in range(PATTERNS))
        law = ", ".join(f"{(1 - BEYOND) * BEYOND**k:.3f}" for k in range(PATTERNS))
        return f"beyond the criterion, at d = {BEYOND:g}, the overlaps are {m}, where the law has {law}."
