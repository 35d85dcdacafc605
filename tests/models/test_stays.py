"""No result of a call stays on a module: a model that has run can be copied, averaged and sent."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator, Mapping
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import inn
from inn.compress.modules import InputStates, NeuronalLinear
from inn.config.assemble import model_config
from inn.models.build import build_model

MODELS = {
    "inn": ("inn", {"router": "bus", "gate": "soft", "gate_penalty": 0.1}),
    "attention": ("inn", {"router": "attention", "gate": "hard", "readout": "attention"}),
    "static": ("inn", {"router": "static", "topology": "groups", "topology_options": {"groups": 2}}),
    "mixed": ("inn", {"neurons": None, "population": [{"neurons": 1}, {"neurons": 1, "memory_options": {"state": 4}}]}),
    "mamba-stack": ("mamba-stack", {}),
    "lstm": ("lstm", {}),
    "transformer": ("transformer", {"heads": 2, "window": 8}),
    "transformer-paper": ("transformer-paper", {"heads": 2, "window": 8, "hidden": 8}),
}


def build(name: str) -> Any:
    kind, fields = MODELS[name]
    sizes = {"neurons": 2, "rounds": 2} if kind == "inn" else {"layers": 2}
    return build_model(
        model_config(kind, vocab=9, width=8, **{k: v for k, v in {**sizes, **fields}.items() if v is not None})
    )


def tensors(value: Any, path: str = "", seen: tuple = ()) -> Iterator[tuple[str, Tensor]]:
    """Every tensor that can be reached from a value."""
    if id(value) in seen:
        return
    seen = (*seen, id(value))
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from tensors(inner, f"{path}.{key}", seen)
    elif isinstance(value, list | tuple | set):
        for i, inner in enumerate(value):
            yield from tensors(inner, f"{path}.{i}", seen)
    elif isinstance(value, nn.Module):
        yield from tensors(vars(value), path, seen)


@pytest.mark.parametrize("name", MODELS)
def test_nothing_stays(name):
    model, tokens = build(name), torch.randint(9, (3, 11))
    before = {path for path, _ in tensors(model)}
    reset = torch.zeros(3, 11, dtype=torch.bool).index_fill(1, torch.tensor([4]), True)
    for training in (True, False):
        logits, state = model.train(training)(tokens, reset=reset, mask=~reset)
        (logits.logsumexp(-1).sum() + sum(state.penalties.values())).backward()
        model.step_(tokens[:, 0], state.detach())
        assert {path for path, _ in tensors(model)} == before
        assert all(t.is_leaf for _, t in tensors(model))
    sent = pickle.loads(bytes(ForkingPickler.dumps(model)))  # noqa: S301
    copies = [copy.deepcopy(model), AveragedModel(model).module, sent]
    for other in copies:
        torch.testing.assert_close(other(tokens)[0], model(tokens)[0])
        torch.testing.assert_close(other.step_(tokens[:, 0])[0], model.step_(tokens[:, 0])[0])


def test_a_copy_of_a_state_is_a_state_of_its_own():
    _, state = build("inn")(torch.randint(9, (2, 5)))
    other = copy.deepcopy(state)
    assert all(torch.equal(other[key], t) and other[key] is not t for key, t in state.items())


def test_what_a_group_has_read_is_read_anew_with_other_weights():
    shared = InputStates(4, 2)
    one, two = (NeuronalLinear(4, 3, 2, shared=shared, readers=2) for _ in range(2))
    x = torch.randn(2, 4)
    with torch.no_grad():
        one(x)
        shared.weight.mul_(3)
        torch.testing.assert_close(two(x), x @ two.weight.T)


def test_a_model_is_averaged_while_it_trains():
    torch.manual_seed(0)
    model: Any = inn.INN(vocab=9, neurons=2, width=8, rounds=1)
    average: Any = AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5))
    tokens = torch.randint(9, (2, 6))
    for _ in range(2):
        logits, _ = model(tokens)
        logits.square().mean().backward()
        with torch.no_grad():
            for p in model.parameters():
                p.sub_(p.grad)
        average.update_parameters(model)
    assert average.module.head.weight is average.module.embedding.weight
    assert not torch.equal(average.module.head.weight, model.head.weight)
