"""Entry 32b and its example: the recording is the circuit's, behaviour has a neuron, verdicts follow the numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inn.analysis import silenced
from inn_studies.family import behaviour as b
from inn_studies.family.entry import row
from inn_studies.family.examples import example


def test_the_recording_is_the_circuits():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed; it comes with [sklearn]")
    code = example("population", "32b")
    wires, seen = code.recording(3, 3000)
    assert ((wires > 0).sum(), (wires < 0).sum(), np.trace(wires)) == (50, 25, 0)
    running = seen[:, code.RUNNING]
    assert 0.97 < np.corrcoef(running[:-1], running[1:])[0, 1] < 1
    related = np.array([abs(np.corrcoef(running[:-1], spikes)[0, 1]) for spikes in seen[1:, : code.CELLS].T])
    assert np.median(np.sort(related)[-code.DRIVEN :]) > 0.08  # the driven cells follow it,
    _, undriven = code.recording(3, 3000, drive=0.0)
    assert abs(np.corrcoef(undriven[:-1, code.RUNNING], undriven[1:, : code.CELLS].sum(1))[0, 1]) < 0.05


def test_masking_is_silencing_the_neuron_of_the_behaviour():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed; it comes with [sklearn]")
    code = example("population", "32b")
    seen = torch.from_numpy(code.recording(1, 400)[1]).float()
    model = code.Population()
    torch.nn.init.normal_(model.out)
    other = seen.clone()
    other[:, code.RUNNING] += 1.0
    with torch.no_grad():
        assert not torch.equal(model(seen[None]), model(other[None]))
        with silenced(model.graph, [code.RUNNING]):
            assert torch.equal(model(seen[None]), model(other[None]))
    odds = torch.full((399, code.CELLS), -2.0)
    spikes = seen[1:, : code.CELLS].bool()
    chance = torch.tensor(-2.0, dtype=torch.float64).sigmoid()
    by_hand = -(chance.log2() * spikes.sum() + (1 - chance).log2() * (~spikes).sum()) / spikes.sum()
    assert code.bits(odds, seen) == pytest.approx(by_hand.item(), rel=1e-5)


def result(auroc=0.95, turned=0.5, mixed=0.5, masked=0.02, absent=0.03, nothing=0.001) -> dict:
    found = {
        b.FOUND: auroc, b.TRANSPOSED: turned, b.SHUFFLED: mixed, b.SILENCED: masked, b.NEVER: absent, b.LOGISTIC: 0.08,
        "AUROC, logistic": 1.0, "AUROC, never saw": 0.9, "bits": 3.6, "bits, logistic": 3.4,
    }  # fmt: skip
    none = {b.SILENCED: [nothing] * 3, b.NEVER: [0.0] * 3}
    return {"rows": [row(b.DRIVEN, {t: [v] * 3 for t, v in found.items()}), row(b.UNDRIVEN, none, control=True)]}


@pytest.mark.parametrize(("measured", "missed"), [
    ({}, []),
    ({"auroc": 0.89}, ["AUROC"]),
    ({"turned": 0.61}, ["transposed"]),
    ({"mixed": 0.56}, ["cells shuffled"]),
    ({"masked": 0.0}, ["behaviour masked"]),
    ({"absent": 0.01}, ["behaviour never seen"]),
    ({"nothing": 0.02}, ["control: it drives nobody"]),
])  # fmt: skip
def test_a_population_is_judged_by_wiring_and_likelihood(measured, missed):
    assert [k.id for k in b.Behaviour().criteria(result(**measured)) if k.verdict == "no"] == missed
    assert "loses 0.080 without the behaviour" in b.Behaviour().found(result())
