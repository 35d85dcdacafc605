"""The LSTM with exponential gates: the published recurrence, written without its stabiliser; and the contract."""

from __future__ import annotations

import pytest
import torch

from inn.config.assemble import graph_config
from inn.nn.memory.slstm import SLSTM
from inn.testing import check_memory


def test_it_keeps_the_contract():
    check_memory("slstm", expand=2)


def memory() -> SLSTM:
    torch.manual_seed(0)
    m = SLSTM(graph_config(neurons=2, width=3, rounds=1, memory="slstm", router="none")).double()
    torch.nn.init.normal_(m.bias)
    return m


def test_it_is_the_published_recurrence():
    """Equations 8 to 14 of arXiv 2405.04517, gates as they are: the stabiliser must change nothing."""
    m = memory()
    x = torch.randn(2, 8, 2, 3, dtype=torch.float64)
    y, new = m(x, m.initial_state(2))
    for b in range(2):
        for n in range(2):
            h, c, norm = (torch.zeros(3, dtype=torch.float64) for _ in range(3))
            for t in range(8):
                i, f, z, o = (m.in_proj.weight[n] @ x[b, t, n] + m.heard[n] @ h + m.bias[n]).split(3)
                i, f, o = i.exp(), f.sigmoid(), o.sigmoid()
                c, norm = f * c + i * z.tanh(), f * norm + i
                h = o * c / norm
                torch.testing.assert_close(y[b, t, n], h)
            torch.testing.assert_close(new["c"][b, n], c * torch.exp(-new["m"][b, n]))
            torch.testing.assert_close(new["n"][b, n], norm * torch.exp(-new["m"][b, n]))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [900.0, -900.0])
def test_large_gates_are_neither_overflow_nor_nothing(size, kind):
    m = memory().to(kind)
    m.bias.data[:, :3] = size
    y, new = m(torch.randn(2, 50, 2, 3, dtype=kind), m.initial_state(2))
    assert y.abs().max() <= 1  # which NaN is not
    assert all(t.isfinite().all() for t in new.values())
    y.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in m.parameters())
