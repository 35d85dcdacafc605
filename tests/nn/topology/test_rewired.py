"""Edges drawn at random, and in groups."""

import random

import pytest

from inn.nn.topology.options import RewiredOptions
from inn.nn.topology.rewired import Rewired
from inn.system.errors import InputError


def rows(neurons, **options):
    return Rewired(RewiredOptions(kind="rewired", **options)).edges(neurons).sources.tolist()


@pytest.mark.parametrize(("neurons", "density"), [(16, 0.25), (7, 0.5)])
def test_without_groups_others_are_drawn_from_all(neurons, density):
    draw, others = random.Random(3), round(density * neurons) - 1
    wanted = [[i, *sorted(j + (j >= i) for j in draw.sample(range(neurons - 1), others))] for i in range(neurons)]
    assert rows(neurons, density=density, seed=3) == wanted


@pytest.mark.parametrize(("inside", "near"), [(0.5, 4), (0.0, 0), (1.0, 7)])
def test_groups_are_favoured(inside, near):
    found = rows(64, density=0.125, groups=8, inside=inside)
    for i, row in enumerate(found):
        assert (row[0], len({*row})) == (i, 8)
        assert sum(j // 8 == i // 8 for j in row[1:]) == near


def test_groups_that_are_too_small_or_too_large_are_filled_up():
    assert all(len({*row}) == 6 for row in rows(9, density=0.67, groups=4, inside=1.0))
    assert all(len({*row}) == 6 for row in rows(9, density=0.67, groups=2, inside=0.0))


def test_bad_groups_are_refused():
    with pytest.raises(InputError, match="inside does nothing with groups 1"):
        RewiredOptions(kind="rewired", inside=0.2)
    with pytest.raises(InputError, match=r"inside must be in \[0, 1\]"):
        RewiredOptions(kind="rewired", groups=2, inside=1.5)
    with pytest.raises(InputError, match="groups must be at least 1"):
        RewiredOptions(kind="rewired", groups=0)
