"""20: a connectome with signs moves a swimming body, before any training and after little of it."""

from __future__ import annotations

import statistics
from typing import Any

import torch
from torch import Tensor

from inn_studies.family.entry import Criterion, Entry, mean, row, scores
from inn_studies.family.examples import example
from inn_studies.lab import Lab

ONE, UNIFORM, FREE, MLP = "signs, from ±1", "signs, from a random half", "no signs", "MLP"
BEFORE, AFTER, LONGER = "untrained", "after 160 roll-outs", "the same on 12 links"
LEAST, FAR, NOWHERE, LONG = 1.2, 1.8, 0.5, 1.0
JOINTS, TWICE, TOGETHER = 5, 11, 8
HIDDEN = 17
"""Of the MLP: as many numbers as the notes' one has, to one."""


def swimmer() -> Any:
    """The example, which has the body and the circuit."""
    return example("swimmer", 20)


class Mlp:
    """A hidden layer of tanh on angles and oscillator: a control of several bodies, each with numbers of its own."""

    sizes = ((HIDDEN, JOINTS + 1), (HIDDEN,), (JOINTS, HIDDEN), (JOINTS,))

    def start(self, seed: int) -> Tensor:
        draw = torch.Generator().manual_seed(seed)
        parts = [torch.randn(s, generator=draw, dtype=torch.float64) * s[-1] ** -0.5 * (len(s) > 1) for s in self.sizes]
        return torch.cat([part.flatten() for part in parts])

    def put(self, numbers: Tensor) -> Mlp:
        split = numbers.split([torch.Size(s).numel() for s in self.sizes], -1)
        self.parts = [part.view(-1, *s) for part, s in zip(split, self.sizes, strict=True)]
        return self

    def __call__(self, angles: Tensor, left: bool) -> Tensor:
        x = torch.cat((angles, torch.full_like(angles[:, :1], 1.0 if left else -1.0)), 1)
        into, bias, out, shift = self.parts
        hidden = torch.tanh((into @ x[..., None])[..., 0] + bias)
        return torch.tanh((out @ hidden[..., None])[..., 0] + shift)


def swum(model: str, updates: int, seed: int) -> dict[str, Any]:
    """How far a body gets before and after training, and one of 12 links (for `Lab.compute`)."""
    code = swimmer()
    if model == MLP:
        one = many = Mlp()
        start = one.start(seed)
    else:
        torch.manual_seed(seed)
        options = {"signed": model != FREE, "start": "one" if model == ONE else "uniform"}
        one, many = (code.Circuit(JOINTS, bodies, **options) for bodies in (1, TOGETHER))
        start = one.weights[0].clone()
    found = code.evolve(lambda n: code.swim(many.put(n), bodies=TOGETHER), start, updates, seed)
    result = {BEFORE: float(code.swim(one.put(start))), AFTER: float(code.swim(one.put(found)))}
    if model != MLP:
        longer = code.Circuit(TWICE, signed=model != FREE).put(found)
        result[LONGER] = float(code.swim(longer, links=TWICE + 1))
    return {**result, "numbers": len(start)}


class Connectome(Entry):
    """A circuit whose four weights keep their signs, beside the same without signs and an MLP."""

    number = 20
    title = "A connectome with signs"
    source = (
        "*Neural Circuit Architectural Priors for Embodied Control*, "
        "[arXiv 2201.05242](https://arxiv.org/abs/2201.05242)"
    )
    claim = (
        "a controller wired as the nervous system of C. elegans comes near an MLP's asymptote with far less data; the "
        "constraint on signs matters most, and it transfers to other bodies."
    )
    home = "topology `file` with a column `class`, router `mixing` (`maps: false`), `examples/swimmer.py`"
    control = "the same edges without signs; an MLP"
    score = "body lengths swum by six links in 240 steps, evolution strategies of 8 roll-outs an update"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        swimmer()
        rows = []
        for label in (ONE, UNIFORM, FREE, MLP):
            cases = {f"{label} {s}": {"model": label, "updates": size.of(0, 20), "seed": s} for s in range(seeds)}
            runs = list(lab.compute(swum, cases).values())
            found = {test: [run[test] for run in runs] for test in (BEFORE, AFTER, LONGER) if test in runs[0]}
            rows.append(row(label, found, control=label in (FREE, MLP), parameters=runs[0]["numbers"]))
        return {"rows": rows}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        before, after, longer = (scores(result, ONE, test) for test in (BEFORE, AFTER, LONGER))
        free = scores(result, FREE, AFTER)
        enough = len(after) > 2
        middle = statistics.median(free)
        return [
            Criterion.of("untrained", f"≥ {LEAST}", f"{min(before):.2f}", min(before) >= LEAST),
            Criterion.of(
                "after 160 roll-outs", f"≥ {FAR} in 3 of 3 seeds", ", ".join(f"{d:.2f}" for d in after),
                min(after) >= FAR if enough else None,
            ),
            Criterion.of(
                "control: no signs", f"≤ {NOWHERE}, median of 3", f"{middle:.2f}",
                middle <= NOWHERE if enough else None,
            ),
            Criterion.of("12 links, untouched", f"≥ {LONG}", f"{min(longer):.2f} at least", min(longer) >= LONG),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        numbers = {r["model"]: r["parameters"] for r in result["rows"]}
        free = ", ".join(f"{d:.2f}" for d in scores(result, FREE, AFTER))
        return (
            f"after as many roll-outs an MLP of {numbers[MLP]} numbers swims {mean(result, MLP, AFTER):.2f}, "
            f"{numbers[ONE]} numbers with signs {mean(result, ONE, AFTER):.2f}, or "
            f"{mean(result, UNIFORM, AFTER):.2f} from random ones in the allowed half. Without signs: {free}."
        )
