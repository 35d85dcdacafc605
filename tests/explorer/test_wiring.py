"""What the page draws of a wiring: edges now and at the start, roles, signs and lags."""

import torch

import inn
from inn.explorer.wiring import wiring_of


def graph(**fields):
    return inn.Graph(neurons=6, width=4, rounds=1, **fields)


def test_where_all_hear_all_there_is_nothing_to_draw():
    assert wiring_of(graph()) is None
    assert wiring_of(graph(router="none")) is None
    assert wiring_of(torch.nn.Linear(2, 2)) is None


def test_roles_are_told_of_a_complete_graph_too():
    found = wiring_of(graph(topology_options={"sensors": [0, 1]}, readout_options={"read": [5]}))
    assert (found["sensors"], found["read"], found["number"], len(found["edges"])) == ([0, 1], [5], 36, 30)


def test_edges_that_moved():
    model = graph(topology="rewired", topology_options={"density": 0.5})
    assert wiring_of(model)["new"] is None
    lost = int(model.edge_sources[3, -1])
    model.edge_sources[3, -1] = new = next(n for n in range(6) if n not in model.edge_sources[3].tolist())
    found = wiring_of(model)
    assert found["gone"] == [[3, lost]]
    assert [edge for edge, is_new in zip(found["edges"], found["new"]) if is_new] == [[3, new]]


def test_signs_stand_beside_their_edges():
    edges = [[1, 0, -1], [2, 0, 1], [2, 1, -1]]
    found = wiring_of(graph(topology="edges", topology_options={"edges": edges}))
    assert list(zip(found["edges"], found["signs"])) == [([1, 0], -1), ([2, 0], 1), ([2, 1], -1)]


class Late(inn.Topology):
    """Everyone hears the neuron before, which takes two steps."""

    def edges(self, neurons):
        listed = inn.Edges.listed([[i, (i - 1) % neurons] for i in range(neurons)])
        return inn.Edges(listed.sources, listed.open, lags=torch.tensor([[0, 2]]).expand(neurons, 2).contiguous())


def test_lags_stand_beside_their_edges(monkeypatch):
    model = graph(topology="ring")
    present = type(model.topology)(Late(inn.Topology.Options(kind="late")).edges(6))
    monkeypatch.setattr(type(model), "topology", property(lambda _: present))
    found = wiring_of(model)
    assert found["lags"] == [2] * 6
    assert found["edges"][0] == [0, 5]


def test_of_a_large_graph_there_are_numbers_only():
    found = wiring_of(inn.Graph(neurons=300, width=2, rounds=1, topology="ring"))
    assert (found["number"], found["edges"]) == (900, None)
