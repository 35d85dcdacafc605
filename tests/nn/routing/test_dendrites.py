"""Dendrites: the sum over edges they stand for, what an edge carries, and how they lead into the memory."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import inn
from inn.config.assemble import graph_config
from inn.nn.routing.dendrites import Dendrites
from inn.nn.tape import Tape
from inn.nn.topology.edges import Edges
from inn.ops import use_backend

N, D = 4, 6


def dendrites(**fields):
    torch.manual_seed(0)
    return Dendrites(graph_config(neurons=N, width=D, **fields)).double()


def inputs(batch=2, time=3):
    g = torch.Generator().manual_seed(1)
    return torch.randn(batch, time, N, D, generator=g, dtype=torch.float64)


def matrix(router, i, j):
    """R_ij, what leads from neuron j to neuron i."""
    return router.hear.weight[i, :, j * D : (j + 1) * D]


def by_edge(router, x, pairs, gate=None):
    """The message, edge after edge: each neuron i hears R_ij x_j from each j that an edge (i, j) leads to it from."""
    heard = torch.zeros(*x.shape[:3], router.hear.weight.shape[1], dtype=x.dtype)
    for i, j in pairs:
        factor = 1.0 if gate is None else gate[:, :, j, None]
        heard[:, :, i] = heard[:, :, i] + (factor * x[:, :, j]) @ matrix(router, i, j).T
    return heard


ALL = [(i, j) for i in range(N) for j in range(N)]


@pytest.mark.parametrize("weights", ["shared", "separate"])
@pytest.mark.parametrize("backend", ["torch", "reference"])
def test_equals_a_loop_over_edges(weights, backend):
    r = dendrites(weights=weights)
    with use_backend(backend):
        message, state = r(inputs())
    assert message.shape == (2, 3, N, r.hear.weight.shape[1])
    assert message.shape[-1] == graph_config(neurons=N, width=D).memory_inputs == 4 * D
    assert state == {}
    torch.testing.assert_close(message, by_edge(r, inputs(), ALL))


def test_the_kernels_give_the_same():
    r, x = dendrites(), inputs(3, 20)
    bar = r(x)[0]
    with use_backend("cpu"):
        ours = r.float()(x.float().permute(2, 0, 1, 3).contiguous().permute(1, 2, 0, 3))[0]
    torch.testing.assert_close(ours.double(), bar, rtol=1e-4, atol=1e-5)


def test_a_closed_edge_is_a_matrix_of_zeros():
    r, x = dendrites(), inputs()
    closed = [(0, 2), (3, 3), (1, 0)]
    cut = r(x, edges=Edges.complete(N).close(closed))[0]
    torch.testing.assert_close(cut, by_edge(r, x, [e for e in ALL if e not in closed]))
    torch.testing.assert_close(r(x, edges=Edges.complete(N))[0], r(x)[0])
    before = r.hear.weight.clone()
    with torch.no_grad():
        for i, j in closed:
            matrix(r, i, j).zero_()
    torch.testing.assert_close(cut, r(x)[0])
    assert not torch.equal(before, r.hear.weight)  # and the lesion itself had touched no weight


def test_a_gate_is_a_factor_on_what_a_neuron_sends():
    r, x = dendrites(), inputs()
    gate = torch.rand(2, 3, N, dtype=torch.float64)
    torch.testing.assert_close(r(x, gate=gate)[0], by_edge(r, x, ALL, gate))


@pytest.mark.parametrize("cut", [False, True])
def test_the_tape_sees_the_size_of_what_went_over_each_edge(cut):
    r, x = dendrites(), inputs()
    edges, gate = (Edges.complete(N).close([(1, 2)]), torch.rand(2, 3, N)) if cut else (None, None)
    tape = Tape(("routing",))
    r(x, edges=edges, gate=gate, tape=tape.at(0, None))
    sent = x if gate is None else x * gate[..., None]
    for i, j in ALL:
        size = (sent[:, :, j] @ matrix(r, i, j).T).square().sum(-1).mean().sqrt()
        expected = 0.0 * size if cut and (i, j) == (1, 2) else size
        torch.testing.assert_close(tape.mean("routing")[0, 0, i, j], expected)
    assert tape.connectivity().weights.shape == (1, N, N)


def test_gradients_reach_every_edge_and_every_sender():
    r, x = dendrites(), inputs().requires_grad_()
    weights = torch.randn(2, 3, N, 4 * D, dtype=torch.float64)
    ours = torch.autograd.grad((r(x)[0] * weights).sum(), [x, r.hear.weight])
    bar = torch.autograd.grad((by_edge(r, x, ALL) * weights).sum(), [x, r.hear.weight])
    for a, b in zip(ours, bar, strict=True):
        torch.testing.assert_close(a, b)
    assert torch.autograd.gradcheck(lambda x, w: torch.func.functional_call(r, {"hear.weight": w}, x)[0],
                                    (inputs(1, 2).requires_grad_(), r.hear.weight))  # fmt: skip


def test_flops_count_what_runs():
    r = dendrites().float()
    with use_backend("torch"), FlopCounterMode(display=False) as counter:
        r(inputs(1, 32).float())
    assert counter.get_total_flops() == 32 * sum(r.flops().values())
    assert sum(r.flops().values()) == 2 * N * N * D * 4 * D


def graph(**fields):
    torch.manual_seed(0)
    return inn.Graph(**{"neurons": N, "width": D, "rounds": 2, "state": 3, **fields}).double().eval()


def test_a_round_is_communication_then_memory():
    """x + M(R(LN x)): no norm of a router's own, no in-projection beside the matrices of the edges."""
    g = graph()
    only = g.rounds[0]
    assert only.router_norm is None
    assert only.memory.in_proj is None
    x = inputs()
    y, _, _ = only(x, only.initial_state(2))
    heard = by_edge(only.router, only.memory_norm(x), ALL)
    torch.testing.assert_close(y, x + only.memory(heard, only.memory.initial_state(2))[0])


