"""The LSTM memory: PyTorch's own cell, neuron by neuron; the forget gate's start; and the contract of a memory."""

from __future__ import annotations

import pytest
import torch

from inn.config.assemble import graph_config
from inn.nn.memory.lstm import LSTM
from inn.testing import check_memory


def memory(**fields) -> LSTM:
    torch.manual_seed(0)
    return LSTM(graph_config(**{"neurons": 3, "width": 5, "rounds": 1, "memory": "lstm", "router": "none", **fields}))


def test_it_keeps_the_contract():
    check_memory("lstm", expand=2)


@pytest.mark.parametrize("weights", ["shared", "separate"])
def test_it_is_the_cell_of_pytorch(weights):
    m = memory(weights=weights).double()
    torch.nn.init.normal_(m.bias)
    x, h, c = (torch.randn(2, *t, 3, 5, dtype=torch.float64) for t in ([6], [], []))
    y, new = m(x, {"h": h, "c": c})
    for n in range(3):
        p, cell, own = 0 if weights == "shared" else n, torch.nn.LSTMCell(5, 5, dtype=torch.float64), (h[:, n], c[:, n])
        with torch.no_grad():
            cell.weight_ih.copy_(m.in_proj.weight[p])
            cell.bias_ih.copy_(m.bias[p])
            cell.weight_hh.copy_(m.heard[p])
            cell.bias_hh.zero_()
        for t in range(6):
            own = cell(x[:, t, n], own)
            torch.testing.assert_close(y[:, t, n], own[0])
        torch.testing.assert_close((new["h"][:, n], new["c"][:, n]), own)


def test_its_forget_gate_starts_where_the_option_says():
    for forget in (1.0, -2.5):
        m = memory(memory_options={"forget": forget})
        m.bias.data.normal_()
        m.reset_parameters()
        assert m.bias.unflatten(1, (4, 5))[0, :, 0].tolist() == [0, forget, 0, 0]
        assert m.bias.unique().numel() == 2
