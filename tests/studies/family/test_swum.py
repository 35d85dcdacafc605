"""Entry 20b and its example: MuJoCo's body obeys its physics, and verdicts follow the numbers."""

from __future__ import annotations

import pytest
import torch

from inn_studies.family import connectome as c
from inn_studies.family import swum as s
from inn_studies.family.entry import row


def test_the_body_in_mujoco_obeys_its_physics(monkeypatch):
    pytest.importorskip("mujoco", reason="mujoco is not installed; it comes with [fields]")
    code, circuit = s.fish(), c.swimmer().Circuit(5, bodies=2)
    both = torch.tensor([[1.0, 1.0, -1.0, 1.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    assert code.body().opt.timestep * code.WITHIN == pytest.approx(c.swimmer().DT)
    far = code.swim(circuit.put(both), bodies=2)
    assert far[0] > 1
    assert far[1] < 1e-9  # who does nothing stays where it is
    alone = c.swimmer().Circuit(5)
    mirrored = code.swim(lambda angles, left: -alone(-angles, left))
    torch.testing.assert_close(mirrored, far[:1], rtol=0, atol=1e-6)
    monkeypatch.setattr(code, "WATER", 0.0)  # nothing to push against: the centre of mass stays, up to its steps
    assert code.swim(alone).item() < 0.1


def result(before=1.25, after=1.4, moved=1.1, longer=1.0, free=0.1) -> dict:
    found = {s.BEFORE: [before], s.AFTER: [after] * 3, s.MOVED: [moved] * 3, s.LONGER: [longer]}
    rows = [row(s.named(body, True), found) for body in (s.FISH, s.WORM)]
    return {"rows": [*rows, row(s.named(s.FISH, False), {s.AFTER: [free] * 3}, control=True)]}


@pytest.mark.parametrize(("measured", "missed"), [
    ({}, []),
    ({"before": 1.19}, ["untrained"]),
    ({"after": 1.19}, ["after 160 roll-outs"]),
    ({"moved": 0.9}, ["the worm's numbers"]),
    ({"longer": 0.9}, ["12 links, untouched"]),
    ({"free": 0.6}, ["control: no signs"]),
])  # fmt: skip
def test_a_swimmer_is_judged_by_what_it_swims(measured, missed):
    assert [k.id for k in s.Swum().criteria(result(**measured)) if k.verdict == "no"] == missed
    assert "glides" in s.Swum().found(result())
