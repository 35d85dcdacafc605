"""Edges of one class share a weight of a sign that it keeps, from a file to a circuit; and what is none is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

import inn
from inn.config.parts import plain
from inn.nn.topology.base import edges_of
from inn.nn.topology.options import FileOptions
from inn.system.errors import InputError
from inn.testing import check_inner, check_router, check_topology

EDGES = [[0, 1, 1], [1, 2, -1], [2, 0, 1], [3, 2, 0], [0, 3, 1]]
CLASSES = ["out", "back", "out", "free", "in"]
TOPOLOGY = {"kind": "edges", "edges": EDGES, "classes": CLASSES, "itself": False}


def circuit(rounds=2, **router):
    torch.manual_seed(0)
    return inn.Graph(
        neurons=4, width=3, rounds=rounds, share_rounds=True, topology=TOPOLOGY, weights="shared", norm="none",
        memory={"kind": "none", "expand": 0}, inner={"kind": "clip", "lower": -0.5, "upper": 2.0},
        router={"kind": "mixing", "maps": False, **router},
    ).double()  # fmt: skip


def loop(weights, x, rounds=2):
    """What the circuit computes, edge by edge."""
    held = {"out": max(weights[0], 0.0), "back": min(weights[1], 0.0), "free": weights[2], "in": max(weights[3], 0.0)}
    for _ in range(rounds):
        heard = torch.zeros_like(x)
        for (to, source, _), name in zip(EDGES, CLASSES, strict=True):
            heard[..., to, :] += held[name] * x[..., source, :]
        x = (x + heard).clamp(-0.5, 2.0)
    return x


@pytest.mark.parametrize("weights", [[1.0, -1.0, 1.0, 1.0], [-0.7, 0.4, -0.3, 0.2], [0.3, -0.2, 0.1, -4.0]])
def test_a_circuit_is_its_formula_and_has_a_number_for_each_class(weights):
    graph, x = circuit(), torch.randn(2, 5, 12, dtype=torch.float64)
    assert [p.numel() for p in graph.parameters()] == [4]
    with torch.no_grad():
        graph.round(0).router.weights.copy_(torch.tensor(weights))
    torch.testing.assert_close(graph(x)[0].unflatten(-1, (4, 3)), loop(weights, x.unflatten(-1, (4, 3))))
    graph(x)[0].sum().backward()
    out = [w < 0 if limit > 0 else w > 0 for w, limit in zip(weights, (1, -1, 0, 1), strict=True)]
    gradient = graph.round(0).router.weights.grad
    assert not any(gradient[c] for c in range(4) if out[c] and c != 2)  # out of its half a weight is 0, and stays


def test_where_weights_start():
    assert circuit().round(0).router.weights.tolist() == [1.0, -1.0, 1.0, 1.0]
    drawn = torch.stack([torch.tensor(circuit(class_start="uniform").round(0).router.limits)])
    assert drawn.tolist() == [[1, -1, 0, 1]]
    torch.manual_seed(0)
    router = circuit(class_start="uniform").round(0).router
    found = []
    for _ in range(40):
        router.reset_parameters()
        found.append(router.weights.detach().clone())
    low, high = torch.stack(found).amin(0), torch.stack(found).amax(0)
    assert low[0] >= 0
    assert low[3] >= 0
    assert high[1] <= 0
    assert high[0] <= 1
    assert low[2] < -0.3
    assert high[2] > 0.3


def test_saved_exported_recorded_and_with_a_lesion():
    graph, x = circuit(), torch.randn(1, 2, 12, dtype=torch.float64)
    with torch.no_grad():
        graph.round(0).router.weights.copy_(torch.tensor([0.5, -0.25, 2.0, -1.0]))
    bar = graph(x)[0]
    other = circuit(class_start="uniform")
    other.load_state_dict(graph.state_dict())
    assert torch.equal(other(x)[0], bar)
    again = inn.Graph(inn.graph_config(**plain(graph.config))).double()
    again.load_state_dict(graph.state_dict())
    assert torch.equal(again(x)[0], bar)
    file = io.BytesIO()
    torch.export.save(torch.export.export(graph, (x,)), file)
    file.seek(0)
    torch.testing.assert_close(torch.export.load(file).module()(x)[0], bar)
    with inn.record(graph, "routing") as tape:
        graph(x)
    bar = torch.tensor([[0, 0.5, 0, 0], [0, 0, -0.25, 0], [0.5, 0, 0, 0], [0, 0, 2, 0]], dtype=torch.float64)
    torch.testing.assert_close(tape.mean("routing")[0, 0].double(), bar)
    changed = x.clone()
    changed[..., 6:9] += 0.1  # of neuron 2
    with inn.analysis.cut(graph, [(1, 2), (3, 2)]):
        moved = (graph(x)[0] - graph(changed)[0]).unflatten(-1, (4, 3))
    assert not moved[:, :, [0, 1, 3]].any()


def test_contracts():
    check_inner("clip", lower=-1.0)
    check_router("mixing", maps=False)
    check_topology("edges", edges=[[0, 1], [1, 2], [3, 0]])
    assert edges_of(inn.graph_config(neurons=4, router="mixing", topology=TOPOLOGY)).limits.tolist() == [1, -1, 0, 1]


def test_maps_may_be_left_out_and_norms():
    x = torch.randn(2, 3, 4 * 6)
    plainer = inn.Graph(neurons=4, width=6, rounds=1, norm="none", router="mixing", router_options={"maps": False})
    assert not [n for n, _ in plainer.named_parameters() if "norm" in n or ".value" in n or ".out." in n]
    assert plainer(x)[0].shape == (2, 3, 24)
    there = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0)) > 0.6  # few: packed
    alone = plainer(x.unflatten(-1, (4, 6)).masked_fill(~there[..., None], 0).flatten(2), present=there)[0]
    torch.testing.assert_close(torch.cat([plainer(x[b : b + 1], present=there[b : b + 1])[0] for b in (0, 1)]), alone)
    lagged = inn.Graph(neurons=4, width=6, rounds=1, norm="none", router={"kind": "mixing", "lag": 1})
    y, _ = lagged(x)
    torch.testing.assert_close(lagged(x[:, 2:], lagged(x[:, :2])[1])[0], y[:, 2:])
    assert inn.INN(vocab=9, neurons=2, width=4, rounds=1, norm="none")(torch.zeros(1, 3).long())[0].isfinite().all()


def test_classes_are_read_from_files(tmp_path):
    csv = tmp_path / "edges.csv"
    lines = [f"{to},{source},{name},{sign}" for (to, source, sign), name in zip(EDGES, CLASSES, strict=True)]
    csv.write_text("\n".join(["to,from,class,sign", *lines]))
    np.savez(tmp_path / "edges.npz", edges=EDGES, classes=CLASSES)
    for name in ("edges.csv", "edges.npz"):
        found = FileOptions(path=str(tmp_path / name), itself=False)
        assert (found.edges, found.classes) == (EDGES, CLASSES)
    csv.write_text("to,from,class\n0,1,a\n1,0,a\n")
    assert FileOptions(path=str(csv), itself=False).limits() == {"a": 0}


def test_a_file_may_have_signs_lags_and_classes_in_any_order(tmp_path):
    path = tmp_path / "edges.csv"
    path.write_text("to,from,lag,class,sign\n0,1,2,a,-1\n1,0,0,b,1\n")
    found = FileOptions(path=str(path), itself=False)
    assert (found.edges, found.classes) == ([[0, 1, -1, 2], [1, 0, 1, 0]], ["a", "b"])
    topology = {"kind": "file", "path": str(path), "itself": False}
    edges = edges_of(inn.Graph(neurons=2, width=4, topology=topology, router="mixing").config)
    assert (edges.lags.tolist(), edges.classes.tolist(), edges.limits.tolist()) == ([[2], [0]], [[0], [1]], [-1, 1])
    path.write_text("to,from,class,lag\n0,1,a,2\n")
    assert FileOptions(path=str(path), itself=False).edges == [[0, 1, 0, 2]]
    path.write_text("to,from,lag\n0,1,2\n")
    assert FileOptions(path=str(path)).edges == [[0, 1, 1, 2]]


@pytest.mark.parametrize(("text", "sentence"), [
    ("to,from,weight\n0,1,2\n", "its header is to,from,weight, not to,from and after them, if at all"),
    ("to,from,sign,class\n0,1,2,a\n", "a sign is 1, -1 or 0 \\(any\\)"),
    ("to,from,sign\n0,1,0\n", "a sign is 1 or -1"),
    ("to,from,class\n0,1,a\n1,0,\n", "edge \\[1, 0\\] has no class; name one for every edge, or for none"),
    ("to,from,class\n0,1,a\n1,0\n", "line 3 has 2 cells under 3 headings"),
    ("to,from,sign,class\n0,1,1,a\n1,0,-1,a\n", "class 'a' has edges of sign 1 and of sign -1, .* name two classes"),
])  # fmt: skip
def test_what_is_no_file_of_classes_is_refused(text, sentence, tmp_path):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(InputError, match=sentence):
        FileOptions(path=str(tmp_path / "bad.csv"), itself=False)


@pytest.mark.parametrize(("fields", "sentence"), [
    ({"topology": {**TOPOLOGY, "itself": True}}, "of no class; list those that are to be, and set itself false"),
    ({"topology": {**TOPOLOGY, "classes": ["a"]}}, "there are 5 edges, and edge \\[1, 2, -1\\] has no class"),
    ({"router": "attention"}, "has classes of edges, which router 'attention' does not know of; use router mixing"),
    ({"router": "static"}, "has classes of edges, which router 'static' does not know of"),
    ({"router": "dendrites"}, "has classes of edges, which router 'dendrites' does not know of"),
    ({"topology": "ring", "router": {"kind": "mixing", "class_start": "uniform"}}, "does nothing without classes"),
    ({"router": {"kind": "mixing", "maps": False, "zero_start": False}}, "zero_start does nothing with maps False"),
    ({"topology": "ring", "router": "dendrites", "memory": {"kind": "none", "expand": 0}}, "takes nothing in"),
    ({"inner": {"kind": "clip", "lower": 1.0}}, "lower 1.0 must be below upper 1.0"),
])  # fmt: skip
def test_what_cannot_be_is_refused(fields, sentence):
    with pytest.raises(InputError, match=sentence):
        inn.Graph(**{"neurons": 4, "width": 4, "topology": TOPOLOGY, "router": "mixing", **fields})
