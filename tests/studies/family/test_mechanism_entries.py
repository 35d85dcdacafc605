"""What the entries on mechanisms measure is what they say, and their verdicts follow the numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inn.cli.main import main
from inn.nn.state import State
from inn_studies.family import alike, bricks, circuit, emulated, modules, sources
from inn_studies.family.entry import row


def verdicts(entry, result: dict) -> dict[str, str]:
    return {c.id: c.verdict for c in entry.criteria(result)}


def test_a_circuit_fires_and_its_wiring_is_told_by_regression():
    wires, spikes = circuit.circuit(0, 4000)
    assert (wires != 0).sum() == circuit.EDGES
    assert not wires.diagonal().any()
    assert 0.02 < spikes.mean() < 0.4
    after = {sign: spikes[1:][:, to][spikes[:-1][:, source] == 1].mean() - spikes[:, to].mean()
             for sign in (1, -1) for to, source in [np.argwhere(np.sign(wires) == sign)[0]]}  # fmt: skip
    assert after[1] > 0 > after[-1]


def test_a_circuit_is_judged_by_its_worst_seed():
    def result(found: float, turned: float = 0.5, mixed: float = 0.5, before: float = 0.5) -> dict:
        tests = (circuit.FOUND, circuit.TRANSPOSED, circuit.SHUFFLED)
        return {"rows": [
            row(name, dict(zip(tests, ([0.99, 0.99, value], [turned] * 3, [mixed] * 3))))
            for name, value in ((circuit.MAPS, found), (circuit.ROUTING, 0.8), (circuit.LOGISTIC, 1.0))
        ] + [row(circuit.CONTROL, dict.fromkeys(tests, [before] * 3), control=True)]}  # fmt: skip

    entry = circuit.Circuit()
    assert set(verdicts(entry, result(0.95)).values()) == {"yes"}
    assert verdicts(entry, result(0.89))["AUROC"] == "no"
    assert verdicts(entry, result(0.95, turned=0.61))["transposed"] == "no"
    assert verdicts(entry, result(0.95, mixed=0.56))["cells shuffled"] == "no"
    assert verdicts(entry, result(0.95, before=0.7))["before training"] == "no"
    assert "tells 0.927, and" in entry.found(result(0.95))


def test_transport_between_the_same_points_in_another_order_is_that_order():
    x = 3 * torch.eye(6).double()
    order = torch.randperm(6)
    found = emulated.plan(torch.cdist(x, x[order]).square() / 2)
    torch.testing.assert_close(found.sum(1), torch.full((6,), 1 / 6).double())
    assert found.argmax(1).tolist() == order.argsort().tolist()
    near, far = (x.clone().requires_grad_() for _ in range(2))
    emulated.divergence(near, x[order]).backward()
    emulated.divergence(far, x[order] + 1).backward()
    assert near.grad is not None
    assert far.grad is not None
    assert near.grad.abs().max() < 1e-4 < far.grad.abs().max()
    torch.testing.assert_close(far.grad, torch.full_like(x, -1 / 6), atol=1e-3, rtol=0)  # all move towards it alike


def test_units_that_switch_are_found_and_what_silencing_them_does():
    model = emulated.Imitator(units=4, noises=1)
    with torch.no_grad():
        model.own.weight.copy_(torch.tensor([[0.9, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]))
        model.heard.weight.copy_(torch.tensor([[1.0], [0], [0], [0]]))
        x = torch.ones(1, 3, 1)
        _, after = model(x)
        _, cut = model(x, None, torch.tensor([[0.0, 1, 1, 1]]))
    assert after[0, "h"][0, 0, 0] == pytest.approx(1 + 0.9 + 0.81)
    assert not cut[0, "h"].any()
    assert torch.equal(model(x, State({(0, "h"): after[0, "h"]}))[1][0, "h"], model(torch.ones(1, 6, 1))[1][0, "h"])
    counted = emulated.transitions(torch.tensor([[0, 1, 1, 2, 0]]))
    assert counted.tolist() == [[0, 1, 0], [0, 0.5, 0.5], [1, 0, 0]]


def test_an_imitation_is_judged_beside_random_units():
    def result(off: float, kick: float | None, random: float, twice: float | None = 1.0) -> dict:
        one = {"off": off, emulated.DWELLING: 30.0, "kicks": [1, 2], "living": 50,
               emulated.ZERO: [kick, 1.0, random, random], emulated.TWICE: [twice, 1.0, 1.0, 1.0]}  # fmt: skip
        return {"rows": [], "found": [one] * 3}

    entry = emulated.Emulated()
    assert verdicts(entry, result(0.1, 4.0, 1.2)) == {"transitions": "yes", "kick units": "yes"}
    assert verdicts(entry, result(0.1, 0.5, 0.9))["kick units"] == "yes"  # shorter counts as well
    assert verdicts(entry, result(0.11, 4.0, 1.4)) == {"transitions": "no", "kick units": "no"}
    assert verdicts(entry, result(0.1, 1.4, 1.0))["kick units"] == "no"
    assert verdicts(entry, result(0.1, None, 1.0))["kick units"] == "no"  # what runs away says nothing
    assert verdicts(entry, result(0.1, 1.0, 1.0, twice=2.0))["kick units"] == "yes"


def test_communities_parts_and_layers_are_judged_by_their_worst_seed():
    def table(entry, **values: dict[str, list[float]]) -> dict[str, str]:
        return verdicts(entry, {"rows": [row(name, tests) for name, tests in values.items()]})

    def planted(ari: float, p: float, chance: float) -> dict[str, str]:
        rows = {modules.PLANTED: {modules.ARI: [1.0, 1.0, ari], modules.P: [0.01, 0.01, p]}}
        return table(modules.Modules(), **rows, **{modules.SHUFFLED: {modules.P: [chance] * 5}})

    assert set(planted(0.8, 0.05, 0.5).values()) == {"yes"}
    assert set(planted(0.79, 0.06, 0.04).values()) == {"no"}

    def parts(apart: float, joint: float, before: float) -> dict[str, str]:
        rows = {name: {bricks.APART: [9.0, 9.0, a], bricks.SELECTIVE: [s] * 3}
                for name, a, s in ((bricks.MERGED, apart, 0.9), (bricks.UNTRAINED, 0.0, before))}  # fmt: skip
        return table(
            bricks.Bricks(), **rows, **{bricks.JOINT: {bricks.APART: [joint] * 3, bricks.SELECTIVE: [0.9] * 3}}
        )

    assert set(parts(5.0, 1.0, 0.5).values()) == {"yes"}
    assert set(parts(4.9, 5.0, 0.95).values()) == {"no"}
    assert sources.apart(torch.tensor([[2.0, 0.1], [0.2, 1.0]])) == pytest.approx(5)

    def layers(itself: float, turned: float, full: float, mixed: float) -> dict[str, str]:
        tests = {alike.ITSELF: itself, alike.TURNED: turned, alike.FULL: full, alike.MIXED: mixed, alike.EIGHTH: 0.5}
        return table(alike.Alike(), **{alike.TRAINED: {name: [value] * 3 for name, value in tests.items()}})

    assert set(layers(1.0, 1e-9, 0.95, 0.05).values()) == {"yes"}
    assert set(layers(0.75, 1e-5, 0.94, 0.06).values()) == {"no"}


def test_some_entries_are_commands_of_their_own(tmp_path, capsys):
    assert main(["study", "hmm", "--show", "--results", str(tmp_path)]) != 0
    assert "no such results of entry 36" in capsys.readouterr().err
    assert main(["study", "skills", "--show", "--results", str(tmp_path)]) != 0
    assert "entry 6; run" in capsys.readouterr().err
