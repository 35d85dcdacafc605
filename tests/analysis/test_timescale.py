"""Half-lives and time constants of memories whose decay is set by hand."""

from __future__ import annotations

import math

import pytest
import torch

import inn
from inn.analysis.measures.timescale import decay, half_life, half_lives, spectrum, time_constants
from inn.system.errors import InputError

STEPS = (0.5, 0.1, 0.02)


def graph(rounds=1, router="none", **fields):
    """Neurons whose states decay by exp(-step) at every symbol, whatever is read."""
    torch.manual_seed(0)
    made = inn.Graph(neurons=3, width=8, rounds=rounds, router=router, **fields).eval()
    with torch.no_grad():
        for part in made.rounds:
            part.memory.dt_proj.weight.zero_()
            part.memory.dt_proj.bias.copy_(torch.tensor(STEPS)[:, None].expm1().log().expand(3, 16))
            part.memory.A_log.zero_()
    return made


def inputs(made, streams=3, T=200):
    x = torch.randn(streams, T + 20, 3, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        _, state = made.run(x[:, :20])
    return x[:, 20:], state


def test_known_decay_is_found():
    made = graph()
    x, state = inputs(made)
    left = decay(made, x, state, [0, 1, 2], [1, 2, 5, 100])
    expected = torch.tensor([[math.exp(-step * k) for k in (1, 2, 5, 100)] for step in STEPS], dtype=torch.float64)
    torch.testing.assert_close(left, expected, rtol=1e-3, atol=1e-5)
    assert half_lives(made, x, state) == pytest.approx([math.log(2) / step for step in STEPS], rel=1e-3)


def test_neurons_are_perturbed_one_by_one_in_any_order():
    made = graph(rounds=2, router="dendrites")
    x, state = inputs(made)
    together = decay(made, x, state, [0, 1, 2], [1, 8, 32])
    for n in (2, 0):
        torch.testing.assert_close(decay(made, x, state, [n], [1, 8, 32])[0], together[n], rtol=1e-4, atol=1e-7)


def test_time_constants_are_one_over_step_and_rate():
    made = graph(rounds=2)
    with torch.no_grad():
        made.rounds[1].memory.A_log.fill_(math.log(4.0))
    x, state = inputs(made)
    found = time_constants(made, x, state)
    assert found.shape == (3, 2 * 16 * 16)
    for n, step in enumerate(STEPS):
        assert found[n].view(2, -1)[0].tolist() == pytest.approx([1 / step] * 256, rel=1e-4)
        assert found[n].view(2, -1)[1].tolist() == pytest.approx([0.25 / step] * 256, rel=1e-4)
    assert spectrum(found)[1] == pytest.approx([2.5, 2.5, 6.25, 10, 10], rel=1e-4)


def test_shared_weights_and_rounds():
    made = inn.Graph(
        neurons=3, width=8, rounds=2, router="none", weights="shared", identity="embedding", share_rounds=True
    )
    x, state = inputs(made, T=64)
    assert time_constants(made, x, state).shape[0] == 3
    assert len(half_lives(made, x, state)) == 3


def test_a_state_that_is_the_same_in_all_streams_is_not_known():
    made = graph()
    x = torch.zeros(2, 30, 3, 8)
    state = made.initial_state(2)
    assert decay(made, x, state, [0], [1, 2]).isnan().all()
    assert half_lives(made, x, state) == [None] * 3


def test_half_life_between_times():
    assert half_life([0.25], [2]) == pytest.approx(1)
    assert half_life([0.9, 0.9, 0.1], [1, 2, 3]) == pytest.approx(2 + math.log(0.9 / 0.5) / math.log(9))
    assert half_life([1.2, 0.0], [1, 2]) == 2
    assert half_life([0.9, 0.6], [1, 2]) is None
    assert half_life([math.nan], [1]) is None


def test_nothing_is_changed():
    made = graph()
    made.train()
    x, state = inputs(made)
    before = state.clone()
    half_lives(made, x, state)
    assert made.training
    assert all(torch.equal(state[key], before[key]) for key in state)


def test_mistakes():
    made = graph()
    x, state = inputs(made)
    with pytest.raises(InputError, match="at least 2 streams"):
        decay(made, x[:1], state.select_batch([0]), [0], [1])
    for times in ([2, 1], [], [0, 1], [1, 500]):
        with pytest.raises(InputError, match="must rise within the 200 symbols"):
            decay(made, x, state, [0], times)
    for measure in (lambda x: decay(made, x, state, [0], [1]), lambda x: time_constants(made, x)):
        with pytest.raises(InputError, match=r"neurons take in \[batch, time, 3, 8\], not"):
            measure(x[:, :, 0])
    with pytest.raises(InputError, match="no 'memory' in the state; its parts"):
        decay(made, x, state, [0], [1], part="memory")


def test_one_neuron_is_perturbed_and_no_other_by_hand():
    made = graph(rounds=2, router="dendrites")
    x, state = inputs(made)
    swapped = state.clone()
    for r in range(2):
        swapped[r, "ssm"][:, 1] = state[r, "ssm"].roll(1, 0)[:, 1]
    with torch.no_grad():
        _, plain = made.run(x[:, :8], state)
        _, other = made.run(x[:, :8], swapped)
    left = []
    for r in range(2):
        at_first = (swapped[r, "ssm"] - state[r, "ssm"])[:, 1].flatten(1).norm(dim=1)
        left.append((other[r, "ssm"] - plain[r, "ssm"])[:, 1].flatten(1).norm(dim=1) / at_first)
    assert decay(made, x, state, [1], [8]).item() == pytest.approx(torch.stack(left).mean().item(), rel=1e-4)
