"""`inn keep`, `grow`, `cut`, `graft`, `merge`: runs made of runs load, score the same, train on; mistakes are named."""

import json
from typing import Any

import numpy as np
import pytest
import torch

import inn as package
from inn.runs import checkpoint as checkpoints
from inn.runs.directory import Run
from inn.surgery.neurons import grow, keep


def logits(run):
    return package.load(run)(torch.arange(12)[None])[0]


def test_a_run_kept_grown_cut_and_grafted(inn, own_run, tmp_path, small):
    small_run, large, organ, back = (tmp_path / name for name in ("small", "large", "my.organ", "back"))
    result = inn("keep", own_run, "--neurons", "1", "--run", small_run, "--symbols", 300)
    assert result.code == 0, result
    for said in ("neurons", "parameters", "FLOPs per symbol", "bits, validation", f"inn train --from {small_run}"):
        assert said in result.out
    whole = package.load(own_run)
    torch.testing.assert_close(logits(small_run), keep(whole, neurons=[1])(torch.arange(12)[None])[0])
    assert package.load(small_run).experience is not None

    result = inn("grow", own_run, "--neurons", 2, "--memory", "gru", "--run", large, "--symbols", 300, "--json")
    facts = json.loads(result.out)
    assert facts["after"]["neurons"] == 4
    assert facts["after"]["memory"] == "mamba, gru"
    assert abs(facts["after"]["bits"] - facts["before"]["bits"]) < 1e-5
    torch.testing.assert_close(logits(large), logits(own_run), atol=1e-5, rtol=0)
    assert torch.equal(logits(large), grow(whole, 2, memory="gru")(torch.arange(12)[None])[0])

    result = inn("cut", own_run, "--rounds", "0", "--out", organ)
    assert result.code == 0
    assert f"inn graft RUN {organ}" in result.out
    assert inn("graft", own_run, organ, "--run", back, "--symbols", 0).code == 0
    assert torch.equal(logits(back), logits(own_run))
    assert Run(back).config().train.start is None

    for source in (large, small_run):
        trained = tmp_path / f"{source.name}-trained"
        result = inn("train", "--from", source, "--run", trained, "--train.symbols", 1280)
        assert result.code == 0, result
        assert package.load(trained).config == package.load(source).config
        name, last = "graph.rounds.0.memory.D/step", checkpoints.steps(trained / "checkpoints")[-1]
        name = name if source == small_run else name.replace("memory", "memory.groups.0")
        begun = loaded(source, 0).tensors["optimizer"][name]
        assert loaded(trained, last).tensors["optimizer"][name] == begun + last
    resumed = inn("train", "--resume", trained, "--json")
    assert resumed.code == 0
    exported = tmp_path / "exported"
    assert inn("export", small_run, exported).code == 0
    assert torch.equal(logits(exported), logits(small_run))


def best_step(run) -> int:
    return (Run(run).summary() or {})["best"]["step"]


def loaded(run, step):
    return checkpoints.load(run / "checkpoints" / checkpoints.name_of(step))


def test_two_runs_are_merged(inn, own_run, tmp_path, small):
    grown, both, exported = (tmp_path / name for name in ("grown", "both", "exported"))
    assert inn("grow", own_run, "--run", grown, "--symbols", 0).code == 0
    result = inn("merge", own_run, grown, "--run", both, "--symbols", 300)
    assert result.code == 0, result
    assert "had the same ids: [0, 1] of later ones are [3, 4] now" in result.err.replace("\n", " ")
    for said in ("grown", "after", "the optimiser goes on from step", f"inn train --from {both}"):
        assert said in result.out
    torch.testing.assert_close(logits(both), (logits(own_run) + logits(grown)) / 2, atol=1e-5, rtol=0)
    model: Any = package.load(both)
    assert (model.config.neurons, model.graph.ids.tolist()) == (5, [0, 1, 3, 4, 2])
    assert model.experience is not None
    part = tmp_path / "part"
    assert inn("keep", both, "--neurons", "0,1", "--run", part, "--symbols", 0).code == 0
    torch.testing.assert_close(logits(part), logits(own_run), atol=1e-5, rtol=0)
    assert inn("export", both, exported).code == 0
    assert torch.equal(logits(exported), logits(both))
    facts = json.loads(inn("merge", own_run, own_run, "--run", tmp_path / "x", "--across", "--json").out)
    assert facts["beside"][0]["neurons"] == 2
    assert facts["after"]["topology"] == "complete"
    assert abs(facts["after"]["bits"] - facts["before"]["bits"]) < 1e-5
    result = inn("train", "--from", both, "--run", tmp_path / "trained", "--train.symbols", 640)
    assert result.code == 0, result


def test_the_optimiser_goes_on_with_the_moments_of_what_was_moved(inn, own_run, tmp_path):
    model, step = package.load(own_run), best_step(own_run)
    known = loaded(own_run, step).tensors["optimizer"]
    everyone, organ, back, one, large = (tmp_path / n for n in ("everyone", "my.organ", "back", "one", "large"))
    assert inn("keep", own_run, "--neurons", "0,1", "--run", everyone, "--symbols", 0).code == 0
    assert inn("cut", own_run, "--neurons", "1", "--out", organ).code == 0
    assert inn("graft", own_run, organ, "--run", back, "--symbols", 0).code == 0
    for run in (everyone, back):
        found = loaded(run, 0).tensors["optimizer"]
        assert found.keys() == known.keys()
        assert all(torch.equal(t, known[name]) for name, t in found.items())
    assert loaded(back, 0).meta["goes_on"] == step
    inn("keep", own_run, "--neurons", "1", "--run", one, "--symbols", 0)
    found = loaded(one, 0).tensors["optimizer"]
    name = "graph.rounds.0.memory.D/exp_avg_sq"
    assert torch.equal(found[name], known[name][1:])
    assert found["graph.rounds.0.memory.D/step"] == step
    inn("grow", own_run, "--run", large, "--symbols", 0)
    found = loaded(large, 0).tensors["optimizer"]
    assert torch.equal(found[name][:2], known[name])
    assert not found[name][2].any()
    assert "norm.gain/step" not in found
    assert model.config.neurons == 2


