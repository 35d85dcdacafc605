"""`inn keep`, `grow`, `cut` and `graft`: runs made of a run load, score the same, and train on; mistakes are named."""

import json

import numpy as np
import pytest
import torch

import inn as package
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
    resumed = inn("train", "--resume", trained, "--json")
    assert resumed.code == 0
    exported = tmp_path / "exported"
    assert inn("export", small_run, exported).code == 0
    assert torch.equal(logits(exported), logits(small_run))


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
    gates = [package.load(run).graph.rounds[0].gate for run in (half, trained)]
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
