"""From one group's states to the next one's, on states for which it is known."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inn.analysis.stability.transport import transport
from inn.system.errors import InputError


def basis(n, k, seed=0):
    return torch.linalg.qr(torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).Q


def test_known_scales():
    q = basis(12, 3)
    found = transport(q, q * torch.tensor([4.0, 2.0, 1.0]))
    assert found["norm"] == pytest.approx(4)
    assert found["flatness"] == pytest.approx((16 * 4 * 1) ** (1 / 3) / 7)
    assert found["overlap"] == pytest.approx(1)


def test_spans_apart_carry_nothing():
    q = basis(12, 6)
    found = transport(q[:, :3], q[:, 3:])
    assert found["norm"] < 1e-12
    assert found["overlap"] < 1e-24


def test_a_known_angle():
    angle = 0.3
    q = basis(10, 4)
    turned = math.cos(angle) * q[:, :2] + math.sin(angle) * q[:, 2:]
    found = transport(q[:, :2], turned)
    assert found["overlap"] == pytest.approx(math.cos(angle) ** 2)
    assert found["norm"] == pytest.approx(math.cos(angle))


@settings(max_examples=20, deadline=None)
@given(n=st.integers(6, 12), a=st.integers(1, 5), b=st.integers(1, 5), seed=st.integers(0, 99))
def test_names_of_states_mean_nothing(n, a, b, seed):
    one, other = (torch.randn(n, k, generator=torch.Generator().manual_seed(seed + k)) for k in (a, b))
    found = transport(one, other)
    again = transport(one @ basis(a, a, 1).float(), -other @ basis(b, b, 2).float())
    assert again == pytest.approx(found, rel=1e-4)
    assert 0 <= found["overlap"] <= 1 + 1e-9
    assert 0 <= found["flatness"] <= 1 + 1e-9


def test_chance_is_what_random_spans_have():
    found = [transport(basis(40, 10, i), basis(40, 4, 100 + i)) for i in range(200)]
    mean = sum(f["overlap"] for f in found) / len(found)
    assert found[0]["chance"] == 0.25
    assert mean == pytest.approx(0.25, rel=0.05)


def test_other_widths():
    with pytest.raises(InputError, match="of one n"):
        transport(basis(5, 2), basis(6, 2))
