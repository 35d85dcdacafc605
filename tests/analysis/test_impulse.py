"""The impulse response: a leaky unit's exponential, a look at some of its times, a graph's, and what is refused."""

from __future__ import annotations

import pytest
import torch

import inn
from inn.analysis import impulse_response
from inn.nn.memory.elm import ELM
from inn.nn.memory.mamba import Mamba
from inn.system.errors import InputError

F64 = torch.float64


def test_leaky_units_answer_with_their_exponentials():
    memory = ELM(inn.graph_config(neurons=2, width=4, memory="elm", router="none")).double()
    found = impulse_response(memory, torch.zeros(1, 200, 2, 4, dtype=F64), torch.ones(2, 4, dtype=F64))
    trace = found.state["b"][:, 0, 0, 0]
    torch.testing.assert_close(trace, 0.5 * torch.exp(-torch.arange(200, dtype=F64) / 5))
    assert found.output.shape == (200, 1, 2, 4)


def test_some_times_are_those_of_all():
    torch.manual_seed(0)
    memory = Mamba(inn.graph_config(neurons=3, width=4, router="none")).double()
    x, impulse = torch.randn(2, 30, 3, 4, dtype=F64), torch.randn(3, 4, dtype=F64)
    whole, some = impulse_response(memory, x, impulse), impulse_response(memory, x, impulse, times=[1, 2, 9, 30])
    at = torch.tensor([0, 1, 8, 29])
    torch.testing.assert_close(some.output, whole.output[at])
    torch.testing.assert_close(some.state["ssm"], whole.state["ssm"][at])
    other = x.clone()
    other[:, 0] += impulse
    torch.testing.assert_close(whole.output.movedim(0, 1), memory(other, memory.initial_state(2))[0]
                               - memory(x, memory.initial_state(2))[0])  # fmt: skip


def test_a_graph_passes_it_on():
    torch.manual_seed(0)
    graph = inn.Graph(neurons=3, width=4, rounds=2)
    impulse = torch.zeros(3, 4)
    impulse[1] = 1
    found = impulse_response(graph, torch.randn(2, 10, 3, 4), impulse, times=[1, 10])
    assert (found.output[0, :, 1] != 0).any()
    assert (found.output[0, :, 0] != 0).any()  # through dendrites
    assert found.state[1, "ssm"].shape[:3] == (2, 2, 3)


@pytest.mark.parametrize(
    "x, impulse, times, sentence",
    [
        ((1, 5, 3, 4), (3, 5), None, r"an impulse must be \[N, I\] and inputs \[B, T, N, I\], not \[3, 5\]"),
        ((1, 5, 3, 4), (3, 4), [0, 2], "times must rise from 1 to the 5 steps"),
        ((1, 5, 3, 4), (3, 4), [2, 6], "times must rise from 1 to the 5 steps"),
        ((1, 5, 3, 4), (3, 4), [3, 3], "times must rise from 1 to the 5 steps"),
    ],
)
def test_what_does_not_fit_is_refused(x, impulse, times, sentence):
    with pytest.raises(InputError, match=sentence):
        impulse_response(inn.Graph(neurons=3, width=4, rounds=1), torch.zeros(x), torch.zeros(impulse), times)
