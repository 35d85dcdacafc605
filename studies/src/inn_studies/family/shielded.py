"""9: a graph with qubits beside it, attacked with and without an average over the noise, and with another's images."""

from __future__ import annotations

from typing import Any

from inn.system.packages import require
from inn_studies.family.entry import Criterion, Entry, mean, row, scores
from inn_studies.family.examples import example
from inn_studies.lab import Lab

ALONE, QUBITS, NOISY = "the graph alone", "linear, the qubits' opinion", "linear, the qubits' opinion, noise of 0.1"
ENTANGLED = ("none", "linear", "star", "full")
CLEAN, FGSM, ONE, SOME, ALL, OTHER = "clean", "FGSM", "PGD", "PGD, averaged", "PGD, all runs", "transfer"
STRONG = 0.1
RIGHT, EQUAL, POINTS = 0.95, 1e-6, 0.05


def both(entangled: str) -> str:
    """The row of a classifier that weighs the graph's opinion and the qubits'."""
    return f"{entangled} entanglement, both opinions"


CASES: dict[str, tuple[str | None, float | None, int]] = {
    ALONE: (None, None, 0),
    **{both(e): (e, None, 0) for e in ENTANGLED},
    QUBITS: ("linear", None, 2),
    NOISY: ("linear", STRONG, 2),
}
"""Entanglement, the strength of the noise (None: the example's), and which opinion is asked, by row."""


def attacked(case: str, seed: int, passes: int, images: int) -> dict[str, float]:
    """Accuracy of a row, clean and under each attack (for `Lab.compute`)."""
    code, qubits = example("quantum", 9), example("qubits", 9)
    entangled, strength, which = CASES[case]
    given = {} if strength is None else {"strength": strength}
    circuit = None if entangled is None else qubits.Circuit(entangled, **given)
    return code.measured(circuit, seed, passes, images, which)


def oracle(noises: tuple[str, ...] = ("none", "depolarising", "amplitude", "phase", "mix")) -> float:
    """By how much the simulation's ⟨Z⟩ and its gradients are off PennyLane's at most, in all circuits."""
    import torch

    qubits, draw, off = example("qubits", 9), torch.Generator().manual_seed(0), 0.0
    for entangled in ENTANGLED:
        for noise in noises:
            angles = 6 * torch.rand(8, qubits.QUBITS, 3, generator=draw, dtype=torch.float64) - 3
            weights = torch.randn(8, qubits.QUBITS, generator=draw, dtype=torch.float64)
            found = []
            for circuit in (qubits.Circuit(entangled, noise), qubits.pennylane(entangled, noise)):
                given = angles.clone().requires_grad_()
                told = circuit(given)
                found.append((told.detach(), *torch.autograd.grad((told * weights).sum(), given)))
            off = max(off, *(float((a - b).abs().max()) for a, b in zip(*found, strict=True)))
    return off


class Shielded(Entry):
    """Digits, read by a graph of four neurons, with a qubit for each neuron or none."""

    number = 9
    title = "Qubits as a second opinion, under attack"
    source = (
        "*QShield: Securing Neural Networks Against Adversarial Attacks using Quantum Circuits*, "
        "[arXiv 2604.10933](https://arxiv.org/abs/2604.10933)"
    )
    claim = (
        "a classifier whose features also pass entangled, noisy qubits keeps its accuracy, and attacks succeed far "
        "less often than on the classical one."
    )
    home = "`examples/quantum.py` and `examples/qubits.py`, on an `inn.Graph` and PennyLane"
    control = "the graph alone; qubits that are not entangled; their opinion alone, also with twenty times the noise"
    score = (
        "accuracy on digits, clean and where every pixel may go 0.1 off: attacks through one draw of the noise, the "
    )
    score += "mean of eight, all at once, and with images that fool another graph"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        require("pennylane", "entry 9", "fields")
        require("sklearn", "entry 9", "sklearn")
        given, rows = {"passes": size.of(1, 15), "images": size.of(5, 150)}, []
        for case in CASES:
            cases = {f"{case} {seed}": {"case": case, "seed": seed, **given} for seed in range(seeds)}
            found = list(lab.compute(attacked, cases).values())
            tests = {test: [f[test] for f in found] for test in (CLEAN, FGSM, ONE, SOME, ALL, OTHER)}
            rows.append(row(case, tests, control=case in (ALONE, both("none"), QUBITS, NOISY)))
        return {"rows": rows, "off": oracle(size.of(("mix",), ("none", "depolarising", "amplitude", "phase", "mix")))}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        enough = len(scores(result, ALONE, CLEAN)) > 2
        least = min(mean(result, both(e), CLEAN) for e in ENTANGLED)
        masked = mean(result, NOISY, ONE) - mean(result, NOISY, ALL)

        def gained(id: str, test: str) -> Criterion:
            gains = {e: mean(result, both(e), test) - mean(result, ALONE, test) for e in ENTANGLED[1:]}
            best = max(gains, key=lambda e: gains[e])
            goal, met = "≥ 5 points over the graph alone by some entanglement, 3 seeds", gains[best] >= POINTS
            return Criterion.of(id, goal, f"{100 * gains[best]:+.1f} ({best})", met if enough else None)

        return [
            gained("averaged attack", SOME),
            gained("transfer attack", OTHER),
            Criterion.of("clean", f"≥ {RIGHT} in all", f"{least:.3f} at least", least >= RIGHT if enough else None),
            Criterion.of("oracle", f"PennyLane's ⟨Z⟩ and gradients to {EQUAL:.0e}", f"off by {result['off']:.0e}",
                         result["off"] <= EQUAL),
            Criterion.of(
                "control: noise masks", "noise of 0.1: one draw misses ≥ 5 points that all runs find",
                f"{100 * masked:+.1f}", masked >= POINTS if enough else None,
            ),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        one, some, every = (mean(result, NOISY, test) for test in (ONE, SOME, ALL))
        bare = 100 * (mean(result, both("none"), SOME) - mean(result, ALONE, SOME))
        return (
            f"the best of three entanglements is taken, of few images; qubits that are not entangled gain {bare:+.1f} "
            f"points under the averaged attack. The qubits' own opinion is the weaker one "
            f"({mean(result, QUBITS, CLEAN):.2f} clean, {mean(result, QUBITS, SOME):.2f} attacked), and the net that "
            f"weighs both trusts the graph. Noise hides a gradient, and no more: at 0.1 the qubits keep {one:.2f} "
            f"against an attacker who looks through one draw of it, {some:.2f} against one who averages eight, and "
            f"{every:.2f} where all runs are known. The source's networks are convolutional, and its images larger."
        )
