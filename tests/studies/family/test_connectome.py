"""Entry 20 and its example: the circuit is its formula, the body obeys its physics, and verdicts follow the numbers."""

from __future__ import annotations

import pytest
import torch

from inn.system.errors import InputError
from inn_studies.family import connectome as c
from inn_studies.family import examples
from inn_studies.family.entry import row


def formula(weights, angles, left):
    """The torques of the paper, `[bodies, joints]`, of four weights for each body."""
    osc, same, other, prop = (weights[:, k, None] for k in range(4))
    osc, same, other, prop = osc.clamp_min(0), same.clamp_min(0), other.clamp_max(0), prop.clamp_min(0)
    bent = angles[:, :-1]
    sides = []
    for side, sign in ((left, 1), (not left, -1)):
        sides.append(torch.cat((osc * float(side), prop * (sign * bent).clamp_min(0)), 1).clamp(0, 1))
    muscles = [(same * a + other * b).clamp(0, 1) for a, b in (sides, sides[::-1])]
    return muscles[0] - muscles[1]


@pytest.mark.parametrize("joints", [5, 11])
def test_the_circuit_is_the_formula_with_four_numbers(joints):
    code, draw = c.swimmer(), torch.Generator().manual_seed(0)
    circuit = code.Circuit(joints, bodies=3)
    assert sum(p.numel() for p in circuit.graph.parameters()) == 3 * 4
    assert torch.equal(circuit.weights, torch.tensor([[1.0, 1.0, -1.0, 1.0]]).expand(3, -1).double())
    for left in (True, False):
        weights = 2 * torch.randn(3, 4, generator=draw, dtype=torch.float64)
        weights[0] = torch.tensor([0.7, 0.9, -0.6, 0.8])
        angles = 1.2 * torch.randn(3, joints, generator=draw, dtype=torch.float64)
        with torch.no_grad():
            torque = circuit.put(weights)(angles, left)
        torch.testing.assert_close(torque, formula(weights, angles, left), rtol=1e-12, atol=1e-12)


def test_the_body_obeys_its_physics(monkeypatch):
    code = c.swimmer()
    monkeypatch.setattr(code, "STEPS", 520)
    monkeypatch.setattr(code, "DT", 0.002)  # as good as continuous
    draw = torch.Generator().manual_seed(0)
    torques = 2 * torch.rand(6, 3, 5, generator=draw, dtype=torch.float64) - 1

    def played(sign, order=(0, 1, 2, 3, 4)):
        at = iter(torques[:, :, list(order)].repeat_interleave(100, 0))
        return lambda angles, left: sign * next(at)

    far = code.swim(played(1), bodies=3)
    assert far.max() > 0.02
    torch.testing.assert_close(code.swim(played(-1), bodies=3), far)  # mirrored
    torch.testing.assert_close(
        code.swim(played(1, (4, 3, 2, 1, 0)), bodies=3), far, rtol=0, atol=0.15 * far.max()
    )  # backwards
    assert code.swim(lambda angles, left: 0 * angles).item() < 1e-12
    monkeypatch.setattr(code, "ACROSS", code.ALONG)
    assert code.swim(played(1), bodies=3).max() < 0.15 * far.max()  # where drag knows no direction nobody gets anywhere


def test_without_signs_weights_are_free_and_two_bodies_are_two():
    free = c.swimmer().Circuit(5, bodies=2, signed=False, start="uniform")
    assert free.graph.edges.limits.tolist() == [0] * 8
    assert not torch.equal(free.weights[0], free.weights[1])


def test_the_example_runs_and_its_body_swims_untrained(capsys):
    c.swimmer().main(seeds=())
    assert capsys.readouterr().out.splitlines() == ["4 parameters, 30 neurons", "untrained: 1.22 body lengths"]


def test_evolution_climbs():
    found = c.swimmer().evolve(lambda n: -(n - 1).square().sum(1), torch.zeros(4, dtype=torch.float64), 30)
    assert (found - 1).abs().max() < 0.5


def result(before=1.22, after=(1.9, 1.9, 1.9), free=(0.0, 0.1, 0.9), longer=1.2) -> dict:
    rows = [
        row(label, {c.BEFORE: [before], c.AFTER: [*after], c.LONGER: [longer]}, parameters=4)
        for label in (c.ONE, c.UNIFORM)
    ]
    return {
        "rows": [*rows, row(c.FREE, {c.AFTER: [*free]}, parameters=4), row(c.MLP, {c.AFTER: [1.0]}, parameters=209)]
    }


@pytest.mark.parametrize(("measured", "missed"), [
    ({}, []),
    ({"before": 1.19}, ["untrained"]),
    ({"after": (1.9, 1.79, 2.0)}, ["after 160 roll-outs"]),
    ({"free": (0.6, 0.7, 0.0)}, ["control: no signs"]),
    ({"longer": 0.9}, ["12 links, untouched"]),
])  # fmt: skip
def test_a_connectome_is_judged_by_what_it_swims(measured, missed):
    assert [k.id for k in c.Connectome().criteria(result(**measured)) if k.verdict == "no"] == missed
    assert "an MLP of 209 numbers swims 1.00" in c.Connectome().found(result())


def test_without_a_checkout_the_entry_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(examples, "FOLDER", tmp_path)
    with pytest.raises(InputError, match="not here; run it in a checkout"):
        examples.example("swimmer", "20, once more")
