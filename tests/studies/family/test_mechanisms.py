"""Parts, bases, frequencies and neurons that memorise: what the entries say follows the numbers."""

from __future__ import annotations

import math

import pytest
import torch

from inn_studies import modular_graph
from inn_studies.family import bigrams, frequencies, memorising, planted
from inn_studies.family.entry import row
from inn_studies.quadratic import Quadratic, cuts_of, right


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


def waves(single=0.995, off=0.02, used=48, turned=1.57, luck=3.0) -> dict:
    net = row(frequencies.NET, {
        frequencies.TEST: [1.0] * 2, frequencies.SINGLE: [0.994, single], frequencies.OFF: [0.02, off],
        frequencies.USED: [1.0, used / 48],
    })  # fmt: skip
    graph = {frequencies.TEST: [1.0], frequencies.SINGLE: [0.0], frequencies.OFF: [1.57], frequencies.USED: [0.0]}
    return {
        "rows": [net, row(frequencies.TURNED, {frequencies.OFF: [1.5, turned]}),
                 *(row(f"{frequencies.GRAPH}, {what}", graph) for what in ("weights", "answers"))],
        "luck": [3.5, luck], "adds": [0.87], "adds before": [0.01],
        "ipr": {"weights": [(0.22, 0.07)], "answers": [(0.27, 0.07)]}, "left": [{"keys": 6, "only": 1.0}],
    }  # fmt: skip


def test_frequencies_are_judged_by_their_worst_seed():
    entry = frequencies.Frequencies()
    assert set(verdicts(entry, waves()).values()) == {"yes"}
    for change, criterion in (
        ({"single": 0.98}, "one frequency"), ({"off": 0.11}, "phases"), ({"used": 47}, "all frequencies"),
        ({"turned": 0.3}, "random phases"), ({"luck": 1.4}, "decided early"),
    ):  # fmt: skip
        assert [n for n, v in verdicts(entry, waves(**change)).items() if v == "no"] == [criterion]
    assert "a + b explains 87% of their variance (1% before)" in entry.found(waves())


def cuts(whole=0.95, low=0.08, test=0.98, high=0.1, half=0.5, healed=1.0) -> dict:
    of = memorising

    def one(label, what, taught, accuracy, right=0.0):
        return row(f"{label}, without {what}", {of.TAUGHT: [taught], of.RIGHT: [right], of.TEST: [accuracy]})

    rows = [one(of.NET, of.WHOLE, whole, 0.98), one(of.NET, of.LOW, low, test), one(of.NET, of.HIGH, 0.98, high),
            one(of.NET, of.HALF, half, 0.5), one(of.DECAY, of.WHOLE, 0.0, 1.0, healed)]  # fmt: skip
    rows += [
        one(f"{of.GRAPH}, by {by}", what, 0.9, 0.1) for by in of.BY for what in (of.WHOLE, of.LOW, of.HALF, of.HIGH)
    ]
    return {"rows": rows}


def test_neurons_that_memorise_are_judged_by_what_is_left_without_them():
    entry = memorising.Memorising()
    assert set(verdicts(entry, cuts()).values()) == {"yes"}
    for change, criterion in (
        ({"whole": 0.8}, "at once"), ({"low": 0.16}, "lowest half"), ({"test": 0.96}, "lowest half"),
        ({"high": 0.31}, "highest fifth"), ({"half": 0.05}, "random half"), ({"healed": 0.98}, "decay"),
    ):  # fmt: skip
        assert [n for n, v in verdicts(entry, cuts(**change)).items() if v == "no"] == [criterion]
    assert "tells 0.90 of the wrong labels as taught" in entry.found(cuts())


def test_a_network_of_waves_adds_and_its_neurons_are_cut_by_their_frequencies():
    """(cos(ka + φ) + cos(kb + φ'))² has a term cos(k(a + b) + φ + φ'): by hand, without any training."""
    p, draw = 13, torch.Generator().manual_seed(0)
    at, turn = torch.arange(p) * 2 * math.pi / p, torch.arange(8) * 2 * math.pi / 8
    k, one, other = (of.flatten()[:, None] for of in torch.meshgrid(torch.arange(1.0, 7.0), turn, turn, indexing="ij"))
    u, v, w = (torch.cos(k * at + phi) for phi in (one, other, one + other))
    noise = 0.3 * torch.randn(3, 40, p, generator=draw)
    net = Quadratic(
        *(torch.cat([wave, rest]) for wave, rest in zip((u, v, w), noise, strict=True)), torch.zeros(3, 424, p)
    )
    a, b = torch.arange(p).repeat_interleave(p), torch.arange(p).repeat(p)
    assert bool(right(net, (a, b, (a + b) % p)).all())
    assert net.phases.used == 6
    taken = cuts_of(net.ipr, seed=0)
    assert set(range(384, 424)) <= set(taken["the lowest half"].tolist())
    assert not set(range(384, 424)) & set(taken["the highest fifth"].tolist())
    assert len(net.without(taken["a random half"]).u) == 212
    sums = torch.cat([u, v])
    assert modular_graph._keys(sums[:128]).nonzero()[:, 0].tolist() == [1, 2]
    torch.testing.assert_close(modular_graph._only(u[:64] + u[64:128] + 3, modular_graph._keys(u[:64])), u[:64] + 3)
