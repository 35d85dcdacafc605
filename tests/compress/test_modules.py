"""Layers of neuronal states: what they compute, what they share, and that they learn."""

import copy
import gc
import weakref

import pytest
import torch
from torch import nn

from inn.compress.modules import InputStates, MetricLinear, NeuronalLinear


def group(inputs: int = 12, rank: int = 4, outputs: tuple[int, ...] = (6, 3, 3)) -> list[NeuronalLinear]:
    torch.manual_seed(0)
    first = NeuronalLinear(inputs, outputs[0], rank, readers=len(outputs))
    rest = [NeuronalLinear(inputs, m, rank, shared=first.reads, readers=len(outputs)) for m in outputs[1:]]
    return [first, *rest]


def counted(reads: InputStates) -> list[int]:
    """How often the states were read, kept up to date."""
    calls: list[int] = []
    read = reads._read
    reads._read = lambda x: (calls.append(1), read(x))[1]  # type: ignore[method-assign]
    return calls


def test_a_group_computes_what_its_dense_weights_would():
    x = torch.randn(2, 5, 12)
    for layer in group():
        torch.testing.assert_close(layer(x), x @ layer.weight.T)


def test_what_a_group_reads_is_computed_once():
    layers, x = group(), torch.randn(2, 5, 12)
    calls = counted(layers[0].reads)
    for layer in layers:
        layer(x)
    assert len(calls) == 1
    for layer in layers:  # the next step: a new tensor of the same numbers
        layer(x.clone() if layer is layers[0] else x)
    assert len(calls) == 3  # the clone, and x once for the other two


def test_another_input_is_never_mistaken_for_the_last_one():
    layers, x = group(), torch.randn(2, 12)
    layers[0](x)
    with torch.no_grad():
        x.mul_(2)  # the same tensor, other numbers
    torch.testing.assert_close(layers[1](x), x @ layers[1].weight.T)
    y = torch.randn(2, 12)
    torch.testing.assert_close(layers[2](y), y @ layers[2].weight.T)


def test_gradients_after_a_pass_without_them():
    layers, x = group(), torch.randn(2, 12, requires_grad=True)
    with torch.no_grad():
        layers[0](x)
    layers[1](x).sum().backward()
    assert layers[0].reads.weight.grad is not None


def test_inputs_are_let_go_of():
    layers = group()
    x = torch.randn(2, 12)
    kept = weakref.ref(x)
    for layer in layers:
        layer(x)
    del x
    gc.collect()
    assert kept() is None


def test_gradients_are_those_of_the_dense_weights():
    layers, x = [layer.double() for layer in group()], torch.randn(7, 12, dtype=torch.float64)
    sum((layer(x) ** 2).sum() for layer in layers).backward()
    reads = layers[0].reads.weight
    dense = [layer.weight.clone().requires_grad_() for layer in layers]
    sum(((x @ w.T) ** 2).sum() for w in dense).backward()
    wanted = sum(layer.write.weight.T @ w.grad for layer, w in zip(layers, dense))
    torch.testing.assert_close(reads.grad, wanted)


def test_shared_states_are_stored_and_counted_once():
    whole = nn.ModuleList(group())
    assert [name for name in whole.state_dict() if "states" in name] == ["0.states.weight"]
    assert sum(p.numel() for p in whole.parameters()) == 4 * (12 + 6 + 3 + 3)
    twin = copy.deepcopy(whole)
    assert twin[2].reads is twin[0].reads
    assert twin[0].reads is not whole[0].reads


def test_a_group_compiles():
    torch._dynamo.reset()
    whole = nn.ModuleList(group())
    run = torch.compile(lambda x: [layer(x) for layer in whole], backend="eager", fullgraph=True)
    x = torch.randn(2, 12)
    for ours, layer in zip(run(x), whole):
        torch.testing.assert_close(ours, x @ layer.weight.T)


def test_a_merged_layer_computes_the_same():
    layer, x = NeuronalLinear(5, 4, 2, bias=True), torch.randn(3, 5)
    nn.init.normal_(layer.write.bias)
    merged = layer.merged()
    assert type(merged) is nn.Linear
    torch.testing.assert_close(merged(x), layer(x))


@pytest.mark.parametrize("kind", [NeuronalLinear, MetricLinear])
def test_states_learn_from_scratch(kind):
    """A map of rank 2 is found by states of rank 2."""
    torch.manual_seed(0)
    wanted = 0.3 * torch.randn(6, 2) @ torch.randn(2, 8)
    layer = kind(8, 6, 2)
    optimizer = torch.optim.Adam(layer.parameters(), 0.03)
    first = last = None
    for _ in range(400):
        x = torch.randn(64, 8)
        loss = (layer(x) - x @ wanted.T).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first, last = first or loss.item(), loss.item()
    # tanh bounds what a weight can be, so the metric stops short of large ones.
    assert last < (1e-3 if kind is NeuronalLinear else 0.5) * first


@pytest.mark.parametrize(
    "inputs, rank, says", [(12, 5, "a group of rank 4 cannot take a block of rank 5"), (13, 4, "a group of 12 inputs")]
)
def test_blocks_that_do_not_fit_a_group_are_refused(inputs, rank, says):
    with pytest.raises(ValueError, match=says):
        NeuronalLinear(inputs, 3, rank, shared=group()[0].reads)