def test_one_neuron_that_hears_itself_is_a_neuron_with_an_in_projection():
    hearing, alone = graph(neurons=1), graph(neurons=1, router="none")
    names = {"router.hear.weight": "memory.in_proj.weight"}
    weights = hearing.state_dict()
    for theirs, ours in names.items():
        for r in range(2):
            weights[f"rounds.{r}.{ours}"] = weights.pop(f"rounds.{r}.{theirs}")
    alone.load_state_dict(weights)
    x = torch.randn(2, 5, D, dtype=torch.float64)
    torch.testing.assert_close(hearing(x)[0], alone(x)[0])


def test_streaming_in_place_with_gates_is_one_pass():
    g = graph(gate="soft")
    x = torch.randn(2, 7, N, D, dtype=torch.float64)
    whole, last = g.run(x)
    state = g.initial_state(2)
    with torch.no_grad():
        steps = [g.run_(x[:, t : t + 1], state) for t in range(7)]
    torch.testing.assert_close(torch.cat(steps, 1), whole)
    for key in last:
        torch.testing.assert_close(state[key], last[key])


def test_a_neuron_that_hears_nobody_is_moved_by_nobody():
    g = graph()
    x = torch.randn(1, 6, N * D, dtype=torch.float64)
    changed = x.clone()
    changed[..., D:] += torch.randn(3 * D, dtype=torch.float64)
    deaf = Edges.complete(N).close([(0, j) for j in range(1, N)])
    assert torch.equal(g(x, edges=deaf)[0][..., :D], g(changed, edges=deaf)[0][..., :D])
    assert not torch.equal(g(x)[0][..., :D], g(changed)[0][..., :D])


def test_forms_of_a_message_that_comes_after_memory_are_refused():
    with pytest.raises(inn.InputError, match="no meaning with router 'dendrites'"):
        graph_config(update="parallel")


@pytest.mark.parametrize("fields", [
    {"weights": "separate"}, {"weights": "communal", "communal_states": 5},
    {"population": [{"neurons": 2, "memory": "mamba"}, {"neurons": 4, "memory": "gru"}]},
], ids=["separate", "communal", "mixed"])  # fmt: skip
def test_listed_edges_are_heard_as_through_the_maps(fields):
    """What hangs on a map is heard: it then gets what comes over all edges."""
    torch.manual_seed(0)
    ring = {"topology": "ring", "topology_options": {"neighbours": 2}}
    r = Dendrites(graph_config(**{"neurons": 6, "width": D, **ring, **fields})).double()
    sources = torch.tensor([[i, (i + 1) % 6, (i - 1) % 6] for i in range(6)])
    signs, x = torch.randint(2, (6, 3)) * 2 - 1, torch.randn(2, 3, 6, D, dtype=torch.float64)
    edges = Edges(sources, torch.rand(6, 3) < 0.7, signs)
    straight = r(x, edges=edges)[0]
    for m in r.hear if isinstance(r.hear, torch.nn.ModuleList) else [r.hear]:
        m.register_forward_hook(lambda *_: None)
    torch.testing.assert_close(straight, r(x, edges=edges)[0])
