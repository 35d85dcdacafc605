"""Collapsing identical neurons is exact; distinct ones are refused with the reason."""

import pytest
import torch

import inn
from inn.config.assemble import stored_model

SMALL = {"vocab": 27, "neurons": 5, "width": 16, "rounds": 3, "heads": 2}
TOKENS = torch.randint(27, (2, 30), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "fields", [{}, {"router": "static"}, {"update": "parallel"}, {"readout": "attention"}, {"router": "none"}], ids=str
)
def test_one_neuron_computes_the_same(fields):
    torch.manual_seed(0)
    model = inn.INN(stored_model({"preset": "paper", **SMALL, **fields})).double().eval()
    small = inn.collapse(model)
    assert small.config.neurons == 1
    assert small.num_parameters == model.num_parameters
    before, state = model(TOKENS)
    after, _ = small(TOKENS)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-6)
    # and goes on from the population's state
    torch.testing.assert_close(small(TOKENS, state.select_neurons([0]))[0], model(TOKENS, state)[0], rtol=0, atol=1e-6)


def test_equal_separate_neurons_collapse_too():
    torch.manual_seed(0)
    model = inn.INN(preset="distinct", **SMALL, input="copy", readout="mean", identity="embedding").eval()
    with pytest.raises(inn.InputError, match=r"differ in backbone\.identity"):
        inn.collapse(model)
    with torch.no_grad():
        for p in model.graph.parameters():
            if p.shape[:1] == (5,):
                p.copy_(p[:1].expand_as(p))
    torch.testing.assert_close(inn.collapse(model)(TOKENS)[0], model(TOKENS)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "own part of the embedding"),
        ({"input": "copy"}, "own part of the head"),
        ({"input": "copy", "readout": "mean"}, "'dendrites' does not say that alike neurons hear the same"),
        ({"input": "copy", "readout": "mean", "router": "attention"}, "recalls in its own way"),
        ({"input": "copy", "readout": "mean", "preset": "distinct"}, "the neurons differ in"),
        ({"input": "copy", "readout": "mean", "router": "bus"}, "'bus' does not say that alike neurons hear the same"),
    ],
    ids=str,
)
def test_distinct_neurons_are_refused(fields, reason):
    with pytest.raises(inn.InputError, match=reason):
        inn.collapse(inn.INN(stored_model({**SMALL, **fields})))
