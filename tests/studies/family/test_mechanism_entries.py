"""What the entries on mechanisms measure is what they say, and their verdicts follow the numbers."""

from __future__ import annotations

import numpy as np

from inn_studies.family import circuit
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
