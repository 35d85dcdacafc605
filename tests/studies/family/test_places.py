"""Entry 11 and its example: regions keep to themselves, the silenced count for nothing, verdicts follow the numbers."""

from __future__ import annotations

import pytest
import torch

from inn_studies.family import places as p
from inn_studies.family.entry import row
from inn_studies.family.examples import example


@pytest.fixture(scope="module")
def nets():
    return example("places", 11).Regions(2, seed=0)


def test_units_are_the_formula_and_inhibit_their_region_only(nets):
    code, n = example("places", 11), len(nets.thresholds)
    given = 20 * torch.rand(n, generator=torch.Generator().manual_seed(0)).square()
    v, last, counts, region = torch.zeros(n), torch.zeros(n), torch.zeros(n), torch.arange(n) // code.NEURONS
    for _ in range(code.STEPS):
        held = torch.stack([last[(region == r) & (torch.arange(n) != i)].sum() for i, r in enumerate(region)])
        v = v + (given - code.INHIBITION * held - v) / code.TAU
        last = (v >= 1).float()
        v, counts = v * (1 - last), counts + last
    assert torch.equal(nets.fire(given[None])[0], counts)
    assert (counts == 0).sum() > 10
    assert (counts > 0).sum() > 10


def test_regions_know_their_places_and_silenced_neurons_say_nothing(nets):
    code = example("places", 11)
    seen = code.drive(code.street(50, 0), 50, 0, changed=0.0)
    answers = nets.learn(seen)
    assert nets.recognised(seen) > 0.4  # chance is 0.02
    of_place = nets.places // code.PLACES == torch.arange(len(nets.places)) // code.NEURONS
    assert bool((of_place | (nets.places < 0)).all())
    quiet = nets.answer(seen, off=[1, 60])
    assert answers[:, [1, 60]].sum() > 0
    assert quiet[:, [1, 60]].sum() == 0


def result(gain=0.2, drawn=0.0, least=0.7) -> dict:
    after = {2: 0.75, 4: 0.72, 8: least}
    found = {
        m: {p.LEARNED: a - gain, p.REMOVED: a, p.RANDOM: a - gain + drawn, p.NEAREST: 0.9} for m, a in after.items()
    }
    rows = [row(p.named(m), {kind: [v] * 3 for kind, v in f.items()}) for m, f in found.items()]
    return {"rows": [*rows, row(p.named(4, p.FASTER), {p.LEARNED: [0.7], p.REMOVED: [0.8]})]}


@pytest.mark.parametrize(("measured", "missed"), [
    ({}, []),
    ({"gain": 0.04}, ["hyperactive off"]),
    ({"drawn": 0.02}, ["control: as many at random"]),
    ({"least": 0.6}, ["flat"]),
])  # fmt: skip
def test_regions_are_judged_by_what_they_recall(measured, missed):
    assert [k.id for k in p.Places().criteria(result(**measured)) if k.verdict == "no"] == missed
    assert "0.70 as learned and 0.80 after" in p.Places().found(result(**measured))