def test_one_step_after_all_are_kept_is_the_step_that_was_to_come(inn, own_run, tmp_path):
    from inn.training.building import moments_of
    from inn.training.optim import build_optimizer

    new = tmp_path / "new"
    inn("keep", own_run, "--neurons", "0,1", "--run", new, "--symbols", 0)
    step = best_step(own_run)
    after = []
    for run, moments in ((own_run, loaded(own_run, step).tensors["optimizer"]), (new, moments_of(str(new)))):
        model = package.load(run)
        optimizer = build_optimizer(model, Run(run).config().train)
        checkpoints.unpack_optimizer(model, optimizer, moments)
        tokens = torch.arange(40).view(2, 20) % 20
        torch.nn.functional.cross_entropy(model(tokens)[0].flatten(0, 1), tokens.flatten()).backward()
        optimizer.step()
        after.append(model.state_dict())
    assert all(torch.equal(t, after[1][name]) for name, t in after[0].items())
    assert moments_of(str(own_run)) == {}


@pytest.mark.slow
def test_a_run_split_trains_on_and_is_exported_and_made_whole_again(inn, own_run, tmp_path, small):
    whole, half, trained, back, exported = (tmp_path / name for name in ("whole", "half", "on", "back", "exported"))
    assert inn("split", own_run, "--use", 2, "--run", whole, "--symbols", 0).code == 0
    assert torch.equal(logits(whole), logits(own_run))
    result = inn("split", own_run, "--run", half, "--symbols", 300, "--json")
    facts = json.loads(result.out)
    assert facts["after"]["flops_per_symbol"] < 0.8 * facts["before"]["flops_per_symbol"]
    assert not torch.equal(logits(half), logits(own_run))
    assert inn("train", "--from", half, "--run", trained, "--train.symbols", 1280).code == 0
    models: list[Any] = [package.load(run) for run in (half, trained)]
    gates = [m.graph.rounds[0].gate for m in models]
    assert torch.equal(gates[0].keys, gates[1].keys)
    assert torch.equal(gates[0].of, gates[1].of)
    assert inn("export", half, exported).code == 0
    assert torch.equal(logits(exported), logits(half))
    assert inn("unsplit", half, "--run", back, "--symbols", 0).code == 0
    assert torch.equal(logits(back), logits(own_run))


def test_mistakes_are_named_and_leave_nothing(refused, own_run, tmp_path):
    new, organ = tmp_path / "new", tmp_path / "x.organ"
    organ.write_bytes(np.zeros(9).tobytes())
    for argv, sentence in (
        (("keep", own_run, "--run", new), "give neurons=[0, 1] or rounds=[0]"),
        (("keep", own_run, "--neurons", "7", "--run", new), "there is no neuron 7"),
        (("keep", own_run, "--neurons", "a", "--run", new), "lists numbers like 0,2,5"),
        (("keep", own_run, "--neurons", "0"), "--run is missing"),
        (("keep", own_run, "--neurons", "0", "--run", own_run), "exists already"),
        (("keep", tmp_path / "none", "--neurons", "0", "--run", new), "is not a run"),
        (("grow", own_run, "--neurons", "0", "--run", new), "must be at least 1"),
        (("grow", own_run, "--memory", "wood", "--run", new), "unknown memory 'wood'"),
        (("cut", own_run, "--rounds", "0"), "--out is missing"),
        (("cut", own_run, "--out", new), "give one of neurons"),
        (("graft", own_run, organ, "--run", new), "is no organ, or damaged"),
        (("graft", own_run, tmp_path / "none", "--run", new), "none"),
        (("merge", own_run, "--run", new), "another RUN is missing"),
        (("merge", own_run, tmp_path / "none", "--run", new), "is not a run"),
        (("merge", own_run, own_run), "--run is missing"),
        (("split", own_run, "--experts", "3", "--run", new), "2 neurons do not make 3 experts"),
        (("split", own_run, "--use", "3", "--run", new), "of 2 experts 3 cannot be used"),
        (("unsplit", own_run, "--run", new), "is not split"),
        (("keep", own_run, "--neurons", "0", "--run", new, "--symbols", "1"), "--symbols must be 0, or at least 2"),
    ):
        assert sentence in refused(*argv), argv
        assert not new.exists()


def test_a_run_that_cannot_be_written_leaves_nothing(own_run, tmp_path, monkeypatch):
    from inn.surgery import runs

    def failed(*args):
        raise KeyboardInterrupt

    model = package.load(own_run)
    monkeypatch.setattr(runs.checkpoints, "save", failed)
    with pytest.raises(KeyboardInterrupt):
        runs.write_run(model, own_run, tmp_path / "new", "test")
    assert not (tmp_path / "new").exists()
