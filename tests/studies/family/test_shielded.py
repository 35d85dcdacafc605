"""Entry 9 and its example: qubits obey their formulas and PennyLane, attacks keep within reach, verdicts follow."""

from __future__ import annotations

import pytest
import torch

from inn_studies.family import shielded as q
from inn_studies.family.entry import row
from inn_studies.family.examples import example

ANGLES = 6 * torch.rand(5, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 3


def test_qubits_that_are_not_entangled_are_their_formula():
    qubits = example("qubits", 9)
    z = ANGLES[..., 0].cos() * ANGLES[..., 1].cos()
    expected = {
        "none": z, "phase": z, "depolarising": (1 - 4 * 0.3 / 3) ** 2 * z, "amplitude": 0.3 + 0.7 * (0.3 + 0.7 * z),
    }  # fmt: skip
    for noise, told in expected.items():
        torch.testing.assert_close(qubits.Circuit("none", noise, 0.3)(ANGLES), told)


def test_drawn_runs_have_the_mean_of_all_runs():
    circuit = example("qubits", 9).Circuit("full", "mix", 0.3)
    drawn = circuit(ANGLES[:1].expand(3000, -1, -1), torch.Generator().manual_seed(0))
    assert drawn.std(0).min() > 0.1
    torch.testing.assert_close(drawn.mean(0), circuit(ANGLES[:1])[0], rtol=0, atol=0.05)


def test_the_simulation_is_pennylanes():
    pytest.importorskip("pennylane", reason="pennylane is not installed; it comes with [fields]")
    assert q.oracle(("mix",)) < 1e-9


def test_attacks_mislead_within_reach():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed; it comes with [sklearn]")
    code = example("quantum", 9)
    model = code.trained(example("qubits", 9).Circuit(), 0, passes=1)
    x, y = (part[code.TRAINED : code.TRAINED + 100] for part in code.digits())
    before = code.right(model, x, y)
    assert before > 0.4
    for steps, draws in ((1, 1), (4, 0)):
        bad = code.attacked(model, x, y, steps, draws)
        assert (bad - x).abs().max() <= code.REACH + 1e-6
        assert 0 <= bad.min() <= bad.max() <= 1
        assert code.right(model, bad, y) < before - 0.1


def result(clean=0.97, some=0.5, other=0.9, off=1e-9, one=0.3) -> dict:
    rows = [row(q.ALONE, {q.CLEAN: [0.97] * 3, q.SOME: [0.4], q.OTHER: [0.8]}, control=True)]
    rows += [row(q.both(e), {q.CLEAN: [clean], q.SOME: [some], q.OTHER: [other]}) for e in q.ENTANGLED]
    rows += [row(name, {q.CLEAN: [0.9], q.ONE: [one], q.SOME: [0.25], q.ALL: [0.2]}) for name in (q.QUBITS, q.NOISY)]
    return {"rows": rows, "off": off}


@pytest.mark.parametrize(("measured", "missed"), [
    ({}, []),
    ({"some": 0.44}, ["averaged attack"]),
    ({"other": 0.84}, ["transfer attack"]),
    ({"clean": 0.94}, ["clean"]),
    ({"off": 1e-5}, ["oracle"]),
    ({"one": 0.24}, ["control: noise masks"]),
])  # fmt: skip
def test_qubits_are_judged_by_the_attacks_that_count(measured, missed):
    assert [k.id for k in q.Shielded().criteria(result(**measured)) if k.verdict == "no"] == missed
    assert "where all runs are known" in q.Shielded().found(result(**measured))
