"""Objective `rewire`: which edges go and which grow, what is zeroed, and that a run goes on as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_objectives import batch, stop_at, tensors

import inn
from inn.config.assemble import model_config
from inn.config.run import TrainConfig
from inn.models.build import build_model
from inn.system.errors import InputError
from inn.training.optim import build_optimizer
from inn.training.parallel.single import SingleDevice
from inn.training.step import Stepper
from inn.training.trainer import fit

MODEL = {
    "neurons": 8, "width": 4, "rounds": 2, "slots": 64, "topology": "rewired",
    "topology_options": {"density": 0.375},
}  # fmt: skip
ROUTERS = {"dendrites": {}, "bus": {"bus_width": 3}, "mixing": {"zero_start": False}}


def stepper(
    router: str = "dendrites", steps: int = 8, model: dict | None = None, train: dict | None = None, **options
) -> Any:
    torch.manual_seed(0)
    made = build_model(
        model_config(
            "inn", vocab=11, **{**MODEL, **(model or {})}, router=router, router_options=ROUTERS.get(router, {})
        )
    ).train()
    objective = {"kind": "rewire", "every": 2, "share": 0.3, "until": 1.0, **options}
    config = TrainConfig(clip=0.0, objective=objective, **(train or {}))
    return Stepper(SingleDevice(made), build_optimizer(made, config), config, carry=True, steps=steps)


def heard(step: Any) -> list[set[int]]:
    return [set(row) for row in step.objective.graph.edge_sources.tolist()]


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("grow", ["gradient", "hebb", "random"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_exactly_so_many_edges_move_and_their_weights_and_moments_are_zero(router, grow, optimizer):
    step = stepper(router, grow=grow, train={"optimizer": optimizer})
    graph = step.objective.graph
    for number in range(1, 5):
        before, old = heard(step), graph.edge_sources.clone()
        step(*batch(), None, None, 1e-2, number)
        after, moved = heard(step), graph.edge_sources != old
        assert int(moved.sum()) == (round(0.3 * 16) if number % 2 == 0 else 0)
        for i in range(8):
            assert len(after[i]) == 3
            assert i in after[i]
            assert len(after[i] - before[i]) == int(moved[i].sum())  # none of those that were heard
        for r in range(2):
            for p, view in graph.round(r).router.edge_weights():
                moments = [t for t in step.optimizer.state[p].values() if t.ndim]
                assert len(moments) == (1 if optimizer == "muon" and router != "mixing" else 2)
                for t in (p.detach(), *moments):
                    assert not view(t)[moved].any()
                    assert view(t)[~moved].any()
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in graph.modules())


def test_the_smallest_go_of_ties_exactly_so_many_and_of_one_neuron_no_more_than_can_grow():
    step = stepper(grow="random")
    graph = step.objective.graph
    with torch.no_grad():
        for r in range(2):
            for p, view in graph.round(r).router.edge_weights():
                view(p).fill_(1.0)
                view(p)[2:4, 1:] = 0.0  # four ties, and of all others one will go
    before = graph.edge_sources.clone()
    step.objective.after_step(2, None)
    moved = (graph.edge_sources != before).nonzero().tolist()
    assert moved == [[0, 1], [2, 1], [2, 2], [3, 1], [3, 2]]


@pytest.mark.parametrize("router", ["dendrites", "mixing"])
def test_what_grows_has_the_largest_gradient_of_the_graph_that_has_all_edges(router):
    """The same weights in a complete graph, zero where there is no edge: its gradients are the wishes."""
    step = stepper(router, grow="gradient")
    step.objective.before_step(2)
    inputs, targets = batch()
    step._passes(inputs, targets, None, None, None, None, None)
    found = sum(s.end() for s in step.objective.scores)
    graph = step.objective.graph
    torch.manual_seed(0)
    fields = {k: v for k, v in MODEL.items() if not k.startswith("topology")}
    whole: Any = build_model(
        model_config("inn", vocab=11, **fields, router=router, router_options=ROUTERS[router])
    ).train()
    state, own = whole.state_dict(), step.model.state_dict()
    weight = "router.hear.weight" if router == "dendrites" else "router.weights"
    for name in state:
        if not name.endswith(weight):
            state[name].copy_(own[name])
            continue
        listed = own[name].view(8, -1, 3, 4) if router == "dendrites" else own[name].view(8, 1, 3, 1)
        places = graph.edge_sources[:, None, :, None].expand_as(listed)
        dense = torch.zeros(8, listed.shape[1], 8, listed.shape[3]).scatter(2, places, listed)
        state[name].copy_(dense.view_as(state[name]))
    whole.load_state_dict(state)
    logits, _ = whole(inputs)
    (whole.loss(logits, targets) / targets.numel()).backward()
    expected = torch.zeros(8, 8)
    for r in range(2):
        grad = dict(whole.graph.round(r).router.named_parameters())[weight.removeprefix("router.")].grad
        expected += grad.view(8, -1, 8, 4).square().sum((1, 3)).sqrt() if router == "dendrites" else grad.abs()
    torch.testing.assert_close(found.float(), expected, rtol=1e-3, atol=1e-7)


def test_hebb_is_a_cosine_and_silence_is_no_reason():
    from inn.training.objectives.rewire import _Scores

    router = stepper("dendrites", grow="hebb").objective.routers[0]
    scores = _Scores(router, gradient=False)
    x = torch.randn(1, 50, 8, 4)
    x[:, :, 7] = 0.0
    y = x.roll(1, 2)  # neuron i takes in what i - 1 sends
    scores._add(y, x, cosine=True)
    found = scores.end()
    assert bool(found.isfinite().all())
    assert not found[:, 7].any()
    assert found.argmax(1)[1:].tolist() == [0, 1, 2, 3, 4, 5, 6]
    torch.testing.assert_close(found[1:, :7].diagonal(), torch.ones(7, dtype=torch.float64))
    assert float(found.max()) <= 1 + 1e-6


def test_edges_stay_after_a_share_of_the_run():
    step = stepper(until=0.5, steps=8)
    assert [n for n in range(1, 9) if step.objective.due(n)] == [2, 4]


def test_what_cannot_be_rewired_is_refused(tiny):
    with pytest.raises(InputError, match="needs a weight for every edge, and router 'attention' has none of its own"):
        stepper("attention")
    with pytest.raises(InputError, match=r"set model\.topology rewired"):
        stepper(model={"topology": "complete", "topology_options": {}})
    with pytest.raises(InputError, match="it must be 2 to 3"):
        inn.Graph(neurons=4, width=4, topology="rewired", topology_options={"density": 0.9})


@pytest.mark.parametrize("grow", ["gradient", "random"])
def test_a_run_that_was_stopped_and_resumed_rewires_the_same(tmp_path, tiny, grow):
    options = {"neurons": 6, "topology": {"kind": "rewired", "density": 0.5}}
    objective = {"kind": "rewire", "every": 2, "share": 0.3, "until": 1.0, "grow": grow}
    config = tiny("inn", model=options, objective=objective)
    fit(config, tmp_path / "whole")
    for resume, stop in ((False, 3), (True, 8)):
        fit(config, tmp_path / "run", resume=resume, report=stop_at(stop))
    fit(None, tmp_path / "run", resume=True)
    assert tensors(tmp_path / "run") == tensors(tmp_path / "whole")
    found: Any = inn.load(tmp_path / "run").graph
    first = inn.Graph(found.config)
    assert found.topology.number == first.topology.number
    assert found.topology.edges() != first.topology.edges()
    if grow == "gradient":  # whether rounds are recomputed in the backward pass or not
        fit(tiny("inn", model=options, objective=objective, checkpoint_rounds=True), tmp_path / "again")
        assert tensors(tmp_path / "again")["model.safetensors"] == tensors(tmp_path / "whole")["model.safetensors"]
