"""Edges that take time: a source is heard as it was some steps ago, and nothing from before a reset."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import inn
import inn.testing
from inn.config.graph import GraphConfig
from inn.nn.topology.base import edges_of
from inn.registry import ROUTERS, TOPOLOGIES
from inn.system.errors import InputError

N, D, B, T = 5, 4, 2, 9
KINDS: list[dict[str, Any]] = [
    {"kind": "attention"},
    {"kind": "attention", "activation": "sigmoid"},
    {"kind": "attention", "activation": "stick"},
    {"kind": "attention", "sink": True},
    {"kind": "dendrites"},
    {"kind": "bus"},
    {"kind": "static"},
    {"kind": "mixing"},
]
LAGS = {"lags": [1, 3], "lag_seed": 1}


def config(router: Any, kind: str = "ring", **options: Any) -> GraphConfig:
    return GraphConfig(neurons=N, width=D, rounds=2, router=router, topology={"kind": kind, **options})


def made(router: Any, kind: str = "ring", **options: Any) -> Any:
    torch.manual_seed(0)
    r = ROUTERS[router["kind"]](config(router, kind, **options)).double()
    with torch.no_grad():  # what begins silent shows nothing
        for p in r.parameters():
            p.add_(torch.randn_like(p) * 0.3)
    return r


def draw(seed: int = 0, grad: bool = True) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    r = torch.Generator().manual_seed(seed)
    x = torch.randn(B, T, N, D, generator=r, dtype=torch.float64, requires_grad=grad)
    reset, mask = torch.rand(B, T, generator=r) < 0.2, torch.rand(B, T, generator=r) < 0.8
    return x, reset, mask, torch.rand(B, T, N, generator=r) < 0.7


def naive(plain: Any, x: Any, edges: inn.Edges, reset: Any, mask: Any, present: Any) -> torch.Tensor:
    """Stream by stream, step by step and neuron by neuron: a router without lags, given what each hears by then."""
    bare, rows = replace(edges, lags=None), []
    for b in range(B):
        past: list[tuple[Any, Any]] = []
        for t in range(T):
            past = [] if reset is not None and reset[b, t] else past
            now = [*past, (x[b, t], present[b, t])]
            row = []
            for i in range(N):
                given, is_open = x[b, t].clone(), edges.open.clone()
                for k, j in enumerate(edges.sources[i].tolist()):
                    lag = int(edges.lags[i, k])
                    came = lag < len(now) and bool(now[-1 - lag][1][j])
                    is_open[i, k] &= came
                    if edges.open[i, k] and came:
                        given = torch.where(torch.arange(N)[:, None] == j, now[-1 - lag][0][j], given)
                row.append(plain(given[None, None], edges=replace(bare, open=is_open))[0][0, 0, i])
            rows.append(torch.stack(row))
            past = now if mask is None or mask[b, t] else past
    return torch.stack(rows).unflatten(0, (B, T))


@pytest.mark.parametrize("router", KINDS, ids=str)
@pytest.mark.parametrize("told", ["nothing", "reset", "all"])
def test_a_plain_loop_hears_the_same_with_gradients(router, told):
    r, plain = made(router, **LAGS), made(router)
    edges = edges_of(config(router, **LAGS))
    assert r.lags == (0, 1, 2, 3)
    x, reset, mask, present = draw()
    reset, mask = (None if told == "nothing" else reset), (mask if told == "all" else None)
    present = present if told == "all" else torch.ones_like(present)
    options = {"present": present} if r.takes_present else {"gate": present.double()}
    y = r(x, r.initial_state(B), edges=edges, reset=reset, mask=mask, **options)[0]
    bar = naive(plain, x, edges, reset, mask, present)
    counts = torch.ones(B, T, dtype=torch.bool) if mask is None else mask
    close = (
        {"rtol": 1e-5, "atol": 1e-6} if router["kind"] == "static" else {"rtol": 1e-8, "atol": 1e-9}
    )  # 1/K in float32
    torch.testing.assert_close(y[counts], bar[counts], **close)
    weight = torch.randn_like(y) * counts[..., None, None]
    ours, theirs = (
        torch.autograd.grad((out * weight).sum(), [x, *m.parameters()]) for out, m in ((y, r), (bar, plain))
    )
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, **close)


@pytest.mark.parametrize("router", KINDS, ids=str)
def test_any_split_is_one_pass_with_the_gradient_through_the_state(router):
    r, (x, reset, mask, present) = made(router, **LAGS, lag_window=4), draw()
    edges, more = edges_of(config(router, **LAGS)), ({"present": present} if r.takes_present else {})
    first = {"past": torch.randn(B, N, 4, r.carries() + 1, dtype=torch.float64).abs().requires_grad_()}
    kept = first["past"].detach().clone()

    def run(cuts: list[int]) -> list[torch.Tensor]:
        state, parts = first, []
        for a, b in zip([0, *cuts], [*cuts, T]):
            now = {name: v[:, a:b] for name, v in {"reset": reset, "mask": mask, **more}.items()}
            y, state = r(x[:, a:b], state, edges=edges, **now)
            parts.append(y)
        y = torch.cat(parts, 1)[mask]
        return [y, state["past"], *torch.autograd.grad(y.square().sum() + state["past"].sum(), [x, first["past"]])]

    bar = run([])
    for cuts in ([4], [1, 2, 7], list(range(1, T))):
        for ours, theirs in zip(run(cuts), bar):
            torch.testing.assert_close(ours, theirs)
    assert torch.equal(first["past"], kept)


class Same(inn.Topology):
    """Everyone hears everyone, itself included, after two steps."""

    def edges(self, neurons: int) -> inn.Edges:
        edges = inn.Edges.complete(neurons)
        return replace(edges, lags=torch.full_like(edges.sources, 2))


class AtOnce(Same):
    def edges(self, neurons: int) -> inn.Edges:
        return replace(super().edges(neurons), lags=torch.zeros(neurons, neurons, dtype=torch.long))


@pytest.mark.parametrize("router", [{"kind": "bus"}, {"kind": "dendrites"}, {"kind": "mixing"}], ids=str)
def test_one_lag_for_all_is_the_router_without_fed_later(router):
    with TOPOLOGIES.lent("same", Same):
        r, edges, (x, *_) = made(router, "same"), edges_of(config(router, "same")), draw(grad=False)
        y = r(x, r.initial_state(B), edges=edges)[0]
        plain = r.__class__(config(router)).double() if False else made(router, "same")
        plain.lags = ()
        late = plain(x, edges=replace(edges, lags=None))[0].roll(2, 1)
        torch.testing.assert_close(y[:, 2:], late[:, 2:])


@pytest.mark.parametrize("router", KINDS, ids=str)
def test_lags_of_nothing_are_none_bit_for_bit(router):
    with TOPOLOGIES.lent("at-once", AtOnce):
        r, (x, *_) = made(router, "at-once"), draw(grad=False)
        edges = edges_of(config(router, "at-once"))
        assert edges is not None
        assert r.initial_state(B) == {}
        assert torch.equal(r(x, edges=edges)[0], r(x, edges=replace(edges, lags=None))[0])
    zero, none = (inn.Graph(config(router, **o)) for o in ({"lags": [0]}, {}))
    zero.load_state_dict(none.state_dict())
    assert torch.equal(zero(torch.ones(1, 3, N * D))[0], none(torch.ones(1, 3, N * D))[0])


@pytest.mark.parametrize("router", ["attention", "dendrites", "bus", "static", "mixing"])
def test_a_graph_is_split_reset_masked_and_packed(router):
    graph = inn.Graph(config({"kind": router}, **LAGS)).double()
    with torch.no_grad():
        for p in graph.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    x, reset, mask, present = draw(grad=False)
    x = x.flatten(2)
    y, state = graph(x, reset=reset, mask=mask, present=present)
    assert [*state[1, "past"].shape[:3]] == [B, N, 3]
    first = graph(x[:, :4], reset=reset[:, :4], mask=mask[:, :4], present=present[:, :4])
    rest, after = graph(x[:, 4:], first[1], reset=reset[:, 4:], mask=mask[:, 4:], present=present[:, 4:])
    torch.testing.assert_close(torch.cat((first[0], rest), 1)[mask], y[mask])
    for key, part in after.items():
        torch.testing.assert_close(part, state[key])
    few = present & (torch.arange(T)[:, None] % 2 == 0)  # packed; step by step nothing is
    y, state = graph(x, present=few)[0], graph.initial_state(B)
    for t in range(T):
        step, state = graph(x[:, t : t + 1], state, present=few[:, t : t + 1])
        torch.testing.assert_close(step[:, 0], y[:, t])
    cut = graph.edges.close([(0, 1)])
    torch.testing.assert_close(graph(x, edges=inn.Edges.complete(N))[0], graph(x)[0])
    assert not torch.equal(graph(x, edges=cut)[0], graph(x)[0])


def test_the_contract_holds():
    inn.testing.check_topology("ring", **LAGS)


def test_writing_goes_on_where_reading_ended():
    torch.manual_seed(0)
    model = inn.INN(vocab=7, neurons=N, width=D, rounds=2, topology="ring", topology_options=LAGS).eval()
    tokens = torch.randint(7, (B, T))
    bar, _ = model(tokens)
    state, steps = model.initial_state(B), []
    for t in range(T):
        logits, state = model.step_(tokens[:, t], state)
        steps.append(logits)
    torch.testing.assert_close(torch.stack(steps, 1), bar, rtol=1e-4, atol=1e-5)
    again = inn.INN(model.config)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.graph.edges.lags, model.graph.edges.lags)
    picked = state.select_batch([1]).select_neurons([2, 0])
    assert torch.equal(picked[0, "past"], state[0, "past"][1:, [2, 0]])


@pytest.mark.parametrize("router", [k for k in KINDS if k.get("activation") != "stick"], ids=str)
def test_what_went_over_an_edge_is_recorded_at_its_own_place(router):
    graph = inn.Graph(config(router, **LAGS))
    with torch.no_grad(), inn.record(graph, "routing") as tape:
        for p in graph.parameters():
            p.add_(torch.randn_like(p) * 0.3)
        graph(torch.randn(B, T, N * D))
    found = tape.connectivity().weights
    assert [*found.shape] == [2, N, N]
    assert torch.equal(found != 0, graph.edges.dense().expand(2, -1, -1))


class Step(nn.Module):
    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, tokens: Any, state: Any) -> Any:
        return self.model.step(tokens, state)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("router", [pytest.param("attention", marks=pytest.mark.slow), "dendrites"])
def test_it_is_compiled_and_exported(router):
    torch.compiler.reset()
    torch.manual_seed(0)
    options = {"topology": "ring", "topology_options": LAGS, "router": router, "recall": []}
    model = inn.INN(vocab=7, neurons=N, width=D, rounds=1, **options).eval()
    tokens = torch.randint(7, (B, T))
    run = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(run(tokens)[0], model(tokens)[0], rtol=1e-4, atol=1e-5)
    file, state = io.BytesIO(), model(tokens)[1]
    torch.export.save(torch.export.export(Step(model), (tokens[:, 0], state)), file)
    file.seek(0)
    ours, after = torch.export.load(file).module()(tokens[:, 1], state)
    bar, there = model.step(tokens[:, 1], state)
    torch.testing.assert_close(ours, bar, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after[0, "past"], there[0, "past"])


def test_lags_of_a_file_of_a_list_and_of_a_graph(tmp_path):
    networkx = pytest.importorskip("networkx")
    path = tmp_path / "edges.csv"
    path.write_text("to,from,lag\n0,1,2\n1,0,0\n2,4,3\n")
    listed = [[0, 1, 1, 2], [1, 0, 1, 0], [2, 4, 1, 3]]
    found = [config({"kind": "bus"}, "file", path=str(path)), config({"kind": "bus"}, "edges", edges=listed)]
    like = networkx.DiGraph()
    like.add_nodes_from(range(N))
    like.add_edges_from([(1, 0, {"lag": 2}), (0, 1), (4, 2, {"lag": 3})])
    found.append(GraphConfig(neurons=N, width=D, router="bus", topology=inn.Topology.from_graph(like)))
    for c in found:
        edges = edges_of(c)
        assert edges is not None
        assert edges.lags is not None
        lags = {(i, int(edges.sources[i, k])): int(edges.lags[i, k]) for i, k in edges.open.nonzero().tolist()}
        assert lags == {**{(i, i): 0 for i in range(N)}, (0, 1): 2, (1, 0): 0, (2, 4): 3}


@pytest.mark.parametrize(
    "router, options, said",
    [
        ({"kind": "workspace"}, LAGS, "lags of edges, which router 'workspace' does not know of"),
        ({"kind": "mixture"}, LAGS, "lags of edges, which router 'mixture' does not know of"),
        ({"kind": "bus", "lag": 1}, LAGS, "with lag 1 hears the step before"),
        ({"kind": "bus"}, {"lags": [1, 9], "lag_window": 4}, "a lag of 9 steps is above lag_window 4"),
        ({"kind": "bus"}, {"lags": [5000]}, "a lag is at most 4096 steps, not 5000"),
        ({"kind": "bus"}, {"lags": [3, 1]}, r"lags must be \[steps\] or \[from, to\]"),
        ({"kind": "bus"}, {"lags": [-1]}, r"lags must be \[steps\] or \[from, to\]"),
        ({"kind": "bus"}, {"lag_window": 4}, "lag_window 4 is of edges with lags, and none has one"),
        ({"kind": "bus"}, {"lags": [2], "lag_seed": 3}, "lag_seed 3 is of a range to draw from"),
        ({"kind": "bus"}, {"kind": "edges", "edges": [[0, 1, 1, -2]]}, "must have a lag of 0 or more steps"),
        ({"kind": "bus"}, {"kind": "edges", "edges": [[0, 1, 1, 2]], "lags": [1]}, "both say how long edges take"),
        ({"kind": "bus"}, {"kind": "edges", "edges": [[0, 1, 1, 9]], "lag_window": 4}, "above lag_window 4"),
    ],
)
def test_refused(router, options, said):
    with pytest.raises(InputError, match=said):
        inn.Graph(config(router, **options))
