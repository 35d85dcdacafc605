"""What lesions cost, against losses worked out by hand."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch

import inn
from inn.analysis.controls.paired import paired_difference
from inn.analysis.lesions.cause import bits_under, cost, worth_of
from inn.analysis.lesions.importance import importance
from inn.analysis.lesions.lesion import forgetful, silenced
from inn.analysis.recording.stretches import bits_of, entering, recalled, stretches
from inn.system.errors import InputError

TEXT = np.random.default_rng(0).integers(7, size=900)


def model(**fields):
    torch.manual_seed(0)
    fields = {"neurons": 3, "width": 8, "rounds": 2, "recall": [2, 3], "slots": 64, **fields}
    return inn.INN(vocab=7, **fields).eval()


def test_every_lesion_is_of_the_same_symbols_and_by_itself():
    m, text, calls = model(), stretches(TEXT, 400), []
    lesions = [nullcontext, lambda: silenced(m, [1]), nullcontext, lambda: forgetful(m, [0])]
    found = bits_under(m, text, lesions, lambda done, total: calls.append((done, total)))
    assert found.shape == (4, *text.inputs.shape)
    assert torch.equal(found[0], found[2])
    with silenced(m, [1]):
        alone = torch.cat([bits_of(m, part, entering(m, part, recalled(m, part))) for part in text.groups()])
    assert torch.equal(found[1], alone)
    with forgetful(m, [0]):  # from the first symbol that is read
        alone = torch.cat([bits_of(m, part, entering(m, part, recalled(m, part))) for part in text.groups()])
    assert torch.equal(found[3], alone)
    assert not torch.equal(found[0], found[3])
    assert not torch.equal(found[0], found[1])
    assert calls[-1] == (4 * text.inputs.numel(),) * 2
    assert m.training is False


def test_costs_are_means_over_all_and_over_each_class():
    generator = torch.Generator().manual_seed(0)
    whole = torch.rand(20, 30, generator=generator)
    lesioned = whole + torch.rand(20, 30, generator=generator)
    of = np.random.default_rng(0).random(600) < 0.2
    found = cost(whole, lesioned, {"a": of, "b": ~of, "none": np.zeros(600, dtype=bool)})
    difference = (lesioned - whole).double()
    assert found.bits == pytest.approx(difference.mean().item())
    assert set(found.by_class) == {"a", "b"}
    assert of.mean() * found.by_class["a"] + (1 - of.mean()) * found.by_class["b"] == pytest.approx(found.bits)
    by_hand = paired_difference([whole.double().mean(1).tolist()], [lesioned.double().mean(1).tolist()])
    assert (found.low, found.high) == pytest.approx((by_hand.low, by_hand.high))
    assert found.low < found.bits < found.high


def test_the_interval_covers_as_often_as_it_says():
    held = 0
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        blocks = 0.1 + 0.05 * torch.randn(40, 1, generator=generator)
        found = cost(torch.zeros(40, 5), blocks.expand(40, 5) + 0.01 * torch.randn(40, 5, generator=generator))
        held += found.low <= 0.1 <= found.high
    assert 52 <= held <= 60


def test_many_stretches_share_blocks():
    found = cost(torch.zeros(100, 4), torch.ones(100, 4))
    assert (found.bits, found.low, found.high) == (1, 1, 1)


def test_a_lesion_may_help():
    assert cost(torch.ones(4, 3), torch.zeros(4, 3)).high == -1


def test_worth_is_minus_the_bits_of_those_that_speak():
    m, text = model(), stretches(TEXT, 300)
    worth = worth_of(m, text)
    bits = bits_under(m, text, [nullcontext, lambda: silenced(m, [0, 2]), lambda: silenced(m, [0, 1, 2])])
    for team, of in ((frozenset({0, 1, 2}), bits[0]), (frozenset({1}), bits[1]), (frozenset(), bits[2])):
        assert worth(team) == pytest.approx(-float(of.double().mean()), rel=1e-6)
    found = importance(worth, 3)
    assert sum(found.values) == pytest.approx(float((bits[2] - bits[0]).double().mean()), rel=1e-5)


def test_mistakes():
    with pytest.raises(InputError, match="are not of the same symbols"):
        cost(torch.zeros(4, 3), torch.zeros(4, 2))
