"""The recurrent highway memory: the published recurrence written out; and the contract of a memory."""

from __future__ import annotations

import pytest
import torch

from inn.config.assemble import graph_config
from inn.nn.memory.rhn import RHN
from inn.system.errors import InputError
from inn.testing import check_memory


def test_it_keeps_the_contract():
    check_memory("rhn", depth=3, expand=2)


@pytest.mark.parametrize("depth", [1, 3])
def test_it_is_the_published_recurrence(depth):
    """h <- tanh(c) k + h (1 - k) in every layer; the input joins the first."""
    torch.manual_seed(0)
    options = {"memory": "rhn", "memory_options": {"depth": depth}}
    m = RHN(graph_config(neurons=2, width=3, rounds=1, router="none", **options)).double()
    torch.nn.init.normal_(m.bias)
    x, first = torch.randn(2, 5, 2, 3, dtype=torch.float64), torch.randn(2, 2, 3, dtype=torch.float64)
    y, new = m(x, {"h": first})
    for b in range(2):
        for n in range(2):
            h = first[b, n]
            for t in range(5):
                for layer in range(depth):
                    s = m.heard[n, layer] @ h + m.bias[n, layer]
                    s = s + m.in_proj.weight[n] @ x[b, t, n] if layer == 0 else s
                    c, k = s[:3], torch.sigmoid(s[3:] - 1)
                    h = torch.tanh(c) * k + h * (1 - k)
                torch.testing.assert_close(y[b, t, n], h)
            torch.testing.assert_close(new["h"][b, n], h)


def test_its_depth_is_checked():
    with pytest.raises(InputError, match="depth must be at least 1, not 0"):
        graph_config(memory="rhn", memory_options={"depth": 0})
