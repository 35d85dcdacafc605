from __future__ import annotations

import random

from inn.training.alarms import settled_floor

FLOORS = {"uniform": 4.755, "unigram": 4.121, "bigram": 3.429, "trigram": 2.878}


def curve(f, steps=100):
    draw = random.Random(1)
    return [(s, f(s) + draw.gauss(0, 0.01)) for s in range(1, steps + 1)]


def test_a_loss_that_stays_at_a_floor_is_called_out():
    settled = settled_floor(curve(lambda s: 3.435 + 2 / s**2), 100, FLOORS)
    assert settled is not None
    assert settled[0] == "bigram"
    assert abs(settled[1] - 3.435) < 0.01


def test_passing_through_a_floor_is_not_settling():
    assert settled_floor(curve(lambda s: 3.429 + 0.004 * (83 - s)), 100, FLOORS) is None


def test_settling_elsewhere_is_no_floor():
    assert settled_floor(curve(lambda s: 3.2), 100, FLOORS) is None


def test_nothing_is_said_in_the_first_third_or_of_a_few_lines():
    assert settled_floor(curve(lambda s: 4.755, 32), 100, FLOORS) is None
    assert settled_floor([(s * 20, 4.755) for s in range(1, 6)], 100, FLOORS) is None
    assert settled_floor([], 100, FLOORS) is None
