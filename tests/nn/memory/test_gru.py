"""The GRU memory: PyTorch's own cell, neuron by neuron; and the contract of a memory."""

from __future__ import annotations

import pytest
import torch

from inn.config.assemble import graph_config
from inn.nn.memory.gru import GRU
from inn.testing import check_memory


@pytest.mark.parametrize("expand", [1, 2])
def test_it_keeps_the_contract(expand):
    check_memory("gru", expand=expand)


@pytest.mark.parametrize("weights", ["shared", "separate"])
def test_it_is_the_cell_of_pytorch(weights):
    torch.manual_seed(0)
    config = graph_config(neurons=3, width=5, rounds=1, memory="gru", router="none", weights=weights)
    memory = GRU(config).double()
    for p in memory.parameters():
        torch.nn.init.normal_(p)
    x = torch.randn(2, 6, 3, 5, dtype=torch.float64)
    state = {"h": torch.randn(2, 3, 5, dtype=torch.float64)}
    y, new = memory(x, state)
    for n in range(3):
        p = 0 if weights == "shared" else n
        cell = torch.nn.GRUCell(5, 5, dtype=torch.float64)
        with torch.no_grad():
            cell.weight_ih.copy_(memory.in_proj.weight[p])
            cell.bias_ih.copy_(memory.bias[p])
            cell.weight_hh.copy_(memory.heard[p])
            cell.bias_hh.zero_()[10:].copy_(memory.new_bias[p])
        h = state["h"][:, n]
        for t in range(6):
            h = cell(x[:, t, n], h)
            torch.testing.assert_close(y[:, t, n], h)
        torch.testing.assert_close(new["h"][:, n], h)
