"""Communal weights: a population that shares the states of what it reads, against the same maps written out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inn import INN
from inn.analysis.recording.record import record
from inn.config.assemble import stored_model
from inn.nn.population import CommunalLinear, NeuronLinear
from inn.nn.topology.edges import Edges
from inn.system.errors import InputError

ROUTERS = {"dendrites": 12, "attention": 5, "bus": 5, "static": 5, "mixing": 5, "none": 5}


def communal(router="dendrites", **fields):
    torch.manual_seed(0)
    states = ROUTERS[router]
    given = {"vocab": 11, "neurons": 4, "width": 8, "rounds": 2, "heads": 2, "bus_width": 6, **fields}
    made = {"router": router, "weights": "communal", "communal_states": states}
    return INN(stored_model({**given, **made})).eval()


def written_out(model):
    """The same function with separate weights."""
    separate = INN(replace(model.config, weights="separate", communal_states=32))
    made = {path: m for path, m in model.named_modules() if isinstance(m, CommunalLinear)}
    for name, parameter in separate.named_parameters():
        path, _, own = name.rpartition(".")
        source = getattr(made[path], own) if path in made else model.get_parameter(name)
        parameter.data.copy_(source)
    return separate.eval()


@pytest.mark.parametrize("router", ROUTERS)
def test_it_is_the_separate_model_of_low_rank(router):
    model = communal(router)
    assert any(isinstance(m, CommunalLinear) for m in model.modules())
    tokens = torch.randint(11, (2, 20), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(written_out(model)(tokens)[0], model(tokens)[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("router", ROUTERS)
def test_it_streams_and_has_gradients(router):
    model = communal(router, zero_start=False)
    tokens = torch.randint(11, (2, 12), generator=torch.Generator().manual_seed(1))
    whole, _ = model(tokens)
    state, steps = None, []
    for t in range(12):
        logits, state = model.step(tokens[:, t], state)
        steps.append(logits)
    torch.testing.assert_close(torch.stack(steps, 1), whole, atol=1e-5, rtol=1e-5)
    whole.square().mean().backward()
    maps = [m for m in model.modules() if isinstance(m, CommunalLinear)]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for m in maps for p in (m.read.weight, m.write.weight))


@settings(max_examples=20, deadline=None)
@given(
    neurons=st.integers(1, 5),
    inputs=st.integers(2, 9),
    outputs=st.integers(1, 9),
    states=st.integers(1, 8),
    one=st.booleans(),
    bias=st.booleans(),
)
def test_a_map_is_its_weights(neurons, inputs, outputs, states, one, bias):
    torch.manual_seed(0)
    layer = CommunalLinear(neurons, inputs, outputs, states, bias=bias)
    plain = NeuronLinear(neurons, inputs, outputs, bias=bias)
    with torch.no_grad():
        plain.weight.copy_(layer.weight)
        if bias:
            plain.bias.copy_(layer.bias.uniform_())
    x = torch.randn(2, 3, 1 if one else neurons, inputs)
    torch.testing.assert_close(layer(x), plain(x.expand(-1, -1, neurons, -1)), atol=1e-5, rtol=1e-5)
    if outputs > 1:
        first, rest = layer(x, 1, outputs - 1)
        torch.testing.assert_close(torch.cat([first, rest], -1), layer(x))
    weights = sum(p.numel() for n, p in layer.named_parameters() if n.endswith("weight"))
    assert weights == states * (inputs + neurons * outputs)


def test_it_starts_as_large_as_a_separate_map():
    torch.manual_seed(0)
    x = torch.randn(4, 50, 8, 64)
    sizes = [m(x).std().item() for m in (CommunalLinear(8, 64, 96, 24), NeuronLinear(8, 64, 96))]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


def test_fewer_parameters_and_flops():
    sizes = [INN(vocab=27, neurons=8, width=16, weights=w, recall=[]) for w in ("separate", "communal")]
    assert sizes[1].num_parameters < 0.6 * sizes[0].num_parameters
    flops = [sum(m.flops().values()) for m in sizes]
    reads, writes = 2 * 32 * 8 * 16, 2 * 8 * 64 * 32  # one reading for all neurons, then each its own map
    assert sizes[1].flops()["routing.messages"] == 4 * (reads + writes)
    assert flops[1] < 0.7 * flops[0]


def test_lesions_and_looking():
    model = communal()
    tokens = torch.randint(11, (1, 9))
    same = written_out(model)
    closed = Edges.complete(4).close([(0, 2), (3, 1)])
    torch.testing.assert_close(model(tokens, edges=closed)[0], same(tokens, edges=closed)[0], atol=1e-5, rtol=1e-5)
    tapes = []
    for m in (model, same):
        with record(m, "routing") as tape:
            m(tokens)
        tapes.append(tape.mean("routing"))
    torch.testing.assert_close(*tapes, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"neurons": 4, "width": 8}, "from 1 to 31"),
        ({"neurons": 4, "width": 8, "router": "attention"}, "from 1 to 7"),
        ({"communal_states": 0}, "from 1 to"),
    ],
)
def test_too_many_or_too_few_states(fields, message):
    with pytest.raises(InputError, match=message):
        INN(vocab=11, weights="communal", **{"communal_states": 32, **fields})
