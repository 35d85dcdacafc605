"""A quantum–classical classifier of digits, and attacks that show whether it is harder to fool or only to look into.

After *QShield: Securing Neural Networks Against Adversarial Attacks using Quantum Circuits*, arXiv 2604.10933. A graph
of this library reads an image row by row, each of its four neurons turns a qubit, and what is measured of the entangled
and noisy qubits (`examples/qubits.py`) is a second opinion, which a small net weighs against the graph's own. Trained
and attacked is the simulation in PyTorch, which can draw single runs of the noise, and equals PennyLane's.

    pip install pennylane scikit-learn
    python examples/quantum.py
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from qubits import ENTANGLED, QUBITS, Circuit, pennylane
from sklearn.datasets import load_digits
from torch import Tensor, nn

import inn

WIDTH = 16
TRAINED, BATCH, PASSES, RATE = 1300, 50, 15, 5e-3
REACH, STEPS, DRAWS = 0.1, 10, 8
"""Of attacks: how far a pixel in [0, 1] may go, steps of PGD, and draws of the noise that are averaged."""


class Shield(nn.Module):
    """A graph's opinion on images `[B, 8, 8]`, and with a circuit that of its qubits, too."""

    def __init__(self, circuit: Callable[..., Tensor] | None = None):
        super().__init__()
        self.circuit, self.enter = circuit, nn.Linear(8, QUBITS * WIDTH)
        self.graph = inn.Graph(neurons=QUBITS, width=WIDTH, rounds=1, router="dendrites", memory="gru")
        self.classical, self.turn = nn.Linear(QUBITS * WIDTH, 10), nn.Linear(WIDTH, 3)
        self.quantum, self.trust = nn.Linear(QUBITS, 10), nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 1))

    def angles(self, hidden: Tensor) -> Tensor:
        """What each neuron turns its qubit by `[B, QUBITS, 3]`, of what the graph says `[B, QUBITS x WIDTH]`."""
        return math.pi * self.turn(hidden.unflatten(1, (QUBITS, WIDTH))).tanh()

    def forward(self, images: Tensor, draw: torch.Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities `[B, 10]`: both opinions, each weighed by how far it is trusted; the graph's; the qubits'.

        The qubits are measured in all runs of the noise, or with `draw` in one.
        """
        hidden = self.graph(self.enter(2 * images - 1))[0][:, -1]
        own = self.classical(hidden).log_softmax(1)
        if self.circuit is None:
            return own, own, own
        seen = self.circuit(self.angles(hidden), *([draw] if draw else []))
        theirs = self.quantum(4 * seen.float()).log_softmax(1)
        trust = self.trust(torch.cat((own, theirs), 1))
        return torch.logaddexp(F.logsigmoid(trust) + own, F.logsigmoid(-trust) + theirs), own, theirs


def digits() -> tuple[Tensor, Tensor]:
    """Images `[n, 8, 8]` in [0, 1], in a fixed order, and their classes."""
    images, classes = (torch.from_numpy(part) for part in load_digits(return_X_y=True))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order].view(-1, 8, 8).float() / 16, classes[order]


def trained(circuit: Callable[..., Tensor] | None, seed: int, passes: int = PASSES) -> Shield:
    """A classifier that has learned all three: what each opinion says, and which to trust."""
    torch.manual_seed(seed)
    model, (x, y) = Shield(circuit), digits()
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    for _ in range(passes):
        for at in torch.randperm(TRAINED).split(BATCH):
            optimizer.zero_grad()
            torch.stack([F.nll_loss(told, y[at]) for told in model(x[at])]).sum().backward()
            optimizer.step()
    return model.requires_grad_(False)


@cache
def rival(seed: int, passes: int) -> Shield:
    """Another graph alone, which the attacker has in place of the classifier."""
    return trained(None, seed + 100, passes)


def attacked(model: Shield, x: Tensor, y: Tensor, steps: int = STEPS, draws: int = 0, which: int = 0) -> Tensor:
    """Images as wrong as an attacker makes them within REACH, by gradients through so many draws (0: all runs at once).

    One step is FGSM, more are PGD, which starts anywhere within reach; `which` opinion is attacked.
    """
    draw = torch.Generator().manual_seed(0)
    near = x + REACH * (2 * torch.rand(x.shape, generator=draw) - 1) * (steps > 1)
    for _ in range(steps):
        near = near.clamp(0, 1).requires_grad_()
        told = [model(near, draw if draws else None)[which].exp() for _ in range(max(1, draws))]
        (way,) = torch.autograd.grad(F.nll_loss(torch.stack(told).mean(0).log(), y), near)
        near = near.detach() + (REACH if steps == 1 else 2.5 * REACH / steps) * way.sign()
        near = torch.minimum(torch.maximum(near, x - REACH), x + REACH)
    return near.clamp(0, 1).detach()


@torch.no_grad()
def right(model: Shield, x: Tensor, y: Tensor, which: int = 0) -> float:
    """The share of images that an opinion tells."""
    return (model(x)[which].argmax(1) == y).double().mean().item()


def measured(
    circuit: Circuit | None, seed: int, passes: int = PASSES, images: int = 150, which: int = 0
) -> dict[str, float]:
    """Accuracy, clean and attacked, of `which` opinion of a classifier with this circuit, or of the graph alone."""
    model = trained(circuit, seed, passes)
    x, y = (part[TRAINED:] for part in digits())
    few, told = x[:images], y[:images]
    ways = {
        "FGSM": attacked(model, few, told, 1, 1, which),
        "PGD": attacked(model, few, told, STEPS, 1, which),
        "PGD, averaged": attacked(model, few, told, STEPS, DRAWS, which),
        "PGD, all runs": attacked(model, few, told, STEPS, 0, which),
        "transfer": attacked(rival(seed, passes), few, told),
    }
    found = {name: right(model, bad, told, which) for name, bad in ways.items()}
    return {"clean": right(model, x, y, which), **found}


def main(seeds: Sequence[int] = (0, 1, 2), passes: int = PASSES) -> None:
    cases: dict[str, tuple[Circuit | None, int]] = {
        "the graph alone": (None, 0),
        **{f"{e} entanglement": (Circuit(e), 0) for e in ENTANGLED},
        "linear entanglement, the qubits' opinion": (Circuit("linear"), 2),
        "linear entanglement, the qubits' opinion, noise of 0.1": (Circuit("linear", strength=0.1), 2),
    }
    for name, (circuit, which) in cases.items():
        for seed in seeds:
            found = measured(circuit, seed, passes, which=which)
            print(f"{name}, seed {seed}: " + ", ".join(f"{test} {value:.3f}" for test, value in found.items()))
    angles = math.pi * (2 * torch.rand(16, QUBITS, 3, generator=torch.Generator().manual_seed(0)) - 1)
    off = max(float((Circuit(e)(angles) - pennylane(e)(angles)).abs().max()) for e in ENTANGLED)
    print(f"the simulation is off PennyLane by {off:.0e} at most")


if __name__ == "__main__":
    main()
