"""`inn learn-on`: a run that learned one text after another, its table, and mistakes that are named."""

import json
from typing import Any

import pytest
import torch

import inn as package
from inn.runs.directory import Run


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A text of other words, and the same again."""
    path = tmp_path_factory.mktemp("texts") / "other.txt"
    path.write_text("zebra quilt jumps vex box waltz " * 700)
    return path


@pytest.mark.slow
def test_a_run_learns_on_and_reads_each_text_with_the_right_part(inn, own_run, tmp_path, corpus, other):
    new, back = tmp_path / "new", tmp_path / "back"
    given = ("--symbols", 2560, "--held", 1000, "--neurons", 1, "--unknown", "skip")
    result = inn("learn-on", own_run, other, corpus, "--run", new, *given)
    assert result.code == 0, result
    for said in ("after", "0: ", "1: ", "novelty", "1 new", "backward transfer", f"inn eval {new}"):
        assert said in result.out, result.out
    assert max(map(len, result.out.split("\n\n")[1].splitlines())) <= 80
    old: Any = package.load(own_run)
    grown: Any = package.load(new)
    assert len(grown.config.readout.organs) == 1
    assert Run(new).config().train.start is None
    tokens = torch.arange(12)[None]
    grown.descriptors.forced = 0
    torch.testing.assert_close(grown(tokens)[0], old(tokens)[0], atol=1e-5, rtol=1e-5)
    assert inn("keep", new, "--neurons", f"0-{old.config.neurons - 1}", "--run", back, "--symbols", 0).code == 0
    torch.testing.assert_close(package.load(back)(tokens)[0], old(tokens)[0], atol=1e-5, rtol=1e-5)
    exported, again = tmp_path / "exported", tmp_path / "again"
    assert inn("export", new, exported).code == 0
    grown.descriptors.forced = None
    assert torch.equal(package.load(exported)(tokens)[0], grown(tokens)[0])
    facts = json.loads(inn("learn-on", new, other, "--run", again, *given, "--json").out)
    assert facts["expanded"] == []
    assert facts["fits"] == [0, 1]


def test_mistakes_are_named_and_leave_nothing(refused, own_run, tmp_path, other):
    new, short = tmp_path / "new", tmp_path / "short.txt"
    short.write_text("the graph of neurons " * 20)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff" * 2000)
    for argv, sentence in (
        ((own_run, "--run", new), "name at least one FILE"),
        ((own_run, other), "--run is missing"),
        ((own_run, other, "--run", own_run), "exists already"),
        ((own_run, other, "--run", new, "--novelty", "some"), "--novelty is calibrated, or a number"),
        ((own_run, other, "--run", new, "--neurons", "0", "--unknown", "skip"), "neurons must be at least 1"),
        ((own_run, short, "--run", new), "takes 32 times 256"),
        ((own_run, other, "--run", new), "lacks 'z' (U+007A), at position 0; leave it out, or use --unknown skip"),
        ((own_run, binary, "--run", new), "cannot be decoded; convert it, or give a run that reads bytes"),
        ((own_run, tmp_path / "none", "--run", new), "none"),
        ((tmp_path / "none", other, "--run", new), "is not a run"),
    ):
        assert sentence in refused("learn-on", *argv), argv
        assert not new.exists()
