"""The graph as a layer: contract of the state, causality, every option."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inn import Edges, Graph, InputError
from inn.config.assemble import drafted, graph_config
from inn.config.graph import GraphConfig

SMALL = {"neurons": 3, "width": 8, "rounds": 2, "state": 4, "heads": 2, "bus_width": 4, "zero_start": False}
FORMS = [
    {},
    {"weights": "shared", "input": "copy", "readout": "mean", "identity": "embedding", "identity_std": 1.0},
    {"share_rounds": True, "rounds": 3, "readout": "attention"},
    {"router": "bus", "gate": "soft"},
    {"router": "mixing", "update": "parallel", "gate": "hard"},
    {"router": "static", "update": "message-norm"},
    {"router": "none", "timescales": "spread"},
    {"router": "attention", "qk_norm": True, "update": "parallel", "input": "copy"},
    {"router": "attention"},
    {"gate": "hard", "share_rounds": True, "weights": "shared"},
    {"residual": "input"},
    {"router": "attention", "residual": "learned", "update": "message-norm"},
]


def config(**fields):
    """Of `SMALL`, the options that the chosen kinds have."""
    return GraphConfig(**drafted(GraphConfig, {**SMALL, **fields}, lenient=True).tree)


def graph(**fields):
    torch.manual_seed(0)
    return Graph(config(**fields)).double().eval()


@pytest.mark.parametrize("fields", FORMS, ids=str)
@given(data=st.data())
def test_any_split_equals_one_pass_with_gradients_through_the_state(fields, data):
    g = graph(**fields)
    lengths = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    torch.manual_seed(data.draw(st.integers(0, 99)))
    time = sum(lengths)
    x = torch.randn(2, time, g.config.input_width, dtype=torch.float64, requires_grad=True)
    reset, mask = torch.rand(2, time) < 0.2, torch.rand(2, time) < 0.7

    def run(cuts):
        state, ys, start = None, [], 0
        for n in cuts:
            at = slice(start, start + n)
            y, state = g(x[:, at], state, reset=reset[:, at], mask=mask[:, at])
            ys.append(y)
            start += n
        y = torch.cat(ys, dim=1) * mask[:, :, None]
        loss = y.square().sum() + sum(v.sin().sum() for v in state.values())
        return [y, *state.values(), torch.autograd.grad(loss, x)[0]]

    for ours, bar in zip(run(lengths), run([time]), strict=True):
        torch.testing.assert_close(ours, bar, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("fields", FORMS, ids=str)
def test_the_future_changes_nothing(fields):
    g = graph(**fields)
    x = torch.randn(1, 8, g.config.input_width, dtype=torch.float64)
    changed = x.clone()
    changed[:, 5] += torch.randn_like(x[:, 5])  # not a constant, which a norm takes out
    y, z = g(x)[0], g(changed)[0]
    torch.testing.assert_close(y[:, :5], z[:, :5], rtol=0, atol=0)
    assert (y[:, 5:] - z[:, 5:]).abs().amax(-1).min() > 0


def test_padding_on_the_left_changes_nothing():
    g = graph()
    x = torch.randn(1, 6, 24, dtype=torch.float64)
    padded = torch.cat((torch.randn(1, 3, 24, dtype=torch.float64), x), dim=1)
    mask = torch.tensor([[False] * 3 + [True] * 6])
    y, state = g(padded, mask=mask)
    alone, last = g(x)
    torch.testing.assert_close(y[:, 3:], alone)
    for key in last:
        torch.testing.assert_close(state[key], last[key])


def test_shared_rounds_share_weights_and_not_states():
    g, stack = graph(share_rounds=True, rounds=3), graph(rounds=3)
    assert 3 * sum(p.numel() for p in g.rounds.parameters()) == sum(p.numel() for p in stack.rounds.parameters())
    _, state = g(torch.randn(1, 4, 24, dtype=torch.float64))
    assert {r for r, _ in state} == {0, 1, 2}
    assert not torch.equal(state[0, "ssm"], state[1, "ssm"])


def test_a_population_of_separate_neurons_without_router_is_neurons_side_by_side():
    g = graph(router="none")
    x = torch.randn(2, 5, 24, dtype=torch.float64)
    y = g(x)[0].unflatten(-1, (3, 8))
    for n in range(3):
        one = graph(router="none", neurons=1)
        one.load_state_dict({k: v[n : n + 1] if v.ndim and v.shape[0] == 3 else v for k, v in g.state_dict().items()})
        torch.testing.assert_close(one(x[..., 8 * n : 8 * n + 8])[0], y[:, :, n])


@pytest.mark.parametrize("router", ["dendrites", "attention"])
def test_closed_edges_cut_neurons_off(router):
    g = graph(router=router)
    silent = Edges.complete(3).close([(0, 1), (0, 2)])
    x = torch.randn(1, 6, 24, dtype=torch.float64)
    changed = x.clone()
    changed[..., 8:] += 1  # what neurons 1 and 2 receive
    assert torch.equal(g(x, edges=silent)[0][..., :8], g(changed, edges=silent)[0][..., :8])
    assert not torch.equal(g(x)[0][..., :8], g(changed)[0][..., :8])


def test_message_forms_start_silent():
    """With zero_start, adding attention in any form changes nothing at first."""
    x = torch.randn(1, 5, 24)
    for update in ("sequential", "parallel", "message-norm"):
        torch.manual_seed(3)
        g = Graph(config(router="attention", zero_start=True, update=update)).eval()
        loud = g(x)[0]
        for r in g.rounds:
            r.router = None
        torch.testing.assert_close(g(x)[0], loud, rtol=0, atol=0)


@pytest.mark.parametrize("fields", [{"update": u} for u in ("sequential", "parallel", "message-norm")], ids=str)
def test_dropout_is_on_what_is_remembered_and_on_what_is_heard(fields):
    g = graph(router="attention", dropout=0.5, rounds=1, **fields).train()
    x = torch.randn(1, 5, 3, 8, dtype=torch.float64)
    state = g.rounds[0].initial_state(1)
    assert not torch.equal(g.rounds[0](x, state)[0], x)
    g.rounds[0].dropout.p = 1.0  # all is dropped
    torch.testing.assert_close(g.rounds[0](x, state)[0], x, rtol=0, atol=0)


def test_attention_reads_out_by_scaled_products():
    g = graph(readout="attention")
    x, query = torch.randn(2, 5, 3, 8, dtype=torch.float64), torch.randn(8, dtype=torch.float64)
    with torch.no_grad():
        g.readout.query.copy_(query)
    logits = torch.stack([(x[:, :, n] * query).sum(-1) / 8**0.5 for n in range(3)], -1)
    expected = sum(logits.softmax(-1)[..., n, None] * x[:, :, n] for n in range(3))
    torch.testing.assert_close(g.readout(x), expected)


def test_gate_penalty_is_the_mean_gate():
    g = Graph(config(gate="soft", gate_penalty=0.5))
    x = torch.randn(1, 4, 24)
    _, state = g(x)
    assert state.penalties["gate"].item() == pytest.approx(0.5 * torch.sigmoid(torch.tensor(2.0)).item())
    assert state.detach().penalties == g.eval()(x)[1].penalties == Graph(config())(x)[1].penalties == {}


def test_a_router_that_feeds_the_next_step_makes_the_graph_step(monkeypatch):
    g = graph()
    x = torch.randn(1, 5, 24, dtype=torch.float64)
    expected, _ = g(x)
    monkeypatch.setattr(type(g.rounds[0].router), "parallel_in_time", False)
    seen = []
    g.rounds[0].register_forward_hook(lambda m, args, out: seen.append(args[0].shape[1]))
    torch.testing.assert_close(g(x)[0], expected)
    assert seen == [1] * 5


def test_bad_shapes_are_refused():
    g = graph()
    with pytest.raises(ValueError, match=r"\[batch, time, 24\]"):
        g(torch.zeros(1, 3, 8))
    _, state = g(torch.zeros(2, 3, 24, dtype=torch.float64))
    with pytest.raises(ValueError, match="2 streams"):
        g(torch.zeros(1, 3, 24, dtype=torch.float64), state)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"router": "attention", "width": 10, "heads": 4}, "width 10 is not divisible by heads 4"),
        ({"update": "parallel"}, "no meaning with router 'dendrites'"),
        ({"update": "parallel", "router": "bus", "residual": "input"}, "residual does nothing with update 'parallel'"),
        ({"router": "bsu"}, "did you mean 'bus'"),
        ({"neurons": 0}, "neurons must be at least 1"),
        ({"timescales": "spread", "weights": "shared"}, "needs weights 'separate'"),
        ({"dropout": 1.0}, "dropout must be in"),
        ({"dt_min": 1.0, "dt_max": 0.1}, "dt_min"),
    ],
)
def test_bad_configurations_say_what_to_do(fields, message):
    with pytest.raises(InputError, match=message):
        graph_config(**fields)


@pytest.mark.parametrize(
    "fields", [{}, {"router": "attention"}, {"router": "bus", "gate": "soft"}, {"share_rounds": True}], ids=str
)
def test_recomputed_rounds_change_nothing(fields):
    torch.manual_seed(0)
    g = Graph(config(**fields, dropout=0.3, routing_dropout=0.2))
    results = []
    for g.checkpoint_rounds in (False, True):
        torch.manual_seed(1)
        g.zero_grad()
        x = torch.ones(2, 7, g.config.input_width, requires_grad=True)
        y, state = g(x)
        (y.square().sum() + sum(t.square().sum() for t in state.values())).backward()
        results.append([y, x.grad, *(p.grad for p in g.parameters() if p.grad is not None)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_recomputed_rounds_keep_less():
    def kept(checkpoint):
        g = Graph(neurons=4, width=32, rounds=6)
        g.checkpoint_rounds = checkpoint
        sizes = {}

        def pack(t):
            sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            g(torch.randn(2, 64, g.config.input_width, requires_grad=True))
        return sum(sizes.values())

    assert kept(True) < kept(False) / 3
