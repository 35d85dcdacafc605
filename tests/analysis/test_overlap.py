"""False and missed matches of sparse codes, against counting and against exact fractions."""

from __future__ import annotations

from fractions import Fraction
from math import comb, log10

import numpy as np
import pytest

from inn.analysis import overlap
from inn.system.errors import InputError


def exact(n: int, active: int, synapses: int, threshold: int) -> Fraction:
    ways = sum(comb(synapses, b) * comb(n - synapses, active - b) for b in range(threshold, active + 1))
    return Fraction(ways, comb(n, active))


@pytest.mark.parametrize("case", [(2048, 40, 20, 10), (200, 40, 20, 8), (12, 8, 6, 3), (5, 5, 5, 5), (64, 1, 1, 1)])
def test_false_matches_are_the_exact_fraction(case: tuple[int, int, int, int]):
    n, active, synapses, threshold = case
    found = overlap(n, active, synapses, threshold)
    wanted = exact(*case)
    assert found.log10_false == pytest.approx(log10(wanted.numerator) - log10(wanted.denominator), abs=1e-9)


def test_a_union_has_as_many_synapses_more():
    assert overlap(2048, 40, 20, 10, union=20).false == pytest.approx(float(exact(2048, 40, 400, 10)), rel=1e-9)
    assert overlap(2048, 40, 20, 10, union=20).false == pytest.approx(0.24, abs=0.005)


def test_a_million_cells_do_not_overflow():
    found = overlap(10**6, 20_000, 500, 400, noise=0.1)
    assert -600 < found.log10_false < -300
    assert found.false == 0.0
    assert 0.0 < found.miss < 1e-6
    assert 1 <= found.best <= 500


def test_misses_are_the_binomial_tail():
    kept = sum(comb(20, k) * 0.7**k * 0.3 ** (20 - k) for k in range(12, 21))
    assert overlap(2048, 40, 20, 12, noise=0.3).miss == pytest.approx(1 - kept, rel=1e-9)
    assert overlap(2048, 40, 20, 12).miss == 0.0
    assert overlap(2048, 40, 20, 12, noise=1.0).miss == 1.0


def test_the_best_threshold_has_the_least_sum():
    of = [overlap(300, 30, 15, t, noise=0.3) for t in range(1, 16)]
    sums = [o.false + o.miss for o in of]
    assert of[0].best == 1 + int(np.argmin(sums))
    assert 1 < of[0].best < 15


@pytest.mark.parametrize(
    "more, said",
    [
        ({"active": 0}, "active"),
        ({"synapses": 41}, "synapses"),
        ({"threshold": 21}, "threshold"),
        ({"union": 200}, "union"),
        ({"noise": 1.5}, "noise"),
    ],
)
def test_numbers_that_do_not_fit_are_named(more: dict[str, float], said: str):
    with pytest.raises(InputError, match=said):
        overlap(**{"n": 2048, "active": 40, "synapses": 20, "threshold": 10, **more})  # type: ignore[arg-type]
