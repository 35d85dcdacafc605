"""Muon: every matrix turned by itself, as PyTorch's does a single one; AdamW for all else; and that a run goes on."""

from __future__ import annotations

import pytest
import torch
from test_trainer import Stop, final, metrics
from torch import nn

import inn
from inn.config.assemble import graph_config, model_config
from inn.config.run import TrainConfig
from inn.models.build import build_model
from inn.nn.graph import Graph
from inn.nn.starting import matrices
from inn.runs import checkpoint as checkpoints
from inn.runs.directory import Run
from inn.runs.load import load
from inn.surgery.merge import planned, put_together
from inn.surgery.moments import Moments, carried_moments
from inn.surgery.neurons import keep
from inn.surgery.runs import moments_of as moments_of_run
from inn.surgery.runs import write_run
from inn.system.errors import InputError
from inn.training import events
from inn.training.building import check_optimizer
from inn.training.muon import COEFFICIENTS, Muon, orthogonal
from inn.training.optim import build_optimizer, parameter_groups
from inn.training.trainer import fit

FORMS = [(12, 1, 5), (5, 1, 12), (6, 3, 4), (1, 4, 3)]
MUON = {"optimizer": "muon", "lr": 1e-2}


def plainly(matrix):
    """The iteration of one matrix, as it is written down."""
    a, b, c = COEFFICIENTS
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = x / x.square().sum().sqrt()
    for _ in range(5):
        x = a * x + b * (x @ x.T) @ x + c * (x @ x.T) @ (x @ x.T) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


def steps_of(optimizer, weights, gradients):
    for one in gradients:
        for p, g in zip(weights, one, strict=True):
            p.grad = g.clone()
        optimizer.step()


