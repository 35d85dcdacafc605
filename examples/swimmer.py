"""A body that swims: six links in a viscous fluid, moved by a connectome of four numbers, a graph built of the library.

After *Neural Circuit Architectural Priors for Embodied Control*, arXiv 2201.05242. Every joint has on either side a
neuron B, which hears how far the joint before it is bent to that side (the first hears an oscillator), and a muscle,
which its own side's B excites and the other side's inhibits. Edges of a class share one weight along the body, of a
sign that they keep: that makes four numbers, whatever the number of links.

    python examples/swimmer.py
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import inn

CLASSES = {"oscillator": 1, "same side": 1, "other side": -1, "proprioception": 1}
"""The classes of edges as they come in the list of edges, each with the sign of its weight."""
STEPS, SETTLED, DT, PERIOD = 240, 20, 0.05, 60
"""Of a roll-out; those before distance counts; the time of a step; steps of an oscillation, half on either side."""
ALONG, ACROSS = 1.0, 8.0
"""Drag of a link along and across itself, per unit of length."""
Control = Callable[[Tensor, bool], Tensor]
"""Torques `[bodies, joints]` in [-1, 1], of the angles of the joints, and of whether the oscillator is on the left."""


def connectome(joints: int, bodies: int = 1, signed: bool = True) -> list[tuple[int, int, int, str]]:
    """Edges (to, from, sign, class) of bodies side by side, each with weights of its own.

    The neurons of a body are three layers (senses, B, muscles) of two sides of as many as there are joints.
    """
    edges = []
    for body in range(bodies):

        def of(layer: int, side: int, joint: int, body: int = body) -> int:
            return ((body * 3 + layer) * 2 + side) * joints + joint

        for side in (0, 1):
            for joint in range(joints):
                sense = "proprioception" if joint else "oscillator"
                edges += [
                    (of(1, side, joint), of(0, side, joint), sense),
                    (of(2, side, joint), of(1, side, joint), "same side"),
                    (of(2, side, joint), of(1, 1 - side, joint), "other side"),
                ]
        edges[-6 * joints :] = [(*edge, f"{name} of {body}") for *edge, name in edges[-6 * joints :]]
    return [(to, source, CLASSES[n.rsplit(" of ", 1)[0]] if signed else 0, n) for to, source, n in edges]


class Circuit:
    """The connectome of some bodies as one graph of neurons: a control of `swim`.

    Args:
        joints: of a body.
        bodies: side by side in one graph, each with its own four weights.
        signed: hold weights to their signs.
        start: `one` or `uniform`, see router `mixing`.
    """

    def __init__(self, joints: int, bodies: int = 1, signed: bool = True, start: str = "one"):
        layers = torch.arange(6 * joints * bodies).view(bodies, 3, 2, joints)
        senses, muscles = (layers[:, layer].flatten().tolist() for layer in (0, 2))
        with TemporaryDirectory() as folder:
            path = Path(folder) / "connectome.csv"
            with path.open("w", newline="") as file:
                csv.writer(file).writerows([("to", "from", "sign", "class"), *connectome(joints, bodies, signed)])
            self.graph = inn.Graph(
                neurons=layers.numel(), width=1, rounds=2, share_rounds=True,  # from senses to B, from B to muscles
                topology={"kind": "file", "path": str(path), "itself": False, "sensors": senses},
                router={"kind": "mixing", "maps": False, "class_start": start},
                weights="shared", norm="none", memory={"kind": "none", "expand": 0}, inner="clip",
                readout={"kind": "concat", "read": muscles},
            ).double()  # fmt: skip
        self.shape = (bodies, 2, joints)

    @property
    def weights(self) -> Tensor:
        """The weights `[bodies, 4]`, as they are before they are held to their signs."""
        router: Any = self.graph.round(0).router
        return router.weights.detach().view(self.shape[0], len(CLASSES))

    def put(self, weights: Tensor) -> Circuit:
        """Take other weights, `[bodies, 4]` or `[4]` for all."""
        self.weights.copy_(weights)
        return self

    def __call__(self, angles: Tensor, left: bool) -> Tensor:
        senses = angles.new_zeros(self.shape)
        senses[:, 0 if left else 1, 0] = 1.0
        senses[:, 0, 1:], senses[:, 1, 1:] = angles[:, :-1].clamp_min(0), (-angles[:, :-1]).clamp_min(0)
        muscles = self.graph(senses.flatten()[None, None])[0].view(self.shape)
        return muscles[:, 0] - muscles[:, 1]


@torch.no_grad()
def swim(control: Control, links: int = 6, bodies: int = 1) -> Tensor:
    """How far the centres of bodies of length 1 get, `[bodies]`: planar links without inertia (resistive-force theory).

    In every step the forces and the torque of the drag on a body add up to nothing, which makes three equations for the
    velocity and the turning of its first link. A joint turns by 4 x torque - 2.4 x angle, within ± 6, up to ± 1.2.
    """
    length = 1 / links
    angles = torch.zeros(bodies, links - 1, dtype=torch.float64)
    place, course = torch.zeros(bodies, 2, 1, dtype=torch.float64), torch.zeros(bodies, 1, dtype=torch.float64)
    east, north = torch.eye(2, dtype=torch.float64)[:, None, :, None].expand(-1, bodies, -1, links)
    spin = torch.tensor([0.0, 0.0, links], dtype=torch.float64).expand(bodies, -1)
    track = []
    for step in range(STEPS + 1):
        turned = course + F.pad(angles.cumsum(1), (1, 0))
        ahead = torch.stack((turned.cos(), turned.sin()), 1)  # [bodies, 2, links], directions along the links
        at = joined(ahead, length)
        track.append((place + at).mean(-1))
        torque = control(angles, step % PERIOD < PERIOD // 2)
        moved = (angles + DT * (4 * torque - 2.4 * angles).clamp(-6, 6)).clamp(-1.2, 1.2)
        turning = F.pad(((moved - angles) / DT).cumsum(1), (1, 0))  # of the links, beside the first one's
        bending = joined(aside(ahead) * turning[:, None], length)  # the links' velocities that joints alone make
        # What moves the links: two ways to go, a way to turn, and the joints; and the drag that each of these gives.
        ways = torch.stack((east, north, aside(at), bending), 1)
        along, across = (d[:, None] * (ways * d[:, None]).sum(2, keepdim=True) for d in (ahead, aside(ahead)))
        drag = length * (ALONG * along + ACROSS * across)
        own = ACROSS * length**3 / 12 * torch.cat((spin, turning.sum(1, keepdim=True)), 1)  # links turn themselves
        torques = (drag * aside(at)[:, None]).sum((2, 3)) + own
        balance = torch.cat((drag.sum(-1), torques[..., None]), -1)  # [bodies, 4, 3]
        rates = torch.linalg.solve(balance[:, :3].mT, -balance[:, 3, :, None])
        place, course, angles = place + DT * rates[:, :2], course + DT * rates[:, 2], moved
    return (track[STEPS] - track[SETTLED]).norm(dim=1)


def aside(way: Tensor) -> Tensor:
    """Vectors `[bodies, 2, links]` turned by a right angle."""
    return torch.stack((-way[:, 1], way[:, 0]), 1)


def joined(ways: Tensor, length: float) -> Tensor:
    """Links end to end: from the centre of the first to that of each, half of its way and half of the one before."""
    return F.pad((length / 2 * (ways[..., 1:] + ways[..., :-1])).cumsum(-1), (1, 0))


def evolve(distance: Callable[[Tensor], Tensor], start: Tensor, updates: int = 20, seed: int = 0) -> Tensor:
    """Numbers `[P]` that swim further, by evolution strategies: 8 roll-outs an update, in pairs, weighed by ranks.

    `distance` tells how far each of several numbers `[n, P]` gets.
    """
    draw, numbers = torch.Generator().manual_seed(seed), start.clone()
    for _ in range(updates):
        noise = torch.randn(4, len(start), generator=draw, dtype=start.dtype)
        noise = torch.cat((noise, -noise))
        ranks = distance(numbers + 0.1 * noise).argsort().argsort().to(start.dtype)
        worth = (ranks - ranks.mean()) / ranks.std(correction=0)
        numbers += 0.15 * (worth[:, None] * noise).mean(0)
    return numbers


def main(seeds: Sequence[int] = (0, 1, 2)) -> None:
    body, eight = Circuit(joints=5), Circuit(joints=5, bodies=8)
    print(f"{sum(p.numel() for p in body.graph.parameters())} parameters, {body.graph.config.neurons} neurons")
    print(f"untrained: {swim(body).item():.2f} body lengths")
    for seed in seeds:
        weights = evolve(lambda numbers: swim(eight.put(numbers), bodies=8), body.weights[0].clone(), seed=seed)
        far = swim(Circuit(joints=5).put(weights)).item()
        longer = swim(Circuit(joints=11).put(weights), links=12).item()
        shown = ", ".join(f"{name} {w:.2f}" for name, w in zip(CLASSES, weights.tolist(), strict=True))
        print(f"seed {seed}: {far:.2f} after 160 roll-outs ({shown}); 12 links, untouched: {longer:.2f}")


if __name__ == "__main__":
    main()
