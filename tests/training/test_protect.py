"""Objective `protect`: which directions a run uses, what updates leave alone, and chains of runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_objectives import last, lines, stop_at, tensors

import inn
from inn.data.streams import Batch
from inn.models.names import filed
from inn.nn.population import NeuronLinear
from inn.runs import checkpoint as checkpoints
from inn.runs.directory import Run
from inn.runs.load import load_with_data
from inn.system.errors import InputError
from inn.training.objectives import protect, space
from inn.training.objectives.options import ProtectOptions
from inn.training.objectives.protect import outside
from inn.training.objectives.space import directions, drift, hebbian, space_of
from inn.training.trainer import fit

KIND = {"kind": "protect", "symbols": 256}


def after(config, run, **objective):
    """The configuration of a run that starts from another."""
    return replace(config, train=replace(config.train, start=str(run), objective={**KIND, **objective}))


@pytest.fixture
def first(tmp_path, tiny):
    fit(tiny("inn"), tmp_path / "first")
    return tmp_path / "first"


def inputs_of(run) -> dict[str, list[torch.Tensor]]:
    """What goes into every map while the run's model reads the start of its data: by weight, `[S, M, I]`."""
    model, data = load_with_data(str(run))
    config = Run(run).config()
    streams, state, found = data.batches(config.data, config.train.seed, slice(0, 4)), None, {}
    for name, module in model.named_modules():
        if isinstance(module, NeuronLinear | torch.nn.Linear):

            def see(module, args, name=name):
                x, name = args[0].double(), filed(f"{name}.weight")
                found.setdefault(name, []).append(x.flatten(0, 1) if x.ndim == 4 else x.flatten(0, 1)[:, None])

            module.register_forward_pre_hook(see)
    for _ in range(4):
        batch = streams.next()
        with torch.no_grad():
            state = model(batch.inputs, state)[1]
    return {name: torch.cat(x) for name, x in found.items()}


def test_the_space_is_that_of_the_largest_singular_values(first):
    inputs, spaces = inputs_of(first), space_of(str(first), 256, energy=0.9)
    tied = {"embedding.weight", "head.weight"}
    tables = {name: spaces.pop(name) for name in [*spaces] if spaces[name].ndim == 1}
    assert tables.keys() == {"embedding.weight", "recall.symbol"}
    assert spaces.keys() == inputs.keys() - tied
    for name, h in spaces.items():
        x = inputs[name]
        sets = [x[:, p] for p in range(x.shape[1])] if len(h) > 1 else [x.flatten(0, 1)]
        for p, rows in enumerate(sets):
            _, values, v = torch.linalg.svd(rows, full_matrices=False)
            held = values.square().cumsum(0) / values.square().sum()
            count = int((held < 0.9 - 1e-9).sum()) + 1
            own = h[p][h[p].any(1)].double()
            assert len(own) == count, name
            torch.testing.assert_close(own @ own.T, torch.eye(count, dtype=torch.float64), rtol=0, atol=1e-5)
            torch.testing.assert_close(own.T @ own, v[:count].T @ v[:count], rtol=0, atol=1e-3)


def test_an_update_leaves_what_is_in_the_space():
    torch.manual_seed(0)
    q = torch.linalg.qr(torch.randn(3, 6, 2, dtype=torch.float64)).Q.transpose(1, 2)  # [3, 2, 6]
    change, x = torch.randn(3, 4, 6, dtype=torch.float64), torch.randn(3, 2, dtype=torch.float64)
    found = outside(change, q)
    assert torch.einsum("poi,pi->po", found, torch.einsum("pk,pki->pi", x, q)).abs().max() < 1e-12
    torch.testing.assert_close(found, change @ (torch.eye(6, dtype=torch.float64) - q.transpose(1, 2) @ q))


@pytest.mark.parametrize("others", ["frozen", "free"])
def test_weights_move_outside_of_the_space_only(tmp_path, tiny, first, others):
    fit(after(tiny("inn", weight_decay=0.5), first, others=others, energy=0.8), tmp_path / "run")
    old, new = (checkpoints.load(last(tmp_path / name)) for name in ("first", "run"))
    start = dict(inn.load(first).named_parameters())
    spaces = {n.removeprefix("space."): t for n, t in new.tensors["objective"].items()}
    assert spaces
    moved = 0
    for name, p in start.items():
        now = new.tensors["model"][filed(name)]
        change = (now - p.detach()).double()
        if filed(name) in spaces:
            if spaces[filed(name)].ndim == 1:
                assert not change[spaces[filed(name)]].any()
                continue
            h = spaces[filed(name)].double()
            along = change @ (h[0] if change.ndim == 2 else h).transpose(-1, -2)
            assert along.abs().max() < 1e-5
            moved += bool(change.abs().max() > 1e-3)
        else:
            assert bool(change.any()) == (others == "free"), name
    assert moved > 3
    assert old.tensors["objective"] == {}
    told = [line for line in lines(tmp_path / "run") if line["event"] == "validation"]
    assert 0 < told[0]["objective.protected"] < 1


def test_runs_in_a_chain_protect_all_before(tmp_path, tiny, first):
    fit(after(tiny("inn"), first, rank=1), tmp_path / "second")
    fit(after(tiny("inn"), tmp_path / "second", rank=1), tmp_path / "third")
    two, three = (checkpoints.load(last(tmp_path / n)).tensors["objective"] for n in ("second", "third"))
    assert two.keys() == three.keys()
    for name, h in three.items():
        if h.ndim == 1:  # the rows of an embedding
            assert bool((h | ~two[name]).all())
            continue
        assert h[:, : two[name].shape[1]].equal(two[name])
        assert two[name].shape[1] == 1
        for own in h:
            own = own[own.any(1)]
            assert 1 <= len(own) <= 2
            torch.testing.assert_close(own @ own.T, torch.eye(len(own)), rtol=0, atol=1e-5)