def apart(t, form):
    """The matrices of `[N, O, K x I]`, one by one."""
    o, k, i = form
    return [t[n].reshape(o, k, i)[:, j] for n in range(len(t)) for j in range(k)]


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (7, 7), (2, 5, 4, 6), (1, 5)])
def test_newton_schulz_of_many_is_that_of_each(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = orthogonal(x).flatten(0, -3) if x.ndim > 2 else orthogonal(x)[None]
    for one, whole in zip(found, x.flatten(0, -3) if x.ndim > 2 else x[None]):
        torch.testing.assert_close(one, plainly(whole), rtol=1e-12, atol=1e-12)


def test_what_is_zero_stays_zero():
    assert not orthogonal(torch.zeros(2, 3, 4)).any()
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    x[2], x[:, 4] = 0.0, 0.0
    found = orthogonal(x)
    assert not found[2].any()
    assert not found[:, 4].any()


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon came in PyTorch 2.9")
@pytest.mark.parametrize("form", FORMS)
def test_every_matrix_moves_as_one_of_pytorchs_muon(form):
    draw = torch.Generator().manual_seed(0)
    o, k, i = form
    weight = nn.Parameter(torch.randn(3, o, k * i, generator=draw))
    alone = [nn.Parameter(m.clone()) for m in apart(weight.detach(), form)]
    options = {"lr": 0.05, "weight_decay": 0.3, "momentum": 0.9}
    ours = Muon([{"params": [weight], "form": form}], **options)
    theirs = torch.optim.Muon(alone, adjust_lr_fn="match_rms_adamw", **options)
    gradients = [torch.randn(weight.shape, generator=draw) for _ in range(4)]
    steps_of(ours, [weight], [[g] for g in gradients])
    steps_of(theirs, alone, [apart(g, form) for g in gradients])
    moved = 0.05 * 0.2 * max(o, i) ** 0.5  # by a singular value of 1; theirs iterates in bfloat16
    for mine, other in zip(apart(weight.detach(), form), alone, strict=True):
        assert float(torch.linalg.matrix_norm(mine - other.detach(), 2)) < 0.1 * moved
    buffer = ours.state[weight]["momentum_buffer"]
    for mine, p in zip(apart(buffer, form), alone, strict=True):
        torch.testing.assert_close(mine, theirs.state[p]["momentum_buffer"])


def test_all_else_moves_as_by_adamw():
    torch.manual_seed(0)
    models = [inn.INN(vocab=7, neurons=3, width=8, rounds=1, recall=[1]) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    settings = [TrainConfig(weight_decay=0.1, **own) for own in ({}, {"optimizer": "muon"})]
    for model, config in zip(models, settings):
        optimizer = build_optimizer(model, config)
        for _ in range(3):
            for n, p in enumerate(model.parameters()):
                p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(n))
            optimizer.step()
    turned = {name for name, p in models[1].named_parameters() if p in matrices(models[1])}
    for (name, a), b in zip(models[0].named_parameters(), models[1].parameters()):
        assert torch.equal(a, b) == (name not in turned), name
    ends = {name.removeprefix("backbone.rounds.0.") for name in turned}
    assert ends == {"router.hear.weight", *(f"memory.{n}_proj.weight" for n in ("x", "dt", "out"))}


@pytest.mark.parametrize(
    "fields, form",
    [
        ({}, (32, 4, 8)),
        ({"topology": "ring"}, (32, 3, 8)),
        ({"router": "bus", "router_options": {"bus_width": 3}}, (8, 4, 3)),
        ({"memory": "gru", "router": "attention"}, None),
        ({"memory": "elm"}, None),
        ({"population": [{"neurons": 2}, {"neurons": 2, "memory": "gru"}], "neurons": None}, (32, 4, 8)),
    ],
    ids=["dendrites", "ring", "bus", "gru", "elm", "mixed"],
)
def test_an_edge_has_a_matrix_of_its_own_and_each_lies_where_its_form_says(fields, form):
    fields = {"neurons": 4, "width": 8, "rounds": 2, **fields}
    graph = Graph(graph_config(**{name: value for name, value in fields.items() if value is not None}))
    found = matrices(graph)
    assert found
    for p, (o, k, i) in found.items():
        assert p.numel() % (o * k * i) == 0
    for module in graph.rounds:
        for p, view in module.router.edge_weights():
            o, k, i = found[p]
            assert form is None or (o, k, i) == form or p is not module.router.edge_weights()[0][0]
            assert torch.equal(p.detach().reshape(-1, o, k, i).transpose(1, 2), view(p.detach()))


def test_groups_are_all_parameters_once_with_decay_as_before():
    model = build_model(model_config("inn", vocab=11, neurons=4, width=8, rounds=2, memory="gru"))
    plain, split = parameter_groups(model, 0.1), parameter_groups(model, 0.1, matrices=True)
    decays = [{p: g["weight_decay"] for g in groups for p in g["params"]} for groups in (plain, split)]
    assert decays[0] == decays[1]
    assert sum(len(g["params"]) for g in split) == len(list(model.parameters()))
    assert {p for g in split if "form" in g for p in g["params"]} == matrices(model).keys()


@pytest.mark.parametrize("kind", ["inn", "transformer"])
def test_a_stopped_and_resumed_run_is_bit_for_bit_the_one_that_was_not(tmp_path, tiny, kind):
    config = tiny(kind, **MUON)
    fit(config, tmp_path / "whole")
    for resume, stop in ((False, 2), (True, 7)):
        fit(config if not resume else None, tmp_path / "parts", resume=resume, report=Stop(stop))
    fit(None, tmp_path / "parts", resume=True)
    assert final(tmp_path / "parts") == final(tmp_path / "whole")
    assert metrics(tmp_path / "parts") == metrics(tmp_path / "whole")
    names = checkpoints.load(tmp_path / "whole" / "checkpoints" / "step-00000012").tensors["optimizer"]
    assert any(name.endswith("/momentum_buffer") for name in names)
    assert any(name.endswith("/exp_avg") for name in names)


def test_what_cannot_be_turned_is_refused(tmp_path, tiny):
    with pytest.raises(InputError, match=r"kind 'lstm' keeps none as such; set train.optimizer adamw"):
        fit(tiny("lstm", optimizer="muon"), tmp_path / "run")
    with pytest.raises(InputError, match=r"fitted by counting and takes no steps; leave train.optimizer out"):
        fit(tiny("ngram", optimizer="muon"), tmp_path / "run")
    with pytest.raises(InputError, match=r"momentum does nothing with optimizer 'adamw'; set optimizer muon"):
        TrainConfig(momentum=0.8)
    config = tiny("inn", optimizer="muon")
    with pytest.raises(InputError, match=r"'muon' needs whole weights in every process; set train.parallel ddp"):
        check_optimizer(config, build_model(config.model), sharded=True)
    assert not (tmp_path / "run").exists()


def moments_of(model, optimizer):
    return Moments({name: t.clone() for name, t in checkpoints.pack_optimizer(model, optimizer).items()})


def trained(seed, steps, optimizer="muon"):
    torch.manual_seed(seed)
    model = inn.INN(vocab=9, neurons=3, width=8, rounds=1, recall=[])
    model.graph.ids += 10 * seed
    own = build_optimizer(model, TrainConfig(optimizer=optimizer))
    for _ in range(steps):
        own.zero_grad()
        model(torch.randint(9, (2, 12)))[0].square().sum().backward()
        own.step()
    return model.eval(), moments_of(model, own)


def test_moments_of_what_is_kept_go_along_and_a_step_can_follow():
    model, known = trained(0, 3)
    new = keep(model, [0, 2])
    found, share = carried_moments(lambda m: keep(m, [0, 2]), [model], new, [known])
    hear = "graph.rounds.0.router.hear.weight"
    whole = known.tensors[f"{hear}/momentum_buffer"].unflatten(2, (3, 8))
    assert torch.equal(found[f"{hear}/momentum_buffer"], whole[[0, 2]][:, :, [0, 2]].flatten(2))
    assert f"{hear}/exp_avg" not in found
    assert "graph.rounds.0.memory.D/momentum_buffer" not in found
    assert share > 0.9
    optimizer = build_optimizer(new, TrainConfig(optimizer="muon"))
    checkpoints.unpack_optimizer(new, optimizer, found)
    new(torch.randint(9, (2, 12)))[0].square().sum().backward()
    optimizer.step()
    state = optimizer.state[dict(new.named_parameters())["backbone.rounds.0.router.hear.weight"]]
    assert state["step"] == 4


def test_matrices_of_two_optimisers_put_together_have_no_moments():
    (a, known_a), (b, known_b) = trained(1, 3), trained(2, 5, "adamw")
    plan = planned([a, b])
    made = put_together([a, b], plan)
    found, _ = carried_moments(lambda *m: put_together(m, plan), [a, b], made, [known_a, known_b])
    assert "graph.rounds.0.memory.D/exp_avg" in found
    assert not any("hear.weight" in name for name in found)


def test_a_run_from_one_of_another_optimiser_starts_it_afresh(tmp_path, tiny):
    fit(tiny("inn", model={"dropout": 0.0}), tmp_path / "first")
    known = moments_of_run(Run(tmp_path / "first"))
    write_run(load(tmp_path / "first"), tmp_path / "first", tmp_path / "made", "by hand", known.tensors)
    for optimizer, afresh in (("adamw", False), ("muon", True)):
        told = []
        config = tiny("inn", model={"dropout": 0.0}, optimizer=optimizer, start=str(tmp_path / "made"))
        fit(config, tmp_path / optimizer, report=told.append)
        warned = [e.message for e in told if isinstance(e, events.Warned)]
        assert any("starts afresh" in message for message in warned) == afresh
