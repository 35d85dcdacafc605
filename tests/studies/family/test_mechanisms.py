"""Parts, bases, frequencies and neurons that memorise: what the entries say follows the numbers."""

from __future__ import annotations

import pytest
import torch

from inn_studies.family import bigrams, planted
from inn_studies.family.entry import row


def verdicts(entry, result: dict) -> dict[str, str]:
    return {c.id: c.verdict for c in entry.criteria(result)}


def part(loss=0.03, kept=0.046, random=11.0, ablated=4.5, chance=2.7, fresh=0.5) -> dict:
    rows = [
        row(bigrams.PART, {bigrams.APART: [0.01, loss], bigrams.LEFT: [5.0, ablated], "kept": [0.04, kept]}),
        row(bigrams.RANDOM, {bigrams.APART: [12.0, random], bigrams.LEFT: [2.0, chance]}),
        row(bigrams.UNTRAINED, {bigrams.APART: [0.6, fresh]}),
    ]
    shares = {"backbone.rounds.0.router.hear.weight": 0.04, "backbone.rounds.0.memory.conv_weight": 0.2}
    return {"rows": rows, "entropy": [2.37], "by_part": [shares, shares]}


def test_a_part_is_judged_by_its_worst_seed_and_beside_its_controls():
    entry = bigrams.Bigrams()
    assert set(verdicts(entry, part()).values()) == {"yes"}
    for change, criterion in (
        ({"loss": 0.06}, "close"), ({"kept": 0.051}, "close"), ({"random": 3.02}, "random"),
        ({"chance": 3.6}, "needed"), ({"fresh": 0.2}, "untrained"),
    ):  # fmt: skip
        assert [n for n, v in verdicts(entry, part(**change)).items() if v == "no"] == [criterion]
    assert entry.found(part()).startswith("what is kept: 20.0% of conv, 4.0% of hear.")


def bases(ours=0.99, pca=0.7, tied=0.6, off=1e-14) -> dict:
    rows = [
        row(planted.BASIS, {planted.FREE: [0.995, ours], planted.TIED: [0.6, tied]}),
        row(planted.PCA, {planted.FREE: [0.6, pca], planted.TIED: [0.5, 0.5]}),
    ]
    addition = [{planted.BASIS: [0.5] * 4, planted.PCA: [0.4] * 4}]
    return {"rows": rows, "off": [0.0, off], "addition": addition}


def test_a_basis_is_judged_where_it_works_and_where_it_does_not():
    entry = planted.Planted()
    assert set(verdicts(entry, bases()).values()) == {"yes"}
    for change, criterion in (
        ({"ours": 0.96}, "planted"), ({"pca": 0.81}, "planted"), ({"off": 1e-6}, "exact"), ({"tied": 0.9}, "the limit"),
    ):  # fmt: skip
        assert [n for n, v in verdicts(entry, bases(**change)).items() if v == "no"] == [criterion]
    assert "8 0.50 (0.40)" in entry.found(bases())


def test_a_direction_is_pure_where_it_is_of_one_network():
    z = torch.randn(1000, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turn = torch.eye(8, dtype=torch.float64)
    assert planted.purity(turn[:3], turn, z) == pytest.approx(1.0)
    assert planted.purity(turn[:1] + turn[-1:], turn, z / z.std(0)) == pytest.approx(0.5)
