"""Recordings and what is computed from them, on cases with known answers."""

import pytest
import torch

import inn
from inn.analysis import Connectivity, effective_neurons, measure_effective_neurons
from inn.analysis.recording.record import record

SMALL = {"vocab": 27, "neurons": 4, "width": 16, "rounds": 2}


def test_effective_neurons_of_known_populations():
    torch.manual_seed(0)
    independent = torch.randn(1, 4000, 6, 4)
    assert effective_neurons(independent) == pytest.approx(6, abs=0.1)
    assert effective_neurons(independent[:, :, :1].expand(1, 4000, 6, 4)) == pytest.approx(1)
    pairs = independent[:, :, [0, 0, 1, 1, 2, 2]]
    assert effective_neurons(pairs) == pytest.approx(3, abs=0.05)
    # blind to each neuron's own rotation, scale and offset
    turned = torch.einsum("btnd,nde->btne", pairs, torch.linalg.qr(torch.randn(6, 4, 4))[0]) * 3 + torch.randn(6, 4)
    assert effective_neurons(turned) == pytest.approx(effective_neurons(pairs), abs=1e-3)


def test_effective_neurons_in_both_spaces_and_with_a_dead_neuron():
    torch.manual_seed(0)
    x = torch.randn(1, 30, 3, 29)
    narrow = effective_neurons(torch.cat((x, torch.zeros(1, 30, 3, 3)), dim=-1))  # samples < width
    assert narrow == pytest.approx(effective_neurons(x), rel=1e-6)
    dead = torch.cat((x, torch.full((1, 30, 1, 29), 7.0)), dim=2)
    assert effective_neurons(dead) > effective_neurons(x)


@pytest.mark.parametrize(
    ("router", "heads"), [({"kind": "dendrites"}, 1), ({"kind": "attention", "heads": 2, "zero_start": False}, 2)]
)
def test_recording_equals_the_full_computation_in_any_split(router, heads):
    torch.manual_seed(0)
    model = inn.INN(**SMALL, router=router, gate="soft").eval()
    tokens = torch.randint(27, (2, 24))
    with record(model, "routing", "activity", "gate") as whole:
        model(tokens)
    with record(model, "routing", "activity", "gate") as parts:
        _, state = model(tokens[:, :7])
        model(tokens[:, 7:], state)
    assert whole.symbols == parts.symbols == 48
    for channel in ("routing", "activity", "gate"):
        torch.testing.assert_close(whole.mean(channel), parts.mean(channel), rtol=1e-5, atol=1e-6)
        if channel == "routing" and model.config.router.kind == "dendrites":
            with pytest.raises(inn.InputError, match="root mean square only"):
                whole.variance(channel)
        else:
            torch.testing.assert_close(whole.variance(channel), parts.variance(channel), rtol=1e-4, atol=1e-6)
    assert whole.mean("routing").shape == (2, heads, 4, 4)
    assert whole.mean("activity").shape == (2, 4)
    # activity by hand, round 0
    kept = []
    model.graph.rounds[0].memory.register_forward_hook(lambda m, a, out: kept.append(out[0]))
    model(tokens)
    torch.testing.assert_close(whole.mean("activity")[0].float(), kept[0].square().mean(-1).sqrt().mean((0, 1)))


def test_padding_is_not_counted():
    model = inn.INN(**SMALL).eval()
    tokens = torch.randint(27, (1, 10))
    mask = torch.tensor([[False] * 4 + [True] * 6])
    with record(model, "activity") as padded:
        model(tokens, mask=mask)
    with record(model, "activity") as alone:
        model(tokens[:, 4:])
    assert padded.symbols == 6
    torch.testing.assert_close(padded.mean("activity"), alone.mean("activity"), rtol=1e-5, atol=1e-6)


def test_recording_ends_with_the_block_and_costs_nothing_after():
    model = inn.INN(**SMALL)
    with pytest.raises(RuntimeError), record(model, "activity"):
        raise RuntimeError
    assert model.graph.tape is None


def test_hubs_and_specialists_of_a_known_graph():
    weights = torch.full((1, 4, 4), 0.2)
    weights[:, :, 2] = 0.6
    weights[:, :, 1] = 0.0
    table = Connectivity(weights, 10)
    assert table.hubs() == [2]
    assert table.specialists() == [1]
    assert table.received().mean() == pytest.approx(1)


def test_models_without_a_population():
    stack = inn.INN(vocab=27, neurons=1, width=16, rounds=1, router="none")
    assert measure_effective_neurons(stack, torch.randint(27, (1, 20))) is None
    with pytest.raises(inn.InputError, match="has no graph of neurons"), record(torch.nn.Linear(2, 2), "routing"):
        pass
    with pytest.raises(inn.InputError, match="did you mean 'routing'"), record(stack, "routin"):
        pass
    with record(stack, "routing") as tape:
        stack(torch.randint(27, (1, 20)))
    with pytest.raises(inn.InputError, match="nothing was recorded"):
        tape.connectivity()
