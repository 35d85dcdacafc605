"""Four noisy, entangled qubits: a circuit in PennyLane, and the same in a few lines of PyTorch, its oracle.

`examples/quantum.py` builds a classifier on it. Angles turn every qubit about three axes, controlled NOTs entangle
them, and noise acts after either. Needs `pip install pennylane` for `pennylane` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

QUBITS, NOISE = 4, 0.005
ENTANGLED: dict[str, list[tuple[int, int]]] = {
    "none": [],
    "linear": [(q, q + 1) for q in range(QUBITS - 1)],
    "star": [(0, q) for q in range(1, QUBITS)],
    "full": [(a, b) for a in range(QUBITS) for b in range(a + 1, QUBITS)],
}
KINDS = ("depolarising", "amplitude", "phase")
PAULI = torch.tensor([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], dtype=torch.cdouble)
CNOT = torch.eye(4, dtype=torch.cdouble)[[0, 1, 3, 2]]


def kraus(kind: str, p: float) -> Tensor:
    """The ways `[k, 2, 2]` that a noise may go."""
    kept = torch.tensor([[1, 0], [0, (1 - p) ** 0.5]], dtype=torch.cdouble)
    if kind == "depolarising":
        return PAULI * torch.tensor([1 - p, p / 3, p / 3, p / 3], dtype=torch.double).sqrt()[:, None, None]
    lost = torch.zeros(2, 2, dtype=torch.cdouble)
    lost[0 if kind == "amplitude" else 1, 1] = p**0.5
    return torch.stack((kept, lost))


def program(entangled: str, noise: str) -> Iterator[tuple[str, int, int]]:
    """The circuit's gates: ("rotate", qubit, axis), ("cnot", control, target), (a kind of noise, qubit, 0)."""
    kinds = {"none": (), "mix": KINDS}.get(noise, (noise,))
    noisy = [(kinds[q % len(kinds)], q, 0) for q in range(QUBITS)] if kinds else []
    yield from [("rotate", q, axis) for q in range(QUBITS) for axis in range(3)]
    yield from noisy
    yield from [("cnot", a, b) for a, b in ENTANGLED[entangled]]
    yield from noisy


class Circuit:
    """⟨Z⟩ of every qubit `[B, QUBITS]` by angles `[B, QUBITS, 3]`: of all runs of the noise, or of some drawn ones.

    A density matrix is a state of twice as many axes, the second half conjugate: a gate is done to both halves, and a
    noise to a qubit's two axes at once (Σ K ⊗ K*). A drawn run is a state: of the ways of a noise one is taken, each as
    often as it is likely.
    """

    def __init__(self, entangled: str = "linear", noise: str = "mix", strength: float = NOISE):
        self.gates, self.ways = list(program(entangled, noise)), {kind: kraus(kind, strength) for kind in KINDS}

    def __call__(self, angles: Tensor, draw: torch.Generator | None = None) -> Tensor:
        turn, two = 0.5 * angles.cdouble(), 1 if draw else 2
        state = torch.zeros(len(angles), *[2] * (two * QUBITS), dtype=torch.cdouble)
        state[(slice(None), *[0] * (two * QUBITS))] = 1
        for name, a, b in self.gates:
            if name == "rotate":
                at = turn[:, a, b, None, None]
                gate, wires = at.cos() * PAULI[0] - 1j * at.sin() * PAULI[b + 1], [a]
            elif name == "cnot":
                gate, wires = CNOT, [a, b]
            elif draw is None:
                ways = self.ways[name]
                both = torch.einsum("kab,kcd->acbd", ways, ways.conj()).reshape(4, 4)
                state = apply(both, state, [a, a + QUBITS])
                continue
            else:
                state = self.drawn(torch.stack([apply(way, state, [a]) for way in self.ways[name]]), draw)
                continue
            state = apply(gate, state, wires)
            if draw is None:
                state = apply(gate.conj(), state, [w + QUBITS for w in wires])
        size = 2**QUBITS
        chances = state.reshape(-1, size).abs().square()
        if draw is None:
            chances = state.reshape(-1, size, size).diagonal(dim1=1, dim2=2).real
        ups = 1 - 2 * (torch.arange(size)[:, None] >> torch.arange(QUBITS - 1, -1, -1) & 1)
        return chances @ ups.double()

    def drawn(self, ways: Tensor, draw: torch.Generator) -> Tensor:
        """One of the ways `[k, B, ...]` for each state, of length 1 again."""
        sizes = ways.abs().square().flatten(2).sum(2)
        taken = torch.multinomial(sizes.detach().T, 1, generator=draw)[:, 0]
        each = torch.arange(ways.shape[1])
        return ways[taken, each] / sizes[taken, each].sqrt().view(-1, *[1] * QUBITS)


def apply(gate: Tensor, state: Tensor, wires: Sequence[int]) -> Tensor:
    """A gate `[2^k, 2^k]` or `[B, 2^k, 2^k]` on k axes of states `[B, 2, 2, ...]`."""
    moved = state.movedim([w + 1 for w in wires], list(range(1, len(wires) + 1)))
    done = (gate @ moved.reshape(len(state), 2 ** len(wires), -1)).reshape(moved.shape)
    return done.movedim(list(range(1, len(wires) + 1)), [w + 1 for w in wires])


def pennylane(entangled: str = "linear", noise: str = "mix") -> Callable[[Tensor], Tensor]:
    """The same circuit in PennyLane, on its simulator of density matrices."""
    import pennylane as qml

    turns, cut = (qml.RX, qml.RY, qml.RZ), (qml.DepolarizingChannel, qml.AmplitudeDamping, qml.PhaseDamping)

    @qml.qnode(qml.device("default.mixed", wires=QUBITS), interface="torch", diff_method="backprop")
    def node(angles: Tensor) -> list:
        for name, a, b in program(entangled, noise):
            if name == "rotate":
                turns[b](angles[:, a, b], wires=a)
            elif name == "cnot":
                qml.CNOT(wires=[a, b])
            else:
                cut[KINDS.index(name)](NOISE, wires=a)
        return [qml.expval(qml.PauliZ(q)) for q in range(QUBITS)]

    return lambda angles: torch.stack(list(node(angles.double())), 1)
