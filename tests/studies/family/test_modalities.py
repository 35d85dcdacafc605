"""Entry 21: what is missing in its data, what a trained chain keeps, and its verdicts."""

from __future__ import annotations

import pytest
import torch

from inn_studies.family import modalities as m
from inn_studies.family.entry import row

pytest.importorskip("sklearn")


def result(ours=0.2, parallel=0.5, same=True) -> dict:
    costs = {m.CHAIN: ours, m.LAST: 0.4, m.PARALLEL: parallel}
    tests = {label: {m.ALIKE: [0.9], m.FLIPPED: [0.9 - cost], m.COST: [cost]} for label, cost in costs.items()}
    return {"rows": [row(label, found, same=[same if label == m.CHAIN else None]) for label, found in tests.items()]}


@pytest.mark.parametrize(
    ("measured", "missed"),
    [({}, []), ({"ours": 0.36}, ["cost of the flip"]), ({"same": False}, ["readouts before the missing part"])],
)
def test_modalities_are_judged_by_the_cost_of_the_flip_and_by_bits(measured, missed):
    assert [c.id for c in m.Modalities().criteria(result(**measured)) if c.verdict == "no"] == missed
    assert "0.700 after the flip, 0.400 in parallel" in m.Modalities().found(result())


def test_the_last_part_is_missing_in_one_class_alone():
    data = m.Data(0)
    assert [len(y) for _, y in data.parts.values()] == [284, 85, 200]
    for missing_in in (0, 1):
        x, y = data.drawn("train", missing_in)
        gone = x.isnan()[:, 0]
        assert not gone[:, :20].any()
        assert torch.equal(gone[:, 20:].all(1), gone[:, 20:].any(1))
        assert 0.7 < gone[y[:, 0] == missing_in, 29].float().mean() < 0.9
        assert not gone[y[:, 0] != missing_in].any()


def test_a_few_steps_of_each_model():
    for label in m.MODELS:
        found = m.robust(label, 3e-3, 2, 1, 0)
        assert found[m.COST] == pytest.approx(found[m.ALIKE] - found[m.FLIPPED])
        assert found["same"] is (None if label == m.PARALLEL else True)
