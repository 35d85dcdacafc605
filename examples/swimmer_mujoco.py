"""The swimmer's connectome in another body: six links with inertia in MuJoCo's fluid, moved by the same four numbers.

`examples/swimmer.py` has the circuit and a body without inertia, whose drag grows with its speed (a worm). Here the
circuit, its oscillator and the muscles' law are the same; the fluid is MuJoCo's for ellipsoids, whose drag grows with
the square of the speed and which has to be set in motion, too (a fish). After arXiv 2201.05242, which swims in MuJoCo.

    pip install mujoco
    python examples/swimmer_mujoco.py
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import torch
from swimmer import DT, PERIOD, SETTLED, STEPS, Circuit, Control, evolve
from swimmer import swim as crawl
from torch import Tensor

BODY = WATER = 1000.0
"""Densities: it neither sinks nor rises."""
THICK, TALL = 1 / 48, 1 / 6
"""Of a body of length 1, whatever the number of its links."""
MUSCLE = 0.5
"""What a muscle that resists by 1 is worth here: as in the other body it pulls by 4 and its spring by 2.4 a radian."""
WITHIN = 10
"""MuJoCo's steps in one of the circuit's."""


def body(links: int = 6) -> mujoco.MjModel:
    """A chain of ellipsoids of length 1 on a plane, its head first, with a muscle at every joint."""
    half, chain, muscles = 0.5 / links, "", ""
    for link in reversed(range(links)):
        moves = "".join(f'<joint type="slide" axis="{axis}"/>' for axis in ("1 0 0", "0 1 0")) + '<joint axis="0 0 1"/>'
        if link:
            muscles = f'<motor joint="{link}" gear="{4 * MUSCLE}" ctrllimited="true" ctrlrange="-1 1"/>{muscles}'
            moves = (
                f'<joint name="{link}" axis="0 0 1" pos="{half} 0 0" damping="{MUSCLE}" stiffness="{2.4 * MUSCLE}" '
                'limited="true" range="-1.2 1.2"/>'
            )
        size = f"{half} {THICK / 2} {TALL / 2}"
        geom = f'<geom type="ellipsoid" fluidshape="ellipsoid" size="{size}" density="{BODY}"/>'
        chain = f'<body pos="{-2 * half if link else 0} 0 0">{moves}{geom}{chain}</body>'
    return mujoco.MjModel.from_xml_string(
        f'<mujoco><compiler angle="radian"/><option density="{WATER}" gravity="0 0 0" timestep="{DT / WITHIN}" '
        'integrator="implicitfast"><flag contact="disable"/></option>'
        f"<worldbody>{chain}</worldbody><actuator>{muscles}</actuator></mujoco>"
    )


@torch.no_grad()
def swim(control: Control, links: int = 6, bodies: int = 1) -> Tensor:
    """How far the centres of mass of bodies of length 1 get, `[bodies]`: `swimmer.swim` in MuJoCo."""
    model = body(links)
    worlds = [mujoco.MjData(model) for _ in range(bodies)]
    for world in worlds:
        mujoco.mj_forward(model, world)
    track = []
    for step in range(STEPS + 1):
        track.append(torch.tensor([world.subtree_com[0][:2].tolist() for world in worlds], dtype=torch.float64))
        angles = torch.tensor([world.qpos[3:].tolist() for world in worlds], dtype=torch.float64)
        pulls = control(angles, step % PERIOD < PERIOD // 2).expand(bodies, -1)
        for world, pull in zip(worlds, pulls.tolist(), strict=True):
            world.ctrl[:] = pull
            mujoco.mj_step(model, world, WITHIN)
    return (track[STEPS] - track[SETTLED]).norm(dim=1)


def main(seeds: Sequence[int] = (0, 1, 2)) -> None:
    one, eight, longer = Circuit(joints=5), Circuit(joints=5, bodies=8), Circuit(joints=11)
    print(f"untrained: {swim(one).item():.2f} body lengths; the worm {crawl(one).item():.2f}")
    for seed in seeds:
        start = Circuit(joints=5).weights[0].clone()
        fish, worm = (
            evolve(lambda numbers, move=move: move(eight.put(numbers), bodies=8), start, seed=seed)
            for move in (swim, crawl)
        )
        print(
            f"seed {seed}: {swim(one.put(fish)).item():.2f} after 160 roll-outs, 12 links with the same numbers "
            f"{swim(longer.put(fish), links=12).item():.2f}; {swim(one.put(worm)).item():.2f} by the numbers of the "
            f"worm, which swims {crawl(one.put(worm)).item():.2f} by its own and "
            f"{crawl(one.put(fish)).item():.2f} by these"
        )


if __name__ == "__main__":
    main()
