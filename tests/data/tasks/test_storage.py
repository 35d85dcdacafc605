"""What has to be kept and found again: the targets of copy, recall, needle, causal and accumulate, told anew."""

from __future__ import annotations

import operator

import pytest


@pytest.mark.parametrize("selective", [False, True])
def test_a_copy_is_what_was_there(told, selective):
    between = 0
    for inputs, targets in told("copy", items=5, symbols=3, gap=7, selective=selective):
        assert len(inputs) == 17
        shown = inputs[:12]
        items = [token for token in shown if token != "_"]
        assert len(items) == 5
        assert inputs[12:] == ["?"] * 5
        assert targets == [None] * 12 + items
        between += shown[:5] != items
    assert (between > 30) == selective


@pytest.mark.parametrize("options", [{}, {"pairs": 4, "length": 12}, {"pairs": 5, "asked": 2, "length": 30}])
def test_recall_asks_for_what_was_paired(told, options):
    pairs, length = options.get("pairs", 6), options.get("length", 48)
    asked = options.get("asked", pairs)
    first = set()
    for inputs, targets in told("recall", **options):
        assert len(inputs) == length
        stored, t = {}, 0
        while t < length - asked:
            if inputs[t][0] == "k":
                stored[inputs[t]] = inputs[t + 1]
                first.add(t)
            t += 2 if inputs[t][0] == "k" else 1
        assert len(stored) == pairs
        assert targets[: length - asked] == [None] * (length - asked)
        assert targets[length - asked :] == [stored[key] for key in inputs[length - asked :]]
        assert len(set(inputs[length - asked :])) == asked
        assert all(token[0] in "kvn" for token in inputs)
    assert max(first) == length - asked - 2  # pairs stand anywhere


def test_a_needle_is_found_again(told):
    keys, values = set(), set()
    for inputs, targets in told("needle", noise=20, keys=3, values=4, fillers=2, count=80):
        key, value, *noise, asked = inputs
        assert asked == key
        assert set(noise) == {"n0", "n1"}
        assert len(noise) == 20
        assert targets == [None] * 22 + [value]
        keys.add(key)
        values.add(value)
    assert (keys, values) == ({"k0", "k1", "k2"}, {"v0", "v1", "v2", "v3"})


def test_causal_logic(told):
    how = {
        "and": operator.and_, "or": operator.or_, "xor": operator.xor, "nand": lambda a, b: 1 - (a & b),
        "nor": lambda a, b: 1 - (a | b), "implies": lambda a, b: int(a <= b),
    }  # fmt: skip
    met = set()
    for inputs, targets in told("causal", count=200, noise=5, operators=list(how)):
        a, b, name = int(inputs[0]), int(inputs[1]), inputs[-1]
        assert targets == [None] * 7 + [str(how[name](a, b))]
        assert all(token[0] == "n" for token in inputs[2:-1])
        met.add((a, b, name))
    assert len(met) == 24


def test_accumulate_is_the_sum(told):
    sums = set()
    for inputs, targets in told("accumulate", count=400, noise=5, largest=4):
        assert inputs[-1] == "="
        assert targets == [None] * 7 + [str(int(inputs[0]) + int(inputs[1]))]
        sums.add(targets[-1])
    assert sums == {str(n) for n in range(9)}
