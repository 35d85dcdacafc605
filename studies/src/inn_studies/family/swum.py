"""20b: the connectome of entry 20 in a body of MuJoCo, with inertia and another fluid."""

from __future__ import annotations

import statistics
from typing import Any

from inn.system.packages import require
from inn_studies.family.connectome import AFTER, BEFORE, FREE, LONGER, ONE, TOGETHER, Connectome, swimmer
from inn_studies.family.entry import Criterion, Entry, mean, row, scores
from inn_studies.family.examples import example
from inn_studies.lab import Lab

FISH, WORM = "MuJoCo", "without inertia (entry 20)"
MOVED = "by the other body's numbers"
LEAST, NOWHERE, LONG = 1.2, 0.5, 1.0


def fish() -> Any:
    """The example; raises `InputError` without MuJoCo."""
    require("mujoco", "entry 20b", "fields")
    return example("swimmer_mujoco", "20b")


def swum(signed: bool, updates: int, seed: int) -> dict[str, dict[str, float]]:
    """How far both bodies get, before and after training and with each other's numbers (for `Lab.compute`)."""
    import torch

    code, joints = swimmer(), 5
    torch.manual_seed(seed)
    options = {"signed": signed, "start": "one" if signed else "uniform"}
    one, many = (code.Circuit(joints, bodies, **options) for bodies in (1, TOGETHER))
    longer, start = code.Circuit(11, **options), one.weights[0].clone()
    swims = {FISH: fish().swim, WORM: code.swim}
    numbers = {
        body: code.evolve(lambda n, swim=swim: swim(many.put(n), bodies=TOGETHER), start, updates, seed)
        for body, swim in swims.items()
    }
    found = {}
    for body, other in ((FISH, WORM), (WORM, FISH)):
        swim = swims[body]
        found[body] = {
            BEFORE: float(swim(one.put(start))),
            AFTER: float(swim(one.put(numbers[body]))),
            MOVED: float(swim(one.put(numbers[other]))),
            LONGER: float(swim(longer.put(numbers[body]), links=12)),
        }
    return found


class Swum(Entry):
    """Four numbers with signs, in MuJoCo's fluid and in that of entry 20, beside the same without signs."""

    number = "20b"
    title = "The same connectome in MuJoCo"
    source = Connectome.source
    claim = "a controller wired as the nervous system of C. elegans swims in MuJoCo, and transfers to other bodies."
    home = "`examples/swimmer_mujoco.py` on the circuit of `examples/swimmer.py`"
    control = "the same edges without signs, in both bodies"
    score = Connectome.score

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        fish()
        rows = []
        for signed in (True, False):
            cases = {
                f"{ONE if signed else FREE} {seed}": {"signed": signed, "updates": size.of(0, 20), "seed": seed}
                for seed in range(seeds)
            }
            found = list(lab.compute(swum, cases).values())
            rows += [
                row(named(body, signed), {test: [f[body][test] for f in found] for test in found[0][body]},
                    control=not signed, parameters=4)
                for body in (FISH, WORM)
            ]  # fmt: skip
        return {"rows": rows}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        before, after, moved, longer = (
            scores(result, named(FISH, True), test) for test in (BEFORE, AFTER, MOVED, LONGER)
        )
        free = scores(result, named(FISH, False), AFTER)
        enough = len(after) > 2
        return [
            Criterion.of("untrained", f"≥ {LEAST}, as in entry 20", f"{min(before):.2f}", min(before) >= LEAST),
            Criterion.of(
                "after 160 roll-outs", f"≥ {LEAST} in 3 of 3 seeds", ", ".join(f"{d:.2f}" for d in after),
                min(after) >= LEAST if enough else None,
            ),
            Criterion.of(
                "the worm's numbers", f"≥ {LONG} in 3 of 3 seeds", ", ".join(f"{d:.2f}" for d in moved),
                min(moved) >= LONG if enough else None,
            ),
            Criterion.of("12 links, untouched", f"≥ {LONG}, as in entry 20", f"{min(longer):.2f} at least",
                         min(longer) >= LONG),
            Criterion.of(
                "control: no signs", f"≤ {NOWHERE}, median of 3", f"{statistics.median(free):.2f}",
                statistics.median(free) <= NOWHERE if enough else None,
            ),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        fish, worm = named(FISH, True), named(WORM, True)
        return (
            "circuit, oscillator and the law of the muscles are the same; the fluid is not. MuJoCo's drag grows with "
            "the square of the speed, and links and water have inertia, so the body lags behind its muscles and "
            f"glides: it gets {mean(result, fish, AFTER):.2f} where that without inertia gets "
            f"{mean(result, worm, AFTER):.2f}. By the numbers that were found in MuJoCo that one swims "
            f"{mean(result, worm, MOVED):.2f}."
        )


def named(body: str, signed: bool) -> str:
    """A row's label."""
    return f"{body}, {ONE if signed else FREE}"
