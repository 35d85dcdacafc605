"""Roll-outs of every memory are what one pass is; fixed points and spectra are those that are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import inn
from inn.analysis import fixed_points, rollout, spectra
from inn.config.signals import SignalConfig
from inn.models.signal_graph import SignalGraph
from inn.nn.state import State
from inn.system.errors import InputError


class Units(nn.Module):
    """h = f(A h) + x, the state told."""

    def __init__(self, matrix: list[list[float]], function=torch.tanh):
        super().__init__()
        self.matrix, self.function = nn.Parameter(torch.tensor(matrix)), function
        self.features = len(matrix)

    def initial_state(self, batch: int) -> State:
        return State({(0, "h"): self.matrix.new_zeros(batch, self.features, 1)})

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, seen = state[0, "h"][..., 0], []
        for now in x.unbind(1):
            h = self.function(h @ self.matrix.T) + now
            seen.append(h)
        return torch.stack(seen, 1), State({(0, "h"): h[..., None]})


@pytest.mark.parametrize(
    "memory",
    ["mamba", "mamba2", "delta", "complex", "lif", "plif", "psn", "hebb", "gru", "locked", "elman", "lstm", "slstm",
     "rhn", "elm", "liquid"],
)  # fmt: skip
def test_a_roll_out_is_one_pass_and_a_lesion_is_of_one_neuron(memory: str):
    torch.manual_seed(0)
    graph = inn.Graph(neurons=3, width=4, rounds=1, memory=memory).eval()
    path = rollout(graph, 6, noise=1.0, streams=2, seed=1)
    with torch.no_grad():
        y, after = graph(path.inputs)
    torch.testing.assert_close(path.outputs, y)
    torch.testing.assert_close(path.states[:, -1], path.flat.of(after))
    cut = rollout(graph, 6, noise=1.0, streams=2, seed=1, lesion={1: 0.0})
    assert torch.equal(cut.inputs, path.inputs)
    assert not cut.states[:, 1:, cut.neurons == 1].any()
    assert cut.states[:, 1:, cut.neurons == 0].any()
    ones = rollout(graph, 6, noise=1.0, streams=2, seed=1, lesion={1: 1.0})
    assert torch.equal(ones.states, path.states)
    assert spectra(path, [5]).abs().isfinite().all()


def test_a_roll_out_goes_on_and_takes_what_it_is_given():
    graph = inn.Graph(neurons=2, width=4, rounds=1, memory="gru").eval()
    x = torch.randn(10, 8)
    whole = rollout(graph, 10, inputs=x)
    half = rollout(graph, 5, inputs=x[:5])
    rest = rollout(graph, 5, inputs=x[5:], start=half.last)
    assert torch.equal(torch.cat((half.states, rest.states[:, 1:]), 1), whole.states)
    mixed = inn.Graph(width=4, rounds=1, population=[{"neurons": 2, "memory": "gru"}, {"neurons": 1, "memory": "lstm"}])
    path = rollout(mixed, 3, noise=1.0, lesion={2: 0.0})
    assert not path.part(0, "c@1")[:, 1:].any()
    assert path.part(0, "h@0")[:, 1:].all()
    text = inn.INN(vocab=5, neurons=2, width=4, rounds=1)
    assert rollout(text, 4, inputs=torch.tensor([0, 1, 2, 3])).outputs.shape == (1, 4, 5)
    signal = SignalGraph(SignalConfig(features=3, neurons=2, width=4, rounds=1))
    signal.input_mean.fill_(5.0)
    assert rollout(signal, 4).inputs.eq(5.0).all()


def test_fixed_points_of_a_switch_are_three_and_two_attract():
    path = rollout(Units([[2.0]]), 1, spread=1.0, streams=8)
    found = fixed_points(path)
    ends = found.points[:, 0].tolist()
    assert sorted(round(x, 4) for x in ends) == [-0.9575, 0.0, 0.9575]  # x = tanh(2 x)
    assert [s for s, x in zip(found.stable, ends) if abs(x) < 0.5] == [False]
    assert sum(found.stable) == 2
    assert sum(found.basins) == pytest.approx(1)
    assert found.restless == 0
    slope = {round(x, 2): v.real.item() for x, v in zip(ends, found.spectra[:, 0])}
    assert slope[0.0] == pytest.approx(2.0, abs=1e-6)
    assert slope[0.96] == pytest.approx(2 * (1 - 0.957504**2), abs=1e-4)


def test_spectra_are_those_of_the_matrix_and_a_lesion_takes_its_rows_away():
    path = rollout(Units([[0.0, -0.5, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 0.8]], lambda h: h), 3, noise=1.0)
    values = spectra(path, [0, 2])
    assert values.abs().numpy() == pytest.approx(torch.tensor([[0.8, 0.5, 0.5]] * 2).numpy(), abs=1e-6)
    cut = rollout(path.model, 3, noise=1.0, lesion={2: 0.0})
    assert fixed_points(cut).spectra.abs().max() == pytest.approx(0.5, abs=1e-6)
    turning = rollout(Units([[0.0, -1.0], [1.0, 0.0]], lambda h: h), 3, spread=1.0)
    left = fixed_points(turning, steps=20)
    assert left.restless == 1  # a circle comes to rest nowhere
    assert left.points.abs().max() < 1e-6
    assert left.basins == [0.0]


def _text() -> inn.INN:
    return inn.INN(vocab=5, neurons=2, width=4, rounds=1, recall="none")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rollout(Units([[1.0]]), 0), "a step and a stream or more, not 0"),
        (lambda: rollout(Units([[1.0]]), 1, noise=-1.0), "noise must be a standard deviation"),
        (lambda: rollout(Units([[1.0]]), 1, lesion={1: 0.0}), "no neuron 1 to scale among 1"),
        (lambda: rollout(Units([[1.0]]), 2, inputs=torch.zeros(3, 1)), r"1 streams and 2 steps, not \[1, 3, 1\]"),
        (lambda: rollout(nn.Linear(2, 2), 1), "a Linear has no state"),
        (lambda: rollout(inn.Graph(neurons=2, width=4, rounds=1, memory="none"), 1), "no state of real numbers"),
        (lambda: rollout(_text(), 3, noise=1.0), "reads symbols"),
        (lambda: fixed_points(rollout(_text(), 1, inputs=torch.tensor([0]))), "say by `at`"),
        (lambda: rollout(Units([[1.0]]), 1).part(1, "h"), r"no part \(1, 'h'\)"),
        (lambda: spectra(rollout(Units([[1.0]]), 1), [1]), "has no step"),
        (lambda: fixed_points(rollout(inn.Graph(neurons=9, width=8, rounds=1), 1)), "is too large"),
    ],
)
def test_what_cannot_be_rolled_out_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
