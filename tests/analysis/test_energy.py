"""Operations and energies: equal to a count by hand, and higher where more spikes are sent."""

import pytest
import torch

import inn
from inn.analysis.energy import Operations, operations
from inn.analysis.measures.firing import firing
from inn.nn.spikes import counts, sent


def graph(**fields):
    """Three neurons of width 2 that read a signal of six channels."""
    torch.manual_seed(0)
    own = {"memory": "lif", "memory_options": {"expand": 2, "threshold": 0.1}, "rounds": 1}
    config = inn.model_config("signal", features=6, outputs=1, neurons=3, width=2, router="none", **{**own, **fields})
    return inn.build_model(config).eval()


def test_three_neurons_counted_by_hand():
    model, x = graph(), torch.randn(2, 10, 6)
    spikes = []
    model.graph.round(0).memory.out_proj.register_forward_pre_hook(lambda m, args: spikes.append(args[0]))
    found = operations(model, x)
    fired = float(spikes[0].sum()) / 20  # of 3 neurons' 4 units, at 20 steps
    assert 0.5 < fired < 11.5
    assert found.rate == pytest.approx(fired / 12)
    assert found.silent == pytest.approx(1 - fired / 12)
    assert found.additions == pytest.approx(fired * 2)  # each spike reaches the two numbers of its neuron
    assert found.dense == sum(model.flops().values()) / 2
    assert found.multiply_adds == pytest.approx(found.dense - 3 * 4 * 2)  # the map from 4 units to 2 numbers
    by_hand = 4.6 * (found.dense - 24) + 0.9 * 2 * fired
    assert found.picojoules() == pytest.approx(by_hand)
    assert found.picojoules(bits=8) == pytest.approx(by_hand / 4)
    moved = 4 * (found.dense - 24 + 2 * fired + 2 * 12)  # a weight for each operation, 12 potentials read and written
    assert found.picojoules(byte=10.0) == pytest.approx(by_hand + 10 * moved)


@pytest.mark.parametrize("code", ["ternary", "bitwise"])
def test_counts_of_three_neurons_by_hand(code):
    model, x = graph(memory="gru", memory_options={"expand": 1}, spikes=2.0), torch.randn(1, 7, 6)
    given = []
    with torch.no_grad():
        model.graph.round(0).memory_norm.register_forward_hook(lambda m, args, y: given.append(y))
        found = operations(model, x, code=code)
    spikes = float(sent(counts(given[0], 2.0)[0], code).sum()) / 7
    assert found.additions == pytest.approx(spikes * 6)  # into the three gates of two units
    # The map's 3 x 2 x 6 products are gone; each of its 3 x 2 inputs is divided, and 3 x 6 results multiplied, once.
    assert found.multiply_adds == pytest.approx(found.dense - 36 + 6 + 18)
    assert found.rate == pytest.approx(spikes / 6)


def test_energy_rises_with_the_rate():
    x, found = torch.randn(2, 50, 6), []
    for threshold in (2.0, 0.5, 0.05):
        model = graph(memory_options={"expand": 2, "threshold": threshold})
        found.append(operations(model, x))
    assert found[0].rate < found[1].rate < found[2].rate
    assert found[0].picojoules() < found[1].picojoules() < found[2].picojoules()


def test_masked_steps_and_models_without_spikes():
    model, x = graph(), torch.randn(2, 10, 6)
    mask = torch.ones(2, 10, dtype=torch.bool)
    mask[:, 6:] = False
    some, bar = operations(model, x, mask=mask), operations(model, x[:, :6])
    assert some == bar
    plain = operations(inn.INN(vocab=5, neurons=2, width=4, rounds=1), torch.zeros(1, 4, dtype=torch.long))
    assert (plain.rate, plain.additions, plain.multiply_adds) == (None, 0.0, plain.dense)


def test_rounds_that_share_their_weights_count_each_time():
    model, x = graph(rounds=2, share_rounds=True), torch.randn(1, 5, 6)
    found = operations(model, x)
    assert found.multiply_adds == pytest.approx(found.dense - 48)


def test_firing_by_memory():
    model, x = graph(rounds=2, memory_options={"threshold": 1e6}), torch.randn(2, 5, 6)
    assert firing(model, x) == {"rounds.0.memory": 0.0, "rounds.1.memory": 0.0}
    assert firing(graph(memory="gru", memory_options={}), x) == {}
    assert isinstance(operations(model, x), Operations)
