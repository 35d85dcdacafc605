"""Activations of a trained run as counts of spikes: the folder, what is measured, what is refused."""

import json

import pytest
import torch

import inn as library
from inn.cli.main import main
from inn.compress.spikes import spiking
from inn.models.lstm import LSTM
from inn.runs.load import load, load_with_data
from inn.system.errors import InputError


def compressed(run, out, *more):
    return main(["compress", str(run), "--spikes", "2", "--out", str(out), *map(str, more)])


def test_a_folder_that_loads_and_writes(own_run, tmp_path, capsys):
    out = tmp_path / "out"
    assert compressed(own_run, out, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    model, before = load(out), load(own_run)
    assert model.config.spikes == 2.0
    assert all(torch.equal(t, before.state_dict()[name]) for name, t in model.state_dict().items())
    tokens = torch.arange(12)[None]
    with torch.no_grad():
        assert torch.equal(model(tokens)[0], spiking(before, 2.0)(tokens)[0])
        assert not torch.equal(model(tokens)[0], before(tokens)[0])
    assert 1 < found["after"]["rate"] < 2.5
    assert found["before"]["additions"] == 0 < found["after"]["additions"]
    assert found["after"]["multiply_adds"] < found["before"]["multiply_adds"]
    assert found["after"]["measured"]["bits"] != found["before"]["measured"]["bits"]
    assert main(["generate", str(out), "--tokens", "3"]) == 0


def test_a_table_for_people_and_other_codes(own_run, tmp_path, capsys):
    assert compressed(own_run, tmp_path / "out", "--spike-code", "bitwise") == 0
    told = capsys.readouterr().out
    for part in ("bits ", "additions per symbol", "steps of time (bitwise)", "4.6 pJ a multiply-add", "Horowitz"):
        assert part in told


def test_a_coarse_code_compresses_again_and_trains(own_run, tmp_path):
    """A folder with a text, as its source; and gradients that reach every weight that they reached before."""
    _, data = load_with_data(str(own_run))
    (tmp_path / "text").write_text(data.vocabulary.decode(data.train[:3000]))
    assert compressed(own_run, tmp_path / "a") == 0
    assert compressed(tmp_path / "a", tmp_path / "b", "--evaluate", tmp_path / "text", "--length", "64") == 0
    plain, coarse = load(own_run), load(tmp_path / "b").train()
    tokens = torch.arange(12)[None]
    for model in (plain, coarse):
        model(tokens)[0].logsumexp(-1).sum().backward()
    reached = [
        {name for name, p in m.named_parameters() if p.grad is not None and p.grad.any()} for m in (plain, coarse)
    ]
    assert reached[0] == reached[1]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--spikes", "0"], "spikes must be above 0, not 0.0"),
        (["--spikes", "-2"], "spikes must be above 0, not -2.0"),
        (["--keep", "0.5"], "--spikes leaves the weights as they are; leave out --keep"),
        (["--plan", "svd"], "leave out --plan"),
        (["--spike-code", "morse"], "unknown spike code 'morse'"),
        (["--evaluate", "/nowhere"], "/nowhere"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(own_run, tmp_path, capsys, more, says):
    assert compressed(own_run, tmp_path / "out", *more) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_has_no_neurons_is_refused(own_run, tmp_path, capsys):
    with pytest.raises(InputError, match="kind 'lstm' has no graph of neurons"):
        spiking(LSTM(library.model_config("lstm", vocab=5, width=4, layers=1)), 2.0)
    assert compressed(tmp_path, tmp_path / "out") == 2
    assert "is no run of an INN" in capsys.readouterr().err
    assert compressed(own_run, tmp_path / "a") == 0
    assert compressed(tmp_path / "a", tmp_path / "b") == 2
    assert "is an exported folder, which has no data; give a text by --evaluate" in capsys.readouterr().err
    assert main(["compress", str(own_run), "--spike-code", "binary", "--out", str(tmp_path / "c")]) == 2
    assert "--spike-code is of --spikes" in capsys.readouterr().err
