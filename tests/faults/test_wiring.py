"""Graphs that cannot be: one sentence, exit code 2, and no run that is left half made."""

from __future__ import annotations

import contextlib
import io
import re

import pytest

from inn.cli.main import main

RING = {"topology": "ring"}
LISTED = {"topology": "file", "topology.path": "edges.csv"}
BAD = [
    ({**LISTED, "file": "0,9\n"}, "the edges name neuron 9, and there are 4"),
    ({**LISTED, "file": "0,1,2\n"}, "a sign is 1 or -1"),
    ({**LISTED, "file": "to,from,lag\n0,1,-1\n"}, "must have a lag of 0 or more steps"),
    ({**LISTED, "file": "0,1,1,9\n", "topology.lag_window": 4}, "a lag of 9 steps is above lag_window 4"),
    ({**LISTED, "file": "0,1\n0,1\n"}, "is listed twice"),
    ({**LISTED, "file": "0,0.5\n"}, "whole numbers"),
    ({**LISTED, "file": "once upon a time\n"}, "cannot be read as edges"),
    ({**LISTED, "file": ""}, "holds no edges|cannot be read as edges"),
    ({**LISTED, "file": None}, "there is no topology file"),
    ({"topology": "file"}, "topology 'file' needs path"),
    ({"topology": "edges", "topology.edges": "[]", "topology.itself": "false"}, "lets nobody hear anything"),
    ({**RING, "topology.neighbours": 0}, "neighbours must be at least 2"),
    ({**RING, "topology.neighbours": 4}, "needs more than 4 neurons"),
    ({"topology": "rewired", "topology.density": 0.01}, "set another density"),
    ({"topology": "rewired", "topology.density": 1.5}, r"density must be in \(0, 1\)"),
    ({"topology": "groups", "topology.groups": 9}, "groups 9 needs as many neurons"),
    ({"topology": "groups", "topology.across": 2}, r"across must be in \[0, 1\]"),
    ({"topology": "groups", "topology.between": 3}, "more than the 2 neurons outside a group"),
    ({"topology": "hub", "topology.hubs": 4}, "needs more neurons"),
    ({"topology": "hub", "topology.hubs": 0}, "hubs must be at least 1"),
    ({"topology": "signatures", "topology.tau": 3}, r"tau must be in \(0, 2\)"),
    ({"topology": "signatures", "topology.width": 0}, "width must be at least 1"),
    ({"topology": "signatures", "router": "mixture"}, "gives them no gradient"),
    ({"topology": "signatures", "router": "attention", "router.heads": 2, "router.activation": "stick"}, "no gradient"),
    ({"topology": "chain", "topology.size": 3}, "topology 'chain' needs two links"),
    ({**RING, "topology.lags": "[1,9]", "topology.lag_window": 4}, "a lag of 9 steps is above lag_window 4"),
    ({**RING, "topology.lags": "[2]", "router": "mixture"}, "does not know of"),
    ({**RING, "topology.lags": "[2]", "router.lag": 1}, "have lags of their own"),
    ({**RING, "topology.sensors": "[4]"}, "there are neurons 0 to 3 only"),
    ({"router": "mixture", "router.top": 0}, "top must be at least 1"),
    ({"router": "mixture", "router.sampled": 3}, "sampled 3 is more than top 2"),
    ({"gate": "address", "gate.top": 5}, "more than the 4 neurons"),
    ({"gate": "address", "gate.table": "[0,7]"}, "must name neurons from 0 to 3"),
    ({"gate": "address", "gate.table": "[0,1]"}, "is of 2 symbols, and the vocabulary has"),
    ({"gate": "address", "gate.temperature": 0}, "temperature must be above 0"),
    ({"gate": "active", "gate_penalty": -1}, "gate_penalty must be at least 0"),
]


@pytest.mark.parametrize("fields, said", BAD, ids=lambda v: "" if isinstance(v, str) else str(v))
def test_it_is_refused_before_anything_is_written(fields, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fields = dict(fields)
    if (text := fields.pop("file", None)) is not None:
        (tmp_path / "edges.csv").write_text(text)
    (tmp_path / "notes.txt").write_text("the graph of neurons listens to each neuron\n" * 200)
    given = {"neurons": 4, "width": 8, "rounds": 1, **fields}
    argv = [part for name, value in given.items() for part in (f"--model.{name}", str(value))]
    data = ("--data.corpus", "file:notes.txt", "--data.batch", "2", "--data.window", "16", "--train.symbols", "64")
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["train", "demo", "--run", "made", *data, "--device", "cpu", *argv])
    assert (code, out.getvalue(), err.getvalue().count("\n")) == (2, "", 1), err.getvalue()
    assert err.getvalue().startswith("inn: ")
    assert re.search(said, err.getvalue()), err.getvalue()
    assert not (tmp_path / "made").exists()


def test_a_neuron_that_hears_nobody_is_allowed_and_said_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("the graph of neurons listens to each neuron\n" * 200)
    argv = "--data.corpus file:notes.txt --data.batch 2 --data.window 16 --train.symbols 64 --train.sample_every 0 "
    argv += "--model.neurons 3 --model.width 8 --model.rounds 2 --model.topology edges --model.topology.itself false "
    argv += "--model.topology.edges [[0,1],[1,0]] --device cpu"
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert main(["train", "demo", "--run", "made", *argv.split()]) == 0
    told = [line for line in (tmp_path / "made" / "metrics.jsonl").read_text().splitlines() if "hear nobody" in line]
    assert len(told) == 1
    assert "1 neuron (2)" in told[0]
