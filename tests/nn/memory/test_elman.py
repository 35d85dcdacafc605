"""The Elman memory: PyTorch's own cell, neuron by neuron; and the contract of a memory."""

from __future__ import annotations

import pytest
import torch

from inn.config.assemble import graph_config
from inn.nn.memory.elman import Elman
from inn.testing import check_memory


def test_it_keeps_the_contract():
    check_memory("elman", expand=2)


@pytest.mark.parametrize("weights", ["shared", "separate"])
def test_it_is_the_cell_of_pytorch(weights):
    torch.manual_seed(0)
    memory = Elman(graph_config(neurons=3, width=5, rounds=1, memory="elman", router="none", weights=weights)).double()
    torch.nn.init.normal_(memory.bias)
    x, h = torch.randn(2, 6, 3, 5, dtype=torch.float64), torch.randn(2, 3, 5, dtype=torch.float64)
    y, new = memory(x, {"h": h})
    for n in range(3):
        p, cell, own = 0 if weights == "shared" else n, torch.nn.RNNCell(5, 5, dtype=torch.float64), h[:, n]
        with torch.no_grad():
            cell.weight_ih.copy_(memory.in_proj.weight[p])
            cell.bias_ih.copy_(memory.bias[p])
            cell.weight_hh.copy_(memory.heard[p])
            cell.bias_hh.zero_()
        for t in range(6):
            own = cell(x[:, t, n], own)
            torch.testing.assert_close(y[:, t, n], own)
        torch.testing.assert_close(new["h"][:, n], own)
