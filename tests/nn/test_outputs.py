"""A graph inside nn.Sequential, and the last step that counts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inn import Graph, Last, Outputs


@pytest.mark.parametrize("fields", [{}, {"input": "copy"}, {"readout": "mean"}])
def test_a_graph_inside_a_sequential_model(fields):
    torch.manual_seed(0)
    graph = Graph(neurons=3, width=4, rounds=1, **fields)
    x = torch.randn(2, 6, 5)
    model = nn.Sequential(nn.Linear(5, graph.in_features), Outputs(graph), nn.Linear(graph.out_features, 2))
    expected = model[2](graph(model[0](x))[0])
    torch.testing.assert_close(model(x), expected)


def test_the_last_step_that_counts():
    torch.manual_seed(0)
    graph = Graph(neurons=3, width=4, rounds=1)
    x = torch.randn(4, 6, 12)
    mask = torch.ones(4, 6, dtype=torch.bool)
    mask[1, 3:] = mask[2, :2] = mask[3] = False  # padded on the right, on the left, and nothing but padding
    y = Last(graph)(x, mask=mask)
    alone = [graph(x[:1])[0][:, -1], graph(x[1:2, :3])[0][:, -1], graph(x[2:3, 2:])[0][:, -1], torch.zeros(1, 12)]
    torch.testing.assert_close(y, torch.cat(alone))
    torch.testing.assert_close(Last(graph)(x), graph(x)[0][:, -1])


def test_an_lstm_fits_too():
    assert Last(nn.LSTM(3, 4, batch_first=True))(torch.randn(2, 5, 3)).shape == (2, 4)