def test_a_run_that_was_stopped_and_resumed_is_the_one_that_was_not(tmp_path, tiny, first):
    config = after(tiny("inn"), first)
    fit(config, tmp_path / "whole")
    for resume, stop in ((False, 4), (True, 9)):
        fit(config, tmp_path / "run", resume=resume, report=stop_at(stop))
    first.rename(tmp_path / "gone")  # not needed again
    fit(None, tmp_path / "run", resume=True)
    assert tensors(tmp_path / "run") == tensors(tmp_path / "whole")
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")


def test_what_cannot_be_protected_is_refused(tmp_path, tiny, first, monkeypatch):
    with pytest.raises(InputError, match=r"starts from none; start from it by `inn train --from RUN --run NEW`"):
        fit(tiny("inn", objective="protect"), tmp_path / "run")
    with pytest.raises(InputError, match=r"rank 1000 is above the width of every map, [0-9]+ at most"):
        fit(after(tiny("inn"), first, rank=1000), tmp_path / "run")
    for options, sentence in (
        ({"energy": 0.0}, r"energy must be in \(0, 1\]"),
        ({"others": "x"}, "others cannot be 'x'"),
    ):
        with pytest.raises(InputError, match=sentence):
            after(tiny("inn"), first, **options)
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(protect, "FULL", 0.5)
    with pytest.warns(UserWarning, match="so there is little left to learn with"):
        fit(after(tiny("inn"), first, energy=1.0), tmp_path / "run")


def test_hebbs_rule_finds_what_singular_values_do():
    torch.manual_seed(0)
    x = torch.randn(500, 24).double() * torch.linspace(1, -3, 24).exp()
    square = x.T @ x / len(x)
    first, known = hebbian(square, 6), torch.eye(24).double()[:2]
    assert drift(first) < 1e-3
    values = torch.linalg.eigvalsh(square).flip(0)
    assert torch.trace(first @ square @ first.T) / values[:6].sum() > 0.999
    beside = hebbian(square, 4, known)
    assert (beside @ known.T).abs().max() < 1e-3
    assert torch.trace(beside @ square @ beside.T) / values[2:6].sum() > 0.99
    # the same with the loop of the paper, one mean over all inputs for each step
    h = torch.linalg.qr(torch.randn(24, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0].T
    scaled, moved = x * (10 / values[0]).sqrt(), torch.zeros(6, 24).double()
    for _ in range(1000):
        y = scaled @ h.T
        moved = 0.9 * moved + 0.1 * (y.T @ (scaled - y @ h) / len(x)).clamp(-10, 10)
        h = h + 0.01 * moved
    torch.testing.assert_close(h, first, atol=1e-6, rtol=1e-4)


def test_what_hebbs_rule_learned_is_protected(first, tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(space, "STEPS", 100)
    spaces = space_of(str(first), 256, rank=3, by="hebb")
    for name, h in spaces.items():
        if h.ndim == 1:
            continue
        assert h.shape[1] == min(3, h.shape[2]), name
        assert all(drift(own) < 1e-5 for own in h)
    fit(after(tiny("inn"), first, by="hebb", rank=3), tmp_path / "second")
    old, new = ({filed(n): p for n, p in inn.load(run).named_parameters()} for run in (first, tmp_path / "second"))
    for name, h in spaces.items():
        change = (new[name] - old[name]).detach()
        torch.testing.assert_close(outside(change, h), change, atol=1e-5, rtol=0)
    assert any(not torch.equal(new[name], old[name]) for name in spaces)
    with pytest.raises(InputError, match="set it above 0"):
        ProtectOptions(kind="protect", by="hebb")


def test_models_of_signals_are_protected_their_way_in_included():
    torch.manual_seed(0)
    model = inn.build_model(inn.model_config("signal", features=3, outputs=2, head="classes", neurons=2, width=4))
    x = torch.randn(8, 5, 3)
    x[:2] = torch.nan
    found = directions(model, [Batch(x, torch.zeros(8, 5).long(), None)], carry=False, rank=4)
    assert found["input.weight"].shape[2] == 6
    seen = torch.cat((torch.where(x.isnan(), 0, x), x.isnan().float()), -1).flatten(0, 1).double()
    square = seen.T @ seen / len(seen)
    h = found["input.weight"][0].double()
    torch.testing.assert_close(
        h @ square @ h.T, torch.diag(torch.linalg.eigvalsh(square).flip(0)[: len(h)]), atol=1e-5, rtol=0
    )


def test_of_an_embedding_the_rows_that_were_read_stay_and_new_symbols_are_learned():
    model = inn.INN(vocab=9, neurons=2, width=4, rounds=1, recall=[1], recall_options={"slots": 16, "width": 2})
    tokens = torch.arange(20).reshape(2, 10) % 5
    found = directions(model, [Batch(tokens, tokens, None)])
    for name in ("embedding.weight", "recall.symbol"):
        assert found[name].tolist() == [True] * 5 + [False] * 4
    assert outside(torch.ones(9, 4), found["embedding.weight"]).sum(1).tolist() == [0.0] * 5 + [4.0] * 4
    again = directions(model, [Batch(tokens + 1, tokens, None)], known=found)
    assert again["embedding.weight"].tolist() == [True] * 6 + [False] * 3
    del found["embedding.weight"]  # of an earlier run nobody has noted which rows it read: all stay
    assert "embedding.weight" not in directions(model, [Batch(tokens, tokens, None)], known=found)
