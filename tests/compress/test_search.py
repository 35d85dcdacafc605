"""What a group is worth to the search."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inn.compress.search import price
from inn.compress.states import energies, factorise, lost_energy, per_rank


@given(
    seed=st.integers(0, 2**20), outputs=st.lists(st.integers(1, 9), min_size=1, max_size=3), inputs=st.integers(1, 9)
)
def test_blocks_that_read_the_same_cost_what_their_best_states_cost(seed: int, outputs: list[int], inputs: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    weights = [torch.randn(m, inputs, generator=draw, dtype=torch.float64) for m in outputs]
    x = torch.randn(inputs + seed % 5 - 2 if inputs > 2 else inputs, inputs, generator=draw, dtype=torch.float64)
    moments = [x.T @ x] * len(weights)
    each, size = per_rank([(m, inputs) for m in outputs]), inputs * sum(outputs)
    top = float(energies(weights, moments)[0])
    for per in (top / each / 100, top / each / 5, 2 * top / each):
        costs = [size * per]
        for rank in range(1, min(sum(outputs), inputs) + 1):
            lost = lost_energy(factorise(weights, moments, rank), weights, moments)
            costs.append(lost + per * rank * each)
        found = price(weights, moments, per)
        assert found.cost == pytest.approx(min(costs), rel=1e-9, abs=1e-9 * top)
        assert price(weights, moments, per, found.energies).cost == found.cost


def test_blocks_that_read_different_things_pay_for_that() -> None:
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 6, generator=draw, dtype=torch.float64)
    a, b = (torch.randn(3, 6, generator=draw, dtype=torch.float64) for _ in range(2))
    alike, different = [a.T @ a] * 2, [a.T @ a, b.T @ b]
    per = float(energies([weight, weight], alike)[0]) / 1000
    assert price([weight, weight], alike, per).cost < price([weight, weight], different, per).cost
