"""The star: who hears whom, its contract, and that a change reaches another spoke by way of the hub only."""

import pytest
import torch

import inn
from inn.nn.topology.base import edges_of
from inn.system.errors import InputError
from inn.testing import check_topology


def test_hubs_hear_all_and_all_hear_them():
    check_topology("hub", hubs=2)
    edges = edges_of(inn.graph_config(neurons=5, topology="hub", topology_options={"hubs": 2}))
    assert edges.dense().int().tolist() == [
        [1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1],
        [1, 1, 1, 0, 0],
        [1, 1, 0, 1, 0],
        [1, 1, 0, 0, 1],
    ]
    with pytest.raises(InputError, match="hubs 5 needs more neurons, not 5; lower hubs"):
        inn.graph_config(neurons=5, topology="hub", topology_options={"hubs": 5})


def test_a_spoke_hears_another_through_the_hub_a_step_later():
    torch.manual_seed(0)
    options = {"lag": 1, "zero_start": False, "top": 4}
    graph = inn.Graph(neurons=4, width=8, rounds=1, topology="hub", router="mixture", router_options=options).eval()
    x = torch.randn(1, 4, 32)
    changed = x.clone()
    changed[:, 0, 8:16] *= -2  # what neuron 1 reads at the first step
    with torch.no_grad():
        moved = (graph(x)[0] - graph(changed)[0]).abs().unflatten(-1, (4, 8)).amax(-1)[0]
    assert moved[1, 0] > 1e-6  # the hub, a step later
    assert bool((moved[:2, 2:] == 0).all())
    assert bool((moved[2, 2:] > 1e-7).all())
