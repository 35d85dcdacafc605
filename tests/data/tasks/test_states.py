"""States that have to be counted: the targets of parity, modular, permutations, machines and listops, told anew."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

import inn
from inn.system.errors import InputError


def test_parity_is_the_number_of_ones(told):
    for inputs, targets in told("parity"):
        assert targets == [str(inputs[: t + 1].count("1") % 2) for t in range(40)]


@pytest.mark.parametrize("p", [2, 5, 97])
def test_a_modular_sum_is_the_sum_so_far(told, p):
    lengths = set()
    for inputs, targets in told("modular", form="sum", modulus=p, shortest=3, length=9):
        lengths.add(len(inputs))
        assert targets == [str(sum(map(int, inputs[: t + 1])) % p) for t in range(len(inputs))]
    assert lengths == set(range(3, 10))


def test_the_sum_of_two_numbers_is_asked_after_the_blanks(told):
    seen = set()
    for inputs, targets in told("addition", least=1, most=3, steps=7):
        assert inputs[2:] == ["."] * 7
        assert targets == [None] * 8 + [str(int(inputs[0]) + int(inputs[1]))]
        seen.add(int(inputs[1]))
    assert seen == {1, 2, 3}


def test_steps_too_few_to_add_one_by_one_are_refused():
    with pytest.raises(InputError, match=r"steps 6 are too few to add 5 one by one.*set steps to 7 or more"):
        inn.task("addition", steps=6)
    with pytest.raises(InputError, match="least 4 to most 3"):
        inn.task("addition", least=4, most=3)


class Left:
    """A number whose operators all bind alike: from left to right."""

    def __init__(self, value):
        self.value = value

    def __add__(self, other):
        return Left(self.value + other.value)

    def __sub__(self, other):
        return Left(self.value - other.value)

    def __mul__(self, other):
        return Left(self.value * other.value)


def evaluated(tokens):
    """The value of an expression, from left to right, brackets first."""
    value, sign = None, None
    while tokens:
        token = tokens.pop(0)
        if token in "+-*":
            sign = token
            continue
        if token == ")":
            break
        term = evaluated(tokens) if token == "(" else int(token)
        value = term if value is None else {"+": value + term, "-": value - term, "*": value * term}[sign]
    return value


@pytest.mark.parametrize("options", [{}, {"modulus": 7, "length": 90, "depth": 6}, {"depth": 0, "length": 12}])
def test_a_modular_expression_has_the_value_that_is_told(told, options):
    deepest = 0
    for inputs, targets in told("modular", shortest=2, **options):
        assert len(inputs) % 2 == 0
        assert inputs[-1] == "="
        assert targets[:-1] == [None] * (len(inputs) - 1)
        assert inputs.count("(") == inputs.count(")")
        depths = np.cumsum([{"(": 1, ")": -1}.get(token, 0) for token in inputs])
        assert depths.min() >= 0
        deepest = max(deepest, depths.max())
        if len(inputs) > 2:
            assert eval("".join(inputs[:-1])) is not None  # Python takes it for an expression, too
        assert targets[-1] == str(evaluated(inputs[:-1]) % options.get("modulus", 5))
    assert deepest == options.get("depth", 3)


def test_the_table_is_split_once_and_only_training_labels_are_wrong():
    p = 11
    clean = inn.task("modular", form="table", modulus=p)
    noisy = inn.task("modular", form="table", modulus=p, corrupted=0.25)
    seen = []
    for name in ("train", "valid", "test"):
        part, wrong = clean.part(name).padded(), noisy.part(name).padded()
        assert np.array_equal(part[0], wrong[0])
        a, b = part[0][:, 0], part[0][:, 2]
        seen += (a * p + b).tolist()
        assert np.array_equal(part[1][:, -1], (a + b) % p)
        share = (wrong[1] != part[1]).any(1).mean()
        assert (0.15 < share < 0.35) if name == "train" else share == 0
    assert sorted(seen) == list(range(p * p))


@pytest.mark.parametrize("group", ["S3", "S5"])
def test_permutations_are_multiplied_in_their_order(told, group):
    things = range(int(group[1]))
    for inputs, targets in told("permutations", group=group, length=30):
        where = list(things)  # where each thing has come to
        for permutation, target in zip(inputs, targets, strict=True):
            where = [int(permutation[place]) for place in where]
            assert target == "".join(map(str, where))


def test_each_machine_goes_its_own_way(told):
    counts = []
    for inputs, targets in told("machines", active=4, least=2, length=40, count=80):
        where = {}
        for step, target in zip(inputs, targets, strict=True):
            machine, permutation = step.split(":")
            where[machine] = [int(permutation[place]) for place in where.get(machine, range(3))]
            assert target == "".join(map(str, where[machine]))
        counts.append(len(where))
    assert set(counts) == {2, 3, 4}


@pytest.mark.parametrize("options", [{}, {"length": 4}, {"length": 100, "depth": 5, "arguments": 3}, {"depth": 1}])
def test_listops_has_the_value_that_is_told(told, options):
    def value(tokens):
        token = tokens.pop(0)
        if token.isdigit():
            return int(token), 0
        found, depths = [], []
        while tokens[0] != "]":
            number, depth = value(tokens)
            found.append(number)
            depths.append(depth)
        tokens.pop(0)
        assert 2 <= len(found) <= options.get("arguments", 5)
        how = {"[MIN": min, "[MAX": max, "[MED": statistics.median_low, "[SM": lambda x: sum(x) % 10}
        return how[token](found), 1 + max(depths)

    deepest = 0
    for inputs, targets in told("listops", count=200, **options):
        assert len(inputs) <= options.get("length", 40)
        left = list(inputs)
        number, depth = value(left)
        assert left == []
        assert targets == [None] * (len(inputs) - 1) + [str(number)]
        deepest = max(deepest, depth)
    assert deepest == (1 if options.get("length") == 4 else options.get("depth", 3))
