"""Smaller models on demand: gates are neurons that are there or not, and learn which ones a task needs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import inn
from inn.config.assemble import model_config
from inn.models.build import build_model
from inn.surgery.generator import Generator
from inn.system.errors import InputError


def made(kind: str = "inn", **fields) -> Any:
    torch.manual_seed(0)
    own = {"vocab": 9, "recall": []} if kind == "inn" else {"features": 3, "outputs": 4, "head": "classes"}
    return build_model(model_config(kind, **{"neurons": 8, "width": 4, "rounds": 2, **own, **fields})).double().eval()


def opened(model: Any, tasks: int) -> Generator:
    """A generator that opens all gates, some more than others: a budget is then used up."""
    generator = Generator(model, tasks)
    torch.nn.init.constant_(generator.gates[2].bias, 50.0)
    return generator


@pytest.mark.parametrize("readout", ["concat", "mean", "attention"])
@pytest.mark.parametrize("router", ["none", "dendrites", "bus", "mixing"])
def test_a_closed_gate_is_a_neuron_that_is_not_there(router, readout):
    model, tokens = made(router=router, readout=readout), torch.randint(9, (3, 7))
    with torch.no_grad():
        for p in (p for m in model.graph.rounds if m.router is not None for p in m.router.parameters()):
            p.normal_(std=0.3)  # some begin silent
    generator = opened(model, tasks=2)
    task = torch.tensor([0.3, -1.0])
    kept = generator.chosen(task, 0.5)
    gates = torch.zeros(3, 8)
    gates[:, kept] = 1.0
    small = generator.make(task, 0.5)
    assert (len(kept), small.config.neurons, small.graph.ids.tolist()) == (4, 4, kept)
    with torch.no_grad():
        with generator.gated(gates):
            found, _ = model(tokens)
        torch.testing.assert_close(found, small(tokens)[0], rtol=0, atol=1e-9)
        assert not torch.allclose(found, model(tokens)[0])


def test_gates_learn_what_each_task_needs():
    """Two tasks, of which each asks for what another half of the neurons hears."""
    torch.manual_seed(0)
    model = build_model(
        model_config(
            "signal", features=2, outputs=2, head="classes", neurons=8, width=4, rounds=1, router="none", memory="none",
            inner="hourglass",
        )
    )  # fmt: skip
    generator, draw = Generator(model, tasks=2), torch.Generator().manual_seed(0)

    def examples():
        while True:
            x, task = torch.randn(64, 1, 2, generator=draw), torch.randint(2, (64,), generator=draw)
            yield x, (x[torch.arange(64), 0, task] > 0).long()[:, None], torch.eye(2)[task], torch.full((64,), 0.25)

    told = generator.learn(examples(), lr=2e-2, steps=100)
    assert told[0]["gates"] > 0.4
    assert told[-1]["gates"] < 0.4
    own = [generator.chosen(torch.eye(2)[i], 0.25) for i in (0, 1)]
    assert own[0] != own[1]
    for i in (0, 1):
        x = torch.randn(500, 1, 2, generator=draw)
        y = (x[:, 0, i] > 0).long()
        for mine in (True, False):
            small = inn.keep(model, neurons=own[i if mine else 1 - i])
            right = float((small(x)[0][:, 0].argmax(-1) == y).double().mean())
            assert right > 0.85 if mine else right < 0.8


def test_the_best_candidate_within_the_latency_is_taken():
    model = made("signal", router="none", neurons=20)
    generator, task = opened(model, tasks=1), torch.ones(1)
    x, y = torch.randn(6, 5, 3, dtype=torch.float64), torch.randint(4, (6, 5))
    sizes = generator.latencies(x, [0.5, 0.25])
    assert [*sizes] == [3, 4, 5, 7, 8, 10]
    assert all(s > 0 for s in sizes.values())
    assert generator.make(task, 0.5).config.neurons == 10
    table = {7: 0.1, 8: 0.2, 10: 0.3}
    assert generator.make(task, 0.5, seconds=0.2, latency=table).config.neurons == 8
    best = generator.make(task, 0.5, examples=(x, y))
    losses = {
        len(n): float(model.loss(inn.keep(model, neurons=n)(x)[0], y).detach())
        for n in (generator.chosen(task, 0.5 * s) for s in (1.0, 0.85, 0.7))
    }
    assert best.config.neurons == min(losses, key=losses.__getitem__)
    with pytest.raises(InputError, match=r"no candidate takes at most 0\.05 seconds, the fastest 0\.1"):
        generator.make(task, 0.5, seconds=0.05, latency=table)
    with pytest.raises(InputError, match="give seconds and latency, or neither"):
        generator.make(task, 0.5, seconds=1.0)
    for budget in (0.0, 1.5):
        with pytest.raises(InputError, match=r"budget must be in \(0, 1\], a share of the 20 neurons"):
            generator.make(task, budget)
    with pytest.raises(InputError, match=r"a task is described by \[1\] numbers, not \[2\]"):
        generator.make(torch.ones(2), 0.5)


def test_models_whose_neurons_share_a_mass_are_refused():
    for fields in ({"router": "attention"}, {"router": {"kind": "dendrites", "lag": 1}, "memory": "gru"}):
        with pytest.raises(InputError, match="a gate would not be a neuron less; use router none"):
            Generator(made(**fields), tasks=1)
    with pytest.raises(InputError, match="neurons are those of an INN"):
        Generator(build_model(model_config("lstm", vocab=9)), tasks=1)
