"""The entries of inner maps: what they measure is what they say, and their criteria can fail."""

from __future__ import annotations

import pytest
import torch

from inn_studies.family import open_entry
from inn_studies.family.entry import row
from inn_studies.family.fitting import fit, swept
from inn_studies.family.hourglass import AS_IT_IS, FROZEN, OURS, USUAL, built, decibels
from inn_studies.family.selectable import ALL, ALWAYS, SELECTED, TARGETS, WEIGHED, targets
from inn_studies.family.separable import MLP, RANKED, ROTATED, TARGET, Mlp, Sum, target
from inn_studies.family.separable import OURS as SEPARABLE


def verdicts(number, result):
    return [c.verdict for c in open_entry(number).criteria(result)]


def separable(ours, mlp, ours_rotated, mlp_rotated):
    rows = {SEPARABLE: (ours, ours_rotated, 400), RANKED: (1e-3, 1.0, 200), MLP: (mlp, mlp_rotated, 4545)}
    return {
        "rows": [row(m, {TARGET: [a], ROTATED: [b]}, parameters=p, control=m == MLP) for m, (a, b, p) in rows.items()]
    }


def test_separable_maps_are_judged():
    entry = open_entry(16)
    assert verdicts(16, separable(1e-3, 9e-3, 0.1, 0.01)) == ["yes", "yes", "yes"]
    assert verdicts(16, separable(3e-3, 3e-3, 0.01, 0.1)) == ["no", "no", "no"]
    assert verdicts(16, separable(1e-3, 2e-3, 0.1, 0.01)) == ["yes", "no", "yes"]
    assert "0.11 times the MLP's" in entry.found(separable(1e-3, 9e-3, 0.1, 0.01))
    assert "| MLP *(control)* | 4,545 | 9.0e-03 | 1.0e-02 |" in entry.table(separable(1e-3, 9e-3, 0.1, 0.01))
    sizes = [sum(p.numel() for p in m.parameters()) for m in (Sum(4), Mlp())]
    assert sizes == [400, 4545]


def test_the_separable_target_has_rank_two_until_it_is_rotated():
    grid = torch.linspace(-1, 1, 9)
    x = torch.cartesian_prod(*[grid] * 4)[None]
    draw = torch.Generator().manual_seed(0)
    y = target(x, draw)[0].view(9, 9, 9, 9).double()
    half = 0.5**0.5
    turn = torch.tensor([[half, half, 0, 0], [-half, half, 0, 0], [0, 0, half, half], [0, 0, -half, half]])
    rotated = target(x @ turn, torch.Generator().manual_seed(0))[0].view(9, 9, 9, 9).double()

    def rank(y):  # of variable 1 against the others; standardising adds a constant, a third product
        return int((torch.linalg.svdvals(y.reshape(9, -1)) > 1e-4).sum())

    assert rank(y) <= 3 < rank(rotated)


def hourglass(ours, frozen, usual, flops=(80, 80)):
    rows = [(OURS, ours, flops[0]), (FROZEN, frozen, flops[1]), (USUAL, usual, 79), (AS_IT_IS, 10.0, None)]
    return {"rows": [row(m, {"test": [v]}, parameters=40, flops=f, control=m in (USUAL, AS_IT_IS)) for m, v, f in rows]}


def test_hourglass_maps_are_judged():
    entry = open_entry(22)
    assert verdicts(22, hourglass(18.1, 17.9, 18.2)) == ["yes", "yes", "yes"]
    assert verdicts(22, hourglass(18.1, 17.7, 18.2, (80, 60))) == ["no", "no", "yes"]
    assert verdicts(22, hourglass(12.1, 12.0, 18.2))[2] == "no"
    assert "is not confirmed at this size: -0.10 dB" in entry.found(hourglass(18.1, 17.9, 18.2))
    assert "is confirmed" in entry.found(hourglass(18.5, 17.9, 18.2))
    size = {label: sum(p.numel() for p in built(label)[0].parameters()) for label in (OURS, FROZEN, USUAL)}
    assert size[OURS] == size[FROZEN] == pytest.approx(size[USUAL], rel=0.01)
    assert built(OURS)[1] == built(FROZEN)[1] == pytest.approx(built(USUAL)[1], rel=0.02)
    assert decibels(torch.full((4,), 0.1), torch.zeros(4)) == pytest.approx(20)


def selectable(right, after, always=0.1):
    made = {ALL: ([], 1e-4), SELECTED: (right, after), WEIGHED: ([3, 4], 2e-4), ALWAYS: ([1, 1], always)}
    return {
        "rows": [row(m, {name: [e] for name in TARGETS}, right=r, chosen=[]) for m, (r, e) in made.items()],
        "clamped": 0.0,
    }


def test_selectable_families_are_judged():
    assert verdicts(23, selectable([5, 4], 1.2e-4)) == ["yes", "yes", "yes"]
    assert verdicts(23, selectable([5, 3], 1.6e-4, 1.2e-4)) == ["no", "no", "no"]
    assert "weights in the sum to 2 times" in open_entry(23).found(selectable([5, 4], 1.2e-4))
    x, y = targets(torch.Generator().manual_seed(0))
    assert x.shape == y.shape == (1, 800, 5, 1)
    assert x.abs().max() <= 1
    torch.testing.assert_close(y.std(1), torch.ones(1, 5, 1))


def test_a_fit_is_the_same_again_and_takes_the_best_rate():
    x = torch.linspace(-1, 1, 40)[None, :, None]
    lost = []
    for lr in (0.1, 0.1, 1e-4):
        torch.manual_seed(0)
        line = torch.nn.Linear(1, 1)
        fit(line, x, 3 * x + 1, steps=150, lr=lr, batch=20, seed=0)
        lost.append(float((line(x) - 3 * x - 1).square().mean().detach()))
    assert lost[0] == lost[1] < 0.1 < lost[2]

    class Bench:
        def compute(self, function, cases):
            return {label: function(**case) for label, case in cases.items()}

    def measure(lr, seed, offset):
        return {"valid": (lr - 2) ** 2 + offset, "seed": seed}

    best, found = swept(Bench(), measure, {"offset": 1}, (1.0, 2.0, 4.0), 3)  # pyright: ignore[reportArgumentType]
    assert (best, [f["seed"] for f in found]) == (2.0, [0, 1, 2])
    assert swept(Bench(), measure, {"offset": 1}, (1.0, 4.0), 1, higher=True)[0] == 4.0  # pyright: ignore[reportArgumentType]
